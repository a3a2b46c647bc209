//! `kcopy load --follow` as a service: systemd's notifications, Prometheus, events, an orderly end. And what people see
//! of a load on their terminal.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, net::UnixDatagram},
    },
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use kcopy_tests::{Broker, DEADLINE, Database, Running, WireLoad, kill, program};
use rustix::{
    fs::{Mode, OFlags},
    process::Signal,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use tempfile::TempDir;

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the metrics port");
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
        .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn state(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).expect("a notification");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn a_service_tells_how_it_is_and_ends_in_order() {
    let (broker, mut database) = (Broker::start(), Database::create());
    let topic = broker.create("service", 2);
    let other = broker.create("other", 1);
    database.execute("create table service(n int4, key text); create table other(n int4)");
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let mut command = program("kcopy");
    command.args(["load", &topic, &other, "--into", "service", "--into", &format!("{other}=other")]);
    command.args(["-b", broker.bootstrap(), "-d", &database.url(), "--on-error", "skip"]);
    command.args(["--follow", "--json", "--batch-time", "20ms", "--metrics", &format!("127.0.0.1:{port}")]);
    command.args(["-X", "metadata.max.age.ms=200"]);
    let service = Running::start(command.env("NOTIFY_SOCKET", &path));
    assert_eq!(state(&socket), "READY=1");
    broker.kcat(&["-P", "-t", &topic, "-K:"], b"a:{\"n\":1}\nb:{\"n\":2}\nc:{\"n\":3}\n").expect_success();
    database.wait_for("select count(*) from service", "3");
    let started = Instant::now();
    let metrics = loop {
        let metrics = get(port, "/metrics");
        if metrics.contains("\nkcopy_load_rows_total{table=\"service\"} 3\n") {
            break metrics;
        }
        assert!(started.elapsed() < DEADLINE, "{metrics}");
    };
    for part in [
        "HTTP/1.1 200 OK\r\n",
        "# TYPE kcopy_load_records_total counter",
        "kcopy_load_latency_seconds 0.",
        &format!("kcopy_load_lag{{topic=\"{topic}\",partition=\"1\",table=\"service\"}} 0"),
    ] {
        assert!(metrics.contains(part), "{part} is not in {metrics}");
    }
    // The table of the other topic has its own counters.
    assert!(metrics.contains("\nkcopy_load_rows_total{table=\"other\"} 0\n"), "{metrics}");
    broker.kcat(&["-P", "-t", &other], b"{\"n\":1}\nno json\n").expect_success();
    let started = Instant::now();
    while !get(port, "/metrics").contains("\nkcopy_load_rejected_total{table=\"other\"} 1\n") {
        assert!(started.elapsed() < DEADLINE, "{}", get(port, "/metrics"));
    }
    let metrics = get(port, "/metrics");
    for part in [
        "\nkcopy_load_rows_total{table=\"service\"} 3\n",
        "\nkcopy_load_records_total{table=\"other\"} 2\n",
        "\nkcopy_load_rows_total{table=\"other\"} 1\n",
        "\nkcopy_load_rejected_total{table=\"service\"} 0\n",
        // One row of binary COPY: the number of columns, a length, an int4.
        "\nkcopy_load_bytes_total{table=\"other\"} 10\n",
    ] {
        assert!(metrics.contains(part), "{part} is not in {metrics}");
    }
    assert!(get(port, "/other").starts_with("HTTP/1.1 404"));
    // Who connects and says nothing is in nobody's way.
    let silent: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("the metrics port")).collect();
    let asked = Instant::now();
    assert!(get(port, "/metrics").contains("\nkcopy_load_rows_total{table=\"service\"} 3\n"));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    drop(silent);
    // A partition that is added is found while it runs, and begins at its beginning.
    broker.topics(&["--alter", "--topic", &topic, "--partitions", "3"]).expect_success();
    broker.kcat(&["-P", "-t", &topic, "-p", "2"], b"{\"n\":4}\n{\"n\":5}\n").expect_success();
    database.wait_for("select count(*) from service", "5");
    service.signal(Signal::TERM);
    while state(&socket) != "STOPPING=1" {}
    let ended = service.finish().expect_code(143);
    let events: Vec<&str> =
        ended.lines().into_iter().filter(|line| line.contains("\"event\":\"commit\"")).collect();
    assert!(!events.is_empty() && events[0].contains("\"next_offset\":"), "{ended:?}");
    assert_eq!(database.value("select sum(next_offset) from kcopy.offsets"), "7");
}

#[test]
fn a_topic_that_is_made_anew_and_grows_at_once_is_loaded_on() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("growing", 1);
    setting.database.execute("create table growing(n int4)");
    let follow = [&topic, "--into", "growing", "--follow", "--accept-loss", "--batch-time", "20ms"];
    let loader = setting.start(&[&follow[..], &["-X", "metadata.max.age.ms=100"]].concat());
    setting.wait_for("select to_regclass('kcopy.offsets') is not null", "t");
    // Each step is noticed, so that whoever watches knows of another count.
    let positions = "select count(*) from kcopy.offsets";
    for round in 1..=2 {
        setting.topic(&["alter", &topic, "--partitions", "7"]);
        setting.wait_for(positions, "7");
        setting.topic(&["delete", &topic]);
        setting.topic(&["create", &topic, "--partitions", "1"]);
        setting.wait_for(positions, "1");
        setting.topic(&["alter", &topic, "--partitions", "5"]);
        for partition in ["0", "1", "2", "3", "4"] {
            setting
                .broker
                .kcat(&["-P", "-t", &topic, "-p", partition], format!("{{\"n\":{round}}}\n").as_bytes())
                .expect_success();
        }
        setting.wait_for(&format!("select count(*) from growing where n = {round}"), "5");
    }
    loader.signal(Signal::TERM);
    loader.finish().expect_code(143);
}

#[test]
fn all_partitions_of_a_topic_that_is_made_anew_are_found_long_before_metadata_age() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("wider", 1);
    setting.database.execute("create table wider(n int4)");
    let loader =
        setting.start(&[&topic, "--into", "wider", "--follow", "--accept-loss", "--batch-time", "20ms"]);
    let produce = |setting: &WireLoad, partition: &str| {
        setting.broker.kcat(&["-P", "-t", &topic, "-p", partition], b"{\"n\":1}\n").expect_success();
    };
    produce(&setting, "0");
    setting.wait_for("select count(*) from wider", "1");
    setting.topic(&["delete", &topic]);
    setting.topic(&["create", &topic, "--partitions", "4"]);
    for partition in ["0", "1", "2", "3"] {
        produce(&setting, partition);
    }
    // They are renewed every 5 minutes.
    setting.wait_for("select count(*) from wider", "5");
    loader.signal(Signal::TERM);
    loader.finish().expect_code(143);
}

#[test]
fn partitions_that_come_while_a_loader_begins_are_all_loaded() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.topic("coming");
    setting.database.execute("create table coming(n int4)");
    let loader = setting.start(&[
        &topic,
        "--into",
        "coming",
        "--follow",
        "--batch-time",
        "20ms",
        "-X",
        "metadata.max.age.ms=100",
    ]);
    // From here on it looks for the topic again and again.
    setting.wait_for("select to_regclass('kcopy.offsets') is not null", "t");
    setting.topic(&["create", &topic, "--partitions", "1"]);
    setting.produce(&topic, "k:{\"n\":1}\n");
    setting.wait_for("select count(*) from coming", "1");
    setting.topic(&["alter", &topic, "--partitions", "2"]);
    setting.wait_for("select count(*) from kcopy.offsets", "2");
    loader.signal(Signal::TERM);
    let ended = loader.finish().expect_code(143);
    // Those that are there at the beginning are not new.
    assert_eq!(ended.stderr.matches("a topic has new partitions").count(), 1, "{ended:?}");
}

/// What a service tells systemd from its start to its end, which comes once it has told `count` times that it is alive.
fn told(count: usize, environment: &[(&str, &str)]) -> Vec<String> {
    let (broker, mut database) = (Broker::start(), Database::create());
    let topic = broker.create("watched", 1);
    database.execute("create table watched(n int4)");
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let mut command = program("kcopy");
    command.args(["load", &topic, "--into", "watched", "-b", broker.bootstrap(), "-d", &database.url()]);
    command.arg("--follow").env("NOTIFY_SOCKET", &path).envs(environment.iter().copied());
    let service = Running::start(&mut command);
    let mut all = Vec::new();
    let has = |all: &[String], state: &str| all.iter().filter(|told| *told == state).count();
    while has(&all, "READY=1") == 0 || has(&all, "WATCHDOG=1") < count {
        all.push(state(&socket));
    }
    service.signal(Signal::TERM);
    while has(&all, "STOPPING=1") == 0 {
        all.push(state(&socket));
    }
    service.finish().expect_code(143);
    all
}

#[test]
fn the_watchdog_is_fed_for_as_long_as_the_service_runs() {
    let period = ("WATCHDOG_USEC", "60000");
    let started = Instant::now();
    told(20, &[period]);
    // 20 times in halves of the period, the first at once.
    assert!(started.elapsed().as_millis() >= 19 * 30, "{:?}: too often", started.elapsed());
    // It is somebody else's, or nobody's.
    for environment in [&[period, ("WATCHDOG_PID", "1")][..], &[]] {
        let all = told(0, environment);
        assert_eq!(all, ["READY=1", "STOPPING=1"], "{environment:?}");
    }
}

/// A program whose standard error is a terminal, and what is written there.
struct OnTerminal {
    child: Child,
    output: Receiver<Vec<u8>>,
    shown: String,
}

impl OnTerminal {
    fn start(command: &mut Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("a terminal that may be used");
        let path = ptsname(&ours, Vec::new()).expect("its name");
        let path = std::ffi::OsStr::from_bytes(path.as_bytes());
        let theirs = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
        let theirs: OwnedFd = theirs.expect("its other side");
        let size = Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&theirs, size).expect("its size");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(theirs).env("TERM", "xterm");
        let child = command.spawn().expect("it starts");
        // The other side is open in the program alone, so that its end is the end here.
        command.stderr(Stdio::null());
        let (sender, output) = mpsc::sync_channel(1000);
        thread::spawn(move || {
            let mut terminal = File::from(ours);
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = terminal.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, output, shown: String::new() }
    }

    /// Reads until it shows this, or its end; whether it did.
    fn shows(&mut self, text: &str) -> bool {
        let until = Instant::now() + DEADLINE;
        while !self.shown.contains(text) {
            let left = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.shown += &String::from_utf8_lossy(&bytes),
                Err(_) => return false,
            }
        }
        true
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // It has ended by itself, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn people_see_on_a_terminal_how_far_a_load_is() {
    let (broker, mut database) = (Broker::start(), Database::create());
    let topic = broker.create("seen", 1);
    let lines: String = (0..1500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    broker.kcat(&["-P", "-t", &topic], lines.as_bytes()).expect_success();
    database.execute("create table seen(n int4)");
    let load = |more: &[&str]| {
        let mut command = program("kcopy");
        command.args(["load", &topic, "--into", "seen", "-b", broker.bootstrap(), "-d", &database.url()]);
        command.args(["--batch-time", "20ms"]).args(more);
        OnTerminal::start(&mut command)
    };
    // Rows cannot be written before it was seen.
    let mut held = database.connect();
    held.batch_execute("begin; lock table seen in share mode").expect("a lock");
    let mut bounded = load(&[]);
    assert!(bounded.shows("0 of 1,500 records"), "{}", bounded.shown);
    held.batch_execute("commit").expect("the end of the lock");
    assert!(bounded.shows("loaded 1500 records"), "{}", bounded.shown);
    assert!(!bounded.shows("nothing that it says"), "it comes to an end: {}", bounded.shown);
    // The line is taken away, and nothing of it stands behind the last words.
    let (_, end) = bounded.shown.rsplit_once("loaded 1500 records").expect("its last words");
    assert!(!end.contains("records"), "{}", bounded.shown);
    assert!(bounded.child.wait().expect("its end").success());

    let mut endless = load(&["--follow"]);
    broker.kcat(&["-P", "-t", &topic], lines.as_bytes()).expect_success();
    assert!(endless.shows("1,500 records") && !endless.shown.contains(" of "), "{}", endless.shown);
    kill(endless.child.id(), Signal::TERM);
    assert!(endless.shows("finishing what was read"), "{}", endless.shown);
    assert_eq!(endless.child.wait().expect("its end").code(), Some(143));

    let mut quiet = load(&["--quiet"]);
    assert!(!quiet.shows("records"), "{}", quiet.shown);
    assert_eq!(database.value("select count(*) from seen"), "3000");
}
