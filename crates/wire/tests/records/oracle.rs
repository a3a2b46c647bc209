//! Both directions against an independent implementation of the format, the crate `kafka-protocol`.

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    indexmap::IndexMap,
    protocol::StrBytes,
    records::{self as oracle, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions},
};
use kcopy_wire::records::{Batch, BatchBuilder, BatchOptions, Batches, Compression, ProducerStamp};
use proptest::{collection::vec, option, prelude::*};

use crate::support::{Owned, read};

/// The codecs that the oracle has without C.
const CODECS: [(Compression, oracle::Compression); 3] = [
    (Compression::None, oracle::Compression::None),
    (Compression::Gzip, oracle::Compression::Gzip),
    (Compression::Snappy, oracle::Compression::Snappy),
];

/// Header names are unique and UTF-8: the oracle knows no others.
fn record() -> impl Strategy<Value = Owned> {
    (
        0..1i64 << 42,
        option::of(vec(any::<u8>(), 0..40)),
        option::of(vec(any::<u8>(), 0..400)),
        proptest::collection::btree_map("[a-zé]{0,8}", option::of(vec(any::<u8>(), 0..20)), 0..4),
    )
        .prop_map(|(timestamp, key, value, headers)| Owned {
            offset: 0,
            timestamp,
            key,
            value,
            headers: headers.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
        })
}

fn to_oracle(record: &Owned, stamp: ProducerStamp, base_offset: i64) -> oracle::Record {
    let headers: IndexMap<_, _> = record
        .headers
        .iter()
        .map(|(name, value)| {
            let name = String::from_utf8(name.clone()).expect("names are UTF-8");
            (StrBytes::from_string(name), value.clone().map(Bytes::from))
        })
        .collect();
    oracle::Record {
        transactional: stamp.transactional,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 3,
        producer_id: stamp.id,
        producer_epoch: stamp.epoch,
        timestamp_type: oracle::TimestampType::Creation,
        offset: record.offset,
        sequence: stamp.base_sequence + (record.offset - base_offset) as i32,
        timestamp: record.timestamp,
        key: record.key.clone().map(Bytes::from),
        value: record.value.clone().map(Bytes::from),
        headers,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn the_oracle_reads_what_is_written(
        mut records in vec(record(), 1..30),
        codec in 0..CODECS.len(),
        base_offset in 0..1i64 << 50,
        transactional in any::<bool>(),
        sequence in 0..1000i32,
    ) {
        let (compression, _) = CODECS[codec];
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset,
            partition_leader_epoch: Some(3),
            ..BatchOptions::new(compression)
        });
        for (offset, record) in (base_offset..).zip(&mut records) {
            record.offset = offset;
            let headers = record.headers_buf();
            builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), headers.as_headers())?;
        }
        let stamp = ProducerStamp { id: 11, epoch: 2, base_sequence: sequence, transactional };
        let mut bytes = builder.finish(stamp)?;
        let sets = RecordBatchDecoder::decode_all(&mut bytes).expect("the oracle reads it");
        let read: Vec<_> = sets.into_iter().flat_map(|set| set.records).collect();
        let expected: Vec<_> = records.iter().map(|r| to_oracle(r, stamp, base_offset)).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn what_the_oracle_writes_is_read(
        mut records in vec(record(), 1..30),
        codec in 0..CODECS.len(),
        base_offset in 0..1i64 << 50,
        sequence in 0..1000i32,
    ) {
        let (compression, oracle_compression) = CODECS[codec];
        let stamp = ProducerStamp { id: 11, epoch: 2, base_sequence: sequence, transactional: true };
        for (offset, record) in (base_offset..).zip(&mut records) {
            record.offset = offset;
        }
        let theirs: Vec<_> = records.iter().map(|r| to_oracle(r, stamp, base_offset)).collect();
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: oracle_compression };
        RecordBatchEncoder::encode(&mut bytes, &theirs, &options).expect("the oracle writes it");
        let batches: Vec<Batch> = Batches::new(bytes.freeze()).collect::<Result<_, _>>()?;
        let mut back = Vec::new();
        for batch in &batches {
            batch.verify_crc()?;
            prop_assert_eq!(batch.attributes().compression()?, compression);
            prop_assert!(batch.attributes().is_transactional());
            prop_assert_eq!(batch.producer_id(), Some(11));
            prop_assert_eq!(batch.partition_leader_epoch(), 3);
            back.extend(read(batch)?);
        }
        prop_assert_eq!(back, records);
    }
}
