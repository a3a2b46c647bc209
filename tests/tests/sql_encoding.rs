//! `kcopy.load` in databases whose encoding lacks characters that records and names have.

use std::fs;

use kcopy_tests::{Broker, Database, Loading, installation, server_program};

fn setting(encoding: &str) -> Loading {
    let options = format!("encoding '{encoding}' locale 'C'");
    Loading::on(Broker::ours(&[]), Database::create_as(&options))
}

fn produce(loading: &Loading, topic: &str, values: &[&str]) {
    let input = values.iter().map(|value| format!("{value}\n")).collect::<String>();
    loading.broker.kcopy("produce", &[topic, "--format", "raw"], input.as_bytes()).expect_success();
}

#[test]
fn names_and_constants_reach_the_program_in_its_encoding() {
    for encoding in ["LATIN1", "EUC_JP", "SQL_ASCII", "UTF8"] {
        let mut loading = setting(encoding);
        let topic = loading.topic("names", 1);
        let path = loading.database.folder().join("program ¶'");
        fs::copy(server_program(&loading.database.folder(), loading.broker.bootstrap()), &path)
            .expect("a copy");
        loading.database.execute(&installation(&path));
        // A letter that all of them have.
        produce(&loading, &topic, &[r#"{"größe %1": "ä", "n": 7}"#.replace(['ö', 'ß', 'ä'], "¶").as_str()]);
        loading.database.execute("create table t()");
        for more in
            ["", ", on_error => 'skip'", ", mode => 'upsert'", ", mode => 'upsert', on_error => 'skip'"]
        {
            loading.database.execute(
                "drop table t; create table t(\"gr¶¶e %1\" text primary key, n int, c text); delete from kcopy.offsets",
            );
            let load = format!("'names', 't', columns => '\"gr¶¶e %1\", n, c = ''it''''s %%¶\\'''{more}");
            assert_eq!(loading.load(&load), ["0|1|0|1"], "{encoding} {more}");
            assert_eq!(loading.database.value("select lag from kcopy.lag()"), "0");
            assert_eq!(loading.database.rows("select * from t"), ["¶|7|it's %%¶\\"], "{encoding} {more}");
        }
    }
}

#[test]
fn what_the_encoding_lacks_is_skipped_with_its_bytes() {
    for encoding in ["LATIN1", "EUC_JP"] {
        let mut loading = setting(encoding);
        let topic = loading.topic("lacking", 1);
        loading.database.execute("create table t(t text, a text[], b bytea, n int)");
        let values = [
            r#"{"t": "a\\%045\n¶", "a": ["¶ %", null, "\\"], "b": "\\x25c2b6", "n": 1}"#,
            r#"{"t": "€😀", "n": 2}"#,
            r#"{"t": "x", "a": ["😀"], "n": 3}"#,
            r#"{"t": "y", "n": "😀 \\u20ac"}"#,
            r#"{"t": "z", "n": 5}"#,
        ];
        produce(&loading, &topic, &values);
        for client in ["UTF8", encoding] {
            loading.database.execute(&format!(
                "truncate t, kcopy.rejected, kcopy.offsets; set array_nulls = off; set client_encoding = '{client}'"
            ));
            assert_eq!(
                loading.load("'lacking', 't', on_error => 'skip'"),
                ["0|2|3|5"],
                "{encoding} {client}"
            );
            loading.database.execute("reset client_encoding; set client_encoding = 'UTF8'");
            assert_eq!(
                loading.database.rows("select t, a[1], a[2] is null, a[3], b, n from t order by n"),
                ["a\\%045\n¶|¶ %|t|\\|\\x25c2b6|1", "z|∅|t|∅|∅|5"]
            );
            let rejected = loading.database.rows(
                "select \"offset\", value, left(reason, 5), reason from kcopy.rejected order by \"offset\"",
            );
            for (row, (n, code)) in rejected.iter().zip([(1, "22P05"), (2, "22P05"), (3, "topic")]) {
                let bytes = values[n].bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
                assert!(row.starts_with(&format!("{n}|\\x{bytes}|{code}|")), "{encoding} {client}: {row}");
            }
            assert!(rejected[2].contains(r#""\ud83d\ude00 \\u20ac" cannot be int4"#), "{}", rejected[2]);
        }
        // Without skipping, PostgreSQL says so.
        loading.database.execute("truncate t, kcopy.rejected, kcopy.offsets");
        assert_eq!(loading.error("'lacking', 't', columns => 't'").code, "22P05");
        // And so does the program, with what can be shown of it.
        let error = loading.error("'lacking', 't', columns => 'n'");
        assert_eq!(error.code, "38000");
        assert!(error.message.contains(r#"offset 3, column n: "\ud83d\ude00 \\u20ac""#), "{error:?}");
    }
}
