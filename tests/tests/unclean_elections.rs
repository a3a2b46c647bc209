//! Elections that are not clean: the new leader lacks what was loaded, and writes other records in its place. Nothing
//! shows it but the leader epochs, and both ways name the gap.

use bytes::Bytes;
use kcopy_mini_broker::{Fault, FaultAction, MiniCluster};
use kcopy_tests::{Broker, DEADLINE, Database, Loading, Running, program};
use kcopy_wire::{
    ApiKey, ErrorCode,
    records::{BatchBuilder, BatchOptions, Compression, EndTxnMarker, Headers, ProducerStamp},
};
use std::time::Instant;
use tokio::runtime::Runtime;

const TOPIC: &str = "elections";

/// A cluster of two brokers, whose leaders lose what they shall.
struct Log {
    runtime: Runtime,
    cluster: MiniCluster,
}

impl Log {
    fn new() -> Log {
        let runtime = Runtime::new().expect("a runtime");
        let builder = MiniCluster::builder().nodes(2).topic(TOPIC, 1);
        let cluster = runtime.block_on(builder.start()).expect("a cluster");
        Log { runtime, cluster }
    }

    /// A batch for each number.
    fn write(&self, numbers: std::ops::Range<i64>) {
        for number in numbers {
            self.write_value(&format!("{{\"n\":{number}}}"));
        }
    }

    fn write_value(&self, value: &str) {
        let mut builder = BatchBuilder::new(BatchOptions::new(Compression::None));
        builder.append(1_700_000_000_000, None, Some(value.as_bytes()), Headers::EMPTY).expect("a record");
        let batch: Bytes = builder.finish(ProducerStamp::NONE).expect("a batch");
        self.runtime.block_on(self.cluster.append_batch(TOPIC, 0, batch)).expect("appended");
    }

    /// Another leader, in a new epoch, whose log ends at `offset`.
    fn lose_from(&self, offset: i64) {
        let elected = async {
            let leader = self.cluster.leader(TOPIC, 0).await?.expect("a leader");
            let other = self.cluster.node_ids().find(|node| *node != leader).expect("another broker");
            self.cluster.elect_uncleanly(TOPIC, 0, other, offset).await
        };
        assert_eq!(self.runtime.block_on(elected).expect("an election"), offset);
    }
}

#[test]
fn a_group_is_told_of_a_cut_also_where_the_log_ends_where_it_ended_before() {
    for end in [10, 12] {
        let log = Log::new();
        let bootstrap = log.cluster.bootstrap_servers();
        let consume = || {
            let arguments = ["consume", TOPIC, "--group", "g", "-b", &bootstrap];
            kcopy_tests::run(program("kcopy").args(arguments))
        };
        let kcat = || {
            let arguments =
                ["-C", "-t", TOPIC, "-e", "-q", "-o", "stored", "-X", "group.id=h", "-b", &bootstrap];
            kcopy_tests::run(program("kcat").args(arguments))
        };
        log.write(0..10);
        assert_eq!(consume().expect_success().lines().len(), 10);
        assert_eq!(kcat().expect_success().lines().len(), 10);
        // Nothing was cut, and nothing has come.
        log.lose_from(10);
        assert!(consume().expect_success().stdout.is_empty());
        log.lose_from(5);
        log.write(5..end);
        for output in [consume(), kcat()] {
            let output = output.expect_code(1);
            let text =
                "the log was cut short at 5 and written anew from there, and offset 10 is the next to read";
            assert!(output.stderr.contains(text), "{end}: {}", output.stderr);
        }
    }
}

/// Both ways, with a table each.
struct Ways {
    loading: Loading,
}

impl Ways {
    fn new(log: &Log) -> Ways {
        let broker = Broker::at(log.cluster.bootstrap_servers());
        let mut loading = Loading::on(broker, Database::create());
        loading.database.execute("create table by_sql(n int4); create table by_wire(n int4)");
        Ways { loading }
    }

    fn wire(&self, more: &[&str]) -> std::process::Command {
        let mut command = program("kcopy");
        command.args(["load", TOPIC, "--into", "by_wire", "-b", self.loading.broker.bootstrap()]);
        command.args(["-d", &self.loading.database.url()]).args(more);
        command
    }

    fn load(&mut self, wire: &[&str], sql: &str) {
        self.loading.load(&format!("'{TOPIC}', 'by_sql'{sql}"));
        kcopy_tests::run(&mut self.wire(wire)).expect_success();
    }

    /// Both refuse, and say why.
    fn expect_gap(&mut self, by_wire: &str, by_sql: &str) {
        let wire = kcopy_tests::run(&mut self.wire(&[])).expect_code(1);
        assert!(wire.stderr.contains(by_wire) && wire.stderr.contains("--accept-loss"), "{wire:?}");
        let sql = self.loading.error(&format!("'{TOPIC}', 'by_sql'"));
        assert!(sql.message.contains(by_sql), "{sql:?}");
    }

    fn expect_rows(&mut self, numbers: &str) {
        for table in ["by_sql", "by_wire"] {
            let rows = format!("select coalesce(string_agg(n::text, ' ' order by n), '') from {table}");
            assert_eq!(self.loading.database.value(&rows), numbers, "{table}");
        }
    }

    /// `next_offset leader_epoch` of both.
    fn expect_positions(&mut self, position: &str) {
        let positions =
            "select target::regclass, next_offset || ' ' || leader_epoch from kcopy.offsets order by 1";
        let expected = ["by_sql", "by_wire"].map(|table| format!("{table}|{position}"));
        assert_eq!(self.loading.database.rows(positions), expected);
    }

    fn wait_for_rows(&mut self, count: &str) {
        self.loading.database.wait_for("select count(*) from by_wire", count);
    }
}

#[test]
fn a_log_that_was_cut_short_and_has_grown_again_is_a_gap() {
    let log = Log::new();
    log.write(0..5);
    let mut ways = Ways::new(&log);
    ways.load(&[], "");
    // A clean election is none.
    log.lose_from(5);
    log.write(5..7);
    ways.load(&[], "");
    ways.expect_rows("0 1 2 3 4 5 6");

    log.lose_from(3);
    ways.expect_gap("7 is the next offset to load, and the log ends at 3", "ends at offset 3");
    // It grows to just where they stand, and beyond.
    log.write(103..107);
    let by_wire =
        "cut short at 3 and written anew from there: offsets 3 to 6 were loaded or passed and are others now";
    ways.expect_gap(
        by_wire,
        "cannot go on at offset 7: the log was truncated: its leader epoch 0 ends at offset 3, and offsets 3 to 6 are gone",
    );
    log.write(107..110);
    ways.expect_gap(by_wire, "its leader epoch 0 ends at offset 3");
    ways.expect_rows("0 1 2 3 4 5 6");

    ways.load(&["--accept-loss"], ", accept_loss => true");
    ways.expect_rows("0 1 2 3 4 5 6 103 104 105 106 107 108 109");
    log.write(110..111);
    ways.load(&[], "");
    ways.expect_rows("0 1 2 3 4 5 6 103 104 105 106 107 108 109 110");
}

#[test]
fn what_was_written_behind_a_cut_is_loaded_while_the_log_is_shorter_than_before() {
    for (cut, by_wire) in [
        (
            3,
            "cut short at 3 and written anew from there: offsets 3 to 6 were loaded or passed and are others now",
        ),
        (0, "offset 0"),
    ] {
        let log = Log::new();
        log.write(0..7);
        let mut ways = Ways::new(&log);
        ways.load(&[], "");
        log.lose_from(cut);
        log.write(100..102);
        ways.expect_gap(by_wire, "cannot go on at offset 7: the log was truncated");
        ways.load(&["--accept-loss"], ", accept_loss => true");
        ways.expect_rows("0 1 2 3 4 5 6 100 101");
        ways.expect_positions(&format!("{} 1", cut + 2));
    }
}

#[test]
fn a_refused_record_is_not_taken_for_another_one_of_its_offset() {
    let log = Log::new();
    log.write(0..7);
    let mut ways = Ways::new(&log);
    ways.loading.database.execute(
        "alter table by_wire add check (n <> 4);
         create function held() returns trigger language plpgsql as
         $$begin perform pg_advisory_xact_lock_shared(7); return new; end$$;
         create trigger held before insert on by_wire for each row execute function held(); select pg_advisory_lock(7)",
    );
    let loader = Running::start(&mut ways.wire(&["--on-error", "reject-table"]));
    ways.loading.database.wait_for(
        "select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = 7",
        "1",
    );
    // While the rows are written.
    log.lose_from(3);
    log.write(100..110);
    ways.loading.database.execute("select pg_advisory_unlock(7)");
    // Nothing had been committed: the log is read as it is now.
    let ended = loader.finish().expect_success();
    assert!(ended.stderr.contains("the record at offset 4 is another one"), "{ended:?}");
    assert_eq!(ways.loading.database.value("select count(*) from kcopy.rejected"), "0");
    let rows = "select string_agg(n::text, ' ' order by n) from by_wire";
    assert_eq!(ways.loading.database.value(rows), "0 1 2 100 101 102 103");
}

#[test]
fn control_records_of_a_later_leader_are_no_gap() {
    let log = Log::new();
    log.write(0..3);
    let mut ways = Ways::new(&log);
    ways.load(&[], "");
    log.lose_from(3);
    // Nothing was written by the new leader: whose are the records that were read?
    ways.load(&[], "");
    ways.expect_positions("3 0");
    let marker = EndTxnMarker { committed: false, coordinator_epoch: 0 };
    let stamp = ProducerStamp { id: 1, epoch: 0, base_sequence: 0, transactional: true };
    let options = BatchOptions::new(Compression::None);
    let marker = BatchBuilder::control(options, 1_700_000_000_000, stamp, marker).expect("a marker");
    log.runtime.block_on(log.cluster.append_batch(TOPIC, 0, marker)).expect("appended");
    for _ in 0..2 {
        ways.load(&[], "");
        ways.expect_positions("4 1");
    }
    log.write(4..5);
    ways.load(&[], "");
    ways.expect_rows("0 1 2 4");
    ways.expect_positions("5 1");
}

#[test]
fn the_epochs_of_a_topic_that_is_gone_mean_nothing_in_the_next() {
    let log = Log::new();
    log.lose_from(0);
    log.write(0..3);
    let mut ways = Ways::new(&log);
    ways.load(&[], "");
    ways.expect_positions("3 1");
    let brokers = ways.loading.broker.bootstrap().to_owned();
    let topic = |words: &[&str]| {
        kcopy_tests::run(program("kcopy").arg("topic").args(words).args(["-b", &brokers])).expect_success();
    };
    topic(&["delete", TOPIC]);
    topic(&["create", TOPIC]);
    // Its log begins just where the positions stand.
    log.write(100..105);
    topic(&["trim", TOPIC, "--before", "3"]);
    ways.load(&["--accept-loss"], ", accept_loss => true");
    ways.expect_rows("0 1 2 103 104");
    ways.expect_positions("5 0");
}

#[test]
fn an_election_between_the_check_and_the_first_record_is_noticed() {
    // The new log ends where the old one did, or behind it.
    for numbers in [3..5, 3..6] {
        let log = Log::new();
        log.write(0..5);
        let mut ways = Ways::new(&log);
        ways.load(&[], "");
        // It has asked where its epoch ends, and asks for the end of the log.
        let away = Fault::new(FaultAction::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER)).api(ApiKey::ListOffsets);
        log.runtime.block_on(log.cluster.inject(away)).expect("a fault");
        let asked = || log.runtime.block_on(log.cluster.request_count(ApiKey::ListOffsets)).expect("a count");
        let before = asked();
        let mut session = ways.loading.database.connect();
        let load = std::thread::spawn(move || {
            session.batch_execute(&format!("select * from kcopy.load('{TOPIC}', 'by_sql')"))
        });
        let until = Instant::now() + DEADLINE;
        while asked() == before {
            assert!(Instant::now() < until && !load.is_finished(), "it never asks");
            std::thread::yield_now();
        }
        log.lose_from(3);
        log.write(numbers.start + 100..numbers.end + 100);
        log.runtime.block_on(log.cluster.clear_faults()).expect("no faults");
        let ended = load.join().expect("a result");
        assert_eq!(ended.is_ok(), numbers.end == 5, "there was something to read: {ended:?}");
        ways.expect_gap(
            "cut short at 3 and written anew from there: offsets 3 to 4 were loaded or passed and are others now",
            "cannot go on at offset 5: the log was truncated: its leader epoch 0 ends at offset 3",
        );
        ways.expect_rows("0 1 2 3 4");
    }
}

#[test]
fn a_loader_that_follows_does_not_go_on_in_another_log() {
    for numbers in [3..5, 3..9] {
        let log = Log::new();
        log.write(0..5);
        let mut ways = Ways::new(&log);
        let loader = Running::start(&mut ways.wire(&["--follow", "--batch-time", "20ms"]));
        ways.wait_for_rows("5");
        // A clean election changes nothing.
        log.lose_from(5);
        log.write(5..6);
        ways.wait_for_rows("6");

        // It does not get to see the log while it is short.
        let away = Fault::new(FaultAction::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER)).api(ApiKey::Fetch);
        log.runtime.block_on(log.cluster.inject(away)).expect("a fault");
        log.lose_from(3);
        log.write(numbers.start + 100..numbers.end + 100);
        log.write(200..201);
        log.runtime.block_on(log.cluster.clear_faults()).expect("no faults");
        let ended = loader.finish().expect_code(1);
        let gap = "cut short at 3 and written anew from there: offsets 3 to 5 were loaded or passed and are others now";
        assert!(ended.stderr.contains(gap), "{numbers:?}: {ended:?}");
        assert!(ended.stderr.contains("--accept-loss goes on at offset 3"), "{ended:?}");
        ways.wait_for_rows("6");
    }
}

/// How both ways begin.
type Begin = fn(&Log, &mut Ways);

#[test]
fn a_log_that_was_cut_short_before_anything_was_read_is_a_gap() {
    let begins: [(&str, Begin); 4] = [
        ("end", |_, ways| ways.load(&["--from", "end"], ", start => 'end'")),
        ("offset", |_, ways| ways.load(&["--from", "5"], ", start => '5'")),
        ("group", |log, ways| {
            let brokers = log.cluster.bootstrap_servers();
            let group = ["consume", "--group", "g", TOPIC, "-b", &brokers];
            kcopy_tests::run(program("kcopy").args(group)).expect_success();
            ways.load(&["--import-group", "g"], ", start => 'end'");
        }),
        ("reset", |_, ways| {
            for table in ["by_sql", "by_wire"] {
                let reset = format!("select * from kcopy.reset('{TOPIC}', '{table}', 'end')");
                ways.loading.database.execute(&reset);
            }
        }),
    ];
    for (name, begin) in begins {
        let log = Log::new();
        log.write(0..5);
        log.lose_from(5);
        let mut ways = Ways::new(&log);
        begin(&log, &mut ways);
        // That of the last record, and not of the leader, who has written none.
        ways.expect_positions("5 0");
        // Clean elections are no gap.
        log.lose_from(5);
        ways.load(&[], "");
        ways.expect_positions("5 0");
        assert_eq!(ways.loading.database.rows("select problem from kcopy.lag()"), ["∅", "∅"], "{name}");

        log.lose_from(2);
        log.write(102..110);
        ways.expect_gap(
            "cut short at 2 and written anew from there: offsets 2 to 4 were loaded or passed and are others now",
            "its leader epoch 0 ends at offset 2",
        );
        let problems = ways.loading.database.rows("select problem from kcopy.lag()");
        assert_eq!(problems, ["the log was cut short"; 2], "{name}");
        ways.load(&["--accept-loss"], ", accept_loss => true");
        ways.expect_rows("102 103 104 105 106 107 108 109");
    }
}

#[test]
fn a_position_behind_an_accepted_loss_is_checked_as_well() {
    let log = Log::new();
    log.write(0..5);
    let mut ways = Ways::new(&log);
    ways.load(&[], "");
    log.lose_from(3);
    ways.load(&["--accept-loss"], ", accept_loss => true");
    ways.expect_positions("3 0");
    log.lose_from(1);
    log.write(101..105);
    ways.expect_gap("cut short at 1 and written anew", "its leader epoch 0 ends at offset 1");
}

#[test]
fn a_group_that_stands_in_another_log_is_not_imported() {
    let log = Log::new();
    log.write(0..5);
    let mut ways = Ways::new(&log);
    let brokers = log.cluster.bootstrap_servers();
    let consume =
        || kcopy_tests::run(program("kcopy").args(["consume", "--group", "g", TOPIC, "-b", &brokers]));
    // The second run finds nothing, and keeps the epoch that the first has committed.
    for _ in 0..2 {
        consume().expect_success();
    }
    log.lose_from(2);
    log.write(102..110);
    // Nor does the group itself go on there.
    let ended = consume().expect_code(1);
    let text = "the log was cut short at 2 and written anew from there, and offset 5 is the next to read";
    assert!(ended.stdout.is_empty() && ended.stderr.contains(text), "{ended:?}");
    let ended = kcopy_tests::run(&mut ways.wire(&["--import-group", "g"])).expect_code(1);
    let text = "group g stands at offset 5, and the log was cut short at 2 and written anew from there; --accept-loss \
                begins at offset 2";
    assert!(ended.stderr.contains(text), "{ended:?}");
    kcopy_tests::run(&mut ways.wire(&["--import-group", "g", "--accept-loss"])).expect_success();
    assert_eq!(ways.loading.database.value("select min(n) || ' ' || count(*) from by_wire"), "102 8");
}

#[test]
fn a_record_that_is_refused_lends_its_epoch_to_no_position_before_it() {
    let log = Log::new();
    log.write(0..3);
    log.lose_from(3);
    log.write_value("{\"n\":\"none\"}");
    let mut ways = Ways::new(&log);
    kcopy_tests::run(&mut ways.wire(&[])).expect_code(1);
    let position = "select next_offset || ' ' || leader_epoch from kcopy.offsets";
    assert_eq!(ways.loading.database.value(position), "3 0");
}

#[test]
fn a_log_without_the_epoch_of_what_was_loaded_is_another_one_though_it_is_longer() {
    let log = Log::new();
    log.write(0..7);
    log.lose_from(7);
    log.lose_from(7);
    log.write(7..9);
    let mut ways = Ways::new(&log);
    ways.load(&[], "");
    // As if what came last had been read from the leader of an epoch that this log does not know.
    for (next, epoch) in [
        (5, 1),
        // It ends just there.
        (7, 1),
    ] {
        let set = format!("update kcopy.offsets set next_offset = {next}, leader_epoch = {epoch}");
        ways.loading.database.execute(&set);
        let before = next - 1;
        let reason = |how: &str| {
            format!(
                "the log is another one: offset {before} was {how} under leader epoch 1, of which it has nothing, and \
                 what it has there is of epoch 0"
            )
        };
        let advice = format!("--accept-loss goes on at offset {next}");
        ways.expect_gap(&reason("loaded or passed"), &reason("read"));
        let ended = kcopy_tests::run(&mut ways.wire(&[])).expect_code(1);
        assert!(ended.stderr.contains(&advice), "{ended:?}");
        ways.expect_positions(&format!("{next} {epoch}"));
    }
    ways.load(&["--accept-loss"], ", accept_loss => true");
    ways.expect_positions("9 2");
    ways.expect_rows("0 1 2 3 4 5 6 7 7 8 8");
    // It is the log that is known now.
    ways.load(&[], "");
}

#[test]
fn a_position_before_an_unread_record_has_not_its_epoch() {
    const MOST_REJECTED: i64 = 10_000;
    let log = Log::new();
    let mut builder = BatchBuilder::new(BatchOptions::new(Compression::None));
    for _ in 0..MOST_REJECTED {
        builder.append(1_700_000_000_000, None, Some(b"no number"), Headers::EMPTY).expect("a record");
    }
    let batch: Bytes = builder.finish(ProducerStamp::NONE).expect("a batch");
    log.runtime.block_on(log.cluster.append_batch(TOPIC, 0, batch)).expect("appended");
    log.lose_from(MOST_REJECTED);
    let mut builder = BatchBuilder::new(BatchOptions::new(Compression::None));
    builder.append(1_700_000_000_000, None, Some(b"none"), Headers::EMPTY).expect("a record");
    let batch: Bytes = builder.finish(ProducerStamp::NONE).expect("a batch");
    log.runtime.block_on(log.cluster.append_batch(TOPIC, 0, batch)).expect("appended");

    // The report is full with the last record of the first epoch.
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report");
    let mut command = program("kcopy");
    command.args(["consume", TOPIC, "-b", &log.cluster.bootstrap_servers()]);
    command.args(["--columns", "n int4 = value", "--on-error", "skip", "--report"]).arg(&report);
    kcopy_tests::run(&mut command).expect_success();
    let report = std::fs::read_to_string(&report).expect("a report");
    for member in ["\"next_offset\":10000", "\"leader_epoch\":0"] {
        assert!(report.contains(member), "{}", &report[..report.len().min(1000)]);
    }
}
