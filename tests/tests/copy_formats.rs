//! Payloads that the shell way damages, through `kcopy produce` and `kcopy consume` in every format of COPY.

use kcopy_tests::{Broker, Database};

const FORMATS: [&str; 3] = ["text", "csv", "binary"];

/// Values that trip over COPY's escapes, over NULL, over encodings or over sizes. One row each; the order is Kafka's.
const AWKWARD_TEXT: &str = r#"
create table source(n int, key text, value text, headers jsonb);
insert into source values
  (0, 'plain', 'value', '[]'),
  (1, 'quotes', '"double" ''single'' `back`', '[]'),
  (2, 'backslashes', 'C:\new\table\\N', '[]'),
  (3, 'tab', E'a\tb\t', '[]'),
  (4, 'newlines', E'a\nb\r\nc\r', '[]'),
  (5, 'end of data', '\.', '[]'),
  (6, 'end of data, within', E'a\n\\.\nb', '[]'),
  (7, null, 'no key', '[]'),
  (8, 'tombstone', null, '[]'),
  (9, '', 'empty key', '[]'),
  (10, 'empty value', '', '[]'),
  (11, '', '', '[]'),
  (12, null, null, '[]'),
  (13, 'null in words', '\N', '[]'),
  (14, 'emoji', '😀 ünï ﷽ ' || chr(127), '[]'),
  (15, 'commas;semicolons', 'a,b;c|d' || chr(1), '[]'),
  (16, 'json', '{"a":"b\"c\\d\n"}', '[]'),
  (17, 'one megabyte', repeat('0123456789abcde' || E'\n', 62500), '[]'),
  (18, 'spaces', '   ', '[]'),
  (19, 'headers', 'x', '[["a","1"],["a","2"],["empty",""],["nothing",null]]');
"#;

/// The same for bytes that are no text.
const AWKWARD_BYTES: &str = r#"
create table source(n int, key bytea, value bytea, headers jsonb);
insert into source
  select n, set_byte('\x00', 0, n), set_byte('\x00'::bytea, 0, n) || '\x5c'::bytea, '[]' from generate_series(0, 255) n;
insert into source values
  (256, '', '\xff00fe', '[]'), (257, null, '\xc328', '[]'), (258, '\x00', null, '[]'), (259, '\x00', '', '[]');
"#;

/// Out with `kcopy produce`, back with `kcopy consume`, compared by PostgreSQL.
fn round_trip(prepare: &str, kind: &str) {
    let broker = Broker::start();
    let mut database = Database::create();
    let bootstrap = broker.bootstrap();
    database.execute(prepare);
    let rows = database.value("select count(*) from source").parse::<u64>().expect("a count");
    for format in FORMATS {
        let topic = broker.create(&format!("awkward-{kind}-{format}"), 1);
        let columns = format!("key {kind}, value {kind}, headers jsonb");
        let out = format!(
            "copy (select key, value, headers from source order by n) to program \
             'kcopy produce -q -b {bootstrap} --format {format} --columns \"{columns}\" {topic}' \
             (format {format}, encoding 'UTF8')"
        );
        assert_eq!(database.count(&out), rows, "{format}");

        let columns = format!("{columns}, topic, partition int, offset bigint, timestamp timestamptz");
        let back = format!(
            "copy back from program 'kcopy consume -q -b {bootstrap} --format {format} --columns \"{columns}\" {topic}' \
             (format {format}, encoding 'UTF8')"
        );
        database.execute(&format!(
            "drop table if exists back; create table back(key {kind}, value {kind}, headers jsonb, topic text, \
             partition int, n bigint, timestamp timestamptz)"
        ));
        assert_eq!(database.count(&back), rows, "{format}");
        for (one, other) in [("source", "back"), ("back", "source")] {
            let missing = format!(
                "select n, left(key::text, 20), left(value::text, 60), headers from \
                 (select n, key, value, headers from {one} except select n, key, value, headers from {other}) missing"
            );
            assert_eq!(
                database.rows(&missing),
                Vec::<String>::new(),
                "{format}: in {one} and not in {other}"
            );
        }
        let metadata = format!(
            "select count(*) from back where topic = '{topic}' and partition = 0 \
             and timestamp between now() - interval '1 hour' and now() + interval '1 minute'"
        );
        assert_eq!(database.value(&metadata), rows.to_string(), "{format}");
    }
}

#[test]
fn text_survives_every_format_both_ways() {
    round_trip(AWKWARD_TEXT, "text");
}

#[test]
fn bytes_survive_every_format_both_ways() {
    round_trip(AWKWARD_BYTES, "bytea");
}

#[test]
fn the_bytes_in_kafka_are_the_bytes_of_the_column() {
    let broker = Broker::start();
    let mut database = Database::create();
    let bootstrap = broker.bootstrap();
    for format in FORMATS {
        let topic = broker.create(&format!("bytes-{format}"), 1);
        let out = format!(
            "copy (values ('k'::text, E'a\\tb\\n\"\\\\'::text), (null, ''), ('', null)) to program \
             'kcopy produce -q -b {bootstrap} --format {format} --columns key,value {topic}' \
             (format {format}, encoding 'UTF8')"
        );
        assert_eq!(database.count(&out), 3);
        let printed = broker.kcat(&["-C", "-qe", "-t", &topic, "-f", "<%K:%k %S:%s>"], b"").expect_success();
        assert_eq!(printed.text(), "<1:k 6:a\tb\n\"\\><-1: 0:><0: -1:>", "{format}");
    }
}

#[test]
fn consume_into_produce_copies_a_topic_in_every_format() {
    let broker = Broker::start();
    let origin = broker.create("origin", 1);
    let headers = ["-H", "a=1", "-H", "a=2", "-H", "empty=", "-H", "nothing"];
    let arguments = [&["-P", "-t", &origin, "-K", ":", "-Z", "-D", "#"][..], &headers].concat();
    broker.kcat(&arguments, b"k:v#:v#k:#a\tb:c\nd\\#plain").expect_success();
    let fingerprint = |topic: &str| {
        let columns = "key bytea, value bytea, headers jsonb, timestamp timestamptz";
        let arguments = ["-q", "--format", "binary", "--columns", columns, topic];
        broker.kcopy("consume", &arguments, b"").expect_success().stdout
    };
    for format in FORMATS {
        let copy = broker.create(&format!("copy-{format}"), 1);
        let columns = "key bytea, value bytea, headers jsonb, timestamp timestamptz";
        let arguments = ["-q", "--format", format, "--columns", columns];
        let read = broker.kcopy("consume", &[&arguments[..], &[&origin]].concat(), b"").expect_success();
        broker.kcopy("produce", &[&arguments[..], &[&copy]].concat(), &read.stdout).expect_success();
        assert!(fingerprint(&copy) == fingerprint(&origin), "{format}: the copy differs");
    }
}

#[test]
fn client_encoding_needs_its_name() {
    let broker = Broker::start();
    let mut database = Database::create();
    let bootstrap = broker.bootstrap();
    let topic = broker.create("encoding", 1);
    broker.kcat(&["-P", "-t", &topic], "é\n".as_bytes()).expect_success();
    database.execute("create table loaded(value text); set client_encoding = 'LATIN1'");
    let load =
        format!("copy loaded from program 'kcopy consume -q -b {bootstrap} {topic}' (encoding 'UTF8')");
    assert_eq!(database.count(&load), 1);
    assert_eq!(database.value("select length(value) from loaded"), "1");
}

/// What arrives is what was sent, or the run fails: in which IntervalStyle a session writes, nobody tells us.
#[test]
fn intervals_arrive_whatever_style_they_are_written_in() {
    let broker = Broker::start();
    let mut database = Database::create();
    let bootstrap = broker.bootstrap();
    // The last two are of one sign and of two fields: sql_standard writes one minus for both.
    let intervals = "array['0', '1 day', '-1 mons', '-4:05:06.7', '1 year 2 mons', '-1 years -2 mons', '3 days 04:05:06',
         '1 mon -3 days', '-1 mons +3 days 04:05:06', '-1 mons -3 days -04:05:06', '1 year -04:05:06', '-3 days +04:00:00',
         '-3 days -04:05:06', '-1 days -00:00:01']::interval[]";
    database.execute("create table back(i interval)");
    for (style, format) in ["postgres", "postgres_verbose", "iso_8601", "sql_standard"]
        .into_iter()
        .flat_map(|style| ["text", "csv"].map(|format| (style, format)))
    {
        let topic = broker.create(&format!("intervals-{style}-{format}"), 1);
        database.execute(&format!("truncate back; set intervalstyle = {style}"));
        let out = |which: &str, columns: &str, value: &str| {
            format!(
                "copy (select {value} from unnest({intervals}) with ordinality u(i, n) where {which}) to program \
                 'kcopy produce -q -b {bootstrap} --format {format} --columns \"{columns}\" {topic}' (format {format})"
            )
        };
        let refused = if style == "sql_standard" { 2 } else { 0 };
        for n in 15 - refused..15 {
            for (columns, value) in [("i interval", "i"), ("key interval", "i"), ("i interval[]", "array[i]")]
            {
                database.error(&out(&format!("n = {n}"), columns, value));
                let log = database.server_log();
                assert!(log.contains("set intervalstyle = postgres or iso_8601"), "{style} {format}: {log}");
            }
        }
        assert_eq!(database.count(&out(&format!("n < {}", 15 - refused), "i interval", "i")), 14 - refused);
        database.execute(&format!(
            "reset intervalstyle; copy back from program \
             'kcopy consume -q -b {bootstrap} --columns \"i interval = value.i\" {topic}'"
        ));
        let kept = format!("select array_agg(i) = ({intervals})[:{}] from back", 14 - refused);
        assert_eq!(database.value(&kept), "t", "{style} {format}");
    }
    // A column without a type is text, which means to us what it means to PostgreSQL.
    assert_eq!(database.value("select '-3 4:05:06'::interval"), "-3 days +04:05:06");
}
