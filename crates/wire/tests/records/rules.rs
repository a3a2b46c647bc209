//! What the records of the golden files are: the same rules as in `fixtures/records/RecordBatches.java`.

use kcopy_wire::records::Compression;

pub(crate) const BASE_OFFSET: i64 = 1000;
pub(crate) const BASE_TIMESTAMP: i64 = 1_700_000_000_000;
pub(crate) const COUNT: i64 = 120;

pub(crate) fn timestamp(n: i64) -> i64 {
    BASE_TIMESTAMP + n % 10 * 1000 - n
}

pub(crate) fn key(n: i64) -> Option<Vec<u8>> {
    (n % 3 != 0).then(|| format!("key-{}", n % 5).into_bytes())
}

pub(crate) fn value(compression: Compression, n: i64) -> Option<Vec<u8>> {
    if n % 7 == 3 {
        return None;
    }
    if n % 11 == 5 {
        return Some(Vec::new());
    }
    if n == 60 && compression != Compression::None {
        return Some((0..200_000).map(|at| (at / 7 % 50 * 5) as u8).collect());
    }
    Some(format!("value {n} {}", "na ".repeat((n % 13) as usize)).into_bytes())
}

pub(crate) fn headers(n: i64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    (0..n % 4)
        .map(|at| (format!("hé{}", at / 2).into_bytes(), (at != 1).then(|| format!("x{n}").into_bytes())))
        .collect()
}
