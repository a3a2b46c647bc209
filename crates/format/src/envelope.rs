//! kcat's `-J`: one JSON object a message.
//!
//! ```text
//! {"topic":"t","partition":0,"offset":7,"tstype":"create","ts":1700000000000,"broker":1,"headers":["n","v","n2",null],"key":null,"payload":"v"}
//! ```
//! The line is what kcat writes, byte for byte, wherever kcat writes valid JSON. It does not for bytes that are
//! no UTF-8. Then these are shown as U+FFFD, and a further member behind it has all bytes of the string:
//! `"payload":"caf\ufffd","payload_base64":"Y2Fm6Q=="`; likewise `key_base64`, and `headers_base64`, an array
//! like `headers`. With [`Envelope::base64`] every key, value and header value is base64 in its usual place.

use kcopy_wire::records::{Headers, Record, TimestampType};

use super::{
    base64::put_base64,
    error::Problem,
    json::{put_bytes_as_string, put_lossy_string, put_string},
    number::put_i64,
    pack::Pack,
    write::{Fault, RecordContext},
};

/// Writes kcat's JSON envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    delimiter: Vec<u8>,
    base64: bool,
    key_pack: Option<Pack>,
    value_pack: Option<Pack>,
    unpacked: Vec<u8>,
}

impl Envelope {
    /// Envelopes that `delimiter` (`-D`) follows.
    pub fn new(delimiter: &[u8]) -> Self {
        Envelope {
            delimiter: delimiter.to_vec(),
            base64: false,
            key_pack: None,
            value_pack: None,
            unpacked: Vec::new(),
        }
    }

    /// Whether keys, values and header values are all written in base64.
    #[must_use]
    pub fn base64(mut self, base64: bool) -> Self {
        self.base64 = base64;
        self
    }

    /// How keys and values are unpacked (`-s`) before they become strings.
    #[must_use]
    pub fn packs(mut self, key: Option<Pack>, value: Option<Pack>) -> Self {
        (self.key_pack, self.value_pack) = (key, value);
        self
    }

    #[inline]
    pub(super) fn write(
        &mut self,
        context: &RecordContext<'_>,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        out.extend_from_slice(b"{\"topic\":");
        put_string(out, context.topic);
        out.extend_from_slice(b",\"partition\":");
        put_i64(out, i64::from(context.partition));
        out.extend_from_slice(b",\"offset\":");
        put_i64(out, record.offset);
        out.extend_from_slice(match context.timestamp_type {
            TimestampType::CreateTime => b",\"tstype\":\"create\",\"ts\":",
            TimestampType::LogAppendTime => b",\"tstype\":\"logappend\",\"ts\":",
        });
        put_i64(out, record.timestamp);
        out.extend_from_slice(b",\"broker\":");
        put_i64(out, i64::from(context.broker));
        if !record.headers.is_empty() {
            self.put_headers(out, record.headers);
        }
        let Envelope { base64, key_pack, value_pack, unpacked, delimiter } = self;
        put_member(out, "key", record.key, key_pack.as_ref(), unpacked, *base64)
            .map_err(|problem| Fault { column: Fault::KEY, problem })?;
        put_member(out, "payload", record.value, value_pack.as_ref(), unpacked, *base64)
            .map_err(|problem| Fault { column: Fault::VALUE, problem })?;
        out.push(b'}');
        out.extend_from_slice(delimiter);
        Ok(())
    }

    fn put_headers(&self, out: &mut Vec<u8>, headers: Headers<'_>) {
        out.extend_from_slice(b",\"headers\":[");
        let mut all_valid = true;
        for (index, (name, value)) in headers.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            all_valid &= put_shown(out, name);
            out.push(b',');
            match value {
                None => out.extend_from_slice(b"null"),
                Some(value) if self.base64 => put_quoted_base64(out, value),
                Some(value) => all_valid &= put_shown(out, value),
            }
        }
        out.push(b']');
        if all_valid {
            return;
        }
        out.extend_from_slice(b",\"headers_base64\":");
        for (index, (name, value)) in headers.iter().enumerate() {
            out.push(if index == 0 { b'[' } else { b',' });
            put_quoted_base64(out, name);
            out.push(b',');
            match value {
                None => out.extend_from_slice(b"null"),
                Some(value) => put_quoted_base64(out, value),
            }
        }
        out.push(b']');
    }
}

#[inline]
fn put_member(
    out: &mut Vec<u8>,
    name: &str,
    bytes: Option<&[u8]>,
    pack: Option<&Pack>,
    unpacked: &mut Vec<u8>,
    base64: bool,
) -> Result<(), Problem> {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    let Some(mut bytes) = bytes else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    if let Some(pack) = pack
        && !bytes.is_empty()
    {
        unpacked.clear();
        pack.unpack(if name == "key" { "key" } else { "value" }, bytes, unpacked)?;
        bytes = unpacked;
    }
    if base64 {
        put_quoted_base64(out, bytes);
    } else if !put_shown(out, bytes) {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"_base64\":");
        put_quoted_base64(out, bytes);
    }
    Ok(())
}

/// Appends a string and says whether it holds all that the bytes say.
#[inline]
fn put_shown(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let is_valid = put_bytes_as_string(out, bytes);
    if !is_valid {
        put_lossy_string(out, bytes);
    }
    is_valid
}

fn put_quoted_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    put_base64(out, bytes);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use kcopy_wire::records::HeadersBuf;
    use proptest::prelude::*;

    use super::*;

    fn write(envelope: &mut Envelope, timestamp_type: TimestampType, record: &Record<'_>) -> String {
        let context = RecordContext { topic: "t1", partition: 2, broker: 101, timestamp_type };
        let mut out = Vec::new();
        envelope.write(&context, record, &mut out).expect("no pack format");
        String::from_utf8(out).expect("always UTF-8")
    }

    fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: Headers<'a>) -> Record<'a> {
        Record { offset: 7, timestamp: 1_700_000_000_000, key, value, headers }
    }

    const START: &str =
        r#"{"topic":"t1","partition":2,"offset":7,"tstype":"create","ts":1700000000000,"broker":101,"#;

    fn check(envelope: &mut Envelope, record: Record<'_>, rest: &str) {
        assert_eq!(write(envelope, TimestampType::CreateTime, &record), format!("{START}{rest}\n"));
    }

    #[test]
    fn is_what_kcat_writes() {
        let envelope = &mut Envelope::new(b"\n");
        check(envelope, record(None, None, Headers::EMPTY), r#""key":null,"payload":null}"#);
        check(
            envelope,
            record(Some(b""), Some(b"a\"\\/\x08\x0c\n\r\t\x1f\x7f"), Headers::EMPTY),
            "\"key\":\"\",\"payload\":\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u001F\x7f\"}",
        );
        let mut headers = HeadersBuf::new();
        headers.push("n", Some(b"v"));
        headers.push("n2", None);
        headers.push("n", Some("é".as_bytes()));
        check(
            envelope,
            record(Some(b"k"), Some(b"v"), headers.as_headers()),
            r#""headers":["n","v","n2",null,"n","é"],"key":"k","payload":"v"}"#,
        );
        let line = write(envelope, TimestampType::LogAppendTime, &record(None, None, Headers::EMPTY));
        assert!(line.contains(r#""tstype":"logappend","ts""#), "{line}");
    }

    #[test]
    fn what_is_not_utf8_comes_twice() {
        let mut headers = HeadersBuf::new();
        headers.push("n", Some(b"\xff"));
        headers.push("m", None);
        check(
            &mut Envelope::new(b"\n"),
            record(Some(b"\xfe"), Some(b"caf\xe9"), headers.as_headers()),
            "\"headers\":[\"n\",\"\u{fffd}\",\"m\",null],\"headers_base64\":[\"bg==\",\"/w==\",\"bQ==\",null],\
             \"key\":\"\u{fffd}\",\"key_base64\":\"/g==\",\"payload\":\"caf\u{fffd}\",\"payload_base64\":\"Y2Fm6Q==\"}",
        );
    }

    #[test]
    fn base64_throughout() {
        let mut headers = HeadersBuf::new();
        headers.push("n", Some(b"\xff"));
        check(
            &mut Envelope::new(b"\n").base64(true),
            record(None, Some(b"foobar"), headers.as_headers()),
            r#""headers":["n","/w=="],"key":null,"payload":"Zm9vYmFy"}"#,
        );
    }

    #[test]
    fn unpacked_first() {
        let pack = |format| Some(Pack::parse("value", format).expect("valid"));
        check(
            &mut Envelope::new(b"\n").packs(None, pack("h")),
            record(Some(b"\0\x01"), Some(b"\0\x01"), Headers::EMPTY),
            r#""key":"\u0000\u0001","payload":"1"}"#,
        );
    }

    proptest! {
        #[test]
        fn is_always_valid_json(
            key in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
            value in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
            name in prop::collection::vec(any::<u8>(), 0..10),
            base64: bool,
        ) {
            let mut headers = HeadersBuf::new();
            headers.push(&name, value.as_deref());
            let record = record(key.as_deref(), value.as_deref(), headers.as_headers());
            let mut envelope = Envelope::new(b"\n").base64(base64);
            let line = write(&mut envelope, TimestampType::CreateTime, &record);
            let json: serde_json::Value = serde_json::from_str(&line).expect("valid JSON");
            prop_assert_eq!(line.matches('\n').count(), 1);
            if let (false, Some(Ok(text))) = (base64, value.map(String::from_utf8)) {
                prop_assert_eq!(&json["payload"], &serde_json::Value::from(text));
            }
        }
    }
}
