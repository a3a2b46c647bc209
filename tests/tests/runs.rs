//! Runs that end for other reasons than the end of a topic, and runs without their standard descriptors.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Command, Stdio},
};

use kcopy_tests::{Broker, Running, kill, program, run};
use rustix::process::Signal;

fn ten(broker: &Broker, name: &str) -> String {
    let topic = broker.create(name, 1);
    let input: String = (1..=10).map(|number| format!("{number}\n")).collect();
    broker.kcat(&["-P", "-t", &topic], input.as_bytes()).expect_success();
    topic
}

/// The command line in a shell, which can close descriptors; `$K` is the binary, `$B` the broker.
fn shell(broker: &Broker, script: &str) -> kcopy_tests::Output {
    let kcopy = program("kcopy");
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("K", kcopy.get_program()).env("B", broker.bootstrap());
    run(&mut command)
}

#[test]
fn a_deadline_ends_a_run_that_follows() {
    let broker = Broker::start();
    let topic = ten(&broker, "deadline");
    let output = broker.kcopy("consume", &[&topic, "--follow", "--max-time", "200ms"], b"").expect_success();
    assert_eq!(output.lines().len(), 10);
}

#[test]
fn a_run_that_follows_tells_of_partitions_that_are_left_to_the_next_one() {
    let broker = Broker::start();
    let topic = ten(&broker, "grows");
    let mut command = program("kcopy");
    command.args(["consume", &topic, "--follow", "--max-messages", "210", "-b", broker.bootstrap()]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let running = Running::start_with_stdout(command.args(["-X", "metadata.max.age.ms=50"]), writer.into());
    drop(command);
    let mut lines = BufReader::new(reader).lines();
    lines.next().expect("the first message: it is up").expect("a line");
    let alter = ["--bootstrap-server", broker.bootstrap(), "--alter", "--topic", &topic, "--partitions", "3"];
    run(program("kafka-topics").args(alter)).expect_success();
    for _ in 0..200 {
        broker.kcat(&["-P", "-t", &topic, "-p", "0"], b"more\n").expect_success();
    }
    assert_eq!(lines.count(), 209);
    let output = running.finish().expect_success();
    let told = format!("% topic {topic} has 3 partitions by now: those from 1 on are left to the next run\n");
    assert_eq!(output.stderr.matches(&told).count(), 1, "{}", output.stderr);
}

#[test]
fn a_run_that_follows_commits_what_a_limit_let_through() {
    let broker = Broker::start();
    let topic = ten(&broker, "limit");
    let group = format!("group.id={}", broker.topic("limited"));
    let load = |count: &str| {
        let arguments = ["-C", "-q", "-t", &topic, "-o", "stored", "-X", &group, "-c", count];
        broker.kcat(&arguments, b"").expect_success().text().to_owned()
    };
    assert_eq!(load("2"), "1\n2\n");
    assert_eq!(load("3"), "3\n4\n5\n");
}

#[test]
fn a_closed_standard_output_fails_and_commits_nothing() {
    let broker = Broker::start();
    let topic = ten(&broker, "closed");
    let group = broker.topic("closed-group");
    let consume = format!("\"$K\" consume {topic} --group {group} -b $B");
    let closed = shell(&broker, &format!("{consume} >&-")).expect_code(1);
    assert!(closed.stderr.contains("standard output is closed"), "{}", closed.stderr);
    assert_eq!(shell(&broker, &consume).expect_success().lines().len(), 10);
    // Nobody wants the output: that is not the same.
    shell(&broker, &format!("{consume} >/dev/null")).expect_success();
}

#[test]
fn a_standard_error_that_cannot_be_written_changes_nothing() {
    let broker = Broker::start();
    let topic = ten(&broker, "unheard");
    let consume = format!("\"$K\" -C -b $B -t {topic} -e 2>/dev/full");
    assert_eq!(shell(&broker, &consume).expect_success().lines().len(), 10);
    // What the libraries tell is told by their tasks.
    let told = format!("\"$K\" -C -b $B -t {topic} -e -d all 2>/dev/full");
    assert_eq!(shell(&broker, &told).expect_success().lines().len(), 10);
    for produce in ["-vvv", "-p 7", "-E /nowhere"] {
        let script = format!("echo 11 | \"$K\" -P -b $B -t {topic} {produce} 2>/dev/full");
        shell(&broker, &script).expect_code(if produce == "-vvv" { 0 } else { 1 });
    }
    assert_eq!(shell(&broker, &consume).expect_success().lines().len(), 11);
    let created = broker.topic("unheard-of");
    shell(&broker, &format!("\"$K\" topic create {created} -b $B 2>/dev/full")).expect_success();
    shell(&broker, "\"$K\" broker --config log.dirs=/nowhere -- false 2>/dev/full").expect_code(1);
    shell(&broker, "\"$K\" broker --config log.dirs=/nowhere -- true 2>/dev/full").expect_success();
    let noisy = format!("\"$K\" broker -vv -- sh -c 'echo 1 | \"$K\" produce {topic}' 2>/dev/full");
    shell(&broker, &noisy).expect_success();
}

#[test]
fn a_closed_standard_input_is_not_an_empty_one() {
    let broker = Broker::start();
    let topic = broker.create("no-input", 1);
    let closed = shell(&broker, &format!("\"$K\" produce {topic} -b $B <&-")).expect_code(1);
    assert!(closed.stderr.contains("standard input is closed"), "{}", closed.stderr);
    shell(&broker, &format!("\"$K\" produce {topic} -b $B </dev/null")).expect_success();
}

#[test]
fn a_topic_that_is_named_twice_is_read_once() {
    let broker = Broker::start();
    let topic = ten(&broker, "twice");
    assert_eq!(broker.kcopy("consume", &[&topic, &topic], b"").expect_success().lines().len(), 10);
}

#[test]
fn a_command_beside_the_broker_needs_no_address() {
    let mut command = program("kcopy");
    command.args(["broker", "--topic", "t:3", "--", "sh", "-c"]);
    command.arg("echo hi | \"$K\" -P -t t && \"$K\" -C -t t -e -q && exit 7");
    command.env("K", program("kcopy").get_program()).env_remove("KCOPY_BROKERS");
    let output = run(&mut command).expect_code(7);
    assert_eq!(output.text(), "hi\n");
}

#[test]
fn each_broker_is_a_cluster_of_its_own() {
    let id = || {
        let broker = Broker::ours(&[]);
        let described =
            run(program("kcopy").args(["cluster", "describe", "--json", "-b", broker.bootstrap()]));
        let described = described.expect_success().text().to_owned();
        described.lines().find(|line| line.contains("cluster_id")).expect("an id").to_owned()
    };
    // Positions in the one mean nothing in the other, and nobody would notice.
    assert_ne!(id(), id());
}

#[test]
fn kafka_topics_ends_when_its_file_says() {
    // Nobody answers at one address, and nobody listens at the other.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dead = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("client.properties");
    std::fs::write(&file, "default.api.timeout.ms=500\n").expect("a file");
    for address in [silent.local_addr().expect("its address"), dead] {
        let mut command = program("kafka-topics");
        command.args(["--list", "--bootstrap-server", &address.to_string(), "--command-config"]).arg(&file);
        let output = run(&mut command).expect_code(1);
        assert!(output.stderr.contains("Error while executing topic command : "), "{}", output.stderr);
        assert!(output.stderr.contains(&address.to_string()), "{}", output.stderr);
        assert!(output.elapsed < std::time::Duration::from_secs(20), "{output:?}");
    }
}

#[test]
fn offsets_that_are_not_found_are_no_output() {
    let broker = Broker::start();
    let topic = ten(&broker, "asked");
    let (there, missing) = (format!("{topic}:0:-1"), format!("{topic}:7:-1"));
    let dead = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .to_string();
    for (at, query) in [(broker.bootstrap(), &missing), (&dead, &there)] {
        for format in [&[][..], &["-J"]] {
            let arguments = [&["-Q", "-m", "1", "-b", at, "-t", query], format].concat();
            let output = run(program("kcat").args(arguments)).expect_code(1);
            assert_eq!(output.text(), "");
            assert!(output.stderr.contains("% ERROR: offsets_for_times failed: "), "{}", output.stderr);
        }
    }
    let output = broker.kcat(&["-Q", "-t", &missing, "-t", &there], b"").expect_code(1);
    let expected =
        format!("{topic} [7] offset -1: Broker: Unknown topic or partition\n{topic} [0] offset 10\n");
    assert_eq!(output.text(), expected);
}

#[test]
fn changes_of_topics_are_a_document_for_programs() {
    let broker = Broker::start();
    let topic = broker.topic("changes");
    let change = |verb: &str, arguments: &[&str]| {
        let mut command = program("kcopy");
        command.args(["topic", verb, &topic, "--json", "-b", broker.bootstrap()]).args(arguments);
        run(&mut command).expect_success().text().split_whitespace().collect::<String>()
    };
    let name = format!("\"topic\":\"{topic}\"");
    assert_eq!(change("create", &[]), format!("{{\"changes\":[{{\"action\":\"created\",{name}}}]}}"));
    let trimmed = change("trim", &["--before", "0"]);
    let expected =
        format!("{{\"changes\":[{{\"action\":\"trimmed\",\"earliest\":0,\"partition\":0,{name}}}]}}");
    assert_eq!(trimmed, expected);
    assert_eq!(change("delete", &[]), format!("{{\"changes\":[{{\"action\":\"deleted\",{name}}}]}}"));
}

#[test]
fn an_alteration_with_a_setting_that_is_refused_adds_no_partitions() {
    let broker = Broker::start();
    let topic = broker.create("altered", 1);
    let alter = |retention: &str| {
        let config = format!("retention.ms={retention}");
        let arguments = ["topic", "alter", &topic, "--partitions", "3", "--config", &config];
        run(program("kcopy").args(arguments).args(["-b", broker.bootstrap()]))
    };
    let partitions = || {
        let output =
            run(program("kcopy").args(["topic", "describe", &topic, "--json", "-b", broker.bootstrap()]));
        output.expect_success().text().matches("\"leader\"").count()
    };
    let refused = alter("soon").expect_code(1);
    assert!(refused.stderr.contains("retention.ms"), "{refused:?}");
    let before = partitions();
    alter("1000").expect_success();
    assert_eq!((before, partitions()), (1, 3));
}

#[test]
fn a_trim_that_one_partition_is_too_short_for_changes_none() {
    let broker = Broker::start();
    let topic = broker.create("uneven", 3);
    for (partition, input) in [("0", "1\n2\n3\n4\n5\n"), ("2", "1\n2\n")] {
        broker.kcat(&["-P", "-t", &topic, "-p", partition], input.as_bytes()).expect_success();
    }
    let beginnings = || {
        let queries = [0, 1, 2].map(|partition| format!("{topic}:{partition}:-2"));
        let arguments: Vec<&str> =
            std::iter::once("-Q").chain(queries.iter().flat_map(|query| ["-t", query])).collect();
        let output = broker.kcat(&arguments, b"").expect_success();
        output
            .lines()
            .iter()
            .map(|line| line.rsplit(' ').next().expect("an offset").to_owned())
            .collect::<String>()
    };
    let trim = |arguments: &[&str]| {
        let command = ["topic", "trim", &topic, "-b", broker.bootstrap()];
        run(program("kcopy").args(command).args(arguments))
    };
    let refused = trim(&["--before", "3"]).expect_code(1).stderr;
    let expected = "nothing was trimmed: offset 3 is beyond the end of partitions ([1] at 0, [2] at 2)";
    assert!(refused.contains(expected), "{refused}");
    assert!(trim(&["--before", "1", "-p", "0,7"]).expect_code(1).stderr.contains("[7]"));
    assert_eq!(beginnings(), "000");
    trim(&["--before", "3", "-p", "0"]).expect_success();
    trim(&["--before", "1", "-p", "0,2"]).expect_success();
    assert_eq!(beginnings(), "301");
    trim(&["--before", "end"]).expect_success();
    assert_eq!(beginnings(), "502");
}

#[test]
fn a_command_beside_the_broker_gets_each_signal() {
    for (signal, code) in [(Signal::QUIT, 131), (Signal::USR1, 138), (Signal::TERM, 143)] {
        let mut broker = program("kcopy")
            .args(["broker", "--", "sh", "-c", "echo ready; exec sleep 1000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("kcopy starts");
        let mut ready = String::new();
        BufReader::new(broker.stdout.take().expect("stdout")).read_line(&mut ready).expect("a line");
        assert_eq!(ready, "ready\n");
        assert!(kill(broker.id(), signal));
        // The code is that of the command, and so kcopy itself has waited for it.
        assert_eq!(broker.wait().expect("an end").code(), Some(code), "{signal:?}");
    }
}

#[test]
fn signals_that_the_caller_ignores_end_kcat_and_nothing_else() {
    let broker = Broker::start();
    let topic = ten(&broker, "ignored");
    let consuming = |name: &str, arguments: &[&str]| {
        let mut command = Command::new("sh");
        // What a script starts with & has SIGINT ignored.
        command.args(["-c", "trap '' INT TERM; exec \"$@\"", "sh"]).arg(program(name).get_program());
        command.args(arguments).args([&topic, "-b", broker.bootstrap()]);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let running = Running::start_with_stdout(&mut command, writer.into());
        drop(command);
        let mut first = String::new();
        let mut reader = BufReader::new(reader);
        reader.read_line(&mut first).expect("the first message: it is up");
        (running, reader)
    };
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (running, _reader) = consuming("kcat", &["-C", "-q", "-u", "-t"]);
        running.signal(signal);
        running.finish().expect_code(code);
        let (running, reader) = consuming("kcopy", &["consume", "-q", "--follow", "--max-time", "30s"]);
        running.signal(signal);
        let last = format!("after {}", signal.as_raw());
        broker.kcat(&["-P", "-t", &topic], last.as_bytes()).expect_success();
        assert!(reader.lines().any(|line| line.expect("a line") == last), "it ends by {signal:?}");
    }
}

#[test]
fn files_behind_one_that_is_missing_are_sent_as_well() {
    let broker = Broker::start();
    let topic = broker.create("files", 1);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("there");
    std::fs::write(&file, "content").expect("a file");
    let (missing, there) = (folder.path().join("missing").display().to_string(), file.display().to_string());
    for more in [&[][..], &["-E"]] {
        let output = [&["-P", "-t", &topic, &missing, &there], more].concat();
        let output = broker.kcat(&output, b"").expect_code(1);
        assert!(output.stderr.contains("% Failed to open"), "{}", output.stderr);
    }
    let all = broker.kcat(&["-C", "-e", "-q", "-t", &topic], b"").expect_success();
    assert_eq!(all.text(), "content\ncontent\n");
}

#[test]
fn a_record_that_is_too_large_has_its_line() {
    let broker = Broker::start();
    let topic = broker.create("large", 1);
    let large = "x".repeat(2_000);
    let input = format!("one\n\n{large}\nfour\n{large}");
    let limit = ["-X", "message.max.bytes=1000"];
    let kcat = |arguments: &[&str], input: &str| {
        let arguments = [&["-P", "-t", &topic], &limit[..], arguments].concat();
        broker.kcat(&arguments, input.as_bytes()).expect_code(1).stderr
    };
    for way in [&[][..], &["-k", "key"]] {
        let stderr = kcat(way, &input);
        assert!(
            stderr.contains(&format!("% ERROR: line 3: topic {topic}: a record that takes ")),
            "{stderr}"
        );
        let stderr = kcat(&[&["-E"], way].concat(), &input);
        for line in [3, 5] {
            let expected = format!("% Delivery failed for message: line {line}: a record that takes ");
            assert!(stderr.contains(&expected), "{stderr}");
        }
    }
    let stderr = kcat(&["-D", ";"], &format!("one;{large};"));
    assert!(stderr.contains("% ERROR: row 2: topic "), "{stderr}");
    for (format, line) in [("text", 4), ("raw", 4), ("csv", 4)] {
        let input = format!("one\n\n3\n{large}\n");
        let arguments = [&[&topic, "--format", format], &limit[..]].concat();
        let stderr = broker.kcopy("produce", &arguments, input.as_bytes()).expect_code(1).stderr;
        assert!(stderr.contains(&format!("line {line}: topic {topic}: a record that takes ")), "{stderr}");
    }
    // What is not sent is not copied.
    let arguments = [&["-P", "-E", "-T", "-t", &topic], &limit[..]].concat();
    assert_eq!(broker.kcat(&arguments, input.as_bytes()).expect_code(1).text(), "one\nfour\n");
}

#[test]
fn a_buffer_is_never_smaller_than_a_message() {
    let broker = Broker::start();
    let topic = broker.create("buffer", 1);
    for property in ["queue.buffering.max.kbytes=1", "message.max.bytes=100000000"] {
        broker.kcat(&["-P", "-t", &topic, "-X", property], b"m\n").expect_success();
    }
}

#[test]
fn nohup_keeps_hang_ups_from_the_broker() {
    let kcopy = program("kcopy");
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(kcopy.get_program())
        .args(["broker", "--listen", "0"]);
    let mut broker = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("kcopy starts");
    let mut servers = String::new();
    BufReader::new(broker.stdout.take().expect("stdout")).read_line(&mut servers).expect("a line");
    assert!(kill(broker.id(), Signal::HUP));
    let mut list = program("kcopy");
    run(list.args(["topic", "list", "-b", servers.trim()])).expect_success();
    assert!(kill(broker.id(), Signal::TERM));
    assert_eq!(broker.wait().expect("an end").code(), Some(0));
}

#[test]
fn what_follows_an_end_marker_is_a_failure() {
    let broker = Broker::start();
    for format in ["text", "csv"] {
        let topic = broker.create(&format!("marked-{format}"), 1);
        let arguments = ["produce", "-b", broker.bootstrap(), &topic, "--format", format];
        let mut producing = Running::start(program("kcopy").args(arguments));
        producing.write(b"one\ntwo\n\\.\n");
        broker.kcat(&["-C", "-q", "-t", &topic, "-c", "2"], b"").expect_success();
        // It has seen the marker, and waits for the end.
        producing.write(b"three\n");
        let output = producing.finish().expect_code(1);
        assert!(output.stderr.contains("row 3, line 4: data follows the end marker \\."), "{output:?}");
        let output = broker.kcopy("produce", &[&topic, "--format", format], b"three\n\\.\nfour\n");
        assert!(output.expect_code(1).stderr.contains("row 2, line 3: data follows"));
        broker.kcopy("produce", &[&topic, "--format", format], b"four\n\\.\n").expect_success();
        let read = broker.kcat(&["-C", "-qe", "-t", &topic], b"").expect_success();
        assert_eq!(read.text(), "one\ntwo\nthree\nfour\n");
    }
}

#[test]
fn debug_contexts_tell_what_happens_and_never_what_is_in_records() {
    let broker = Broker::start();
    let topic = broker.create("debug", 1);
    let run = |arguments: &[&str], input: &str| {
        let output = broker.kcat(&[arguments, &["-t", &topic]].concat(), input.as_bytes()).expect_success();
        assert!(!output.stderr.contains("secret"), "{}", output.stderr);
        let lines = output.stderr.lines().map(|line| {
            // `%7|SECONDS|CONTEXT|kcopy| text`
            let fields: Vec<&str> = line.splitn(5, '|').collect();
            assert!(fields.len() == 5 && fields[0] == "%7" && fields[3] == "kcopy", "{line}");
            format!("{}{}", fields[2], fields[4])
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let told = |text: &str, parts: &[&str]| {
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    };
    let text = run(&["-P", "-q", "-d", "broker,metadata,topic,msg"], "secret\n");
    told(&text, &["BROKER connecting: broker ", "BROKER connected", "METADATA metadata: brokers 1"]);
    told(&text, &[&format!("TOPIC metadata of a topic: topic {topic}, code NONE, leaders {{0: ")]);
    told(&text, &["PROTOCOL request: api Produce, ", "PROTOCOL answer: api Produce, "]);
    assert!(!text.contains("api ListOffsets") && !text.contains("api ApiVersions"), "{text}");
    let text = run(&["-C", "-e", "-q", "-d", "fetch"], "");
    told(
        &text,
        &["PROTOCOL request: api Fetch, ", &format!("FETCH fetched: topic {topic}, partition 0, offset 0")],
    );
    assert!(!text.contains("BROKER") && !text.contains("METADATA"), "{text}");
    let text = run(&["-L", "-d", "protocol,feature"], "");
    told(&text, &["api ApiVersions", "api Metadata", "FEATURE what a broker speaks: broker "]);
    assert!(run(&["-C", "-e", "-q", "-d", "all"], "").contains("BROKER connected"));
    assert_eq!(run(&["-C", "-e", "-q"], ""), "");
}

#[test]
fn columns_and_groups_that_mean_nothing_are_wrong_use() {
    for arguments in [
        &["produce", "t", "--columns", "key,key"][..],
        &["produce", "t", "--delimiter", "ab"],
        &["consume", "t", "--group", ""],
    ] {
        run(program("kcopy").args(arguments)).expect_code(2);
    }
}
