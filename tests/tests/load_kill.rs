//! `kcopy load --follow` while everything around it is killed: the loader, its backends, the postmaster, connections
//! to the broker. At the end each number is there exactly once, in order per partition.
//!
//! `KCOPY_KILLS` says how often (100), `KCOPY_SEED` repeats a run.

use std::{
    env, fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use kcopy_tests::{Broker, DEADLINE, Running, program, project, run};
use postgres::{Client, Config, NoTls};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, getuid, kill_process, pidfd_open},
};
use tempfile::TempDir;

const PARTITIONS: u32 = 3;

/// A PostgreSQL that can be killed and started again.
struct Server {
    bin: PathBuf,
    folder: TempDir,
    port: u16,
    postmaster: Child,
}

impl Server {
    fn start() -> Self {
        let found = run(Command::new(project().join("scripts/setup")).arg("postgres")).expect_success();
        let bin = PathBuf::from(found.text().trim());
        let folder = tempfile::Builder::new().prefix("kcopy-kill.").tempdir_in("/tmp").expect("a folder");
        let data = folder.path().join("data");
        if getuid().is_root() {
            run(Command::new("chown").arg("postgres:").arg(folder.path())).expect_success();
        }
        let mut initdb = unprivileged(&bin.join("initdb"));
        initdb.args(["--no-sync", "--no-instructions", "--locale=C", "-U", "postgres", "-D"]).arg(&data);
        run(&mut initdb).expect_success();
        let port = free_port();
        let postmaster = launch(&bin, &folder, port);
        Self { bin, folder, port, postmaster }
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Waits until it takes connections.
    fn connect(&mut self) -> Client {
        let started = Instant::now();
        loop {
            let mut config = Config::new();
            config.host("127.0.0.1").port(self.port).user("postgres").dbname("postgres");
            if let Ok(client) = config.connect(NoTls) {
                return client;
            }
            assert!(started.elapsed() < DEADLINE, "PostgreSQL does not come back: {}", self.log());
            if self.postmaster.try_wait().expect("wait").is_some() {
                // The memory of the one before was still in use.
                self.postmaster = launch(&self.bin, &self.folder, self.port);
            }
            wait_for_end(self.postmaster.id(), Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Kills the postmaster, which takes its children with it, and starts another.
    fn kill(&mut self) {
        kill(self.postmaster.id(), Signal::KILL);
        self.postmaster.wait().expect("wait");
        self.postmaster = launch(&self.bin, &self.folder, self.port);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        kill(self.postmaster.id(), Signal::QUIT);
        wait_for_end(self.postmaster.id(), Duration::from_secs(10));
        let _ = self.postmaster.kill();
        let _ = self.postmaster.wait();
    }
}

fn unprivileged(program: &std::path::Path) -> Command {
    if !getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command.current_dir("/");
    command
}

fn launch(bin: &std::path::Path, folder: &TempDir, port: u16) -> Child {
    let log =
        fs::OpenOptions::new().create(true).append(true).open(folder.path().join("log")).expect("a log");
    let mut command = unprivileged(&bin.join("postgres"));
    command.arg("-D").arg(folder.path().join("data"));
    command.args(["-k", "", "-h", "127.0.0.1", "-p", &port.to_string()]);
    command.args(["-c", "fsync=off", "-c", "restart_after_crash=on", "-c", "full_page_writes=off"]);
    let errors = log.try_clone().expect("the log");
    command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("postgres starts")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn kill(id: u32, signal: Signal) {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id");
    // It may just have ended by itself.
    let _ = kill_process(pid, signal);
}

/// Whether the process has ended, after at most this long.
fn wait_for_end(id: u32, limit: Duration) -> bool {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id");
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let limit = Timespec::try_from(limit).expect("a limit");
    poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit)).expect("poll") > 0
}

/// Knuth's generator: the same seed, the same kills.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

struct Drive {
    random: Random,
    broker: Broker,
    control: u16,
    server: Server,
    loader: Running,
    topic: String,
    produced: [u64; PARTITIONS as usize],
    done: [u32; 6],
}

impl Drive {
    fn start_loader(broker: &Broker, topic: &str, url: &str) -> Running {
        let mut command = program("kcopy");
        command.args(["load", topic, "--into", "numbers", "-b", broker.bootstrap(), "-d", url]);
        command.args(["--follow", "--connections", "2", "--batch-time", "20ms", "--batch-rows", "700"]);
        Running::start(&mut command)
    }

    fn restart_loader(&mut self) {
        self.loader = Self::start_loader(&self.broker, &self.topic, &self.server.url());
    }

    fn produce(&mut self) {
        let partition = self.random.below(u64::from(PARTITIONS)) as usize;
        let first = self.produced[partition];
        let count = 1 + self.random.below(2000);
        let lines: String = (first..first + count).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        let number = partition.to_string();
        self.broker.kcat(&["-P", "-t", &self.topic, "-p", &number], lines.as_bytes()).expect_success();
        self.produced[partition] += count;
    }

    fn disturb(&mut self) {
        let what = self.random.below(10);
        match what {
            0..=2 => {
                self.done[0] += 1;
                self.loader.signal(Signal::KILL);
                wait_for_end(self.loader.id(), DEADLINE);
                self.restart_loader();
            }
            3 => {
                self.done[1] += 1;
                self.loader.signal(Signal::TERM);
                assert!(wait_for_end(self.loader.id(), DEADLINE), "SIGTERM does not end the loader");
                self.restart_loader();
            }
            4 | 5 => {
                self.done[2] += 1;
                let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'kcopy load'";
                let mut client = self.server.connect();
                // It may go the same way.
                let _ = client.batch_execute(end);
            }
            6 => {
                self.done[3] += 1;
                let find = "select pid from pg_stat_activity where application_name = 'kcopy load' limit 1";
                if let Ok(Some(row)) = self.server.connect().query_opt(find, &[]) {
                    kill(row.get::<_, i32>(0) as u32, Signal::KILL);
                }
            }
            7 => {
                self.done[4] += 1;
                self.server.kill();
            }
            _ => {
                self.done[5] += 1;
                self.close_a_connection();
            }
        }
    }

    /// The broker closes the connection at the next fetch.
    fn close_a_connection(&self) {
        let body = r#"{"action":"close","api":"Fetch","times":1}"#;
        let mut stream = TcpStream::connect(("127.0.0.1", self.control)).expect("the control port");
        let request = format!(
            "POST /faults HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    }

    fn assert_it_runs(&mut self) {
        if wait_for_end(self.loader.id(), Duration::ZERO) {
            let loader = std::mem::replace(
                &mut self.loader,
                Self::start_loader(&self.broker, &self.topic, &self.server.url()),
            );
            panic!("the loader has ended by itself: {:?}", loader.finish());
        }
    }

    fn assert_exactly_once(&mut self) {
        self.loader.signal(Signal::TERM);
        wait_for_end(self.loader.id(), DEADLINE);
        let mut client = self.server.connect();
        let mut command = program("kcopy");
        command.args(["load", &self.topic, "--into", "numbers", "-b", self.broker.bootstrap()]);
        run(command.args(["-d", &self.server.url()])).expect_success();
        let counts = "select partition, count(*), count(distinct n), coalesce(min(n), 0), coalesce(max(n), -1), \
                      count(*) filter (where not in_order) from \
                      (select *, n > coalesce(lag(n) over (partition by partition order by id), -1) as in_order \
                       from numbers) numbered group by partition order by partition";
        let rows = client.query(counts, &[]).expect("counts");
        let found: Vec<(i32, i64, i64, i64, i64, i64)> = rows
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5)))
            .collect();
        let expected = self.produced.iter().enumerate().filter(|(_, count)| **count > 0);
        let expected: Vec<_> = expected
            .map(|(partition, count)| {
                let count = *count as i64;
                (partition as i32, count, count, 0, count - 1, 0)
            })
            .collect();
        assert_eq!(found, expected, "partition, rows, distinct, first, last, out of order");
        let positions =
            client.query_one("select sum(next_offset)::int8, sum(rows)::int8 from kcopy.offsets", &[]);
        let positions = positions.expect("positions");
        let all = self.produced.iter().sum::<u64>() as i64;
        assert_eq!((positions.get::<_, i64>(0), positions.get::<_, i64>(1)), (all, all));
    }
}

#[test]
fn every_number_arrives_exactly_once_whatever_is_killed() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = number("KCOPY_KILLS").unwrap_or(100);
    let seed = number("KCOPY_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| u64::from(now.subsec_nanos()))
    });
    eprintln!("KCOPY_SEED={seed} KCOPY_KILLS={kills}");
    let control = free_port();
    let broker = Broker::ours(&["--control", &control.to_string()]);
    let topic = broker.create("numbers", PARTITIONS);
    let mut server = Server::start();
    server
        .connect()
        .batch_execute(
            "create table numbers(id int8 generated always as identity, n int8 not null, partition int4, \"offset\" int8)",
        )
        .expect("a table");
    let loader = Drive::start_loader(&broker, &topic, &server.url());
    let random = Random(seed);
    let mut drive = Drive { random, broker, control, server, loader, topic, produced: [0; 3], done: [0; 6] };
    for _ in 0..kills {
        drive.produce();
        let pause = Duration::from_millis(drive.random.below(300));
        wait_for_end(drive.loader.id(), pause);
        drive.assert_it_runs();
        drive.disturb();
    }
    drive.assert_exactly_once();
    eprintln!(
        "loader killed, stopped, backends ended, backend killed, postmaster killed, fetches cut: {:?}",
        drive.done
    );
}
