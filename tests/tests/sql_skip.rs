//! `kcopy.load`: rows that a table does not take are refused as an INSERT refuses them, or skipped one by one.

use kcopy_tests::Loading;

/// A role with nothing but `kcopy_loader`: everything goes through a stage.
const PLAIN: &str = "do $$ begin
        if not exists (select from pg_roles where rolname = 'plain') then create role plain; end if;
    exception when duplicate_object or unique_violation then null; end $$;
    grant kcopy_loader to plain;";

/// A database with these tables, all of them open to the role that loads.
fn setting(tables: &str) -> Loading {
    let mut loading = Loading::start();
    loading.database.execute(&format!(
        "{PLAIN} create schema own; grant usage on schema own to plain; set search_path = own; {tables};
         grant select, insert, update, delete on all tables in schema own to plain; set role plain"
    ));
    loading
}

#[test]
fn what_is_too_long_for_a_domain_is_refused_and_not_cut() {
    for (ty, long, short) in [
        ("v3", r#""abcdef""#, r#""abc""#),
        ("b3", r#""10110""#, r#""101""#),
        ("v3inner", r#""abcdef""#, r#""abc""#),
        ("v3[]", r#"["abcdef"]"#, r#"["abc"]"#),
        ("v3s", r#"["abcdef"]"#, r#"["abc"]"#),
        // Of arrays of arrays only the text is known.
        ("v3s[]", r#"["{abcdef}"]"#, r#"[["abc"]]"#),
        ("varchar(3)", r#""abcdef""#, r#""abc""#),
    ] {
        let mut loading = setting(&format!(
            "create domain v3 as varchar(3); create domain v3inner as v3; create domain b3 as bit(3);
             create domain v3s as varchar(3)[]; create table t(k text primary key, d {ty}); create table u(k {ty} primary key)"
        ));
        let topic = loading.topic("long", 1);
        let value = |json: &str| format!("k\t{{\"d\": {}}}", json.replace("[[\"abc\"]]", "[\"{abc}\"]"));
        loading.produce(&topic, 0, &[&value(long)]);
        for mode in ["append", "upsert"] {
            let call = format!("'long', 'own.t', columns => 'k = key, d = value.d', mode => '{mode}'");
            let error = loading.error(&call);
            assert!(error.code.starts_with("22"), "{ty} {mode}: {error:?}");
            let skip = format!("{call}, on_error => 'skip'");
            loading.database.execute("begin");
            assert_eq!(loading.load(&skip), ["0|0|1|1"], "{ty} {mode}");
            loading.database.execute("rollback");
        }
        let call = "'long', 'own.u', columns => 'k = value.d', mode => 'upsert', on_error => 'skip'";
        assert_eq!(loading.load(call), ["0|0|1|1"], "{ty}");
        loading.produce(&topic, 0, &[&value(short)]);
        assert_eq!(loading.load(call), ["0|1|0|2"], "{ty}");
        assert_eq!(loading.database.value("select to_json(k)::text from own.u"), short, "{ty}");
    }
}

#[test]
fn whatever_a_table_refuses_a_row_for_it_can_be_skipped() {
    for (what, table, bad, code) in [
        (
            "a trigger",
            "create table t(n text);
             create function no() returns trigger language plpgsql as
                 $$ begin if new.n = 'bad' then raise exception 'not %', new.n; end if; return new; end $$;
             create trigger no before insert on t for each row execute function no()",
            "bad",
            "P0001",
        ),
        (
            "an assertion",
            "create table t(n text);
             create function no() returns trigger language plpgsql as
                 $$ begin assert new.n <> 'bad'; return new; end $$;
             create trigger no before insert on t for each row execute function no()",
            "bad",
            "P0004",
        ),
        (
            "row security",
            "create table t(n text); alter table t enable row level security;
             create policy p on t using (true) with check (n <> 'bad')",
            "bad",
            "42501",
        ),
        ("a query", "create table t(n tsquery)", "a &", "42601"),
        ("a name", "create table t(n regclass)", "nowhere", "42P01"),
        ("a type", "create table t(n regtype)", "nothing", "42704"),
    ] {
        let mut loading = setting(table);
        let topic = loading.topic("refused", 1);
        let good = match what {
            "a type" => "text",
            "a name" => "pg_class",
            _ => "1",
        };
        loading.produce(&topic, 0, &[&format!("a\t{good}"), &format!("b\t{bad}"), &format!("c\t{good}")]);
        let call = "'refused', 'own.t', columns => 'n = value'";
        assert_eq!(loading.error(call).code, code, "{what}");
        assert_eq!(loading.load(&format!("{call}, on_error => 'skip'")), ["0|2|1|3"], "{what}");
        assert_eq!(
            loading.database.value("select \"offset\", left(reason, 5) from kcopy.rejected"),
            format!("1|{code}"),
            "{what}"
        );
    }
    // Too long for its index.
    let mut loading = setting("create table t(n text); create index on t(n)");
    let topic = loading.topic("refused", 1);
    let long: String = (0..1000).map(|n: u32| format!("{:08x}", n.wrapping_mul(0x9e37_79b9))).collect();
    loading.produce(&topic, 0, &["a\t1", &format!("b\t{long}")]);
    assert_eq!(loading.load("'refused', 'own.t', columns => 'n = value', on_error => 'skip'"), ["0|1|1|2"]);
    assert_eq!(loading.database.value("select left(reason, 5) from kcopy.rejected"), "54000");
}

#[test]
fn what_is_not_about_a_row_ends_the_load() {
    for code in ["40001", "40P01", "53100", "57014", "XX000", "55P03"] {
        let mut loading = setting(&format!(
            "create table t(n text);
             create function no() returns trigger language plpgsql as
                 $$ begin if new.n = '1' then raise exception using errcode = '{code}'; end if; return new; end $$;
             create trigger no before insert on t for each row execute function no()"
        ));
        let topic = loading.topic("ended", 1);
        loading.produce(&topic, 0, &["a\t0", "b\t1", "c\t2"]);
        let error = loading.error("'ended', 'own.t', columns => 'n = value', on_error => 'skip'");
        assert_eq!(error.code, code, "{error:?}");
        assert_eq!(loading.positions(), Vec::<String>::new());
    }
    // Rights that are missing are missing for every row.
    let mut loading = setting("create table t(n text primary key, v text)");
    let topic = loading.topic("ended", 1);
    loading.produce(&topic, 0, &["a\t0", "b\t1"]);
    loading.database.execute("reset role; revoke update on own.t from plain; set role plain");
    let call = "'ended', 'own.t', columns => 'n = key, v = value', on_error => 'skip'";
    assert_eq!(loading.error(&format!("{call}, mode => 'upsert'")).code, "42501");
    loading.database.execute("reset role; revoke insert on own.t from plain; set role plain");
    assert_eq!(loading.error(call).code, "42501");
    assert_eq!(loading.database.value("select count(*) from kcopy.rejected"), "0");
}

#[test]
fn more_garbage_than_one_report_holds_is_passed_call_by_call() {
    let mut loading = setting("create table t(n int)");
    let topic = loading.topic("garbage", 1);
    loading.produce(&topic, 0, &["a\t{\"n\": 1}"]);
    loading.produce(&topic, 0, &vec!["a\tgarbage"; 10_001]);
    loading.produce(&topic, 0, &["a\t{\"n\": 2}"]);
    let call = "'garbage', 'own.t', on_error => 'skip'";
    assert_eq!(loading.load(&format!("{call}, max_rows => 3")), ["0|1|2|3"]);
    assert_eq!(loading.load(call), ["0|1|9999|10003"]);
    loading
        .database
        .execute("reset role; truncate own.t; delete from kcopy.offsets; delete from kcopy.rejected");
    assert_eq!(loading.load(call), ["0|1|10000|10001"]);
    assert_eq!(loading.load(call), ["0|1|1|10003"]);
    assert_eq!(loading.database.value("select count(distinct \"offset\") from kcopy.rejected"), "10001");
}

#[test]
fn settings_of_the_session_change_no_value() {
    let mut loading = setting(
        "create domain word as text; create table t(n int primary key, a text[], w word[], i interval, d daterange)",
    );
    let topic = loading.topic("settings", 1);
    let value = r#"k	{"n": 1, "a": ["x", null], "w": [null], "i": "-1 days -02:00:00", "d": "[2026-02-01,2026-02-03)"}"#;
    loading.produce(&topic, 0, &[&value.replace('\\', "\\\\").replace("\\\\t", "\t")]);
    loading.database.execute("reset role; grant kcopy_loader to plain");
    for role in ["postgres", "plain"] {
        for client in ["utf8", "latin1"] {
            for more in ["", ", on_error => 'skip'", ", mode => 'upsert'"] {
                loading.database.execute(&format!(
                    "reset all; truncate own.t, kcopy.offsets; set role {role}; set client_encoding = {client};
                     set array_nulls = off; set intervalstyle = sql_standard; set datestyle = 'sql, dmy'"
                ));
                assert_eq!(
                    loading.load(&format!("'settings', 'own.t'{more}")),
                    ["0|1|0|1"],
                    "{role} {client} {more}"
                );
                loading.database.execute("reset all; reset role; set client_encoding = utf8");
                assert_eq!(
                    loading.database.rows("select a[2] is null, w[1] is null, i, d from own.t"),
                    ["t|t|-1 days -02:00:00|[2026-02-01,2026-02-03)"],
                    "{role} {client} {more}"
                );
            }
        }
    }
}
