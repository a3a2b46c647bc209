use bytes::BytesMut;
use kcopy_wire::records::{BatchBuilder, BatchOptions, Batches, Headers, ProducerStamp};

use super::{batch::HEADER_LEN, *};

fn batch(timestamp: i64, records: usize, value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for _ in 0..records {
        builder.append(timestamp, None, Some(value), Headers::EMPTY).expect("a small record");
    }
    builder.finish(ProducerStamp::NONE).expect("a small batch")
}

fn log() -> Log {
    let mut log = Log::new();
    log.begin_epoch(0);
    log
}

fn bytes_of(slices: &Slices) -> Bytes {
    let mut bytes = BytesMut::new();
    for part in &slices.parts {
        bytes.extend_from_slice(part);
    }
    bytes.freeze()
}

/// The base offsets of the batches that a read gives.
fn base_offsets(slices: &Slices) -> Vec<i64> {
    Batches::new(bytes_of(slices))
        .map(|batch| {
            let batch = batch.expect("whole batches only");
            batch.verify_crc().expect("offset and epoch are not covered");
            batch.base_offset()
        })
        .collect()
}

/// A small random number generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

#[test]
fn reads_agree_with_a_plain_list_of_batches() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let mut log = log();
        let mut model: Vec<(i64, i64, usize)> = Vec::new();
        for _ in 0..300 {
            if random.below(20) == 0 {
                let offset = random.below(log.log_end_offset() as u64 + 2) as i64;
                model.retain(|(_, next_offset, _)| *next_offset <= offset);
                let end = model.last().map_or(0, |(_, next_offset, _)| *next_offset);
                assert_eq!(log.truncate(offset), end, "seed {seed}");
                continue;
            }
            if random.below(3) > 0 {
                let records = 1 + random.below(5) as usize;
                let size = if random.below(10) == 0 { 20_000 } else { random.below(2_000) as usize };
                let batch = batch(1, records, &vec![b'x'; size]);
                let base_offset = log.log_end_offset();
                assert_eq!(log.append(&batch, 0), Some(base_offset));
                model.push((base_offset, base_offset + records as i64, batch.len()));
                continue;
            }
            let end = log.log_end_offset();
            let from = random.below(end as u64 + 1) as i64;
            let max_bytes = random.below(100_000) as usize;
            let at_least_one = random.below(2) == 0;
            let slices = log.read(from, end, max_bytes, at_least_one).expect("an offset of the log");
            let mut expected = Vec::new();
            let mut taken = 0;
            for (base, _, len) in model.iter().filter(|(_, next, _)| *next > from) {
                if taken + len > max_bytes && !(at_least_one && taken == 0) {
                    break;
                }
                taken += len;
                expected.push(*base);
            }
            assert_eq!(base_offsets(&slices), expected, "seed {seed}, from {from}, {max_bytes} bytes");
        }
    }
}

#[test]
fn offsets_beyond_either_end_are_out_of_range() {
    let mut log = log();
    log.append(&batch(1, 10, b"v"), 0);
    log.delete_records_before(4);
    for (offset, fine) in [(3, false), (4, true), (10, true), (11, false)] {
        assert_eq!(log.read(offset, 10, 1000, true).is_ok(), fine, "{offset}");
    }
}

#[test]
fn nothing_above_the_given_end_is_read() {
    let mut log = log();
    for size in [10, 20_000, 10, 20_000] {
        log.append(&batch(1, 2, &vec![0; size]), 0);
    }
    for (end, batches) in [(0, 0), (2, 1), (4, 2), (6, 3), (8, 4)] {
        let slices = log.read(0, end, usize::MAX, true).expect("offset 0 is there");
        assert_eq!(base_offsets(&slices).len(), batches, "{end}");
    }
}

#[test]
fn records_take_little_more_than_their_bytes() {
    // Batches of one record of 100 bytes each, with a reader that always waits for the newest.
    let mut log = log();
    let one = batch(1, 1, &[b'x'; 100]);
    for _ in 0..10_000 {
        log.append(&one, 0);
        let end = log.log_end_offset();
        log.read(end - 1, end, 1000, true).expect("the newest");
    }
    let segments = log.segments.len() * size_of::<Segment>();
    let stored: usize = log.segments.iter().map(Segment::len).sum::<usize>();
    let chunks_are_exact = log.segments.iter().all(|segment| match &segment.data {
        Data::Chunk(bytes) => bytes.len() <= 64 * 1024,
        Data::Large { .. } => false,
    });
    assert!(chunks_are_exact);
    assert_eq!(stored + log.tail.len(), 10_000 * one.len());
    assert!(segments * 100 < stored, "{segments} bytes of index for {stored}");
}

#[test]
fn deleted_batches_are_freed_and_counted() {
    let mut log = log();
    let large = batch(1, 1, &[0; 20_000]);
    let small = batch(1, 1, b"v");
    for _ in 0..10 {
        log.append(&large, 0);
        log.append(&small, 0);
    }
    let all = log.size();
    assert_eq!(all, 10 * (large.len() + small.len()) as u64);
    assert_eq!(log.delete_records_before(11), 11);
    // The small batch of offset 11 follows; the segments before it are gone.
    assert_eq!(log.size(), all - (5 * (large.len() + small.len()) + large.len()) as u64);
    assert_eq!(log.delete_records_before(20), 20);
    assert_eq!(log.size(), 0);
    log.append(&small, 0);
    assert_eq!((log.size(), log.log_end_offset()), (small.len() as u64, 21));
}

#[test]
fn times_are_found_though_they_go_back_and_forth() {
    let mut log = log();
    for timestamp in [5, 3, 9, 1, 9, 20, 2] {
        log.append(&batch(timestamp, 1, &[0; 10]), 0);
        log.append(&batch(0, 1, &[0; 20_000]), 0);
    }
    for (timestamp, base_offset) in
        [(0, Some(0)), (4, Some(0)), (6, Some(4)), (9, Some(4)), (10, Some(10)), (21, None)]
    {
        let found = log.candidates_for_timestamp(timestamp);
        assert_eq!(found.first().map(|batch| batch.bounds.base_offset), base_offset, "{timestamp}");
    }
    let max = log.batch_of_max_timestamp(14).expect("there are records");
    assert_eq!((max.bounds.base_offset, max.bounds.max_timestamp), (10, 20));
}

#[test]
fn epochs_end_where_the_next_begins() {
    let mut log = log();
    log.append(&batch(1, 3, b"v"), 0);
    log.begin_epoch(2);
    log.begin_epoch(5);
    log.append(&batch(1, 3, b"v"), 5);
    assert_eq!(log.end_of_epoch(0, 5), Some((0, 3)));
    assert_eq!(log.end_of_epoch(3, 5), Some((0, 3)));
    assert_eq!(log.end_of_epoch(5, 5), Some((5, 6)));
    assert_eq!(log.end_of_epoch(6, 5), None);
    assert_eq!((log.epoch_of(2), log.epoch_of(3)), (Some(0), Some(5)));
}

#[test]
fn a_cut_batch_is_not_taken_for_one() {
    let whole = batch(1, 1, b"value");
    for len in 0..whole.len() {
        assert_eq!(BatchBounds::read(&whole[..len]), None, "{len}");
    }
    assert!(whole.len() > HEADER_LEN);
}
