//! Numbered messages are loaded by `kcopy.load` while kcopy, the backend and the postmaster are killed at random
//! moments. At the end each number is there once, in order per partition.
//!
//! `KCOPY_CHAOS_KILLS` is how many kills there are (100), `KCOPY_CHAOS_SEED` repeats a run: it is printed.

use std::{
    collections::HashMap,
    env,
    fmt::Write as _,
    io::{BufRead, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use kcopy_tests::{Broker, DEADLINE, installation, kcopy_bin, processes, project, server_program};
use postgres::{Client, Config, NoTls};
use rustix::process::{Pid, Signal, kill_process};

const PARTITIONS: u64 = 3;

/// A PostgreSQL of this test's own, which may be killed.
struct Server {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    facts: HashMap<String, String>,
    _child: Child,
}

impl Server {
    fn start() -> Self {
        let mut command = Command::new(project().join("scripts/pg"));
        command.arg("serve").arg(kcopy_bin()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("scripts/pg starts");
        let stdin = child.stdin.take().expect("stdin");
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let mut server = Self { stdin, stdout, facts: HashMap::new(), _child: child };
        server.read_facts();
        server
    }

    fn read_facts(&mut self) {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line from scripts/pg");
        let facts = line.split_whitespace().filter_map(|fact| fact.split_once('='));
        self.facts = facts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert!(self.facts.contains_key("pid"), "scripts/pg says {line:?}");
    }

    fn restart(&mut self) {
        writeln!(self.stdin, "restart").expect("scripts/pg reads");
        self.read_facts();
    }

    fn id(&self) -> u32 {
        self.facts["pid"].parse().expect("a process id")
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from(&self.facts["dir"])
    }

    /// A session, once the server takes one: after a crash it recovers first.
    fn connect(&self) -> Client {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.facts["port"].parse().expect("a port"))
            .user("postgres")
            .dbname("postgres");
        let until = Instant::now() + DEADLINE;
        loop {
            match config.connect(NoTls) {
                Ok(client) => return client,
                Err(error) => {
                    assert!(Instant::now() < until, "no connection: {error}");
                    thread::park_timeout(Duration::from_millis(10));
                }
            }
        }
    }
}

/// A small generator (xorshift64*): the same seed makes the same choices.
struct Choices(u64);

impl Choices {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Kills a process without a farewell; whether it was there.
fn kill(id: u32) -> bool {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(id, Signal::KILL).is_ok()
}

#[derive(Default, Debug)]
struct Kills {
    program: u64,
    backend: u64,
    postmaster: u64,
    committed: u64,
}

impl Kills {
    fn total(&self) -> u64 {
        self.program + self.backend + self.postmaster
    }
}

#[test]
fn nothing_is_lost_and_nothing_twice_whatever_is_killed() {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    let seed = number("KCOPY_CHAOS_SEED").unwrap_or(clock.subsec_nanos().into()).max(1);
    let wanted = number("KCOPY_CHAOS_KILLS").unwrap_or(100);
    eprintln!("KCOPY_CHAOS_SEED={seed} KCOPY_CHAOS_KILLS={wanted}");
    let mut choices = Choices(seed);
    let broker = Broker::ours(&[]);
    let topic = broker.create("numbers", PARTITIONS as u32);
    let mut server = Server::start();
    let path = server_program(&server.folder(), broker.bootstrap());
    let mut client = server.connect();
    client.batch_execute(&installation(&path)).expect("kcopy sql");
    client
        .batch_execute(
            "create table numbers(partition int not null, \"offset\" int8 not null, n int8 not null)",
        )
        .expect("a table");
    drop(client);

    let mut kills = Kills::default();
    let mut produced = 0;
    while kills.total() < wanted {
        let more = 50 + choices.below(2000);
        produce(&broker, &topic, produced, more);
        produced += more;
        round(&mut server, &mut choices, &mut kills);
    }
    let mut client = server.connect();
    client
        .batch_execute(
            "select * from kcopy.load('numbers', 'numbers', columns => 'partition, offset, n = value')",
        )
        .expect("the last load");
    eprintln!("{kills:?}, {produced} messages");
    let row = client
        .query_one("select count(*), count(distinct n), coalesce(max(n), 0) from numbers", &[])
        .expect("a count");
    let (rows, distinct, last): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    let produced = i64::try_from(produced).expect("a count");
    assert_eq!((rows, distinct, last), (produced, produced, produced - 1), "seed {seed}: {kills:?}");
    // In order per partition, and the positions are where the rows end.
    let wrong = client
        .query(
            "select * from (select n, lag(n) over (partition by partition order by \"offset\") as before from numbers) x
              where before >= n",
            &[],
        )
        .expect("the order");
    assert!(wrong.is_empty(), "seed {seed}: {wrong:?}");
    let positions = client
        .query("select o.partition from kcopy.offsets o where next_offset <> (select count(*) from numbers n where n.partition = o.partition) or rows <> next_offset", &[])
        .expect("the positions");
    assert!(positions.is_empty(), "seed {seed}: {positions:?}");
}

fn produce(broker: &Broker, topic: &str, from: u64, count: u64) {
    let mut lines = String::new();
    for n in from..from + count {
        writeln!(lines, "{}\t{n}", n % PARTITIONS).expect("a line");
    }
    broker
        .kcopy("produce", &["--columns", "partition int4, value", topic], lines.as_bytes())
        .expect_success();
}

/// One load, and one kill while it runs, or shortly after.
fn round(server: &mut Server, choices: &mut Choices, kills: &mut Kills) {
    let mut client = server.connect();
    let backend: i32 = client.query_one("select pg_backend_pid()", &[]).expect("a backend").get(0);
    // By turns straight and through a stage, and bounded as well.
    let way = if choices.below(2) == 0 { "append" } else { "skip" };
    let on_error = if way == "skip" { "skip" } else { "fail" };
    let limit = if choices.below(3) == 0 { "700" } else { "null" };
    let sql = format!(
        "select * from kcopy.load('numbers', 'numbers', columns => 'partition, offset, n = value',
                                  on_error => '{on_error}', max_rows => {limit})"
    );
    let (sender, ended) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let committed = client.batch_execute(&sql).is_ok();
        // The test may have failed already.
        let _ = sender.send(committed);
    });
    let moment = Duration::from_millis(choices.below(150));
    if let Ok(committed) = ended.recv_timeout(moment) {
        kills.committed += u64::from(committed);
    }
    match choices.below(10) {
        0..=5 => {
            kills.program += processes("--report=")
                .iter()
                .filter(|(id, line)| line.contains("numbers") && kill(*id))
                .count()
                .min(1) as u64
        }
        6 | 7 => kills.backend += u64::from(kill(u32::try_from(backend).expect("a process id"))),
        _ => {
            kills.postmaster += u64::from(kill(server.id()));
            server.restart();
        }
    }
    if let Ok(committed) = ended.recv_timeout(DEADLINE) {
        kills.committed += u64::from(committed);
    }
}
