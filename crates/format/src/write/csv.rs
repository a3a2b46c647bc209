//! COPY's csv format: byte for byte what `COPY ... TO ... (format csv)` writes.

use super::delimited::Escaping;
use crate::{
    options::Dialect,
    scan::{Escape, Special, none},
};

/// What ends the input when it stands alone on a line.
const END_MARKER: &[u8] = b"\\.";

#[derive(Debug)]
pub(super) struct Csv;

impl Escaping for Csv {
    const BEFORE_BYTEA: &'static [u8] = b"";

    #[inline]
    fn is_plain(bytes: &[u8], dialect: &Dialect) -> bool {
        let Dialect { delimiter, quote, ref null } = *dialect;
        // With short circuits a short field takes less, and a long one no more: these are vectorised in spite of them.
        let special =
            |byte| (byte as i8) <= 0 || byte == b'\n' || byte == b'\r' || byte == delimiter || byte == quote;
        none(bytes, special) && bytes.len() != null.len() && bytes.len() != END_MARKER.len()
    }

    /// In quotes where it would be misunderstood without.
    fn put_field(out: &mut Vec<u8>, text: &[u8], dialect: &Dialect, is_alone: bool) {
        let Dialect { delimiter, quote, ref null } = *dialect;
        let is_misunderstood = text == null || (is_alone && text == END_MARKER);
        let special = |byte| (byte == b'\n') | (byte == b'\r') | (byte == delimiter) | (byte == quote);
        if !is_misunderstood && none(text, special) {
            return out.extend_from_slice(text);
        }
        out.push(quote);
        Special::new(0, quote, quote).put_escaped(out, text, |quote| Escape::Two([quote, quote]));
        out.push(quote);
    }
}
