//! Partitioners: which partition a record goes to, as other clients decide it.
//!
//! Records with equal keys have to meet in one partition whichever client wrote them, so the hashes
//! are those of Java ([`murmur2`]), librdkafka ([`crc32`]) and Sarama ([`fnv1a`]). For records
//! without a key the machine only says *sticky* or *random*; [`Spread`] makes that choice from a
//! seed that the caller gives.

use std::{fmt, str::FromStr};

/// How the partition of a record is chosen, by librdkafka's names (`partitioner` there).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Partitioner {
    /// CRC-32 of the key; a record without a key hashes like an empty one.
    Consistent,
    /// CRC-32 of the key; empty and missing keys are spread. librdkafka's and kcat's default.
    #[default]
    ConsistentRandom,
    /// Java's hash of the key; a record without a key hashes like an empty one.
    Murmur2,
    /// Java's hash of the key; records without a key are spread. Java's default.
    Murmur2Random,
    /// Sarama's hash of the key; a record without a key hashes like an empty one.
    Fnv1a,
    /// Sarama's hash of the key; records without a key are spread.
    Fnv1aRandom,
    /// A random partition for each record that has a key, a sticky one for those that have none.
    Random,
    /// Keys are ignored; every record goes where the current batch is (KIP-794 with
    /// `partitioner.ignore.keys`).
    Sticky,
}

/// What a [`Partitioner`] says of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This partition.
    Partition(i32),
    /// The partition that batches without keys are being gathered for.
    Sticky,
    /// Any partition, chosen anew for each record.
    Random,
}

const NAMES: [(Partitioner, &str); 8] = [
    (Partitioner::Consistent, "consistent"),
    (Partitioner::ConsistentRandom, "consistent_random"),
    (Partitioner::Murmur2, "murmur2"),
    (Partitioner::Murmur2Random, "murmur2_random"),
    (Partitioner::Fnv1a, "fnv1a"),
    (Partitioner::Fnv1aRandom, "fnv1a_random"),
    (Partitioner::Random, "random"),
    (Partitioner::Sticky, "sticky"),
];

impl Partitioner {
    /// Every partitioner, in the order of its documentation.
    pub fn all() -> impl Iterator<Item = Partitioner> {
        NAMES.into_iter().map(|(partitioner, _)| partitioner)
    }

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(p, _)| *p == self).map_or("", |(_, name)| name)
    }

    /// The choice for a record with this key in a topic of `partition_count` partitions.
    ///
    /// A count of zero is treated as one.
    #[inline]
    pub fn choose(self, key: Option<&[u8]>, partition_count: u32) -> Choice {
        use Partitioner::{ConsistentRandom, Fnv1aRandom, Murmur2Random, Random, Sticky};
        match (self, key) {
            (Sticky, _) | (Random | ConsistentRandom | Murmur2Random | Fnv1aRandom, None) => Choice::Sticky,
            (Random, Some(_)) => Choice::Random,
            (ConsistentRandom, Some([])) => Choice::Sticky,
            (_, key) => self.by_hash(key.unwrap_or_default(), partition_count),
        }
    }

    /// Out of line: records without a key, which are the most, shall not pay for what hashing sets up.
    #[inline(never)]
    fn by_hash(self, key: &[u8], partition_count: u32) -> Choice {
        let hash = match self {
            Partitioner::Murmur2 | Partitioner::Murmur2Random => murmur2(key) & 0x7fff_ffff,
            Partitioner::Fnv1a | Partitioner::Fnv1aRandom => fnv1a(key),
            _ => crc32(key),
        };
        Choice::Partition((hash % partition_count.max(1)) as i32)
    }
}

impl fmt::Display for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no partitioner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPartitioner(String);

impl fmt::Display for UnknownPartitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown partitioner {:?}: one of ", self.0)?;
        for (position, (_, name)) in NAMES.iter().enumerate() {
            write!(f, "{}{name}", if position == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownPartitioner {}

impl FromStr for Partitioner {
    type Err = UnknownPartitioner;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(partitioner, _)| *partitioner)
            .ok_or_else(|| UnknownPartitioner(name.to_owned()))
    }
}

/// Chooses partitions for records that no key places.
///
/// A sticky partition is kept until [`Spread::advance`] (when its batch is sealed) and then the next
/// one follows, so full batches go round all partitions evenly from a random start. Java draws each
/// next one at random instead (KIP-794), which is no better and leaves partitions uneven on short
/// runs.
#[derive(Debug, Clone)]
pub struct Spread {
    state: u64,
    sticky: Option<u32>,
}

impl Spread {
    /// A spread whose choices all follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Spread { state: seed, sticky: None }
    }

    /// The current sticky position below `count`; `count` of zero is treated as one.
    #[inline]
    pub fn sticky(&mut self, count: u32) -> u32 {
        match self.sticky {
            Some(position) if position < count => position,
            _ => {
                let position = self.random(count);
                self.sticky = Some(position);
                position
            }
        }
    }

    /// Leaves the current sticky position for the next one below `count`.
    pub fn advance(&mut self, count: u32) {
        if let Some(position) = self.sticky {
            self.sticky = Some(if position.saturating_add(1) < count { position + 1 } else { 0 });
        }
    }

    /// A random position below `count`; `count` of zero is treated as one.
    #[inline]
    pub fn random(&mut self, count: u32) -> u32 {
        // SplitMix64: one multiplication chain, passes BigCrush, and any seed will do.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * u128::from(count.max(1))) >> 64) as u32
    }
}

/// The 32-bit MurmurHash2 of Java's clients, with their seed.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    // Java's lengths are 32 bits wide; no key comes near that.
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !tail.is_empty() {
        for (position, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * position);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The 32-bit FNV-1a of Sarama's default partitioner: the absolute value of the signed hash.
pub fn fnv1a(data: &[u8]) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in data {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    (hash as i32).unsigned_abs()
}

/// The CRC-32 of zlib and Ethernet, which librdkafka takes of keys (record batches use CRC-32C).
pub fn crc32(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    let (words, tail) = data.as_chunks::<8>();
    for word in words {
        let low = u32::from_le_bytes([word[0], word[1], word[2], word[3]]) ^ crc;
        crc = CRC32_TABLES[7][(low & 0xff) as usize]
            ^ CRC32_TABLES[6][(low >> 8 & 0xff) as usize]
            ^ CRC32_TABLES[5][(low >> 16 & 0xff) as usize]
            ^ CRC32_TABLES[4][(low >> 24) as usize]
            ^ CRC32_TABLES[3][usize::from(word[4])]
            ^ CRC32_TABLES[2][usize::from(word[5])]
            ^ CRC32_TABLES[1][usize::from(word[6])]
            ^ CRC32_TABLES[0][usize::from(word[7])];
    }
    for byte in tail {
        crc = crc >> 8 ^ CRC32_TABLES[0][((crc ^ u32::from(*byte)) & 0xff) as usize];
    }
    !crc
}

static CRC32_TABLES: [[u32; 256]; 8] = crc32_tables();

const fn crc32_tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let previous = tables[table - 1][byte];
            tables[table][byte] = previous >> 8 ^ tables[0][(previous & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of Apache Kafka's own test of its hash.
    #[test]
    fn murmur2_is_that_of_java() {
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, expected, "{key}");
        }
    }

    /// Vectors of librdkafka's test of its partitioners (test 0048) and of its FNV-1a.
    #[test]
    fn partitions_are_those_of_librdkafka() {
        let keys = [
            None,
            Some(""),
            Some("23456"),
            Some("this is another string with more length to it perhaps"),
            Some("hejsan"),
        ];
        let crc = [0u32, 0, 0xb1b4_51d7, 0xb015_0df7, 0xd077_037e];
        let murmur = [0x106e_08d9u32, 0x106e_08d9, 0x058d_780f, 0x4f77_03da, 0x5ec1_9395];
        let fnv = [0x7ee3_623bu32, 0x7ee3_623b, 0x27e6_f469, 0x155e_3e5f, 0x17b1_e27a];
        for (partitioner, hashes, spread) in [
            (Partitioner::Consistent, crc, 0),
            (Partitioner::ConsistentRandom, crc, 2),
            (Partitioner::Murmur2, murmur, 0),
            (Partitioner::Murmur2Random, murmur, 1),
            (Partitioner::Fnv1a, fnv, 0),
            (Partitioner::Fnv1aRandom, fnv, 1),
        ] {
            for count in [1, 7, 17, 1000] {
                for (position, key) in keys.iter().enumerate() {
                    let expected = if position < spread {
                        Choice::Sticky
                    } else {
                        Choice::Partition((hashes[position] % count) as i32)
                    };
                    let choice = partitioner.choose(key.map(str::as_bytes), count);
                    assert_eq!(choice, expected, "{partitioner} of {key:?} in {count}");
                }
            }
        }
        for (key, hash) in [("kafka", 0x0d33_c4e1), ("giberish123456789", 0x77a5_8295), ("1234", 0x023b_dd03)]
        {
            assert_eq!(fnv1a(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn crc32_agrees_with_its_definition_at_every_length() {
        let data: Vec<u8> = (0..67u32).map(|i| (i * 37 + 11) as u8).collect();
        for length in 0..data.len() {
            let mut crc = !0u32;
            for byte in &data[..length] {
                crc ^= u32::from(*byte);
                for _ in 0..8 {
                    crc = crc >> 1 ^ (0xedb8_8320 * (crc & 1));
                }
            }
            assert_eq!(crc32(&data[..length]), !crc, "{length} bytes");
        }
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn random_ignores_keys_and_gathers_records_without_one() {
        assert_eq!(Partitioner::Random.choose(Some(b"k"), 3), Choice::Random);
        assert_eq!(Partitioner::Random.choose(None, 3), Choice::Sticky);
        assert_eq!(Partitioner::Sticky.choose(Some(b"k"), 3), Choice::Sticky);
    }

    #[test]
    fn a_topic_without_partitions_does_not_divide_by_zero() {
        for partitioner in Partitioner::all() {
            let choice = partitioner.choose(Some(b"key"), 0);
            assert!(!matches!(choice, Choice::Partition(p) if p != 0), "{partitioner}");
        }
        assert_eq!(Spread::new(1).sticky(0), 0);
    }

    #[test]
    fn names_are_read_back_and_an_unknown_one_lists_them() {
        for partitioner in Partitioner::all() {
            assert_eq!(partitioner.name().parse(), Ok(partitioner));
        }
        let error = "murmur3".parse::<Partitioner>().unwrap_err().to_string();
        assert!(error.starts_with("unknown partitioner \"murmur3\": one of consistent, "), "{error}");
    }

    #[test]
    fn sticky_batches_go_round_all_partitions() {
        let mut spread = Spread::new(7);
        let mut seen = [0; 5];
        for _ in 0..50 {
            let partition = spread.sticky(5);
            assert_eq!(spread.sticky(5), partition);
            seen[partition as usize] += 1;
            spread.advance(5);
        }
        assert_eq!(seen, [10; 5]);
    }

    #[test]
    fn random_positions_reach_every_partition() {
        let mut spread = Spread::new(42);
        let mut seen = [0; 8];
        for _ in 0..8_000 {
            seen[spread.random(8) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
    }
}
