//! What is written comes back, with every codec.

use std::io::Write;

use kcopy_wire::records::{
    Batch, BatchBuilder, BatchOptions, Compression, Compressor, Decompressor, Headers, ProducerStamp,
};
use proptest::{collection::vec, option, prelude::*};

use crate::support::{LIMITS, Owned, batch_of, build, read};

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..max),
        // Something to compress.
        (any::<u8>(), 0..max).prop_map(|(byte, len)| vec![byte; len]),
        "[a-d ]{0,80}".prop_map(String::into_bytes),
    ]
}

fn record() -> impl Strategy<Value = Owned> {
    (
        prop_oneof![Just(-1), 0..i64::MAX, any::<i64>()],
        option::of(bytes(40)),
        option::of(bytes(400)),
        // The same names come again, and need not be UTF-8.
        vec((prop_oneof![Just(b"same".to_vec()), bytes(10)], option::of(bytes(30))), 0..4),
    )
        .prop_map(|(timestamp, key, value, headers)| Owned { offset: 0, timestamp, key, value, headers })
}

fn number(records: &mut [Owned], base_offset: i64) {
    for (offset, record) in (base_offset..).zip(records) {
        record.offset = offset;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn records_come_back_as_they_were(
        mut records in vec(record(), 1..60),
        codec in 0..5usize,
        level in option::of(-1..12),
        base_offset in prop_oneof![Just(0), 0..1i64 << 60],
        epoch in option::of(0..1000),
    ) {
        number(&mut records, base_offset);
        let compression = Compression::ALL[codec];
        let mut options = BatchOptions::new(compression);
        options.level = level;
        options.base_offset = base_offset;
        options.partition_leader_epoch = epoch;
        let batch = Batch::new(build(options, &records))?;
        batch.verify_crc()?;
        prop_assert_eq!(batch.attributes().compression()?, compression);
        prop_assert_eq!(batch.base_offset(), base_offset);
        prop_assert_eq!(batch.record_count() as usize, records.len());
        prop_assert_eq!(batch.last_offset(), records[records.len() - 1].offset);
        prop_assert_eq!(batch.next_offset(), batch.last_offset() + 1);
        prop_assert_eq!(batch.base_timestamp(), records[0].timestamp);
        prop_assert_eq!(batch.max_timestamp(), records.iter().map(|r| r.timestamp).max().unwrap().max(-1));
        prop_assert_eq!(batch.partition_leader_epoch(), epoch.unwrap_or(-1));
        prop_assert_eq!(batch.producer_id(), None);
        prop_assert_eq!(read(&batch)?, records);
    }

    #[test]
    fn the_estimate_is_never_too_small(records in vec(record(), 1..20)) {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for record in &records {
            let headers = record.headers_buf();
            let headers = headers.as_headers();
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            let before = builder.estimated_size();
            let with = builder.estimated_size_with(key, value, headers);
            builder.append(record.timestamp, key, value, headers)?;
            prop_assert!(builder.estimated_size() > before);
            prop_assert!(builder.estimated_size() <= with && with - builder.estimated_size() < 40);
        }
        let estimate = builder.estimated_size();
        prop_assert_eq!(builder.finish(ProducerStamp::NONE)?.len(), estimate);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn large_payloads_cross_every_block_boundary(
        len in prop_oneof![0..300_000usize, 32_700..32_800usize, 65_500..65_600usize, 131_000..131_100usize],
        seed in any::<u64>(),
        codec in 1..5usize,
        compressible in any::<bool>(),
    ) {
        let mut state = seed | 1;
        let value: Vec<u8> = (0..len)
            .map(|at| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if compressible { (at / 7 % 50) as u8 } else { (state >> 56) as u8 }
            })
            .collect();
        let records = [Owned::new(0, 5, None, Some(&value))];
        let batch = Batch::new(build(BatchOptions::new(Compression::ALL[codec]), &records))?;
        prop_assert_eq!(read(&batch)?, records);
    }
}

#[test]
fn working_memory_serves_batch_after_batch() {
    let mut compressor = Compressor::new();
    let mut decompressor = Decompressor::new();
    for round in 0..30usize {
        let compression = Compression::ALL[round % 5];
        let records: Vec<Owned> = (0..round * 40 + 1)
            .map(|n| {
                let text = format!("{round} {n} ").repeat(round % 7 * 50 + 1);
                Owned::new(n as i64, n as i64, None, Some(text.as_bytes()))
            })
            .collect();
        let mut options = BatchOptions::new(compression);
        options.level = (round % 2 == 0).then_some(3);
        let mut builder = BatchBuilder::with_buffer(options, compressor.take_buffer());
        for record in &records {
            builder
                .append(record.timestamp, None, record.value.as_deref(), Headers::EMPTY)
                .expect("the batch has room");
        }
        let bytes = builder.finish_with(ProducerStamp::NONE, &mut compressor).expect("the batch is small");
        let batch = Batch::new(bytes).expect("a batch");
        let open = batch.open_with(LIMITS, &mut decompressor).expect("opens");
        let back: Vec<Owned> = open.records().map(|r| r.expect("valid").into()).collect();
        assert_eq!(back, records, "round {round}, {compression}");
        decompressor.recycle(open);
    }
}

#[test]
fn zstd_streams_come_back_however_well_they_compress() {
    // Without the size in their header, as librdkafka and Java write them: the room for them is guessed.
    for count in [1, 10, 100, 333, 1000, 5000] {
        let records = (0..count).map(|n: i64| Owned::new(n, n, None, Some(&vec![b'x'; (n % 500) as usize])));
        let records = records.collect::<Vec<_>>();
        let plain = Batch::new(build(BatchOptions::new(Compression::None), &records)).expect("a batch");
        let plain = plain.open(LIMITS).expect("opens");
        for level in [1, 3] {
            let level = structured_zstd::encoding::CompressionLevel::from_level(level);
            let mut stream = structured_zstd::encoding::StreamingEncoder::new(Vec::new(), level);
            stream.write_all(plain.record_bytes()).expect("a Vec takes everything");
            let stream = stream.finish().expect("a Vec takes everything");
            let batch = Batch::new(batch_of(Compression::Zstd, count as i32, &stream)).expect("a batch");
            let opened = batch.open(LIMITS).unwrap_or_else(|error| panic!("{count} records: {error}"));
            assert!(opened.record_bytes() == plain.record_bytes(), "{count} records");
        }
    }
}
