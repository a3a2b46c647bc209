//! The records that every side moves.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use crate::digest::Digest;

/// Bytes of each record, without the newline that ends its line.
pub(crate) const RECORD_BYTES: u64 = 100;

/// A file of lines, one for each record.
pub(crate) struct Input {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it contains.
    pub(crate) digest: Digest,
}

impl Input {
    /// Writes `records` different lines of [`RECORD_BYTES`] each: a number, random hexadecimal digits, and words, so
    /// that codecs find something to do and something to give up on. The same lines for the same number.
    pub(crate) fn create(path: PathBuf, records: u64) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        let mut random = fastrand::Rng::with_seed(records);
        let mut digest = Digest::default();
        let mut line = Vec::new();
        for number in 0..records {
            write_line(&mut line, number, &mut random)?;
            digest.add(&line);
            line.push(b'\n');
            file.write_all(&line)?;
        }
        file.into_inner()?;
        Ok(Self { path, digest })
    }

    /// For `stdin`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn write_line(line: &mut Vec<u8>, number: u64, random: &mut fastrand::Rng) -> io::Result<()> {
    const WORDS: [&str; 16] = [
        "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo",
        "lima", "mike", "november", "oscar", "papa",
    ];
    line.clear();
    write!(line, "{number:010};{:032x};", random.u128(..))?;
    while line.len() < RECORD_BYTES as usize {
        write!(line, "{} ", random.choice(WORDS).unwrap_or_default())?;
    }
    line.truncate(RECORD_BYTES as usize);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_what_its_digest_says() {
        let folder = tempfile::tempdir().unwrap();
        let input = Input::create(folder.path().join("input"), 1_000).unwrap();
        let bytes = std::fs::read(input.path()).unwrap();
        assert_eq!(bytes.len(), 101_000);
        assert_eq!(Digest::of(&bytes[..]).unwrap(), input.digest);
    }
}
