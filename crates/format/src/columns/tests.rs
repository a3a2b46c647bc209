use super::*;

fn column(name: &str, column_type: Type, source: Source) -> Column {
    Column { name: name.to_owned(), column_type, source }
}

fn path(root: PathRoot, steps: &[Step]) -> Source {
    Source::Path(Path { root, steps: steps.to_vec() })
}

fn member(name: &str) -> Step {
    Step::Member(name.to_owned())
}

#[track_caller]
fn check(text: &str, expected: &[Column]) {
    assert_eq!(Columns::parse(text).expect("a valid list").as_slice(), expected, "{text}");
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    let error = Columns::parse(text).and_then(|columns| columns.check_for_binary()).expect_err(text);
    assert!(error.to_string().contains(expected), "{text}: {error}");
}

#[test]
fn every_source_has_its_natural_type() {
    check(
        "key,value,topic,partition,offset,timestamp,timestamp_type,headers,header.trace",
        &[
            column("key", Type::Text, Source::Key),
            column("value", Type::Text, Source::Value),
            column("topic", Type::Text, Source::Topic),
            column("partition", Type::Int4, Source::Partition),
            column("offset", Type::Int8, Source::Offset),
            column("timestamp", Type::Timestamptz(None), Source::Timestamp),
            column("timestamp_type", Type::Text, Source::TimestampType),
            column("headers", Type::Jsonb, Source::Headers),
            column("header.trace", Type::Text, Source::Header("trace".to_owned())),
        ],
    );
    assert_eq!(Columns::parse("value").expect("a valid list"), Columns::default());
}

#[test]
fn types_have_aliases_and_any_case() {
    for (text, expected) in [
        ("text", Type::Text),
        ("BYTEA", Type::Bytea),
        ("json", Type::Json),
        ("jsonb", Type::Jsonb),
        ("smallint", Type::Int2),
        ("int", Type::Int4),
        ("INTEGER", Type::Int4),
        ("bigint", Type::Int8),
        ("int2", Type::Int2),
        ("int4", Type::Int4),
        ("int8", Type::Int8),
        ("timestamp  with Time zone", Type::Timestamptz(None)),
        ("timestamptz", Type::Timestamptz(None)),
    ] {
        check(&format!("key {text}"), &[column("key", expected.clone(), Source::Key)]);
        check(&format!("k {text} = key"), &[column("k", expected, Source::Key)]);
    }
}

#[test]
fn types_may_have_commas_and_quotes() {
    check(
        "a numeric(10,2), b \"My, Type\"[] = key, c timestamp(3) with time zone = timestamp",
        &[
            column(
                "a",
                Type::of_name("numeric(10,2)").expect("a type"),
                path(PathRoot::Value, &[member("a")]),
            ),
            column("b", Type::Other("\"My, Type\"".into()).into_array(), Source::Key),
            column("c", Type::Timestamptz(Some(3)), Source::Timestamp),
        ],
    );
}

#[test]
fn names_and_constants_are_quoted_as_in_sql() {
    check(
        r#" "a ""b"", c" jsonb = value , d='it''s, = fine', "key" "#,
        &[
            column("a \"b\", c", Type::Jsonb, Source::Value),
            column("d", Type::Text, Source::Constant("it's, = fine".to_owned())),
            column("key", Type::Text, Source::Key),
        ],
    );
    check("d int=''", &[column("d", Type::Int4, Source::Constant(String::new()))]);
}

#[test]
fn header_names_may_have_points_and_dashes() {
    check(
        r#"header.content-type, x = header.a.b, y = header."with space""#,
        &[
            column("header.content-type", Type::Text, Source::Header("content-type".to_owned())),
            column("x", Type::Text, Source::Header("a.b".to_owned())),
            column("y", Type::Text, Source::Header("with space".to_owned())),
        ],
    );
}

#[test]
fn paths_are_understood() {
    let value = |steps: &[Step]| path(PathRoot::Value, steps);
    check("order_id", &[column("order_id", Type::Text, value(&[member("order_id")]))]);
    check(
        "sku text = value.order.lines[0].\"s k\", id = key.id",
        &[
            column(
                "sku",
                Type::Text,
                value(&[member("order"), member("lines"), Step::Index(0), member("s k")]),
            ),
            column("id", Type::Text, path(PathRoot::Key, &[member("id")])),
        ],
    );
    check_error(&format!("x = value{}", ".a".repeat(200)), "a path of more than 100 steps");
}

#[test]
fn wrong_lists_are_refused_with_the_place() {
    for (text, expected) in [
        ("", "column 1 has no name"),
        ("key,", "column 2 has no name"),
        ("key,,value", "column 2 has no name"),
        ("= key", "column 1 has no name"),
        ("\"\" = key", "a name is empty"),
        ("\"key", "closing \" is missing"),
        ("a = 'x", "closing ' is missing"),
        ("a = value[x]", "[x] is no index"),
        ("a =", "column a: nothing follows the ="),
        ("a = key value", "a comma was expected before value"),
        ("a = nosuch", "column a: nosuch is no source"),
        ("a 'x'", "column a: ' was not expected here"),
        ("key numeric(1001,2)", "column key: the number in parentheses behind numeric must be"),
        ("key strnig", "column key: the binary form of strnig is not known: declare an enum"),
        ("key mood[]", "column key: the binary form of mood[] is not known"),
        ("key enum[]", "column key: in binary an array names the OID"),
        ("key text foo", "column key: text foo is no type that is known"),
        ("topic int", "column topic: topic cannot be of type int4; possible: text"),
        ("partition bytea", "partition cannot be of type bytea; possible: int4, int8, int2, text"),
        (
            "t int4 = timestamp",
            "column t: timestamp cannot be of type int4; possible: timestamptz, timestamp (in UTC), int8, text",
        ),
        ("headers bytea", "headers cannot be of type bytea"),
    ] {
        check_error(text, expected);
    }
    check_error(&vec!["key"; 1601].join(","), "1601 columns are more than");
}

#[test]
fn produce_takes_members_and_refuses_double_targets() {
    let check = |text: &str, expected: Option<&str>| {
        let result = Columns::parse(text).expect("a valid list").targets();
        match (result, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => {
                assert!(error.to_string().contains(expected), "{text}: {error}");
            }
            (result, _) => panic!("{text}: {result:?}"),
        }
    };
    check("key, id int8, name, doc jsonb", None);
    check("k = key, payload = value, offset, timestamp_type, x = 'c', y = 'c'", None);
    check("key, value, headers, header.a, header.b, partition, timestamp, topic", None);
    check("key, k = key", Some("column k: column key is the record's key already"));
    check("header.a, b = header.a", Some("column b: column header.a is the record's header.a already"));
    check("a, b = value.a", Some("column b: column a is the record's value.a already"));
    check("value, id", Some("column id: column value is the whole value already"));
    check("id = value.a.b, x = value.a.c, y = key.a, z = key.b.c", None);
    check("a, b = value.a.b", Some("column b: one of value.a and value.a.b is part of the other"));
    check("b = key.a.b, c = key.a", Some("column c: one of key.a.b and key.a is part of the other"));
    check("key, id = key.a", Some("column id: column key is the whole key already"));
    check("id = value.a[0]", Some("column id: value.a[0] is an element of an array"));
}

#[test]
fn targets_follow_the_sources() {
    let targets = |text: &str| Columns::parse(text).and_then(|columns| columns.targets()).expect("valid");
    assert_eq!(
        targets("k = key, value, offset, x = 'c', header.a, timestamp"),
        [
            Target::Key,
            Target::Value,
            Target::Skip,
            Target::Skip,
            Target::Header("a".to_owned()),
            Target::Timestamp
        ]
    );
    assert_eq!(
        targets("key, id, offset, n = timestamp_type, x = value.y"),
        [
            Target::Key,
            Target::Member(vec!["id".to_owned()]),
            Target::Member(vec!["offset".to_owned()]),
            Target::Skip,
            Target::Member(vec!["y".to_owned()])
        ]
    );
}
