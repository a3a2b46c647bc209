//! Debian's kcat (on librdkafka) and ours, the same arguments on the same broker: stdout and exit code must agree.
//!
//! What kcat is known to get wrong is not compared here; our own behaviour there has tests of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kcopy_tests::{Broker, Output, foreign_kcat, program, run_with, skipped};

/// The two programs and the broker between them.
struct Pair {
    broker: Broker,
    foreign: PathBuf,
}

/// Disagreements are collected, so that one run shows them all.
#[derive(Default)]
struct Differences(Vec<String>);

impl Drop for Differences {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "{} differences:\n{}", self.0.len(), self.0.join("\n"));
        }
    }
}

impl Differences {
    fn compare(&mut self, what: &str, theirs: &str, ours: &str, detail: &str) {
        if theirs != ours {
            self.0.push(format!("{what}\n  kcat: {theirs:?}\n  ours: {ours:?}\n  {detail}"));
        }
    }
}

impl Pair {
    fn new(test: &str) -> Option<Self> {
        let Some(foreign) = foreign_kcat() else {
            skipped(test, "there is no kcat on librdkafka to compare with");
            return None;
        };
        Some(Self { broker: Broker::start(), foreign })
    }

    fn command(&self, ours: bool) -> Command {
        let mut command = if ours { program("kcat") } else { Command::new(&self.foreign) };
        command.env_remove("KCAT_CONFIG").env_remove("KAFKACAT_CONFIG");
        command
    }

    /// Runs one of them with `-b`.
    fn run(&self, ours: bool, arguments: &[&str], input: &[u8]) -> Output {
        run_with(self.command(ours).args(["-b", self.broker.bootstrap()]).args(arguments), input)
    }

    /// The same arguments to both. Lines of several partitions come in any order: `sorted` takes that out.
    fn same(&self, differences: &mut Differences, arguments: &[&str], sorted: bool) {
        let theirs = self.run(false, arguments, b"");
        let ours = self.run(true, arguments, b"");
        let what = arguments.join(" ");
        let detail = format!("stderr of kcat: {}\n  stderr of ours: {}", theirs.stderr, ours.stderr);
        let exit = |output: &Output| output.code().to_string();
        differences.compare(&format!("{what}: exit code"), &exit(&theirs), &exit(&ours), &detail);
        differences.compare(&what, &shown(&theirs, sorted), &shown(&ours, sorted), &detail);
    }

    /// Four partitions' worth of keys, NULLs, headers and odd characters, written by the foreign kcat.
    fn filled(&self, name: &str, partitions: u32) -> String {
        let topic = self.broker.create(name, partitions);
        let produce = |arguments: &[&str], input: &[u8]| {
            self.run(false, &[&["-P", "-t", &topic], arguments].concat(), input).expect_success();
        };
        produce(&["-K", ":"], "k1:one\nk2:zwei ü\nk3:\"quoted\" \\ and/or\t\u{7f}\nk4:😀\n".as_bytes());
        produce(&["-K", ":", "-Z"], b":nullkey\nnullvalue:\n");
        produce(&["-K", ":", "-H", "a=1", "-H", "a=2", "-H", "none", "-H", "empty="], b"h:with headers\n");
        produce(&["-z", "gzip"], b"plain 1\nplain 2\n");
        produce(&["-z", "lz4", "-k", "fixed"], b"fixed 1\nfixed 2\n");
        topic
    }
}

/// stdout as text; which broker answered first is chance.
fn shown(output: &Output, sorted: bool) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !sorted {
        return text;
    }
    let mut lines = text.lines().collect::<Vec<_>>();
    lines.sort_unstable();
    lines.join("\n")
}

/// An argument list of one partition's topic, written as words.
fn words(line: &str) -> Vec<&str> {
    line.split(' ').filter(|word| !word.is_empty()).collect()
}

#[test]
fn consuming_prints_the_same() {
    let Some(pair) = Pair::new("consuming_prints_the_same") else { return };
    let topic = pair.filled("one", 1);
    let mut differences = Differences::default();
    let stamp = pair.run(false, &["-C", "-qe", "-t", &topic, "-o", "4", "-c", "1", "-f", "%T"], b"");
    let stamp = stamp.text().to_owned();
    let from = format!("-o s@{stamp}");
    let range = format!("-o s@0 -o e@{stamp}");
    for options in [
        "",
        "-o beginning",
        "-o 3",
        "-o -2",
        "-o -0",
        // Of several modes the last counts.
        "-L -C",
        "-P -C -c 2",
        "-o end",
        "-o 0 -c 4",
        "-c 3",
        "-p 0",
        "-p 0 -o -1",
        "-D |",
        "-D \\n\\n",
        "-D \\x41",
        "-K =>",
        "-K \\t -D ;",
        "-Z",
        "-Z -K :",
        "-u",
        "-J",
        "-J -Z",
        "-J -o -3",
        "-J -c 2",
        &from,
        &range,
        "-o s@99999999999999",
        "-s value=s",
        "-s key=s -K :",
        "-s value=c3 -c 1",
        "-s value=Bs -c 1",
        "-X check.crcs=true",
        "-X topic.auto.offset.reset=earliest",
        "-X isolation.level=read_uncommitted",
        "-X fetch.wait.max.ms=50",
    ] {
        let arguments = [&["-C", "-e", "-q", "-t", &topic], &words(options)[..]].concat();
        pair.same(&mut differences, &arguments, false);
    }
    for format in [
        "%t [%p] at %o: key %k (%K), value %s (%S) %T\\n",
        "%h|%s\\n",
        "%R%s",
        "%%\\t\\x41\\r\\n",
        "%K %S\\n",
        "no token",
        "%s\\n%s\\n",
    ] {
        pair.same(&mut differences, &["-C", "-e", "-q", "-t", &topic, "-f", format], false);
        pair.same(&mut differences, &["-C", "-e", "-q", "-Z", "-t", &topic, "-f", format], false);
    }
}

#[test]
fn consuming_several_partitions_prints_the_same_lines() {
    let Some(pair) = Pair::new("consuming_several_partitions_prints_the_same_lines") else { return };
    let topic = pair.filled("four", 4);
    let mut differences = Differences::default();
    for options in ["", "-o -1", "-o end", "-p 2", "-o s@0"] {
        let arguments =
            [&["-C", "-e", "-q", "-t", &topic, "-f", "%p %o %k %s\\n"], &words(options)[..]].concat();
        pair.same(&mut differences, &arguments, true);
    }
    pair.same(&mut differences, &["-C", "-e", "-q", "-J", "-t", &topic], true);
}

#[test]
fn the_end_of_a_partition_is_said_in_the_same_words() {
    let Some(pair) = Pair::new("the_end_of_a_partition_is_said_in_the_same_words") else { return };
    let topic = pair.filled("ends", 1);
    let ends = |ours| {
        let output = pair.run(ours, &["-C", "-e", "-t", &topic], b"").expect_success();
        let said = output.stderr.lines().filter(|line| line.starts_with("% Reached end"));
        said.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ends(true), ends(false));
    assert_eq!(ends(true).len(), 1);
}

#[test]
fn metadata_and_offsets_print_the_same() {
    let Some(pair) = Pair::new("metadata_and_offsets_print_the_same") else { return };
    let topic = pair.filled("facts", 3);
    let mut differences = Differences::default();
    let unknown = pair.broker.topic("never-made");
    // kcat's question makes the topic otherwise, which Apache Kafka does some time after its answer.
    let no_creation = "allow.auto.create.topics=false";
    for arguments in [
        vec!["-L", "-t", &topic],
        vec!["-L", "-J", "-t", &topic],
        vec!["-L", "-t", &unknown, "-X", no_creation],
    ] {
        let print = |ours| {
            let output = pair.run(ours, &arguments, b"");
            // The broker that was asked, by its id or still by its bootstrap name.
            let text = output.text().replace(&format!("-1: {}/bootstrap", pair.broker.bootstrap()), "ASKED");
            let id = text
                .lines()
                .find_map(|line| line.trim().strip_prefix("broker ")?.split(' ').next())
                .unwrap_or("");
            let asked = format!("{id}: {}/{id}", pair.broker.bootstrap());
            // kcat's JSON has no newline at its end, ours has one.
            format!("{} {}", output.code(), text.replace(&asked, "ASKED").trim_end())
        };
        differences.compare(&arguments.join(" "), &print(false), &print(true), "");
    }
    let stamp = pair.run(false, &["-C", "-qe", "-t", &topic, "-p", "0", "-c", "1", "-f", "%T"], b"");
    for time in ["0", stamp.text(), "99999999999999", "-1", "-2"] {
        for partition in 0..3 {
            let query = format!("{topic}:{partition}:{time}");
            pair.same(&mut differences, &["-Q", "-t", &query], true);
            pair.same(&mut differences, &["-Q", "-J", "-t", &query], true);
        }
    }
    for query in [format!("{topic}:9:-1"), format!("{unknown}:0:-2"), format!("{topic}:0:-4")] {
        pair.same(&mut differences, &["-Q", "-t", &query], true);
        pair.same(&mut differences, &["-Q", "-J", "-t", &query], true);
    }
}

#[test]
fn failures_have_the_same_exit_codes() {
    let Some(pair) = Pair::new("failures_have_the_same_exit_codes") else { return };
    let topic = pair.filled("failures", 1);
    let unknown = pair.broker.topic("never-made");
    let mut differences = Differences::default();
    for arguments in [
        vec!["-C", "-e", "-q", "-t", &unknown, "-X", "allow.auto.create.topics=false"],
        vec!["-C", "-e", "-q", "-t", &topic, "-p", "7"],
        vec!["-C"],
        vec!["-P"],
        vec!["-Q"],
        vec!["-Q", "-t", &topic],
        vec!["-C", "-t", &topic, "-X", "no.such.property=1"],
        vec!["-C", "-t", &topic, "-X", "fetch.wait.max.ms=abc"],
        vec!["-C", "-t", &topic, "-X", "fetch.wait.max.ms"],
        vec!["-C", "-t", &topic, "-s", "value=?"],
        vec!["-C", "-t", &topic, "-s", "nothing=s"],
        vec!["-C", "-t", &topic, "-e", "-s", "value=qqqqqqqqqqqqqqqqqqqqqqqq"],
        vec!["-C", "-t", &topic, "-o", "stored", "-e"],
        vec!["-P", "-t", &topic, "-z", "nonsense"],
        vec!["-P", "-t", &topic, "/no/such/file"],
        vec!["-P", "-t", &topic, "-l", "/no/such/file"],
        vec!["-9"],
        vec!["-h"],
        vec!["-V"],
    ] {
        let code = |ours| pair.run(ours, &arguments, b"").code().to_string();
        differences.compare(&arguments.join(" "), &code(false), &code(true), "");
    }
}

/// What stands in a topic, as the foreign kcat sees it.
fn contents(pair: &Pair, topic: &str) -> String {
    let format = "%p %o <%K:%k> <%S:%s> {%h}\\n";
    let output = pair.run(false, &["-C", "-e", "-q", "-Z", "-t", topic, "-f", format], b"").expect_success();
    shown(&output, true)
}

#[test]
fn producing_writes_the_same() {
    let Some(pair) = Pair::new("producing_writes_the_same") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a file");
        path.to_str().expect("a UTF-8 path").to_owned()
    };
    let (first, second) = (file("first", "a\nb\n"), file("second", "c"));
    let files = format!("{first} {} {second}", file("empty", ""));
    let nulls = format!("-Z {files}");
    let cases: &[(&str, &str, u32)] = &[
        ("", "one\ntwo\n\nfour without an end", 1),
        ("-K :", "k1:\n:v2\nnokey\n:\nk:v:w\n", 1),
        ("-K : -Z", "k1:\n:v2\nnokey\n:\nk:v:w\n", 1),
        ("-K : -Z -k FIX", "k1:\n:v2\nnokey\n:\n", 1),
        ("-K : -k FIX", "k1:\n:v2\nnokey\n:\n", 1),
        ("-k FIX", "one\ntwo\n", 4),
        ("-K :", "a:1\nb:2\nc:3\nd:4\ne:5\nf:6\ng:7\nh:8\n", 4),
        ("-K : -X partitioner=murmur2_random", "a:1\nb:2\nc:3\nd:4\ne:5\nf:6\ng:7\nh:8\n", 4),
        ("-K : -X topic.partitioner=murmur2", "a:1\nb:2\nc:3\nd:4\ne:5\n", 4),
        ("-K : -X partitioner=fnv1a_random", "a:1\nb:2\nc:3\nd:4\ne:5\n", 4),
        ("-K => -D ;;", "a=>1;;b=2;;c=>>3;;", 1),
        ("-D ;", "a;b\nc;d", 1),
        ("-K \\t", "a\tb\tc\nd\n", 1),
        ("-D \\x7c", "a|b|c", 1),
        ("-H one=1 -H one=2 -H empty= -H nothing", "with headers\n", 1),
        ("-c 2", "one\ntwo\nthree\n", 1),
        ("-p 2", "one\ntwo\n", 4),
        ("-z gzip", "one\ntwo\n", 1),
        ("-z snappy", "one\ntwo\n", 1),
        ("-z lz4", "one\ntwo\n", 1),
        ("-z zstd", "one\ntwo\n", 1),
        ("-z none -X acks=1", "one\n", 1),
        ("-X acks=0", "one\n", 1),
        ("-X enable.idempotence=true", "one\ntwo\n", 1),
        (&files, "", 1),
        (&nulls, "", 1),
        ("-K : -D ;", "k:\u{fc};", 1),
    ];
    let mut differences = Differences::default();
    for (number, (options, input, partitions)) in cases.iter().enumerate() {
        let produce = |ours: bool| {
            let topic = pair.broker.create(&format!("write-{number}-{ours}"), *partitions);
            // Its retries, which a new topic may need, change the order otherwise.
            let in_order: &[&str] = if ours { &[] } else { &["-X", "max.in.flight=1"] };
            let arguments = [&["-P", "-t", &topic], in_order, &words(options)[..]].concat();
            let output = pair.run(ours, &arguments, input.as_bytes());
            format!("exit code {}, stdout {:?}\n{}", output.code(), output.text(), contents(&pair, &topic))
        };
        differences.compare(&format!("-P {options} of {input:?}"), &produce(false), &produce(true), "");
    }
}

#[test]
fn what_one_writes_the_other_reads() {
    let Some(pair) = Pair::new("what_one_writes_the_other_reads") else { return };
    let input = (0..3_000).map(|n| format!("key {n}:{:0width$}\n", n, width = n % 97)).collect::<String>();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for ours in [false, true] {
            let topic = pair.broker.create(&format!("cross-{codec}-{ours}"), 1);
            pair.run(ours, &["-P", "-K", ":", "-z", codec, "-t", &topic], input.as_bytes()).expect_success();
            let read = pair.run(!ours, &["-C", "-qe", "-K", ":", "-t", &topic], b"").expect_success();
            assert!(
                read.text() == input,
                "{codec}, written by {}: {read:?}",
                if ours { "us" } else { "kcat" }
            );
        }
    }
}

#[test]
fn a_name_among_the_arguments_and_a_config_file_are_taken() {
    let Some(pair) = Pair::new("a_name_among_the_arguments_and_a_config_file_are_taken") else { return };
    let topic = pair.filled("config", 1);
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("kcat.conf");
    let bootstrap = pair.broker.bootstrap();
    fs::write(&config, format!("# a comment\nbootstrap.servers={bootstrap}\n\nclient.id=me\n"))
        .expect("a file");
    let run = |ours: bool, arguments: &[&str], file: Option<&Path>| {
        let mut command = pair.command(ours);
        if let Some(file) = file {
            command.env("KCAT_CONFIG", file);
        }
        let output = run_with(command.args(arguments), b"");
        (output.code(), output.text().to_owned())
    };
    let path = config.to_str().expect("a UTF-8 path");
    let plain = ["-C", "-qe", "-t", &topic];
    let by_option = [&["-F", path], &plain[..]].concat();
    assert_eq!(run(true, &plain, Some(&config)), run(false, &plain, Some(&config)));
    assert_eq!(run(true, &by_option, None), run(false, &by_option, None));
    assert_eq!(run(true, &by_option, None).1.lines().count(), 11);
}
