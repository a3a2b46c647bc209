//! `kcopy.load`: what becomes of positions when topics and partitions come and go, and others load them, too.

use kcopy_tests::{Loading, installation, program, run, server_program};

fn setting() -> Loading {
    let mut loading = Loading::start();
    loading.database.execute("create table t(value text)");
    loading
}

fn add_partition(loading: &Loading, topic: &str, count: &str) {
    loading.broker.topics(&["--alter", "--topic", topic, "--partitions", count]).expect_success();
}

fn recreate(loading: &mut Loading, topic: &str, partitions: u32) {
    loading.broker.topics(&["--delete", "--topic", topic]).expect_success();
    loading.topic(topic, partitions);
}

#[test]
fn partitions_that_were_added_begin_at_their_beginning() {
    let mut loading = setting();
    let topic = loading.topic("np", 1);
    assert_eq!(loading.load("'np', 't', start => 'end'"), ["0|0|0|0"]);
    add_partition(&loading, &topic, "2");
    loading.produce(&topic, 1, &["a\t1", "b\t2", "c\t3"]);
    assert_eq!(loading.load("'np', 't', start => 'end', partitions => '{1}'"), ["1|3|0|3"]);
    // A first load is one, whichever partitions it is for.
    loading.database.execute("delete from kcopy.offsets");
    assert_eq!(loading.load("'np', 't', start => 'end', partitions => '{1}'"), ["1|0|0|3"]);
}

#[test]
fn a_start_is_checked_whether_or_not_it_is_used() {
    let mut loading = setting();
    loading.topic("checked", 1);
    for _ in 0..2 {
        let error = loading.error("'checked', 't', start => 'bogus'");
        assert!(error.message.contains("bogus"), "{error:?}");
        loading.load("'checked', 't'");
    }
}

#[test]
fn who_does_not_wait_loads_what_is_free() {
    let mut loading = setting();
    let topic = loading.topic("free", 3);
    for partition in 0..3 {
        loading.produce(&topic, partition, &["a\t1"]);
    }
    let mut first = loading.database.connect();
    let mut holder = first.transaction().expect("a transaction");
    holder.query("select * from kcopy.load('free', 't', partitions => '{0}')", &[]).expect("a load");
    assert_eq!(loading.load("'free', 't', wait => false"), ["1|1|0|1", "2|1|0|1"]);
    holder.commit().expect("commit");
    let mut holder = first.transaction().expect("a transaction");
    holder.query("select * from kcopy.load('free', 't')", &[]).expect("a load");
    assert_eq!(loading.load("'free', 't', wait => false"), Vec::<String>::new());
}

#[test]
fn an_accepted_loss_settles_partitions_that_are_gone() {
    for wire in [false, true] {
        let mut loading = setting();
        let topic = loading.topic("fewer", 3);
        loading.produce(&topic, 2, &["a\t1"]);
        loading.load("'fewer', 't'");
        recreate(&mut loading, "fewer", 1);
        loading.produce(&topic, 0, &["b\t2"]);
        loading.error("'fewer', 't'");
        if wire {
            let url = loading.database.url();
            let args = [
                "load",
                "fewer",
                "--into",
                "t",
                "--accept-loss",
                "-d",
                &url,
                "-b",
                loading.broker.bootstrap(),
            ];
            run(program("kcopy").args(args)).expect_success();
            assert_eq!(loading.load("'fewer', 't'"), ["0|0|0|1"]);
        } else {
            assert_eq!(loading.load("'fewer', 't', accept_loss => true"), ["0|1|0|1"]);
            assert_eq!(loading.load("'fewer', 't'"), ["0|0|0|1"]);
        }
        assert_eq!(loading.positions().len(), 1);
    }
}

#[test]
fn a_position_of_the_same_topic_is_never_given_up() {
    let mut loading = setting();
    let topic = loading.topic("same", 1);
    loading.produce(&topic, 0, &["a\t1"]);
    loading.load("'same', 't'");
    // What another loader has of a partition that the broker asked does not know yet.
    let other = "insert into kcopy.offsets(target, topic, partition, cluster_id, topic_id, next_offset, rows)
                 select target, topic, 1, cluster_id, topic_id, 5, 5 from kcopy.offsets";
    loading.database.execute(other);
    for call in [
        "select from kcopy.load('same', 't', accept_loss => true)",
        "select from kcopy.reset('same', 't', 'end')",
    ] {
        loading.database.execute(call);
        assert_eq!(loading.positions(), ["0|1|1", "1|5|5"], "{call}");
        // Brokers that have no ids tell nothing: what was there before they were asked is gone.
        loading.database.execute("begin; update kcopy.offsets set topic_id = null where partition = 1");
        loading.database.execute(call);
        assert_eq!(loading.positions(), ["0|1|1"], "{call}");
        loading.database.execute("rollback");
    }
    // What comes after they were asked is not.
    loading.database.execute(
        "create function begin_with_another() returns trigger language plpgsql as $$ begin
             insert into kcopy.offsets(target, topic, partition, next_offset) values (tg_relid, 'same', 2, 0);
             return new; end $$;
         create trigger begin_with_another before insert on t for each row execute function begin_with_another()",
    );
    loading.produce(&topic, 0, &["b\t2"]);
    assert_eq!(loading.load("'same', 't', accept_loss => true"), ["0|1|0|2"]);
    assert_eq!(loading.positions(), ["0|2|2", "1|5|5", "2|0|0"]);
}

#[test]
fn lag_shows_topics_that_are_gone_or_made_anew() {
    let mut loading = setting();
    for name in ["gone", "anew", "well"] {
        let topic = loading.topic(name, 1);
        loading.produce(&topic, 0, &["a\t1"]);
        loading.load(&format!("'{name}', 't'"));
    }
    loading.broker.topics(&["--delete", "--topic", "gone"]).expect_success();
    recreate(&mut loading, "anew", 1);
    loading.produce("well", 0, &["b\t2"]);
    assert_eq!(
        loading.database.rows("select topic, lag, left(problem, 21) from kcopy.lag()"),
        ["anew|∅|the position is one o", "gone|∅|the topic is not there".trim_end_matches('e'), "well|1|∅"]
    );
    assert_eq!(
        loading.database.rows("select topic, target, lag from kcopy.lag(topic => 'well')"),
        ["well|t|1"]
    );
    assert_eq!(loading.database.value("select count(*) from kcopy.lag(target => 't')"), "3");
}

#[test]
fn a_reset_goes_by_the_end_of_when_it_has_the_positions() {
    let mut loading = setting();
    let topic = loading.topic("moved", 1);
    loading.produce(&topic, 0, &["a\t1", "b\t2"]);
    loading.load("'moved', 't'");
    let mut other = loading.database.connect();
    let mut holder = other.transaction().expect("a transaction");
    holder.batch_execute("select 1 from kcopy.offsets for update").expect("locks");
    let mut session = loading.database.connect();
    let reset = std::thread::spawn(move || {
        session.batch_execute("select * from kcopy.reset('moved', 't', 'end')").expect("a reset");
    });
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    loading.database.wait_for(waits, "1");
    loading.produce(&topic, 0, &["c\t3"]);
    holder.batch_execute("update kcopy.offsets set next_offset = 3").expect("a load");
    holder.commit().expect("a commit");
    reset.join().expect("a reset");
    assert_eq!(loading.database.value("select next_offset || ' ' || leader_epoch from kcopy.offsets"), "3 0");
}

#[test]
fn a_reset_of_some_partitions_does_not_wait_for_others() {
    let mut loading = setting();
    let topic = loading.topic("some", 2);
    loading.produce(&topic, 0, &["a\t1"]);
    loading.produce(&topic, 1, &["b\t2"]);
    loading.load("'some', 't'");
    let mut other = loading.database.connect();
    let mut holder = other.transaction().expect("a transaction");
    holder.batch_execute("select from kcopy.load('some', 't', partitions => '{0}')").expect("a load");
    loading.database.execute("set lock_timeout = '20s'");
    let reset = "select * from kcopy.reset('some', 't', 'beginning', '{1}')";
    assert_eq!(loading.database.rows(reset), ["1|1|0"]);
    holder.commit().expect("a commit");
    assert_eq!(loading.positions(), ["0|1|1", "1|0|1"]);
}

/// A table that is made later may get the number of one that is gone, and with it the positions that this has left.
#[test]
fn positions_of_tables_that_are_gone_are_taken_out() {
    let mut loading = setting();
    for name in ["old", "young"] {
        let topic = loading.topic(name, 1);
        loading.produce(&topic, 0, &["a\t1", "b\t2"]);
    }
    loading.database.execute(
        "do $$ begin if not exists (select from pg_roles where rolname = 'importer') then create role importer login; end if;
         exception when duplicate_object or unique_violation then null; end $$;
         grant kcopy_loader to importer; create table kept(value text); grant insert, select on t to importer",
    );
    loading.load("'old', 'kept'");
    let script = installation(&server_program(&loading.database.folder(), loading.broker.bootstrap()));
    let load = "select from kcopy.load('young', 't')";
    let reset = "select from kcopy.reset('young', 't', 'beginning')";
    for way in ["install", "load", "reset", "wire", "held", "repeatable read"] {
        loading
            .database
            .execute("delete from kcopy.offsets where topic = 'young'; create table gone(value text)");
        loading.load("'old', 'gone'");
        loading.database.execute("drop table gone");
        let count = "select count(*) from kcopy.offsets where topic = 'old'";
        assert_eq!(loading.database.value(count), "2", "{way}");
        // Nobody is told of them, and nobody can give them to a table that is not there.
        loading.database.execute("set role importer");
        assert_eq!(loading.database.value("select count(*) from kcopy.lag()"), "0", "{way}");
        assert_eq!(loading.database.value("select count(*) from kcopy.progress"), "0", "{way}");
        loading.database.error("update kcopy.offsets set next_offset = 5 where topic = 'old'");
        loading
            .database
            .error("insert into kcopy.offsets(target, topic, partition, next_offset) values (1, 'x', 0, 1)");
        match way {
            "install" => loading.database.execute(&format!("reset role; {script}")),
            "load" => loading.database.execute(load),
            "reset" => loading.database.execute(reset),
            "repeatable read" => {
                loading.database.execute("begin transaction isolation level repeatable read");
                loading.database.value("select count(*) from kcopy.offsets");
                let mut other = loading.database.connect();
                other
                    .batch_execute("delete from kcopy.offsets where target not in (select oid from pg_class)")
                    .expect("a sweep");
                loading.database.execute(&format!("{load}; commit"));
            }
            // Whoever else is about to take them out is not waited for.
            "held" => {
                let mut other = loading.database.connect();
                let mut holder = other.transaction().expect("a transaction");
                holder.batch_execute("select from kcopy.sweep()").expect("a sweep");
                loading.database.execute(&format!("set lock_timeout = '20s'; {load}; reset lock_timeout"));
                holder.commit().expect("a commit");
            }
            _ => {
                let url = loading.database.url().replace("postgres@", "importer@");
                let args = ["load", "young", "--into", "t", "-b", loading.broker.bootstrap(), "-d", &url];
                // Without DELETE it loads nevertheless.
                loading.database.execute("reset role; revoke delete on kcopy.offsets from kcopy_loader");
                run(program("kcopy").args(args)).expect_success();
                assert_eq!(loading.database.value(count), "2");
                loading.database.execute(
                    "grant delete on kcopy.offsets to kcopy_loader; delete from kcopy.offsets where topic = 'young'",
                );
                run(program("kcopy").args(args)).expect_success();
            }
        }
        assert_eq!(loading.database.value(&format!("reset role; {count}")), "1", "{way}");
        assert_eq!(
            loading.database.value("select target from kcopy.offsets where topic = 'old'"),
            "kept",
            "{way}"
        );
    }
}

/// Waits until a session waits for a lock on a table.
fn somebody_waits(loading: &mut Loading) {
    let mut watch = loading.database.connect();
    let waiting = "select count(*) from pg_locks l join pg_database d on d.oid = l.database \
                   where d.datname = current_database() and l.locktype = 'relation' and not l.granted";
    let deadline = std::time::Instant::now() + kcopy_tests::DEADLINE;
    while watch.query_one(waiting, &[]).expect("locks").get::<_, i64>(0) == 0 {
        assert!(std::time::Instant::now() < deadline, "nobody waits");
        std::thread::yield_now();
    }
}

#[test]
fn what_happens_to_a_table_while_a_load_waits_for_it_is_noticed() {
    let mut loading = Loading::start();
    let topic = loading.topic("altered", 1);
    loading.produce(&topic, 0, &["k\t{\"v\":1.5}"]);
    for (change, reason) in [
        // float8 and int8 take the same room: read as the other one, a value is wrong and no error.
        ("alter table altered alter v type int8", "cannot be int8"),
        ("alter table altered rename to before; create table altered(v float8)", "was renamed, or dropped"),
    ] {
        loading.database.execute("drop table if exists altered, before; create table altered(v float8)");
        let mut other = loading.database.connect();
        let load = format!("select * from kcopy.load('{topic}', 'altered')");
        loading.database.execute(&format!("begin; {change}"));
        let loader =
            std::thread::spawn(move || other.batch_execute(&load).map_err(|error| format!("{error:?}")));
        somebody_waits(&mut loading);
        loading.database.execute("commit");
        let error = loader.join().expect("the loader").expect_err(change);
        assert!(error.contains(reason), "{change}: {error}");
        assert_eq!(loading.database.value("select count(*) from altered"), "0", "{change}");
    }
}

#[test]
fn who_does_not_wait_skips_what_is_held_with_its_table() {
    let mut loading = Loading::start();
    let topic = loading.topic("held", 1);
    loading.produce(&topic, 0, &["k\t{\"v\":1}"]);
    loading.database.execute("create table held(v int4)");
    loading
        .database
        .execute(&format!("begin; truncate held; select * from kcopy.reset('{topic}', 'held', 'beginning')"));
    let mut other = loading.database.connect();
    other.batch_execute("set statement_timeout = '20s'").expect("a limit");
    let call = format!("select * from kcopy.load('{topic}', 'held', wait => false)");
    assert_eq!(other.query(&call, &[]).expect("no waiting").len(), 0);
    loading.database.execute("commit");
    assert_eq!(loading.load(&format!("'{topic}', 'held', wait => false")), ["0|1|0|1"]);
}

#[test]
fn positions_of_other_partitions_tell_that_it_is_another_log() {
    let mut loading = setting();
    let topic = loading.topic("others", 2);
    for partition in 0..2 {
        loading.produce(&topic, partition, &["a\t1"]);
    }
    loading.load("'others', 't', partitions => '{0}'");
    loading.database.execute("update kcopy.offsets set cluster_id = 'elsewhere'");
    let error = loading.error("'others', 't', partitions => '{1}'");
    assert!(
        error
            .message
            .contains("others [1] was never loaded, and the position of [0] is one of cluster elsewhere")
    );
    loading.database.execute("delete from kcopy.offsets");
    loading.load("'others', 't', partitions => '{0}'");

    recreate(&mut loading, &topic, 3);
    for partition in 0..3 {
        loading.produce(&topic, partition, &["b\t2"]);
    }
    loading.database.execute("create role others_loader; grant kcopy_loader to others_loader; grant insert, select, update, delete on t to others_loader");
    for role in ["postgres", "others_loader"] {
        loading.database.execute(&format!("set role {role}"));
        for call in ["partitions => '{1}'", "partitions => '{1,2}', on_error => 'skip'"] {
            let error = loading.error(&format!("'others', 't', {call}"));
            assert!(error.message.contains("was deleted and made anew (id "), "{error:?}");
        }
    }
    loading.database.execute("reset role");
    // Nor where the one with a position is left to somebody else.
    let mut other = loading.database.connect();
    let mut holder = other.transaction().expect("a transaction");
    holder
        .query("select * from kcopy.load('others', 't', partitions => '{0}', accept_loss => true)", &[])
        .expect("a load");
    let error = loading.error("'others', 't', wait => false");
    assert!(error.message.contains("was deleted and made anew (id "), "{error:?}");
    holder.rollback().expect("rollback");
    assert_eq!(loading.database.value("select string_agg(value, ' ') from t"), "1 1");
    assert_eq!(loading.load("'others', 't', partitions => '{1}', accept_loss => true"), ["1|1|0|1"]);
    assert_eq!(loading.load("'others', 't', accept_loss => true"), ["0|1|0|1", "1|0|0|1", "2|1|0|1"]);
    assert_eq!(loading.load("'others', 't', partitions => '{1}'"), ["1|0|0|1"]);
}

#[test]
fn positions_of_two_clusters_are_told_apart_where_loss_is_accepted() {
    let mut loading = setting();
    let topic = loading.topic("clusters", 3);
    for partition in 0..3 {
        loading.produce(&topic, partition, &["a\t1"]);
    }
    loading.load("'clusters', 't'");
    // Some are of another cluster; which of them comes last says nothing of the others.
    for (partitions, expected) in
        [("1", ["0|0|0|1", "1|1|0|1", "2|0|0|1"]), ("0, 2", ["0|1|0|1", "1|0|0|1", "2|1|0|1"])]
    {
        loading.database.execute(&format!(
            "update kcopy.offsets set cluster_id = 'elsewhere', topic_id = 'AAAAAAAAAAAAAAAAAAAAAQ' where partition in ({partitions})"
        ));
        let error = loading.error("'clusters', 't'");
        assert!(error.message.contains("are of two clusters"), "{error:?}");
        assert_eq!(loading.load("'clusters', 't', accept_loss => true"), expected);
        assert_eq!(loading.load("'clusters', 't'"), ["0|0|0|1", "1|0|0|1", "2|0|0|1"]);
    }
    // Without topic ids nothing tells them apart.
    loading.database.execute("update kcopy.offsets set topic_id = null where partition = 0");
    loading.database.execute("update kcopy.offsets set cluster_id = 'elsewhere' where partition = 1");
    let error = loading.error("'clusters', 't', accept_loss => true");
    assert!(error.message.contains("are of two clusters"), "{error:?}");
}
