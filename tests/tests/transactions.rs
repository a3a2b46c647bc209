//! Logs with transactions, committed, aborted and open, and the markers that end them: only what is committed is
//! loaded, and positions are those of the log, which no count of records comes to.

use bytes::Bytes;
use kcopy_mini_broker::MiniCluster;
use kcopy_tests::{Broker, Database, Loading};
use kcopy_wire::records::{BatchBuilder, BatchOptions, Compression, EndTxnMarker, Headers, ProducerStamp};
use tokio::runtime::Runtime;

const TOPIC: &str = "transactions";

/// A log that is written batch by batch.
struct Log {
    runtime: Runtime,
    cluster: MiniCluster,
}

/// What ends a transaction.
#[derive(Clone, Copy)]
enum Marker {
    Commit,
    Abort,
}

impl Log {
    fn new() -> Log {
        let runtime = Runtime::new().expect("a runtime");
        let cluster = runtime.block_on(MiniCluster::builder().topic(TOPIC, 1).start()).expect("a cluster");
        Log { runtime, cluster }
    }

    fn broker(&self) -> Broker {
        Broker::at(self.cluster.bootstrap_servers())
    }

    /// Appends records `{"n":N}`; those with a producer are part of its transaction.
    fn data(&self, producer: Option<i64>, numbers: &[u32], compression: Compression) -> i64 {
        let mut builder = BatchBuilder::new(BatchOptions::new(compression));
        for number in numbers {
            let value = format!("{{\"n\":{number}}}");
            builder
                .append(1_700_000_000_000, None, Some(value.as_bytes()), Headers::EMPTY)
                .expect("a record");
        }
        let stamp = producer.map_or(ProducerStamp::NONE, |id| stamp(id, true));
        self.append(builder.finish(stamp).expect("a batch"))
    }

    fn end(&self, producer: i64, marker: Marker) -> i64 {
        let marker = EndTxnMarker { committed: matches!(marker, Marker::Commit), coordinator_epoch: 0 };
        let options = BatchOptions::new(Compression::None);
        self.append(
            BatchBuilder::control(options, 1_700_000_000_000, stamp(producer, true), marker)
                .expect("a marker"),
        )
    }

    fn append(&self, batch: Bytes) -> i64 {
        self.runtime.block_on(self.cluster.append_batch(TOPIC, 0, batch)).expect("appended")
    }
}

fn stamp(id: i64, transactional: bool) -> ProducerStamp {
    ProducerStamp { id, epoch: 0, base_sequence: 0, transactional }
}

/// Interleaved transactions of several producers; it ends with one that was aborted, and its marker, at 16.
fn written(log: &Log) {
    let (plain, a, b, c) = (None, Some(1), Some(2), Some(3));
    assert_eq!(log.data(plain, &[0, 1, 2], Compression::None), 0);
    assert_eq!(log.data(a, &[1003, 1004, 1005], Compression::Zstd), 3);
    assert_eq!(log.data(b, &[6, 7], Compression::Lz4), 6);
    assert_eq!(log.end(1, Marker::Abort), 8);
    assert_eq!(log.data(plain, &[9], Compression::None), 9);
    assert_eq!(log.end(2, Marker::Commit), 10);
    // The same producers again: what was aborted before is no matter now.
    assert_eq!(log.data(a, &[11, 12], Compression::None), 11);
    assert_eq!(log.end(1, Marker::Commit), 13);
    assert_eq!(log.data(c, &[1014], Compression::None), 14);
    assert_eq!(log.end(3, Marker::Abort), 15);
}

/// The ways into a table `loaded`, each once the same.
struct Ways {
    loading: Loading,
}

impl Ways {
    fn new(log: &Log) -> Ways {
        let mut loading = Loading::on(log.broker(), Database::create());
        loading.database.execute(
            "create table by_sql(n int4, \"offset\" int8); create table by_wire(n int4, \"offset\" int8)",
        );
        Ways { loading }
    }

    /// Loads both tables, and says what is in them and where they stand.
    fn load(&mut self) -> (String, String) {
        self.loading.load(&format!("'{TOPIC}', 'by_sql'"));
        let url = self.loading.database.url();
        self.loading.broker.kcopy("load", &[TOPIC, "--into", "by_wire", "-d", &url], b"").expect_success();
        let state = |database: &mut Database, table: &str| {
            let rows = format!(
                "select coalesce(string_agg(n || '@' || \"offset\", ' ' order by \"offset\"), '') from {table}"
            );
            let at = format!("select next_offset from kcopy.offsets where target = '{table}'::regclass");
            format!("{} | {}", database.value(&rows), database.value(&at))
        };
        let database = &mut self.loading.database;
        (state(database, "by_sql"), state(database, "by_wire"))
    }

    fn expect(&mut self, state: &str) {
        assert_eq!(self.load(), (state.to_owned(), state.to_owned()));
    }
}

const COMMITTED: &str = "0@0 1@1 2@2 6@6 7@7 9@9 11@11 12@12";

#[test]
fn only_what_is_committed_is_loaded_and_positions_pass_over_the_rest() {
    let log = Log::new();
    written(&log);
    let mut ways = Ways::new(&log);
    ways.expect(&format!("{COMMITTED} | 16"));
    // Nothing new is nothing new.
    ways.expect(&format!("{COMMITTED} | 16"));

    // An open transaction holds back what comes behind it as well, whoever wrote it.
    log.data(Some(4), &[16, 17], Compression::None);
    log.data(None, &[18], Compression::None);
    ways.expect(&format!("{COMMITTED} | 16"));
    log.end(4, Marker::Commit);
    ways.expect(&format!("{COMMITTED} 16@16 17@17 18@18 | 20"));

    // Markers alone, at the end of the log.
    log.data(Some(5), &[1020], Compression::Gzip);
    log.end(5, Marker::Abort);
    ways.expect(&format!("{COMMITTED} 16@16 17@17 18@18 | 22"));
    log.data(None, &[22], Compression::None);
    ways.expect(&format!("{COMMITTED} 16@16 17@17 18@18 22@22 | 23"));
}

#[test]
fn a_load_begins_anywhere_in_a_transaction() {
    let log = Log::new();
    written(&log);
    let mut ways = Ways::new(&log);
    ways.load();
    // Amid the aborted transaction, on its marker, amid a committed one, on the last marker.
    for (from, expected) in
        [(4, "6@6 7@7 9@9 11@11 12@12"), (8, "9@9 11@11 12@12"), (12, "12@12"), (13, ""), (15, "")]
    {
        ways.loading.database.execute(&format!(
            "truncate by_sql, by_wire; update kcopy.offsets set next_offset = {from}, leader_epoch = null"
        ));
        ways.expect(&format!("{expected} | 16"));
    }
}

#[test]
fn the_reader_chooses_whether_what_is_not_committed_counts() {
    let log = Log::new();
    written(&log);
    log.data(Some(4), &[1016], Compression::None);
    let broker = log.broker();
    let read = |level: &str| {
        let level = format!("isolation.level={level}");
        let arguments = ["-C", "-q", "-e", "-t", TOPIC, "-f", "%o ", "-X", &level];
        broker.kcat(&arguments, b"").expect_success().text().to_owned()
    };
    assert_eq!(read("read_committed"), "0 1 2 6 7 9 11 12 ");
    assert_eq!(read("read_uncommitted"), "0 1 2 3 4 5 6 7 9 11 12 14 16 ");
}
