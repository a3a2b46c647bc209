//! Arrays: PostgreSQL's literals, JSON arrays, and COPY's binary.

use super::{Refusal, Type, scalar::trim};
use crate::number::put_i64;

/// PostgreSQL's limits for dimensions and elements.
const MAX_DIMENSIONS: usize = 6;
const MAX_ELEMENTS: usize = 0x0800_0000;
/// Number of dimensions, whether there are NULLs, the elements' type.
const FIXED_LEN: usize = 12;
const DIMENSION_LEN: usize = 8;
const MAX_HEADER_LEN: usize = FIXED_LEN + MAX_DIMENSIONS * DIMENSION_LEN;

const MALFORMED: Refusal = "not an array such as {1,2}";
const RAGGED: Refusal = "arrays within an array must be of equal length";
const TOO_DEEP: Refusal = "more than 6 dimensions";
const CORRUPT: Refusal = "not a binary array";

/// What reads the text of an element.
pub(super) type ReadElement = fn(&Type, &[u8], &mut Vec<u8>) -> Result<(), Refusal>;

/// An array that is being written, element by element.
pub(super) struct Builder<'a> {
    element: &'a Type,
    read: ReadElement,
    out: &'a mut Vec<u8>,
    start: usize,
    /// How many are in the array that is open at each depth, and how many there were in those before it.
    counts: [usize; MAX_DIMENSIONS],
    sizes: [Option<usize>; MAX_DIMENSIONS],
    depth: usize,
    /// The depth at which elements are.
    leaf: Option<usize>,
    lower_bounds: [i32; MAX_DIMENSIONS],
    has_null: bool,
}

impl<'a> Builder<'a> {
    pub(super) fn new(element: &'a Type, out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        // The elements move down once the number of dimensions is known.
        out.resize(start + MAX_HEADER_LEN, 0);
        Builder {
            element,
            read: Type::parse,
            out,
            start,
            counts: [0; MAX_DIMENSIONS],
            sizes: [None; MAX_DIMENSIONS],
            depth: 0,
            leaf: None,
            lower_bounds: [1; MAX_DIMENSIONS],
            has_null: false,
        }
    }

    pub(super) fn open(&mut self) -> Result<(), Refusal> {
        if self.depth == MAX_DIMENSIONS {
            return Err(TOO_DEEP);
        }
        if self.leaf.is_some_and(|leaf| self.depth >= leaf) {
            return Err(RAGGED);
        }
        self.counts[self.depth] = 0;
        self.depth += 1;
        Ok(())
    }

    pub(super) fn close(&mut self) -> Result<(), Refusal> {
        self.depth = self.depth.checked_sub(1).ok_or(MALFORMED)?;
        let count = self.counts[self.depth];
        match self.sizes[self.depth].replace(count) {
            Some(before) if before != count => return Err(RAGGED),
            _ => {}
        }
        // An array that is empty, beside one that is not.
        if count == 0 && self.leaf.is_some() {
            return Err(RAGGED);
        }
        if let Some(outer) = self.depth.checked_sub(1) {
            self.counts[outer] += 1;
        }
        Ok(())
    }

    fn count_element(&mut self) -> Result<(), Refusal> {
        let depth = self.depth;
        if depth == 0
            || *self.leaf.get_or_insert(depth) != depth
            || self.sizes[depth..].iter().any(Option::is_some)
        {
            return Err(RAGGED);
        }
        if self.counts[depth - 1] >= MAX_ELEMENTS {
            return Err("more elements than an array can hold");
        }
        self.counts[depth - 1] += 1;
        Ok(())
    }

    pub(super) fn null(&mut self) -> Result<(), Refusal> {
        self.count_element()?;
        self.has_null = true;
        self.out.extend_from_slice(&(-1i32).to_be_bytes());
        Ok(())
    }

    pub(super) fn text(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let (element, read) = (self.element, self.read);
        self.value(|out| read(element, text, out))
    }

    pub(super) fn value(
        &mut self,
        put: impl FnOnce(&mut Vec<u8>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.count_element()?;
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        put(self.out)?;
        let length = i32::try_from(self.out.len() - length_at - 4).map_err(|_| "too long")?;
        self.out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Writes the header.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        let Builder { element, out, start, sizes, leaf, lower_bounds, has_null, depth, .. } = self;
        // `{{}}` is refused, as before PostgreSQL 17.
        let is_empty_within = leaf.is_none() && sizes[1].is_some();
        if depth != 0 || sizes[0].is_none() || is_empty_within {
            return Err(MALFORMED);
        }
        // Without elements there are no dimensions.
        let dimensions = leaf.unwrap_or(0);
        let mut header = Vec::with_capacity(MAX_HEADER_LEN);
        header.extend_from_slice(&(dimensions as i32).to_be_bytes());
        header.extend_from_slice(&i32::from(has_null).to_be_bytes());
        header.extend_from_slice(&element.oid().unwrap_or(0).to_be_bytes());
        for dimension in 0..dimensions {
            header.extend_from_slice(&(sizes[dimension].unwrap_or(0) as i32).to_be_bytes());
            header.extend_from_slice(&lower_bounds[dimension].to_be_bytes());
        }
        out[start..start + header.len()].copy_from_slice(&header);
        let elements = start + MAX_HEADER_LEN;
        let len = out.len() - elements;
        out.copy_within(elements.., start + header.len());
        out.truncate(start + header.len() + len);
        Ok(())
    }
}

/// Appends the binary form of a literal such as `{1,NULL,"a b"}` or `[2:3]={1,2}`.
pub(super) fn parse(
    element: &Type,
    text: &[u8],
    out: &mut Vec<u8>,
    read: ReadElement,
) -> Result<(), Refusal> {
    let mut builder = Builder::new(element, out);
    builder.read = read;
    let mut rest = trim(text);
    let mut bounds = Vec::new();
    while let [b'[', after @ ..] = rest {
        let end = after.iter().position(|byte| *byte == b']').ok_or(MALFORMED)?;
        bounds.push(parse_bounds(&after[..end])?);
        rest = trim(&after[end + 1..]);
        if bounds.len() > MAX_DIMENSIONS {
            return Err(TOO_DEEP);
        }
    }
    if !bounds.is_empty() {
        rest = trim(rest.strip_prefix(b"=").ok_or(MALFORMED)?);
    }
    if rest.first() != Some(&b'{') {
        return Err(MALFORMED);
    }
    let mut room = Vec::new();
    loop {
        // An element, or an array of them, is due.
        rest = trim_start(rest);
        let closes = match rest.first() {
            Some(b'{') => {
                builder.open()?;
                rest = trim_start(&rest[1..]);
                if rest.first() != Some(&b'}') {
                    continue;
                }
                true
            }
            _ => {
                rest = parse_element(rest, &mut builder, &mut room)?;
                false
            }
        };
        if !closes {
            rest = trim_start(rest);
        }
        while rest.first() == Some(&b'}') {
            builder.close()?;
            rest = trim_start(&rest[1..]);
            if builder.depth == 0 {
                if !rest.is_empty() {
                    return Err(MALFORMED);
                }
                check_bounds(&mut builder, &bounds)?;
                return builder.finish();
            }
        }
        rest = rest.strip_prefix(b",").ok_or(MALFORMED)?;
    }
}

fn trim_start(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    &text[text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len())..]
}

/// `lower:upper`, or only the upper.
fn parse_bounds(text: &[u8]) -> Result<(i32, i32), Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| MALFORMED)?;
    let number = |text: &str| text.parse().map_err(|_| MALFORMED);
    match text.split_once(':') {
        Some((lower, upper)) => Ok((number(lower)?, number(upper)?)),
        None => Ok((1, number(text)?)),
    }
}

fn check_bounds(builder: &mut Builder<'_>, bounds: &[(i32, i32)]) -> Result<(), Refusal> {
    let dimensions = builder.leaf.unwrap_or(0);
    if bounds.is_empty() {
        return Ok(());
    }
    let sizes = builder.sizes.iter().take(dimensions).map(|size| size.unwrap_or(0) as i64);
    let said = bounds.iter().map(|(lower, upper)| i64::from(*upper) - i64::from(*lower) + 1);
    if !sizes.eq(said) {
        return Err("the dimensions do not fit its elements");
    }
    for (place, (lower, upper)) in builder.lower_bounds.iter_mut().zip(bounds) {
        if *upper == i32::MAX {
            return Err("a bound is out of range");
        }
        *place = *lower;
    }
    Ok(())
}

/// One element: in quotes with escapes, or up to the next comma or brace.
fn parse_element<'t>(
    text: &'t [u8],
    builder: &mut Builder<'_>,
    room: &mut Vec<u8>,
) -> Result<&'t [u8], Refusal> {
    room.clear();
    let mut at = 0;
    if text.first() == Some(&b'"') {
        at = 1;
        loop {
            match text.get(at).ok_or(MALFORMED)? {
                b'"' => {
                    builder.text(room)?;
                    return Ok(&text[at + 1..]);
                }
                b'\\' => {
                    room.push(*text.get(at + 1).ok_or(MALFORMED)?);
                    at += 2;
                }
                byte => {
                    room.push(*byte);
                    at += 1;
                }
            }
        }
    }
    // Spaces at the end belong to the element only where they are escaped.
    let mut kept = 0;
    let mut has_escapes = false;
    loop {
        match text.get(at).ok_or(MALFORMED)? {
            b',' | b'}' => break,
            b'{' | b'"' => return Err(MALFORMED),
            b'\\' => {
                room.push(*text.get(at + 1).ok_or(MALFORMED)?);
                has_escapes = true;
                kept = room.len();
                at += 2;
            }
            byte => {
                room.push(*byte);
                if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) {
                    kept = room.len();
                }
                at += 1;
            }
        }
    }
    room.truncate(kept);
    match room.as_slice() {
        [] => return Err(MALFORMED),
        word if !has_escapes && word.eq_ignore_ascii_case(b"null") => builder.null()?,
        word => builder.text(word)?,
    }
    Ok(&text[at..])
}

/// An array in binary, taken apart.
pub(super) struct Elements<'a> {
    /// Size and lower bound of each dimension.
    pub(super) dimensions: Vec<(usize, i32)>,
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    pub(super) fn new(binary: &'a [u8]) -> Result<Self, Refusal> {
        let (header, mut rest) = binary.split_first_chunk::<FIXED_LEN>().ok_or(CORRUPT)?;
        let count = i32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        let count = usize::try_from(count).ok().filter(|count| *count <= MAX_DIMENSIONS).ok_or(CORRUPT)?;
        let mut dimensions = Vec::with_capacity(count);
        let mut elements = usize::from(count > 0);
        for _ in 0..count {
            let (size, lower);
            (size, rest) = take_i32(rest)?;
            (lower, rest) = take_i32(rest)?;
            let size = usize::try_from(size).map_err(|_| CORRUPT)?;
            elements = elements.checked_mul(size).filter(|all| *all <= MAX_ELEMENTS).ok_or(CORRUPT)?;
            dimensions.push((size, lower));
        }
        // Each has its length before it.
        if elements > rest.len() / 4 || (elements == 0 && !rest.is_empty()) {
            return Err(CORRUPT);
        }
        if elements == 0 {
            dimensions.clear();
        }
        Ok(Elements { dimensions, rest })
    }

    /// The next element; the inner none is NULL.
    fn next(&mut self) -> Result<Option<&'a [u8]>, Refusal> {
        let (length, rest) = take_i32(self.rest)?;
        self.rest = rest;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| CORRUPT)?;
        let (element, rest) = self.rest.split_at_checked(length).ok_or(CORRUPT)?;
        self.rest = rest;
        Ok(Some(element))
    }

    /// Appends all elements with these brackets around each array.
    pub(super) fn put_nested(
        &mut self,
        [open, close]: [u8; 2],
        out: &mut Vec<u8>,
        put: &mut impl FnMut(Option<&'a [u8]>, &mut Vec<u8>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        if self.dimensions.is_empty() {
            out.extend_from_slice(&[open, close]);
        } else {
            self.put_dimension(0, [open, close], out, put)?;
        }
        if self.rest.is_empty() { Ok(()) } else { Err(CORRUPT) }
    }

    /// At most as deep as there are dimensions.
    fn put_dimension(
        &mut self,
        dimension: usize,
        [open, close]: [u8; 2],
        out: &mut Vec<u8>,
        put: &mut impl FnMut(Option<&'a [u8]>, &mut Vec<u8>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        out.push(open);
        for index in 0..self.dimensions[dimension].0 {
            if index > 0 {
                out.push(b',');
            }
            if dimension + 1 < self.dimensions.len() {
                self.put_dimension(dimension + 1, [open, close], out, put)?;
            } else {
                let element = self.next()?;
                put(element, out)?;
            }
        }
        out.push(close);
        Ok(())
    }
}

fn take_i32(bytes: &[u8]) -> Result<(i32, &[u8]), Refusal> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or(CORRUPT)?;
    Ok((i32::from_be_bytes(*number), rest))
}

/// Appends the literal of an array in binary.
pub(super) fn show(element: &Type, binary: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut elements = Elements::new(binary)?;
    if elements.dimensions.iter().any(|(_, lower)| *lower != 1) {
        for (size, lower) in &elements.dimensions {
            out.push(b'[');
            put_i64(out, i64::from(*lower));
            out.push(b':');
            put_i64(out, i64::from(*lower) + *size as i64 - 1);
            out.push(b']');
        }
        out.push(b'=');
    }
    let mut room = Vec::new();
    elements.put_nested([b'{', b'}'], out, &mut |value, out| {
        let Some(value) = value else {
            out.extend_from_slice(b"NULL");
            return Ok(());
        };
        room.clear();
        element.show(value, &mut room)?;
        put_quoted(&room, out);
        Ok(())
    })
}

/// In quotes where it would be misunderstood without.
fn put_quoted(text: &[u8], out: &mut Vec<u8>) {
    let needs_quotes = |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | 0x09..=0x0d);
    if !text.is_empty() && !text.eq_ignore_ascii_case(b"null") && !text.iter().any(needs_quotes) {
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn convert(name: &str, text: &str) -> Result<String, Refusal> {
        let array = Type::of_name(name).expect(name);
        let (mut binary, mut out) = (b"before".to_vec(), Vec::new());
        array.parse(text.as_bytes(), &mut binary)?;
        array.show(&binary[6..], &mut out)?;
        Ok(String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn literals_as_postgres_has_them() {
        for (name, text, expected) in [
            ("int4[]", "{1,2,3}", "{1,2,3}"),
            ("int4[]", " { 1 , null , NULL } ", "{1,NULL,NULL}"),
            ("int4[]", "{}", "{}"),
            ("int4[]", "{{1,2},{3,4}}", "{{1,2},{3,4}}"),
            ("int4[]", "[2:3]={1,2}", "[2:3]={1,2}"),
            ("int4[]", "[1:2]={1,2}", "{1,2}"),
            ("int4[]", "[0:0][3:4]={{1,2}}", "[0:0][3:4]={{1,2}}"),
            ("text[]", r#"{"a b",c d ,"\"\\",\N,"null","",a\ }"#, r#"{"a b","c d","\"\\",N,"null","","a "}"#),
            ("bool[]", "{t,false}", "{t,f}"),
            ("timestamptz[]", r#"{"2024-02-29 12:00:00+00"}"#, r#"{"2024-02-29 12:00:00+00"}"#),
        ] {
            assert_eq!(convert(name, text).as_deref(), Ok(expected), "{text}");
        }
        let mut binary = Vec::new();
        Type::Int2.into_array().parse(b"{7,NULL}", &mut binary).expect("an array");
        assert_eq!(
            binary,
            b"\0\0\0\x01\0\0\0\x01\0\0\0\x15\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\x07\xff\xff\xff\xff"
        );
    }

    #[test]
    fn what_is_no_array() {
        for wrong in [
            "",
            "1",
            "{",
            "{1",
            "{1,}",
            "{,1}",
            "{1}}",
            "{1}x",
            "{{1},{2,3}}",
            "{{1},2}",
            "{1,{2}}",
            "{{1},{}}",
            "{\"1}",
            "{1\"2\"}",
            "[1:3]={1,2}",
            "[1:2]{1,2}",
            "{{{{{{{1}}}}}}}",
            "{x}",
            "{1 2}",
            "[2:1]={}",
        ] {
            assert!(convert("int4[]", wrong).is_err(), "{wrong}: {:?}", convert("int4[]", wrong));
        }
        for corrupt in [
            &b""[..],
            b"\0\0\0\x07\0\0\0\0\0\0\0\x15",
            b"\0\0\0\x01\0\0\0\0\0\0\0\x15\x7f\xff\xff\xff\0\0\0\x01",
            b"\0\0\0\x01\0\0\0\0\0\0\0\x15\0\0\0\x01\0\0\0\x01\0\0\0\x03\0\x07",
            b"\0\0\0\0\0\0\0\0\0\0\0\x15x",
        ] {
            assert!(Type::Int2.into_array().show(corrupt, &mut Vec::new()).is_err());
        }
    }

    proptest! {
        #[test]
        fn every_text_survives(texts in prop::collection::vec("[ -~é\\n\\\\\"{},]{0,8}", 1..5)) {
            let array = Type::Text.into_array();
            let mut binary = Vec::new();
            let mut builder = Builder::new(&Type::Text, &mut binary);
            prop_assert!(builder.open().is_ok());
            for text in &texts {
                prop_assert!(builder.text(text.as_bytes()).is_ok());
            }
            prop_assert!(builder.close().is_ok() && builder.finish().is_ok());
            let (mut shown, mut again) = (Vec::new(), Vec::new());
            prop_assert!(array.show(&binary, &mut shown).is_ok());
            prop_assert!(array.parse(&shown, &mut again).is_ok());
            prop_assert_eq!(binary, again);
        }
    }
}
