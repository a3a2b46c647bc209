//! Bytes of a hostile or broken peer: every decoder refuses them in little time and little memory.
//!
//! `KCOPY_SEED` repeats a run, `KCOPY_MUTATIONS` sets its length.
#![allow(clippy::print_stdout, reason = "cargo takes it")]

mod support;

use std::{
    collections::BTreeMap,
    env,
    fmt::Write,
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use kcopy_wire::{
    DecodeError, Message, Reader,
    codec::{DecodeErrorKind, Writer},
    frame,
    messages::{ListGroupsResponse, list_groups_response::ListedGroup},
};
use support::{
    Codec,
    allocation::{Counting, peak_of},
    codecs, golden,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a frame that is no message may take beyond twice its bytes: the error, which names the field.
const OF_AN_ERROR: usize = 1 << 10;

/// What a message may take beyond twice its bytes: its elements are larger in memory than on the wire (an empty
/// string is one byte there and 32 here), and those of the golden frames, of 5 KB at most, come to less than
/// half of this.
const OF_A_MESSAGE: usize = 32 << 10;

/// The same for a message of nothing but the smallest elements, in bytes of memory for each byte of the frame.
/// The reader ends at 16 for each byte and 1 MiB; an unknown tag of two bytes takes 40, and while their list
/// grows the old one stands beside the new one.
const OF_A_DENSE_MESSAGE: usize = 64;

/// The CPU time that one frame may take, in the unoptimised build of the tests too.
const TIME_LIMIT: Duration = Duration::from_millis(100);

/// One version of a codec and the golden frames of it.
struct Target {
    codec: Codec,
    version: i16,
    frames: Vec<Bytes>,
}

fn targets() -> Vec<Target> {
    let mut frames: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in golden() {
        frames.entry((line.name, line.version)).or_default().push(line.bytes);
    }
    codecs()
        .into_iter()
        .flat_map(|codec| codec.versions.clone().map(move |version| (codec.clone(), version)))
        .map(|(codec, version)| {
            let frames = frames.remove(&(codec.name.to_string(), version)).expect("golden frames");
            Target { codec, version, frames }
        })
        .collect()
}

impl Target {
    /// Decodes a frame under all limits.
    fn decode(&self, frame: &Bytes, allowance: usize) -> Result<(), DecodeError> {
        let started = Instant::now();
        let (peak, result) =
            catch_unwind(AssertUnwindSafe(|| peak_of(|| (self.codec.decode)(frame.clone(), self.version))))
                .unwrap_or_else(|_| panic!("a panic (see above): {}", self.describe(frame)));
        let limit = 2 * frame.len() + if result.is_ok() { allowance } else { OF_AN_ERROR };
        assert!(peak <= limit, "{peak} bytes allocated, {limit} allowed: {}", self.describe(frame));
        if started.elapsed() > TIME_LIMIT {
            self.assert_within_cpu_limit(frame);
        }
        result
    }

    /// The time was the machine's, which runs other things too, and not the frame's.
    fn assert_within_cpu_limit(&self, frame: &Bytes) {
        let started = cpu_time();
        let _ = (self.codec.decode)(frame.clone(), self.version);
        let taken = cpu_time() - started;
        assert!(taken < TIME_LIMIT, "{taken:?} of CPU: {}", self.describe(frame));
    }

    fn describe(&self, frame: &Bytes) -> String {
        let mut out = format!("{} v{}, {} bytes: ", self.codec.name, self.version, frame.len());
        for byte in frame.iter().take(4096) {
            let _ = write!(out, "{byte:02x}");
        }
        out
    }
}

#[test]
fn a_frame_cut_at_any_byte_is_an_error() {
    let mut count = 0;
    for target in targets() {
        for frame in &target.frames {
            for end in 0..frame.len() {
                let cut = frame.slice(..end);
                let error =
                    target.decode(&cut, OF_A_MESSAGE).expect_err("a message in part of its own bytes");
                assert!(error.position() <= end, "{error}");
                assert_eq!((error.message(), error.version()), (target.codec.name, target.version));
                count += 1;
            }
        }
    }
    println!("{count} cut frames");
}

#[test]
fn a_byte_behind_the_message_is_an_error() {
    for target in targets() {
        for frame in &target.frames {
            let longer = Bytes::from([&frame[..], &[0]].concat());
            let error = target.decode(&longer, OF_A_MESSAGE).expect_err("a byte too many");
            assert!(error.to_string().ends_with("1 bytes follow the message"), "{error}");
        }
    }
}

#[test]
fn huge_counts_at_any_place_allocate_nothing_to_speak_of() {
    const COUNTS: [&[u8]; 3] = [&[0x7f, 0xff, 0xff, 0xff], &[0xff, 0xff, 0xff, 0xff, 0x07], &[0x7f, 0xff]];
    let mut count = 0;
    for target in targets() {
        // The fullest one has all fields.
        let frame = target.frames.iter().max_by_key(|frame| frame.len()).expect("golden frames");
        for at in 0..frame.len() {
            for patch in COUNTS {
                let mut bytes = frame.to_vec();
                bytes.splice(at..(at + patch.len()).min(frame.len()), patch.iter().copied());
                let _ = target.decode(&bytes.into(), OF_A_MESSAGE);
                count += 1;
            }
        }
    }
    println!("{count} frames with huge counts");
}

#[test]
fn counts_that_a_large_frame_could_hold_are_bounded_too() {
    let seed = seed();
    let mut random = Random(seed);
    let targets = targets();
    for _ in 0..2000 {
        let target = random.choice(&targets);
        let frame = random.choice(&target.frames);
        let at = random.below(frame.len() + 1);
        let padding = 1 << (10 + random.below(7));
        let mut bytes = frame[..at].to_vec();
        if random.below(2) == 0 {
            bytes.extend((padding as u32 / 4).to_be_bytes());
        } else {
            // A varint of 2^14 - 1 and more, as the padding has it.
            bytes.extend([0xff, 0xff, *random.choice(&[0x00, 0x01, 0x0f])]);
        }
        bytes.resize(bytes.len() + padding, *random.choice(&[0x00, 0x01, 0x02, 0x7f, 0xff]));
        let frame = Bytes::from(bytes);
        let _ = target.decode(&frame, OF_A_DENSE_MESSAGE * frame.len() + OF_A_MESSAGE);
    }
}

#[test]
fn more_elements_than_a_message_may_have_are_refused_before_they_are_read() {
    // Groups of four bytes, each of which would take 150.
    for count in [20_000u32, 60_000, 600_000] {
        let mut bytes = BytesMut::from(&b"\0\0"[..]);
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.resize(bytes.len() + 4 * count as usize, 0);
        let mut reader = Reader::new(bytes.freeze());
        let (peak, error) = peak_of(|| ListGroupsResponse::decode(&mut reader, 0).expect_err("too many"));
        assert_eq!(error.kind(), DecodeErrorKind::TooLarge, "{error}");
        assert_eq!(error.field(), "groups");
        assert!(peak < 1024, "{peak} bytes allocated");
    }
}

#[test]
fn a_large_message_that_ends_too_early_stores_nothing_of_what_came_before() {
    let group =
        || ListedGroup { group_id: "a group with a name of some length".into(), ..Default::default() };
    let message = ListGroupsResponse { groups: vec![group(); 50_000], ..Default::default() };
    let mut w = Writer::new();
    message.encode(3, &mut w).expect("a message");
    let frame = Bytes::from(w.into_pieces().concat());
    let decode = |frame: Bytes| peak_of(|| ListGroupsResponse::decode(&mut Reader::new(frame), 3));

    let (peak, whole) = decode(frame.clone());
    assert_eq!(whole.as_ref(), Ok(&message));
    assert!(peak >= 50_000 * size_of::<ListedGroup>(), "{peak} bytes allocated");

    let (peak, cut) = decode(frame.slice(..frame.len() - 1));
    assert_eq!(cut.expect_err("a byte is missing").field(), "");
    assert!(peak <= OF_AN_ERROR, "{peak} bytes allocated");
}

#[test]
fn random_mutations_neither_panic_nor_stall_nor_exhaust() {
    let seed = seed();
    let mutations: usize = number("KCOPY_MUTATIONS").map_or(1_000_000, |count| count as usize);
    let targets = targets();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    let share = mutations.div_ceil(threads);
    let accepted: usize = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let targets = &targets;
                scope.spawn(move || mutate_all(targets, Random(seed ^ (worker as u64) << 56), share, worker))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker that found nothing")).sum()
    });
    println!("{} mutations of {} decoders, {accepted} accepted", share * threads, targets.len());
    assert!(accepted > 0, "mutations that are all refused prove little");
}

/// Mutates frames of one target after the other; counts those that are messages still.
fn mutate_all(targets: &[Target], mut random: Random, count: usize, first: usize) -> usize {
    let mut accepted = 0;
    for index in 0..count {
        let target = &targets[(index + first) % targets.len()];
        let mut bytes = random.choice(&target.frames).to_vec();
        for _ in 0..1 + random.below(4) {
            mutate(&mut bytes, &mut random, target);
        }
        let frame = Bytes::from(bytes);
        if target.decode(&frame, OF_A_MESSAGE).is_ok() {
            accepted += 1;
            target.assert_stable(frame);
        }
    }
    accepted
}

impl Target {
    /// What was read can be written, and is then always the same.
    fn assert_stable(&self, frame: Bytes) {
        let write = |bytes: Bytes| -> Result<Bytes, String> {
            let seen = (self.codec.round_trip)(bytes, self.version).map_err(|why| why.to_string())?;
            seen.bytes.map_err(|why| why.to_string())
        };
        let once = write(frame.clone()).unwrap_or_else(|why| panic!("{why}: {}", self.describe(&frame)));
        let twice = write(once.clone());
        assert_eq!(twice.as_ref(), Ok(&once), "{}", self.describe(&frame));
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random, target: &Target) {
    let at = random.below(bytes.len() + 1);
    let size = random.below(9);
    let end = (at + size).min(bytes.len());
    match random.below(8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = *random.choice(&[0x00, 0x01, 0x7f, 0x80, 0xff]),
        2 => {
            let count = *random.choice(&[i32::MAX, i32::MIN, -1, -2, 0xffff, 0x0100_0000]);
            let end = (at + 4).min(bytes.len());
            bytes.splice(at..end, count.to_be_bytes());
        }
        3 => {
            let varints: [&[u8]; 4] = [
                &[0xff, 0xff, 0xff, 0xff, 0x0f],
                &[0xff, 0xff, 0xff, 0xff, 0xff],
                &[0x80, 0x80, 0x80, 0x80, 0x08],
                &[0xff, 0x7f],
            ];
            let varint = random.choice(&varints);
            bytes.splice(at..(at + 1).min(bytes.len()), varint.iter().copied());
        }
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(at..end)),
        6 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        _ => {
            let other = random.choice(&target.frames);
            let from = random.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

#[test]
fn a_length_of_two_gigabytes_is_refused_before_anything_is_read() {
    let mut buffer = BytesMut::from(&b"\x7f\xff\xff\xff"[..]);
    let (peak, error) =
        peak_of(|| frame::split(&mut buffer, 100 << 20).expect_err("a length above the limit"));
    assert_eq!(error.to_string(), "a frame of 2147483647 bytes is above the limit of 104857600");
    assert_eq!(peak, 0);
}

/// The processor time of this thread, where Linux tells it; else what the clock says.
fn cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    match text.split(' ').next().and_then(|nanos| nanos.parse().ok()) {
        Some(nanos) => Duration::from_nanos(nanos),
        None => SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970"),
    }
}

fn seed() -> u64 {
    let seed = number("KCOPY_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    println!("KCOPY_SEED={seed}");
    seed
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|why| panic!("{name}={text}: {why}")))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ bits >> 31) % end as u64) as usize
    }

    fn choice<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
