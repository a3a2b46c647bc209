//! Batches that others wrote: Apache Kafka's Java classes, and librdkafka through a broker's log.
//! `fixtures/records/README.md` says how.

use bytes::Bytes;
use kcopy_wire::records::{Batch, Batches, Compression, EndTxnMarker};

use crate::{
    rules,
    support::{LIMITS, Owned, read},
};

fn fixture(name: &str) -> Bytes {
    let path = format!("{}/../../fixtures/records/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")).into()
}

#[test]
fn batches_of_java_are_read() {
    for compression in Compression::ALL {
        let batch = Batch::new(fixture(&format!("java-{compression}.bin"))).expect("a batch");
        batch.verify_crc().expect("intact");
        assert_eq!(batch.attributes().compression(), Ok(compression));
        assert!(batch.attributes().is_transactional() && !batch.attributes().is_control());
        assert_eq!((batch.producer_id(), batch.producer_epoch(), batch.base_sequence()), (Some(77), 5, 42));
        assert_eq!((batch.base_offset(), batch.partition_leader_epoch()), (rules::BASE_OFFSET, 9));
        assert_eq!(batch.base_timestamp(), rules::timestamp(0));
        assert_eq!(batch.max_timestamp(), rules::BASE_TIMESTAMP + 9000 - 9);
        let expected: Vec<Owned> = (0..rules::COUNT)
            .map(|n| Owned {
                offset: rules::BASE_OFFSET + n,
                timestamp: rules::timestamp(n),
                key: rules::key(n),
                value: rules::value(compression, n),
                headers: rules::headers(n),
            })
            .collect();
        assert_eq!(read(&batch).expect("valid"), expected, "{compression}");
    }
}

#[test]
fn a_marker_of_java_is_read() {
    let batch = Batch::new(fixture("java-marker.bin")).expect("a batch");
    batch.verify_crc().expect("intact");
    assert!(batch.attributes().is_control() && batch.attributes().is_transactional());
    assert_eq!((batch.producer_id(), batch.producer_epoch(), batch.base_sequence()), (Some(77), 5, -1));
    let open = batch.open(LIMITS).expect("opens");
    let record = open.records().next().expect("a record").expect("valid");
    let expected = EndTxnMarker { committed: true, coordinator_epoch: 13 };
    assert_eq!(EndTxnMarker::parse(&record), Ok(Some(expected)));
}

#[test]
fn batches_of_librdkafka_are_read() {
    for compression in Compression::ALL {
        let mut records = Vec::new();
        let mut batches = Batches::new(fixture(&format!("librdkafka-{compression}.bin")));
        for batch in batches.by_ref() {
            let batch = batch.expect("a batch");
            batch.verify_crc().expect("intact");
            assert_eq!(batch.attributes().compression(), Ok(compression));
            records.extend(read(&batch).expect("valid"));
        }
        assert_eq!(batches.incomplete(), None);
        let expected: Vec<Owned> = (0..300i64)
            .map(|n| Owned {
                offset: n,
                timestamp: records[n as usize].timestamp,
                key: Some(format!("key-{}", n % 5).into_bytes()),
                value: Some(format!("value {n} {}", "na ".repeat((n % 13) as usize)).into_bytes()),
                headers: vec![(b"h".to_vec(), Some(b"x".to_vec())), (b"h".to_vec(), Some(b"y".to_vec()))],
            })
            .collect();
        assert_eq!(records, expected, "{compression}");
        assert!(records[0].timestamp > rules::BASE_TIMESTAMP);
    }
}
