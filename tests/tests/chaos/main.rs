//! Numbered messages are produced while `kcopy load` and `kcopy.load` bring them into tables, appending and upserting,
//! and a driver kills all that takes part, at random moments: kcopy, the backends, the postmaster, connections of our
//! broker, or Apache Kafka. At the end each number is there once, in order per partition, and each key has its last
//! value.
//!
//! `KCOPY_CHAOS_KILLS` is how many kills there are (200), `KCOPY_CHAOS_SEED` repeats a run's choices: it is printed.
//! `KCOPY_CHAOS_KAFKA=VERSION` takes Apache Kafka for our broker, and every fourth kill is one of it.
#![allow(clippy::print_stderr, reason = "cargo takes it")]

mod loaders;
mod numbers;
mod server;
mod source;

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kcopy_tests::{DEADLINE, Running, installation, kill, processes, program, server_program};
use postgres::Client;
use rustix::process::Signal;

use self::{
    loaders::{Loader, Mode},
    numbers::{Numbers, PARTITIONS},
    server::Server,
    source::Source,
};

/// Longer than a kill ever takes, Apache Kafka's recovery among it.
const LONGEST_KILL: Duration = Duration::from_secs(10);

/// What happens beside the kills, and is not counted as one.
const ASKED: [&str; 2] = [ASKED_BY_SQL, ASKED_BY_SIGNAL];
const ASKED_BY_SQL: &str = "backend, asked by SQL";
const ASKED_BY_SIGNAL: &str = "kcopy load, asked by SIGTERM";

/// A small generator (xorshift64*): the same seed makes the same choices.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(from.len()).ok().filter(|count| *count > 0)?;
        from.get(usize::try_from(self.below(count)).ok()?)
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

struct Drive {
    random: Random,
    topic: String,
    source: Source,
    server: Server,
    producer: Running,
    numbers: Numbers,
    loaders: Vec<Loader>,
    kills: BTreeMap<&'static str, u64>,
}

impl Drive {
    fn start(seed: u64) -> Self {
        let source = match env::var("KCOPY_CHAOS_KAFKA") {
            Ok(version) => Source::apache_kafka(&version),
            Err(_) => Source::ours(),
        };
        // The name tells this test's programs from those of others.
        let topic = source.broker().create(&format!("numbers-{}", std::process::id()), PARTITIONS as u32);
        let server = Server::start();
        let path = server_program(&server.folder(), source.broker().bootstrap());
        let mut client = server.connect();
        // This server commits asynchronously: a crash takes the last commits back, rows and positions together. What is
        // set up here has to stay.
        client.batch_execute("set synchronous_commit = on").expect("a setting");
        client.batch_execute(&installation(&path)).expect("kcopy sql");
        client.batch_execute(numbers::TABLES).expect("tables");
        let mut produce = program("kcopy");
        produce.args(["produce", "-b", source.broker().bootstrap(), &topic]);
        produce.args(["--columns", "partition int4, key, value"]);
        let producer = Running::start(&mut produce);
        let mut drive = Self {
            random: Random(seed),
            topic,
            source,
            server,
            producer,
            numbers: Numbers::default(),
            loaders: Vec::new(),
            kills: BTreeMap::new(),
        };
        for mode in [Mode::Append, Mode::Upsert] {
            drive.loaders.push(Loader::over_the_wire(
                drive.source.broker(),
                &drive.topic,
                &drive.server,
                mode,
            ));
            let seed = drive.random.below(u64::MAX).max(1);
            drive.loaders.push(Loader::inside(&drive.topic, &drive.server, mode, Random(seed)));
        }
        drive
    }

    /// Without what is only asked to end.
    fn total(&self) -> u64 {
        self.kills.iter().filter(|(what, _)| !ASKED.contains(what)).map(|(_, count)| count).sum()
    }

    /// Kills until there were so many.
    fn run(&mut self, wanted: u64) {
        let until = Instant::now() + DEADLINE + LONGEST_KILL * u32::try_from(wanted).expect("a count");
        while self.total() < wanted {
            assert!(Instant::now() < until, "the time is up: {:?}", self.kills);
            let lines = self.numbers.next_lines(&mut self.random);
            self.producer.write(lines.as_bytes());
            let moment = Duration::from_millis(self.random.below(250));
            assert!(!self.producer.ends_within(moment), "the producer has ended by itself");
            self.loaders.iter_mut().for_each(Loader::assert_it_runs);
            let is_kafkas_turn = self.source.is_apache_kafka() && self.total() % 4 == 3;
            if let Some(killed) = if is_kafkas_turn { self.disturb_source() } else { self.kill_something() } {
                *self.kills.entry(killed).or_default() += 1;
            }
        }
    }

    /// Says what it was; None where it was not there.
    fn kill_something(&mut self) -> Option<&'static str> {
        match self.random.below(12) {
            0..=2 => self.kill_a_loader(),
            3..=5 => self.kill_a_program(),
            6 => self.end_a_backend("select pg_terminate_backend($1)"),
            7 | 8 => self.kill_a_backend(),
            9 => {
                self.server.kill();
                Some("postmaster")
            }
            _ if self.source.is_apache_kafka() => None,
            _ => self.disturb_source(),
        }
    }

    fn kill_a_loader(&mut self) -> Option<&'static str> {
        let place = usize::try_from(self.random.below(self.loaders.len() as u64)).expect("a place");
        let gently = self.random.chance(5);
        self.loaders[place].kill(if gently { Signal::TERM } else { Signal::KILL })
    }

    /// What a server's process runs for `kcopy.load`.
    fn kill_a_program(&mut self) -> Option<&'static str> {
        let mut running = processes(&self.topic);
        running.retain(|(_, line)| line.contains("--report="));
        let (id, _) = self.random.pick(&running)?;
        kill(*id, Signal::KILL).then_some("program in COPY")
    }

    fn backend(&mut self, client: &mut Client) -> Option<i32> {
        let find = "select pid from pg_stat_activity where application_name like 'kcopy%' order by pid";
        let backends: Vec<i32> = client.query(find, &[]).ok()?.iter().map(|row| row.get(0)).collect();
        self.random.pick(&backends).copied()
    }

    fn end_a_backend(&mut self, sql: &str) -> Option<&'static str> {
        let mut client = self.server.connect();
        let backend = self.backend(&mut client)?;
        client.query(sql, &[&backend]).ok()?;
        Some(ASKED_BY_SQL)
    }

    fn kill_a_backend(&mut self) -> Option<&'static str> {
        let mut client = self.server.connect();
        let backend = u32::try_from(self.backend(&mut client)?).expect("a process id");
        kill(backend, Signal::KILL).then_some("backend")
    }

    fn disturb_source(&mut self) -> Option<&'static str> {
        Some(self.source.disturb(&mut self.random))
    }

    /// All is brought in, and compared with what was produced.
    fn finish(mut self) {
        self.source.settle();
        self.producer.finish().expect_success();
        for loader in self.loaders {
            let told = loader.finish(self.source.broker(), &self.topic, &self.server);
            eprintln!("{told}");
        }
        let mut client = self.server.connect();
        for table in ["load_append", "sql_append"] {
            self.numbers.assert_each_is_there_once(&mut client, table);
        }
        for table in ["load_upsert", "sql_upsert"] {
            self.numbers.assert_the_last_of_each_key_is_there(&mut client, table);
        }
    }
}

#[test]
fn nothing_is_lost_and_nothing_twice_whatever_is_killed() {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let seed = number("KCOPY_CHAOS_SEED").unwrap_or(clock.subsec_nanos().into()).max(1);
    let wanted = number("KCOPY_CHAOS_KILLS").unwrap_or(200);
    eprintln!("KCOPY_CHAOS_SEED={seed} KCOPY_CHAOS_KILLS={wanted}");
    let started = Instant::now();
    let mut drive = Drive::start(seed);
    drive.run(wanted);
    eprintln!("{:?}, {} records, {:?}", drive.kills, drive.numbers.total(), started.elapsed());
    drive.finish();
    eprintln!("{:?} in all", started.elapsed());
}
