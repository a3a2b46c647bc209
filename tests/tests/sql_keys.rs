//! `kcopy.load` with `mode => 'upsert'`: keys are equal where the table has them equal, whatever the records say.

use kcopy_tests::{Loading, skipped};

fn setting() -> Loading {
    let mut loading = Loading::start();
    loading.database.execute(
        "create domain price as numeric(10,2); create domain cost as price; create domain v3 as varchar(3);
         create domain v3s as varchar(3)[]; set timezone = 'UTC'",
    );
    loading
}

#[test]
fn keys_are_compared_as_the_table_stores_them() {
    let mut loading = setting();
    let has_icu = loading.database.value("select count(*) from pg_collation where collprovider = 'i'") != "0";
    if has_icu {
        loading.database.execute(
            "create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        );
    } else {
        skipped("keys_are_compared_as_the_table_stores_them", "this PostgreSQL has no ICU: no collations");
    }
    for (n, (ty, keys)) in [
        ("numeric(10,2)", ["1.001", "1.002"]),
        ("price", ["1.001", "1.002"]),
        ("cost", ["1.001", "1.002"]),
        ("numeric(10,2)[]", ["{1.001,NULL}", "{1.002,NULL}"]),
        ("price[]", ["{1.001}", "{1.002}"]),
        ("timestamptz(0)", ["2026-01-01 00:00:00.1Z", "2026-01-01 00:00:00.2Z"]),
        ("timestamp(1)", ["2026-01-01 00:00:00.01", "2026-01-01 00:00:00.02"]),
        ("time(0)", ["12:00:00.1", "12:00:00.2"]),
        ("interval(0)", ["1 day 00:00:00.1", "1 day 00:00:00.2"]),
        ("interval day to second(0)", ["1 day 00:01:10.1", "1 day 00:01:10.2"]),
        ("varchar(3)", ["abc ", "abc  "]),
        ("varchar(3)[]", ["{\"abc \",NULL}", "{\"abc  \",NULL}"]),
        ("v3", ["abc ", "abc  "]),
        ("v3[]", ["{{\"abc \"}}", "{{\"abc  \"}}"]),
        ("v3s", ["{\"abc \"}", "{\"abc  \"}"]),
        ("char(3)", ["a", "a "]),
        ("text collate nocase", ["Ann", "aNN"]),
        ("varchar(5) collate nocase", ["Ann", "ANN"]),
        ("varchar(5)[] collate nocase", ["{Ann}", "{ANN}"]),
    ]
    .into_iter()
    .enumerate()
    .filter(|(_, (ty, _))| has_icu || !ty.contains("nocase"))
    {
        let topic = loading.topic(&format!("keys-{n}"), 1);
        loading.produce(&topic, 0, &[&format!("{}\t1", keys[0]), &format!("{}\t2", keys[1])]);
        loading.produce(&topic, 0, &[&format!("{}\t\\N", keys[0])]);
        for on_error in ["fail", "skip"] {
            let call = format!(
                "'{topic}', 't', columns => 'k = key, v = value', mode => 'upsert', on_error => '{on_error}'"
            );
            loading.database.execute(&format!(
                "drop table if exists t; create table t(k {ty} primary key, v text); insert into t values ('{}', '0')",
                keys[1]
            ));
            assert_eq!(loading.load(&format!("{call}, max_rows => 2")), ["0|2|0|2"], "{ty}");
            assert_eq!(loading.database.rows("select v from t"), ["2"], "{ty} {on_error}");
            // The tombstone has the first key, which is the second one's by now.
            assert_eq!(loading.load(&call), ["0|1|0|3"], "{ty}");
            assert_eq!(loading.database.value("select count(*) from t"), "0", "{ty} {on_error}");
        }
    }
}

#[test]
fn a_key_that_is_too_long_is_refused_in_tombstones_too() {
    let mut loading = setting();
    for (n, (ty, key, code)) in [
        ("varchar(3)", "abcd", "22001"),
        ("v3", "abcd", "22001"),
        ("varchar(3)[]", "{abcd}", "22001"),
        ("v3[]", "{abcd}", "22001"),
        ("char(3)", "abcd", "22001"),
        ("bit(3)", "1011", "22026"),
        ("varbit(3)", "1011", "22001"),
        ("bit(3)[]", "{1011}", "22026"),
        ("numeric(3,2)", "10", "22003"),
    ]
    .into_iter()
    .enumerate()
    {
        let topic = loading.topic(&format!("long-{n}"), 1);
        loading.produce(&topic, 0, &[&format!("{key}\t\\N")]);
        loading
            .database
            .execute(&format!("drop table if exists t; create table t(k {ty} primary key, v text)"));
        let call = format!("'{topic}', 't', columns => 'k = key, v = value', mode => 'upsert'");
        assert_eq!(loading.error(&call).code, code, "{ty}");
        assert_eq!(loading.load(&format!("{call}, on_error => 'skip'")), ["0|0|1|1"], "{ty}");
    }
}

#[test]
fn columns_with_names_of_ours_are_columns_like_others() {
    let mut loading = Loading::start();
    let topic = loading.topic("named", 1);
    loading.produce(&topic, 0, &["a\t1", "b\t2", "a\t3", "b\t\\N"]);
    let names =
        ["kcopy_offset", "kcopy_partition", "kcopy_tombstone", "kcopy_row", "kcopy0_offset", "kcopy1_"];
    let defined = names.map(|name| format!("{name} text")).join(", ");
    let filled = names.map(|name| format!("{name} = value")).join(", ");
    for on_error in ["fail", "skip"] {
        loading.database.execute(&format!(
            "drop table if exists t; create table t(kcopy_value text primary key, {defined})"
        ));
        let call = format!(
            "'{topic}', 't', columns => 'kcopy_value = key, {filled}', mode => 'upsert', on_error => '{on_error}'"
        );
        assert_eq!(loading.load(&call), ["0|4|0|4"], "{on_error}");
        assert_eq!(loading.database.rows("select * from t"), ["a|3|3|3|3|3|3"], "{on_error}");
    }
}

#[test]
fn a_tombstone_deletes_no_row_of_another_table() {
    let mut loading = Loading::start();
    let topic = loading.topic("children", 1);
    loading.produce(&topic, 0, &["a\t1", "b\t2", "a\t\\N"]);
    for (made, kept) in [
        ("create table t(k text primary key, v text); create table child() inherits (t); insert into child values ('a', '0')",
         vec!["a|0", "b|2"]),
        ("create table t(k text primary key, v text) partition by list (k); create table child partition of t default;
          insert into t values ('a', '0')", vec!["b|2"]),
    ] {
        for on_error in ["fail", "skip"] {
            loading.database.execute("drop table if exists t cascade");
            loading.database.execute(made);
            let call = format!("'{topic}', 't', columns => 'k = key, v = value', mode => 'upsert', on_error => '{on_error}'");
            assert_eq!(loading.load(&call), ["0|3|0|3"], "{on_error}");
            assert_eq!(loading.database.rows("select * from t order by k"), kept, "{on_error}");
        }
    }
}

#[test]
fn records_apply_in_their_order_where_another_column_is_unique() {
    let mut loading = Loading::start();
    for (at, (lines, after)) in [
        // A value that goes with its key, and one that changes and changes again.
        (&["2\t\\N", "1\tx"][..], &["1|x"][..]),
        (&["2\ty", "1\tx", "2\tz"], &["1|x", "2|z"]),
    ]
    .into_iter()
    .enumerate()
    {
        let topic = loading.topic(&format!("freed-{at}"), 1);
        loading.produce(&topic, 0, lines);
        for on_error in ["fail", "skip"] {
            loading.database.execute(
                "drop table if exists t; create table t(k text primary key, u text unique); insert into t values (2, 'x')",
            );
            let call = format!(
                "'{topic}', 't', columns => 'k = key, u = value', mode => 'upsert', on_error => '{on_error}'"
            );
            let count = lines.len();
            assert_eq!(loading.load(&call), [format!("0|{count}|0|{count}")], "{at} {on_error}");
            assert_eq!(loading.database.rows("select * from t order by k"), after, "{at} {on_error}");
        }
        // One that is taken for good is named.
        loading.produce(&topic, 0, &["3\tfree", "4\tx"]);
        let error =
            loading.error(&format!("'{topic}', 't', columns => 'k = key, u = value', mode => 'upsert'"));
        let place = format!("{topic} [0] offset {}", lines.len() + 1);
        assert!(error.code == "23505" && format!("{error:?}").contains(&place), "{error:?}");
    }
}
