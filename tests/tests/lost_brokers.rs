//! Runs over brokers that cannot be reached, fall silent, or refuse what they are asked: how long they are waited for, and
//! what is told meanwhile.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::Stdio,
    time::Duration,
};

use kcopy_mini_broker::{Fault, FaultAction, MiniCluster};
use kcopy_tests::{Broker, Running, program, run, run_with};
use kcopy_wire::{
    ApiKey, ErrorCode,
    frame::{encode_response, peek_request},
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse,
        api_versions_response::ApiVersion,
        metadata_response::{MetadataResponseBroker, MetadataResponseTopic},
    },
};

#[test]
fn a_broker_that_cannot_be_reached_is_told_of_once_while_it_is_tried_again() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let closed = closed.to_string();
    let told = |name: &str, arguments: &[&str]| {
        let output = run(program(name).args(arguments).args(["-b", &closed])).expect_code(1);
        assert!(output.stderr.contains(&closed), "{}", output.stderr);
        output.stderr.matches("% a broker cannot be reached and is tried again: ").count()
    };
    assert_eq!(told("kcat", &["-L", "-m", "1"]), 1);
    assert_eq!(told("kcat", &["-C", "-q", "-t", "t", "-m", "1"]), 1);
}

#[test]
fn a_broker_that_breaks_each_fetch_is_told_of_once_while_it_is_tried_again() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = runtime.block_on(MiniCluster::builder().topic("t", 8).start()).expect("a cluster");
    let bootstrap = cluster.bootstrap_servers();
    for partition in 0..8 {
        let to = ["-P", "-t", "t", "-p", &partition.to_string(), "-b", &bootstrap];
        run_with(program("kcat").args(to), b"v\n").expect_success();
    }
    runtime.block_on(cluster.inject(Fault::new(FaultAction::Close).api(ApiKey::Fetch))).expect("a fault");
    let output =
        run(program("kcopy").args(["consume", "t", "--timeout", "3s", "-b", &bootstrap])).expect_code(1);
    let told = output.stderr.matches("% fetching has failed three times and is tried again: ").count();
    assert_eq!(told, 1, "{}", output.stderr);
    let error = output.stderr.lines().last().unwrap_or_default();
    assert!(error.contains("could not be read for 3 s"), "{}", output.stderr);
}

#[test]
fn a_dead_address_is_tried_until_the_timeout_by_who_reads_too() {
    let dead =
        TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address").to_string();
    let output =
        run(program("kcopy").args(["consume", "anything", "-b", &dead, "--timeout", "500ms"])).expect_code(1);
    let expected = format!("looking up topic anything on broker {dead} did not succeed within 0.5 s");
    assert!(output.stderr.contains(&expected), "{}", output.stderr);
}

#[test]
fn a_broker_that_is_lost_while_records_come_is_waited_for_as_long_as_was_said() {
    let mut broker = Broker::ours(&[]);
    let topic = broker.create("lost", 1);
    let mut command = program("kcopy");
    command.args(["produce", &topic, "-b", broker.bootstrap(), "--timeout", "1s"]);
    let mut producing = Running::start(&mut command);
    producing.write(b"1\n2\n");
    broker.kcat(&["-C", "-q", "-t", &topic, "-c", "2"], b"").expect_success();
    broker.kill();
    producing.write(b"3\n4\n");
    let output = producing.finish().expect_code(1);
    let expected = format!("not delivered: 2 records for {topic} [0]: nothing was acknowledged for 1 s");
    assert!(output.stderr.contains(&expected), "{output:?}");
}

#[test]
fn a_reader_that_goes_ends_what_waits_for_a_silent_broker() {
    // The system takes connections, and nobody answers them.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("its address").to_string();
    for (name, arguments) in [
        ("kcat", &["-L", "-m", "300"][..]),
        ("kcat", &["-Q", "-m", "300", "-t", "t:0:-1"]),
        ("kcat", &["-C", "-e", "-m", "300", "-t", "t"]),
        ("kcopy", &["consume", "t", "--timeout", "5m"]),
        ("kcopy", &["topic", "list", "--timeout", "5m"]),
        ("kcopy", &["topic", "describe", "t", "--timeout", "5m"]),
        ("kcopy", &["topic", "offsets", "t", "--timeout", "5m"]),
        ("kcopy", &["cluster", "describe", "--timeout", "5m"]),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = program(name);
        command.args(arguments).args(["-b", &address]);
        let running = Running::start_with_stdout(&mut command, writer.into());
        // The writing end goes with the command: only the program has one then.
        drop(command);
        let (connection, _) = silent.accept().expect("a connection");
        drop(reader);
        running.finish().expect_code(141);
        drop(connection);
    }
}

#[test]
fn a_reader_that_goes_ends_what_waits_for_a_broker_that_is_not_there() {
    // A port that was free a moment ago, and is not listened on.
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = gone.expect("a free port").to_string();
    for (name, arguments) in [
        ("kcat", &["-L", "-m", "20"][..]),
        ("kcat", &["-C", "-m", "20", "-t", "t"]),
        ("kcopy", &["consume", "t", "--timeout", "20s"]),
        ("kcopy", &["consume", "t", "--group", "g", "--timeout", "20s"]),
        ("kcopy", &["topic", "list", "--timeout", "20s"]),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let (stderr, heard) = std::io::pipe().expect("a pipe");
        let mut command = program(name);
        command.args(arguments).args(["-b", &address]).stdout(writer).stderr(heard).stdin(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        drop(command);
        // It has tried, and will try again.
        let mut line = String::new();
        BufReader::new(&stderr).read_line(&mut line).expect("a line on stderr");
        assert!(line.contains("cannot be reached"), "{name} {arguments:?}: {line}");
        drop(reader);
        assert_eq!(child.wait().expect("wait").code(), Some(141), "{name} {arguments:?}");
    }
}

#[test]
fn what_is_not_delivered_is_told_while_more_is_waited_for() {
    let broker = Broker::start();
    let topic = broker.topic("refused");
    let mut create = program("kcopy");
    create.args(["topic", "create", &topic, "--config", "max.message.bytes=300", "-b", broker.bootstrap()]);
    run(&mut create).expect_success();
    let refused = [&[b'x'; 1000][..], b"\n"].concat();

    let mut command = program("kcopy");
    let mut ours = Running::start(command.args(["produce", &topic, "-b", broker.bootstrap()]));
    ours.write(b"before\n");
    ours.write(&refused);
    // Its standard input stays open.
    assert!(ours.ends_within(Duration::from_secs(20)), "it waits for more");
    let output = ours.finish().expect_code(1);
    assert!(output.stderr.contains("not delivered: 1 record for"), "{}", output.stderr);

    let mut kcat = program("kcat")
        .args(["-P", "-t", &topic, "-b", broker.bootstrap()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kcat starts");
    let mut stdin = kcat.stdin.take().expect("its standard input");
    stdin.write_all(&refused).expect("a line");
    let mut told = String::new();
    let mut stderr = BufReader::new(kcat.stderr.take().expect("its standard error"));
    stderr.read_line(&mut told).expect("a line");
    assert!(told.starts_with("% Delivery failed for message: "), "{told}");
    stdin.write_all(b"after\n").expect("a line");
    drop(stdin);
    assert_eq!(kcat.wait().expect("its end").code(), Some(1));
    let all = broker.kcat(&["-C", "-q", "-e", "-t", &topic], b"").expect_success();
    assert_eq!(all.lines(), ["before", "after"]);
}

#[test]
fn what_is_not_delivered_is_told_before_the_rest_is_waited_for() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let builder = MiniCluster::builder().nodes(2).topic("t", 2).config("message.max.bytes", "300");
    let cluster = runtime.block_on(builder.start()).expect("a cluster");
    let leader = |partition| runtime.block_on(cluster.leader("t", partition)).expect("t").expect("a leader");
    assert_ne!(leader(0), leader(1));
    let later = FaultAction::Error(ErrorCode::NOT_ENOUGH_REPLICAS);
    let later = Fault::new(later).api(ApiKey::Produce).node(leader(1));
    runtime.block_on(cluster.inject(later)).expect("a fault");

    let mut command = program("kcopy");
    command.args(["produce", "t", "--columns", "partition,value", "-b", &cluster.bootstrap_servers()]);
    command.args(["-X", "message.timeout.ms=20000"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut producing = command.spawn().expect("kcopy starts");
    let mut stdin = producing.stdin.take().expect("its standard input");
    let large = "x".repeat(1000);
    stdin.write_all(format!("1\tlater\n0\t{large}\n").as_bytes()).expect("two lines");
    let mut told = String::new();
    let mut stderr = BufReader::new(producing.stderr.take().expect("its standard error"));
    stderr.read_line(&mut told).expect("a line");
    assert!(told.starts_with("kcopy: error: not delivered: 1 record for t [0]: MESSAGE_TOO_LARGE"), "{told}");
    // What can still be delivered is, though standard input stays open.
    runtime.block_on(cluster.clear_faults()).expect("no faults");
    told.clear();
    stderr.read_to_string(&mut told).expect("the end");
    let ends = "kcopy: error: the run ends here: what is left of the input is not sent\n";
    assert_eq!((told.as_str(), producing.wait().expect("its end").code()), (ends, Some(1)));
    let (_, end) = runtime.block_on(cluster.offsets("t", 1)).expect("t");
    assert_eq!(end, 1);
}

/// What is said of a run of 300 ms over a topic of one record, where `api` is never answered.
fn out_of_time(api: ApiKey, options: &[&str]) -> String {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = runtime.block_on(MiniCluster::builder().topic("t", 1).start()).expect("a cluster");
    let bootstrap = cluster.bootstrap_servers();
    run_with(program("kcat").args(["-P", "-t", "t", "-b", &bootstrap]), b"v\n").expect_success();
    runtime.block_on(cluster.inject(Fault::new(FaultAction::Silence).api(api))).expect("a fault");
    let arguments = ["consume", "t", "-b", &bootstrap, "--max-time", "300ms"];
    let output = run(program("kcopy").args(arguments).args(options)).expect_code(1);
    assert!(output.stdout.is_empty());
    output.stderr
}

#[test]
fn the_time_of_a_run_holds_for_what_comes_before_the_first_record_too() {
    for api in [ApiKey::FindCoordinator, ApiKey::ListOffsets, ApiKey::OffsetFetch] {
        let stderr = out_of_time(api, &["--group", "g"]);
        let text = "the 0.3 s that the run may take were over before the brokers had told the topics";
        assert!(stderr.contains(text), "{api:?}: {stderr}");
    }
    let text = "the 0.3 s that the run may take were over before any of the records had come";
    let stderr = out_of_time(ApiKey::Fetch, &[]);
    assert!(stderr.contains(text), "{stderr}");
}

#[test]
fn kcat_waits_for_a_lost_broker_as_long_as_for_an_answer() {
    let mut broker = Broker::ours(&[]);
    let topic = broker.create("gone", 1);
    broker.kcat(&["-P", "-t", &topic], b"1\n").expect_success();
    let mut command = program("kcat");
    command.args(["-C", "-u", "-t", &topic, "-b", broker.bootstrap(), "-X", "socket.timeout.ms=1500"]);
    let reading = Running::start(&mut command);
    reading.wait_for_stderr("% Reached end of topic");
    broker.kill();
    let output = reading.finish().expect_code(1);
    assert_eq!(output.text(), "1\n");
    let told = output.stderr.matches("% a broker cannot be reached and is tried again: ").count();
    assert_eq!(told, 1, "{}", output.stderr);
    assert!(output.stderr.contains("the partition could not be read for 1.5 s: "), "{}", output.stderr);
}

#[test]
fn a_commit_whose_answer_is_lost_is_no_failure_where_it_was_done() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = runtime.block_on(MiniCluster::builder().topic("t", 1).start()).expect("a cluster");
    let bootstrap = cluster.bootstrap_servers();
    run_with(program("kcat").args(["-P", "-t", "t", "-b", &bootstrap]), b"v\n").expect_success();
    let inject = |fault: Fault| runtime.block_on(cluster.inject(fault)).expect("a fault");
    let consume = |group: &str| {
        run(program("kcopy").args(["consume", "t", "-b", &bootstrap, "--group", group, "--timeout", "2s"]))
    };
    inject(Fault::new(FaultAction::CloseAfter).api(ApiKey::OffsetCommit));
    assert_eq!(consume("read-back").expect_success().text(), "v\n");
    // Where it cannot be read back, the error says what that means.
    inject(Fault::new(FaultAction::Silence).api(ApiKey::OffsetFetch).after(1));
    let output = consume("unknown").expect_code(1);
    let text = "the offsets may have been committed all the same: see what group unknown has";
    assert!(output.stderr.contains(text), "{}", output.stderr);
}

#[test]
fn records_that_may_be_in_the_log_are_told_as_that() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = runtime.block_on(MiniCluster::builder().topic("t", 1).start()).expect("a cluster");
    let bootstrap = cluster.bootstrap_servers();
    let produce = || {
        let arguments = ["produce", "t", "-b", &bootstrap, "--timeout", "1s"];
        run_with(program("kcopy").args(arguments), b"1\n2\n").expect_code(1).stderr
    };
    let inject = |action| {
        runtime.block_on(cluster.clear_faults()).expect("no faults");
        runtime.block_on(cluster.inject(Fault::new(action).api(ApiKey::Produce))).expect("a fault");
    };
    inject(FaultAction::CloseAfter);
    let stderr = produce();
    assert!(
        stderr.contains("not delivered: 2 records for t [0]: nothing was acknowledged for 1 s"),
        "{stderr}"
    );
    assert!(stderr.contains("; they may have been written all the same\n"), "{stderr}");
    inject(FaultAction::Error(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    let stderr = produce();
    assert!(stderr.contains("TOPIC_AUTHORIZATION_FAILED") && !stderr.contains("may have been"), "{stderr}");
}

/// Answers each connection's ApiVersions, and all else with metadata of the topic `t` that has no partitions.
fn without_partitions(listener: &TcpListener) {
    let port = i32::from(listener.local_addr().expect("an address").port());
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        loop {
            let mut length = [0; 4];
            if stream.read_exact(&mut length).is_err() {
                break;
            }
            let mut body = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut body).expect("a request");
            let (key, version, id) = peek_request(&body.into()).expect("a header");
            let answer = if key == ApiKey::ApiVersions as i16 {
                let range = |api_key: ApiKey, version| ApiVersion {
                    api_key: api_key as i16,
                    min_version: version,
                    max_version: version,
                    ..Default::default()
                };
                let api_keys = vec![range(ApiKey::ApiVersions, 0), range(ApiKey::Metadata, 9)];
                let response = ApiVersionsResponse { api_keys, ..Default::default() };
                encode_response::<ApiVersionsRequest>(&response, version, id)
            } else {
                let broker = MetadataResponseBroker {
                    node_id: 1,
                    host: "127.0.0.1".into(),
                    port,
                    ..Default::default()
                };
                let topic = MetadataResponseTopic { name: Some("t".into()), ..Default::default() };
                let response =
                    MetadataResponse { brokers: vec![broker], topics: vec![topic], ..Default::default() };
                encode_response::<MetadataRequest>(&response, version, id)
            };
            stream.write_all(&answer.expect("an answer").to_bytes()).expect("sent");
        }
    }
}

#[test]
fn a_topic_without_partitions_is_not_an_empty_one() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let bootstrap = listener.local_addr().expect("its address").to_string();
    std::thread::spawn(move || without_partitions(&listener));
    for arguments in
        [&["consume", "t", "--timeout", "400ms", "-b"][..], &["-C", "-e", "-m", "1", "-t", "t", "-b"]]
    {
        let output = run(program("kcopy").args(arguments).arg(&bootstrap)).expect_code(1);
        let text = "the broker's answer has no partitions of the topic";
        assert!(output.stderr.contains(text), "{}", output.stderr);
    }
}
