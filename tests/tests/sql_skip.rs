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
