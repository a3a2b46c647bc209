//! Values that several options take: positions, partitions, sizes, durations, delimiters.

use std::time::Duration;

use kcopy_format::types::milliseconds_since_1970;

use super::{PartitionStart, Start};
use crate::properties::OffsetReset;

/// Partitions as `0,3-5`: sorted, without duplicates.
///
/// # Errors
/// A part is neither a number nor a rising range.
pub fn parse_partitions(text: &str) -> Result<Vec<i32>, String> {
    /// More than any topic has; a typing error must not allocate gigabytes.
    const LIMIT: usize = 1_000_000;
    let wrong = || format!("\"{text}\" is no list of partitions (expected for example 0,3-5)");
    let number = |part: &str| match part.trim().parse::<i32>() {
        Ok(partition) if partition >= 0 => Ok(partition),
        _ => Err(wrong()),
    };
    let mut partitions = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last || (last - first) as usize >= LIMIT {
                    return Err(wrong());
                }
                partitions.extend(first..=last);
            }
            None => partitions.push(number(part)?),
        }
        if partitions.len() > LIMIT {
            return Err(wrong());
        }
    }
    partitions.sort_unstable();
    partitions.dedup();
    Ok(partitions)
}

/// Exact starts as `P:OFFSET[:EPOCH[:TOPIC_ID]],..`, sorted by partition. An empty epoch is none.
///
/// # Errors
/// An item is no such start, or a partition is named twice.
pub fn parse_starts(text: &str) -> Result<Vec<PartitionStart>, String> {
    let mut starts = Vec::new();
    for item in text.split(',').filter(|_| !text.is_empty()) {
        let wrong = || format!("\"{item}\" is no start (expected PARTITION:OFFSET[:EPOCH[:TOPIC_ID]])");
        let mut parts = item.split(':');
        let number =
            |part: Option<&str>| part.and_then(|part| part.parse::<i64>().ok()).filter(|it| *it >= 0);
        let small = |number: i64| i32::try_from(number).ok();
        let partition = number(parts.next()).and_then(small).ok_or_else(wrong)?;
        let offset = number(parts.next()).ok_or_else(wrong)?;
        let leader_epoch = match parts.next() {
            None | Some("") => None,
            epoch => Some(number(epoch).and_then(small).ok_or_else(wrong)?),
        };
        let topic_id = parts.next().filter(|id| !id.is_empty()).map(str::to_owned);
        if parts.next().is_some() {
            return Err(wrong());
        }
        starts.push(PartitionStart { partition, offset, leader_epoch, topic_id });
    }
    starts.sort_by_key(|start| start.partition);
    match starts.windows(2).find(|pair| pair[0].partition == pair[1].partition) {
        Some(pair) => Err(format!("partition {} has two starts", pair[0].partition)),
        None => Ok(starts),
    }
}

/// A position: `beginning`, `end`, `committed`, an offset, `-N` (N before the end), or a time (RFC 3339, `@ms`,
/// or `-1h`, counted back from `now_ms`).
///
/// # Errors
/// It is none of these.
pub fn parse_position(text: &str, now_ms: i64) -> Result<Start, String> {
    let wrong = || {
        format!(
            "\"{text}\" is no position (expected beginning, end, committed, an offset, -N, @MILLISECONDS, -1h, or a time as 2026-01-31T12:00:00Z)"
        )
    };
    match text {
        "beginning" => return Ok(Start::Beginning),
        "end" => return Ok(Start::End),
        "committed" | "stored" => return Ok(Start::Committed { otherwise: OffsetReset::Beginning }),
        _ => {}
    }
    if let Some(timestamp) = text.strip_prefix('@') {
        return timestamp.parse().ok().filter(|it| *it >= 0).map(Start::Timestamp).ok_or_else(wrong);
    }
    if let Some(back) = text.strip_prefix('-') {
        if !back.is_empty() && back.bytes().all(|byte| byte.is_ascii_digit()) {
            return back.parse().map(Start::BeforeEnd).map_err(|_| wrong());
        }
        let back = parse_duration(back).map_err(|_| wrong())?;
        let back = i64::try_from(back.as_millis()).map_err(|_| wrong())?;
        return Ok(Start::Timestamp(now_ms.saturating_sub(back).max(0)));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Start::Offset).map_err(|_| wrong());
    }
    // A zone is needed: nobody's local time is right for all.
    milliseconds_since_1970(text).filter(|it| *it >= 0).map(Start::Timestamp).ok_or_else(wrong)
}

/// A duration: `500ms`, `30s`, `5m`, `1h`, `2d`, or several (`1h30m`). A bare number is refused: it has no unit.
///
/// # Errors
/// It is none of these.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no duration (expected for example 500ms, 30s, 5m, 1h30m or 2d)");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// A size in bytes: `1048576`, `64KiB`, `64MiB`, `1GiB`, and `kB`, `MB`, `GB` for powers of 1,000.
///
/// # Errors
/// It is none of these, or too large to count.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no size (expected for example 65536, 64KiB, 64MiB or 1GB)");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "tib" | "t" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

/// `KEY=VALUE`; the value may be empty and may hold further `=`.
///
/// # Errors
/// There is no `=`, or nothing before it.
pub fn parse_key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(format!("\"{text}\" is no KEY=VALUE")),
    }
}

/// A delimiter with kcat's escapes `\n`, `\r`, `\t` and `\xNN` (one or two hex digits), and `\0`; all else is itself.
///
/// # Errors
/// No hex digit follows `\x`.
pub fn parse_delimiter(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let escape = if first == b'\\' { tail.first().copied() } else { None };
        match escape {
            Some(b'n' | b'r' | b't' | b'0') => {
                bytes.push(match escape {
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b't') => b'\t',
                    _ => 0,
                });
                rest = &tail[1..];
            }
            Some(b'x') => {
                let digits = tail[1..].iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
                let hex = std::str::from_utf8(&tail[1..1 + digits]).unwrap_or_default();
                let byte = u8::from_str_radix(hex, 16)
                    .map_err(|_| format!("Delimiter {} expects hex number", String::from_utf8_lossy(rest)))?;
                bytes.push(byte);
                rest = &tail[1 + digits..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    Ok(bytes)
}

/// The one of `names` that is nearest to `name`, if it is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 4);
    names
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, dropped, changed or swapped with their neighbour to get from one to the other.
pub(crate) fn edit_distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for (index, row) in rows.iter_mut().enumerate() {
        row[0] = index;
    }
    for (index, cell) in rows[0].iter_mut().enumerate() {
        *cell = index;
    }
    for i in 1..=from.len() {
        for j in 1..=to.len() {
            let change = usize::from(from[i - 1] != to[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn partitions() {
        for (text, expected) in [("0", vec![0]), ("0,3-5", vec![0, 3, 4, 5]), ("5,1-2,2", vec![1, 2, 5])] {
            assert_eq!(parse_partitions(text).unwrap(), expected);
        }
        for text in ["", "a", "-1", "1-", "5-3", "1,,2", "0-2147483647", "2147483648"] {
            assert!(parse_partitions(text).is_err(), "{text}");
        }
    }

    #[test]
    fn starts() {
        let start = |partition, offset, leader_epoch, id: Option<&str>| PartitionStart {
            partition,
            offset,
            leader_epoch,
            topic_id: id.map(str::to_owned),
        };
        assert_eq!(parse_starts(""), Ok(Vec::new()));
        assert_eq!(
            parse_starts("3:7,0:9223372036854775807:5:a-_B,1:2::x"),
            Ok(vec![
                start(0, i64::MAX, Some(5), Some("a-_B")),
                start(1, 2, None, Some("x")),
                start(3, 7, None, None),
            ])
        );
        for text in ["0", "0:", ":1", "0:-1", "-1:0", "0:1:x", "0:1:2:3:4", "0:1,", "0:1,0:2", "2147483648:0"]
        {
            assert!(parse_starts(text).is_err(), "{text}");
        }
    }

    #[test]
    fn positions() {
        const NOW: i64 = 1_767_225_600_000;
        for (text, expected) in [
            ("beginning", Start::Beginning),
            ("end", Start::End),
            ("committed", Start::Committed { otherwise: OffsetReset::Beginning }),
            ("42", Start::Offset(42)),
            ("-5", Start::BeforeEnd(5)),
            ("@1700000000000", Start::Timestamp(1_700_000_000_000)),
            ("-1h", Start::Timestamp(NOW - 3_600_000)),
            ("-1d12h", Start::Timestamp(NOW - 129_600_000)),
            ("2026-01-01T00:00:00Z", Start::Timestamp(NOW)),
            ("2026-01-01T01:00:00.5+01:00", Start::Timestamp(NOW + 500)),
        ] {
            assert_eq!(parse_position(text, NOW), Ok(expected), "{text}");
        }
        for text in [
            "latest",
            "",
            "-",
            "@",
            "@x",
            "@-1",
            "-h",
            "-1x",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "1969-12-31T23:59:59Z",
            "2026-02-30T00:00:00Z",
            "infinity",
            "12:00",
            "99999999999999999999",
            "+5",
        ] {
            assert!(parse_position(text, NOW).unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn durations_and_sizes() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("0.5s"), Ok(Duration::from_millis(500)));
        for text in ["", "5", "s", "1.2.3s", "1y", "-1s", "99999999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for (text, size) in [("0", 0), ("64MiB", 64 << 20), ("1 kB", 1000), ("2g", 2 << 30)] {
            assert_eq!(parse_size(text), Ok(size));
        }
        for text in ["", "MiB", "-1", "1.5GiB", "1XB", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn delimiters() {
        for (text, expected) in [
            ("", ""),
            ("\\n", "\n"),
            ("\\r\\n", "\r\n"),
            ("\\t\\n\\n", "\t\n\n"),
            ("\\x54!\\x45\\x53T", "T!EST"),
            ("\\x30", "0"),
            ("\\x1f5", "\x1f5"),
            ("\\x0", "\0"),
            ("a\\0b", "a\0b"),
            ("\\", "\\"),
            ("\\q;", "\\q;"),
        ] {
            assert_eq!(parse_delimiter(text.as_bytes()).unwrap(), expected.as_bytes(), "{text}");
        }
        assert_eq!(parse_delimiter(b"a\\xzz").unwrap_err(), "Delimiter \\xzz expects hex number");
    }

    #[test]
    fn the_nearest_name_is_found_through_slips_and_swaps() {
        let names = || ["consume", "produce", "topic", "cluster", "broker"].into_iter();
        assert_eq!(nearest("consmue", names()), Some("consume"));
        assert_eq!(nearest("topics", names()), Some("topic"));
        assert_eq!(nearest("xyz", names()), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}", now in any::<i64>()) {
            let _ = parse_partitions(&text);
            let _ = parse_starts(&text);
            let _ = parse_position(&text, now);
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
            let _ = parse_key_value(&text);
            let _ = parse_delimiter(text.as_bytes());
        }
    }
}
