//! COPY's binary format.

use super::{
    assemble::ColumnPlan,
    rows::{Form, Found, Place, Rows},
};
use crate::{error::InputErrorKind, write::SIGNATURE};

/// The trailer is a field count of -1.
const TRAILER_LEN: usize = 2;
/// Signature, flags, and the length of the extension.
const HEADER_LEN: usize = SIGNATURE.len() + 8;
/// PostgreSQL's limit for one value.
const MAX_FIELD_BYTES: i32 = 0x3fff_ffff;
/// Flags from here up change the format; those below may be ignored.
const CRITICAL_FLAGS: u32 = 0xffff_0000;

#[derive(Debug)]
pub(super) struct BinaryParser {
    state: State,
    /// With fewer bytes than these a look at them is in vain.
    needed: usize,
}

#[derive(Debug)]
enum State {
    Header,
    /// So many bytes of the extension are still to come.
    Extension(usize),
    Rows,
}

/// Something, or how many bytes it takes to see more.
type Look = Result<Found, usize>;

impl BinaryParser {
    pub(super) fn new() -> Self {
        BinaryParser { state: State::Header, needed: 0 }
    }

    pub(super) fn find(
        &mut self,
        unread: &[u8],
        at_end: bool,
        columns: &[ColumnPlan],
        rows: &mut Rows,
    ) -> Result<Found, InputErrorKind> {
        let look = match self.state {
            _ if unread.len() < self.needed && !at_end => return Ok(Found::Nothing),
            State::Header => self.header(unread)?,
            State::Extension(len) => self.extension(unread, len),
            State::Rows => row(unread, columns, rows)?,
        };
        match look {
            Ok(found) => {
                self.needed = 0;
                Ok(found)
            }
            Err(needed) => {
                self.needed = needed;
                match (at_end, unread.is_empty()) {
                    (false, _) => Ok(Found::Nothing),
                    (true, true) => Err(InputErrorKind::MissingTrailer),
                    (true, false) => {
                        rows.begin(1);
                        Err(InputErrorKind::Truncated)
                    }
                }
            }
        }
    }

    fn header(&mut self, unread: &[u8]) -> Result<Look, InputErrorKind> {
        let len = unread.len().min(SIGNATURE.len());
        if unread[..len] != SIGNATURE[..len] {
            return Err(InputErrorKind::Signature);
        }
        let Some(&header) = unread.first_chunk::<HEADER_LEN>() else { return Ok(Err(HEADER_LEN)) };
        let [.., f0, f1, f2, f3, e0, e1, e2, e3] = header;
        let flags = u32::from_be_bytes([f0, f1, f2, f3]);
        if flags & CRITICAL_FLAGS != 0 {
            return Err(InputErrorKind::UnsupportedFlags(flags));
        }
        let extension = i32::from_be_bytes([e0, e1, e2, e3]);
        let len = usize::try_from(extension).map_err(|_| InputErrorKind::InvalidLength(extension))?;
        self.state = if len == 0 { State::Rows } else { State::Extension(len) };
        Ok(Ok(Found::Skip(HEADER_LEN)))
    }

    /// Nobody has defined an extension yet, and readers are to step over it.
    fn extension(&mut self, unread: &[u8], len: usize) -> Look {
        let skipped = len.min(unread.len());
        if skipped == 0 {
            return Err(1);
        }
        self.state = if skipped == len { State::Rows } else { State::Extension(len - skipped) };
        Ok(Found::Skip(skipped))
    }
}

fn row(unread: &[u8], columns: &[ColumnPlan], rows: &mut Rows) -> Result<Look, InputErrorKind> {
    let Some(&count) = unread.first_chunk::<TRAILER_LEN>() else { return Ok(Err(TRAILER_LEN)) };
    let count = i16::from_be_bytes(count);
    if count == -1 {
        return Ok(Ok(Found::End(TRAILER_LEN)));
    }
    let found = usize::from(count.unsigned_abs());
    if count < 0 || found != columns.len() {
        rows.begin(1);
        return Err(InputErrorKind::FieldCount { found, expected: columns.len() });
    }
    rows.fields.clear();
    let mut at = TRAILER_LEN;
    for _ in 0..found {
        let Some(&length) = unread.get(at..).and_then(|rest| rest.first_chunk::<4>()) else {
            return Ok(Err(at + 4));
        };
        let length = i32::from_be_bytes(length);
        at += 4;
        if length == -1 {
            rows.push_null();
            continue;
        }
        if !(0..=MAX_FIELD_BYTES).contains(&length) {
            rows.begin(1);
            return Err(InputErrorKind::InvalidLength(length));
        }
        let end = at + length as usize;
        rows.push(Form::Binary, Place::Input, at, end);
        at = end;
    }
    if at > unread.len() {
        return Ok(Err(at));
    }
    rows.row += 1;
    Ok(Ok(Found::Row(at)))
}
