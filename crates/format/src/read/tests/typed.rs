//! Columns that have a type.

use super::*;

#[test]
fn typed_columns_become_json_of_their_kind() {
    let columns = "id int8, n numeric, nan numeric, f float8, ok bool, u uuid, d date, t time, ts timestamp, iv interval, \
                   ip inet, tags text[], m int4[], docs jsonb[], v varchar(5), mood, city = value.address.city, \
                   zip int4 = value.address.zip, k = key.a.b";
    let text = options(Format::Text, columns);
    let input = "7\t1.50\tNaN\t1e+15\tt\ta0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\t2026-11-22\t18:48:00\t2026-11-22 18:48:00.5\t\
                 1 day -01:00:00\t10.0.0.1/8\t{a,\"b\\\\\"c\",NULL}\t{{1,2},{3,4}}\t{\"{\\\\\"a\\\\\": 1}\"}\tabc\tok\tBern\t3000\t\\N\n";
    let value = r#"{"id":7,"n":1.50,"nan":"NaN","f":1e+15,"ok":true,"u":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","d":"2026-11-22","t":"18:48:00","ts":"2026-11-22T18:48:00.5","iv":"1 day -01:00:00","ip":"10.0.0.1/8","tags":["a","b\"c",null],"m":[[1,2],[3,4]],"docs":[{"a": 1}],"v":"abc","mood":"ok","address":{"city":"Bern","zip":3000}}"#;
    check_pairs(&text, input.as_bytes(), &[(Some(br#"{"a":{"b":null}}"#), Some(value.as_bytes()))]);
    let keys = options(Format::Text, "key numeric(5,1), value int4[]");
    check_pairs(&keys, b"12.34\t{ 1 , 2 }\n", &[(Some(b"12.3"), Some(b"{1,2}"))]);
    check_error(
        &keys,
        b"123456\t\\N\n",
        "line 1: column key: \"123456\" cannot be numeric(5,1): more digits",
    );
}

#[test]
fn arrays_that_json_cannot_say_are_refused() {
    let members = options(Format::Text, "key, m int4[]");
    for literal in ["[2:3]={5,6}", "[1:1][0:1]={{5,6}}"] {
        check_error(
            &members,
            format!("k\t{literal}\n").as_bytes(),
            &format!("line 1: column m: \"{literal}\" cannot be int4[]: JSON has no array bounds: declare"),
        );
    }
    check_pairs(&members, b"k\t[1:2]={5,6}\n", &[(Some(b"k"), Some(br#"{"m":[5,6]}"#))]);
    // As text they stay what they are.
    let text = options(Format::Text, "key, m");
    check_pairs(&text, b"k\t[2:3]={5,6}\n", &[(Some(b"k"), Some(br#"{"m":"[2:3]={5,6}"}"#))]);
    let value = options(Format::Text, "value int4[]");
    check_pairs(&value, b"[2:3]={5,6}\n", &[(None, Some(b"[2:3]={5,6}"))]);
    let mut binary = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01".to_vec();
    let field = b"\0\0\0\x01\0\0\0\0\0\0\0\x17\0\0\0\x01\0\0\0\x02\0\0\0\x04\0\0\0\x05";
    binary.extend_from_slice(&(field.len() as i32).to_be_bytes());
    binary.extend_from_slice(field);
    binary.extend_from_slice(b"\xff\xff");
    let reason = "\"[2:2]={5}\" cannot be int4[]: JSON has no array bounds: declare";
    check_error(&options(Format::Binary, "m int4[]"), &binary, reason);
}

#[test]
fn an_interval_that_depends_on_a_setting_is_refused() {
    for (columns, field) in [
        ("key, i interval", "-3 4:05:06"),
        ("key interval(0)", "-3 4:05:06"),
        ("key, i interval[]", "{1,\"-3 4:05:06\"}"),
    ] {
        let (key, value) = if columns.starts_with("key,") { ("k\t", field) } else { ("", field) };
        check_error(
            &options(Format::Text, columns),
            format!("{key}{value}\n").as_bytes(),
            "its signs depend on IntervalStyle: set intervalstyle = postgres or iso_8601",
        );
    }
    let fine = options(Format::Text, "value interval");
    check_pairs(&fine, b"+1-2 -3 +4:05:06\n", &[(None, Some(b"1 year 2 mons -3 days +04:05:06"))]);
}
