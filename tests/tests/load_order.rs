//! `kcopy load`: which of several records with one key stays, and in which order rows are numbered.

use std::fmt::Write;

use kcopy_tests::WireLoad;

/// The key and the padding of a record: both jump about, so that rows differ much in size.
fn record(n: u64) -> (u64, usize) {
    let mixed = (n + 7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 33) % 3000, (mixed >> 50) as usize % 200)
}

#[test]
fn the_last_of_equal_keys_stays_however_large_the_rows_are() {
    const COUNT: u64 = 30_000;
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("sizes", 1);
    let mut lines = String::new();
    for n in 0..COUNT {
        let (key, padding) = record(n);
        // The last of some keys says that they are gone.
        let _ = match n >= COUNT - 200 {
            true => writeln!(lines, "{key}:"),
            false => writeln!(lines, "{key}:{{\"seq\":{n},\"note\":\"{}\"}}", "x".repeat(padding)),
        };
    }
    setting.broker.kcat(&["-P", "-t", &topic, "-K:", "-Z"], lines.as_bytes()).expect_success();
    // Columns that are called as those that a load adds to its stage, and as text since a range is one of them.
    for (table, more) in [("bin", "kcopy_ordinal int4, kcopy_tombstone int4"), ("txt", "r int4range")] {
        setting
            .database
            .execute(&format!("create table {table}(id int primary key, seq int, note text, {more})"));
        let columns = match table {
            "bin" => "id = key, seq, note, kcopy_ordinal = value.seq, kcopy_tombstone = value.seq",
            _ => "id = key, seq, note, r",
        };
        let upsert =
            [&topic, "--into", table, "--columns", columns, "--mode", "upsert", "--delete-on-tombstone"];
        setting.load(&upsert).expect_success();
        let mut expected = std::collections::BTreeMap::new();
        for n in 0..COUNT {
            match n >= COUNT - 200 {
                true => expected.remove(&record(n).0),
                false => expected.insert(record(n).0, n),
            };
        }
        let expected: Vec<String> = expected.iter().map(|(key, n)| format!("{key}|{n}")).collect();
        let found = setting.database.rows(&format!("select id, seq from {table} order by id"));
        let wrong = found.iter().zip(&expected).filter(|(found, expected)| found != expected).count();
        assert!(found == expected, "{table}: {wrong} of {} keys hold another record", expected.len());
    }
}

#[test]
fn identities_follow_the_offsets_where_row_security_asks_for_a_stage() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("numbered", 1);
    let line = |n: u64| format!("k:{{\"n\":{n},\"note\":\"{}\"}}\n", "x".repeat(record(n).1));
    setting.produce(&topic, &(0..20_000).map(line).collect::<String>());
    let database = setting.database.value("select current_database()");
    setting.database.execute(&format!(
        "create role numberer login;
         create table numbered(id int8 generated always as identity, n int4, note text);
         grant insert, select on numbered to numberer; grant create, temp on database {database} to numberer;
         alter table numbered enable row level security; create policy p on numbered using (true)"
    ));
    let url = setting.database.url().replace("postgres@", "numberer@");
    let load = setting.broker.kcopy("load", &[&topic, "-d", &url, "--into", "numbered"], b"");
    setting.database.execute("drop owned by numberer; drop role numberer");
    load.expect_success();
    let wrong = "select count(*), count(*) filter (where id <> n + 1) from numbered";
    assert_eq!(setting.database.rows(wrong), ["20000|0"]);
}
