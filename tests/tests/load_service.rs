//! `kcopy load --follow` as a service: systemd's notifications, Prometheus, events, an orderly end.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    time::Instant,
};

use kcopy_tests::{Broker, DEADLINE, Database, Running, program};
use rustix::process::Signal;
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
    database.execute("create table service(n int4, key text)");
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let mut command = program("kcopy");
    command.args(["load", &topic, "--into", "service", "-b", broker.bootstrap(), "-d", &database.url()]);
    command.args(["--follow", "--json", "--batch-time", "20ms", "--metrics", &format!("127.0.0.1:{port}")]);
    command.args(["-X", "metadata.max.age.ms=200"]);
    let service = Running::start(command.env("NOTIFY_SOCKET", &path));
    assert_eq!(state(&socket), "READY=1");
    broker.kcat(&["-P", "-t", &topic, "-K:"], b"a:{\"n\":1}\nb:{\"n\":2}\nc:{\"n\":3}\n").expect_success();
    let wait = |database: &mut Database, count: &str| {
        let started = Instant::now();
        while database.value("select count(*) from service") != count {
            assert!(started.elapsed() < DEADLINE, "{count} rows never come");
            database.execute("select pg_sleep(0.01)");
        }
    };
    wait(&mut database, "3");
    let started = Instant::now();
    let metrics = loop {
        let metrics = get(port, "/metrics");
        if metrics.contains("\nkcopy_load_rows_total 3\n") {
            break metrics;
        }
        assert!(started.elapsed() < DEADLINE, "{metrics}");
    };
    for part in [
        "HTTP/1.1 200 OK\r\n",
        "# TYPE kcopy_load_records_total counter",
        "kcopy_load_latency_seconds 0.",
        &format!("kcopy_load_lag{{topic=\"{topic}\",partition=\"1\"}} 0"),
    ] {
        assert!(metrics.contains(part), "{part} is not in {metrics}");
    }
    assert!(get(port, "/other").starts_with("HTTP/1.1 404"));
    // A partition that is added is found while it runs, and begins at its beginning.
    broker.topics(&["--alter", "--topic", &topic, "--partitions", "3"]).expect_success();
    broker.kcat(&["-P", "-t", &topic, "-p", "2"], b"{\"n\":4}\n{\"n\":5}\n").expect_success();
    wait(&mut database, "5");
    service.signal(Signal::TERM);
    while state(&socket) != "STOPPING=1" {}
    let ended = service.finish().expect_code(143);
    let events: Vec<&str> =
        ended.lines().into_iter().filter(|line| line.contains("\"event\":\"commit\"")).collect();
    assert!(!events.is_empty() && events[0].contains("\"next_offset\":"), "{ended:?}");
    assert_eq!(database.value("select sum(next_offset) from kcopy.offsets"), "5");
}
