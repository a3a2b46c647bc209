//! Control batches.

use kcopy_wire::records::{
    Batch, BatchBuilder, BatchOptions, ControlRecordType, EndTxnMarker, Headers, ProducerStamp, Record,
};

use crate::support::LIMITS;

fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Record<'a> {
    Record { offset: 4, timestamp: 1, key, value, headers: Headers::EMPTY }
}

#[test]
fn a_marker_comes_back_from_its_batch() {
    for committed in [true, false] {
        let marker = EndTxnMarker { committed, coordinator_epoch: 17 };
        let options =
            BatchOptions { base_offset: 30, partition_leader_epoch: Some(2), ..BatchOptions::default() };
        let stamp = ProducerStamp { id: 5, epoch: 1, ..ProducerStamp::NONE };
        let bytes = BatchBuilder::control(options, 1234, stamp, marker).expect("small");
        let batch = Batch::new(bytes).expect("a batch");
        batch.verify_crc().expect("intact");
        let attributes = batch.attributes();
        assert!(attributes.is_control() && attributes.is_transactional());
        assert_eq!((batch.producer_id(), batch.producer_epoch(), batch.base_sequence()), (Some(5), 1, -1));
        assert_eq!((batch.base_offset(), batch.next_offset(), batch.max_timestamp()), (30, 31, 1234));
        let open = batch.open(LIMITS).expect("opens");
        let record = open.records().next().expect("a record").expect("valid");
        assert_eq!(EndTxnMarker::parse(&record), Ok(Some(marker)));
    }
}

#[test]
fn types_are_told_by_their_keys() {
    for (id, expected) in [
        (0, ControlRecordType::Abort),
        (1, ControlRecordType::Commit),
        (2, ControlRecordType::LeaderChange),
        (3, ControlRecordType::SnapshotHeader),
        (4, ControlRecordType::SnapshotFooter),
        (5, ControlRecordType::KRaftVersion),
        (6, ControlRecordType::KRaftVoters),
        (77, ControlRecordType::Unknown(77)),
        (-1, ControlRecordType::Unknown(-1)),
    ] {
        let [a, b] = i16::to_be_bytes(id);
        assert_eq!(ControlRecordType::parse(&record(Some(&[0, 0, a, b]), None)), Ok(expected));
        // Later versions of the key may have more fields.
        assert_eq!(
            ControlRecordType::parse(&record(Some(&[0, 9, a, b, 1, 2]), None)).as_ref().map(|t| t.id()),
            Ok(id)
        );
    }
}

#[test]
fn short_or_negative_control_records_are_refused() {
    for key in [None, Some(&b""[..]), Some(&[0, 0, 0]), Some(&[0xff, 0xff, 0, 0])] {
        assert!(ControlRecordType::parse(&record(key, None)).is_err(), "{key:?}");
    }
    let commit: &[u8] = &[0, 0, 0, 1];
    for value in [None, Some(&[0, 0, 0, 0, 0][..]), Some(&[0xff, 0xff, 0, 0, 0, 0])] {
        assert!(EndTxnMarker::parse(&record(Some(commit), value)).is_err(), "{value:?}");
    }
    let later_version = [0, 1, 0, 0, 0, 9, 42];
    let marker = EndTxnMarker::parse(&record(Some(commit), Some(&later_version)));
    assert_eq!(marker.map(|m| m.map(|m| m.coordinator_epoch)), Ok(Some(9)));
    // Other types are not markers, whatever their values.
    assert_eq!(EndTxnMarker::parse(&record(Some(&[0, 0, 0, 2]), None)), Ok(None));
}
