use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use kcopy_format::envelope::Envelope;
use kcopy_format::pack::Pack;
use kcopy_format::template::Template;

use crate::environment::Environment;
use crate::plan::*;
use crate::properties::{OffsetReset, Partitioner};

/// A command line with surroundings of its own; files are given as (path, content).
struct Case<'a> {
    variables: HashMap<&'a str, &'a str>,
    files: HashMap<&'a str, &'a [u8]>,
    terminal: bool,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self { variables: HashMap::new(), files: HashMap::new(), terminal: true }
    }
}

impl Case<'_> {
    fn parse(&self, line: &str) -> Result<Plan, String> {
        let args: Vec<OsString> = line.split_whitespace().map(|arg| arg.replace('~', " ").into()).collect();
        let environment = Environment {
            variable: &|name| self.variables.get(name).map(OsString::from),
            read_file: &|path: &Path| {
                let content = path.to_str().and_then(|path| self.files.get(path));
                content.map(|content| content.to_vec()).ok_or_else(|| io::Error::from_raw_os_error(2))
            },
            stdin_is_terminal: self.terminal,
            now_ms: 0,
        };
        crate::kcat::parse("kcat", &args, &environment).map_err(|wrong| {
            assert_eq!(wrong.exit_code, 1);
            assert!(wrong.stderr.ends_with('\n'));
            wrong.stderr.lines().next().unwrap_or_default().to_owned()
        })
    }
}

fn parse(line: &str) -> Result<Plan, String> {
    Case::default().parse(line)
}

fn consume(line: &str) -> Consume {
    match parse(line).unwrap() {
        Plan::Consume(plan) => *plan,
        other => panic!("{line}: {other:?}"),
    }
}

fn produce(line: &str) -> Produce {
    match parse(line).unwrap() {
        Plan::Produce(plan) => *plan,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_sessions_own_command_lines() {
    let plan = produce("-P -b B:1 -qe -K ; -t PGSHARD");
    assert_eq!(plan.topic, "PGSHARD");
    assert_eq!(plan.common.verbosity, 0);
    assert_eq!(plan.input, Input::Stdin);
    let InputFormat::Delimited { delimiter, key_delimiter, .. } = plan.format else { panic!() };
    assert_eq!((delimiter, key_delimiter), (b"\n".to_vec(), Some(b";".to_vec())));

    let plan = consume("-C -b B -c100 -qeJ -t PGSHARD -X group.id=1 -o beginning -p 0");
    assert_eq!(plan.limits.max_messages, Some(100));
    assert_eq!(plan.partitions, Some(vec![0]));
    assert_eq!((plan.start, plan.end), (Start::Beginning, End::Pinned));
    assert_eq!(plan.group, Some(GroupUse { id: "1".into(), commit: CommitPolicy::WhereNoneYet }));
    assert_eq!(plan.output, Output::Envelope(Envelope::new(b"\n")));

    let plan = consume("kafkacat -C -b B -qeJ -t PGSHARD -X group.id=1 -o stored -p 0");
    assert_eq!(plan.start, Start::Committed { otherwise: OffsetReset::Beginning });
    assert_eq!(plan.group.unwrap().commit, CommitPolicy::Always);
}

#[test]
fn refusals_have_kcats_texts() {
    for (line, expected) in [
        ("-Y", "Error: unknown argument -Y"),
        ("--lingo", "Error: unknown argument --lingo"),
        ("-b", "Error: option -b needs a value"),
        ("-C -t t", "Error: -b <broker,..> missing"),
        ("", "Error: -b <broker,..> missing"),
        ("-C -b x", "Error: -t <topic> missing"),
        ("-Q -b x", "Error: -t <topic>:<partition>:<offset_or_timestamp> missing"),
        ("-Q -b x -t a", "% ERROR: -t: expected \"topic:partition:offset_or_timestamp\""),
        (
            "-Q -b x -t a:0:-4",
            "% ERROR: -t: -4 is no timestamp (expected milliseconds, -1 for the end, -2 for the beginning, or -3 for \
             the record with the largest timestamp)",
        ),
        (
            "-Q -b x -t a:0:1 -t a:0:2",
            "% ERROR: -t: partition a [0] occurs twice, and each must only occur once",
        ),
        ("-C -b x -t t a b", "Error: file/topic list only allowed in producer(-P)/kafkaconsumer(-G) mode"),
        ("-P -b x -t t -l a b", "% ERROR: Only one file allowed for line mode (-l)"),
        ("-P -b x -t t -H =v", "% ERROR: Expected -H \"name=value..\" or -H \"name\""),
        ("-P -b x -t t -K \\xzz", "% ERROR: Delimiter \\xzz expects hex number"),
        ("-L -b x -s i", "% ERROR: -s serdes only available in the consumer"),
        ("-C -b x -t t -s zz", "% ERROR: Invalid token 'z' in key pack-format, see -s usage."),
        ("-C -b x -t t -s value=zz", "% ERROR: Invalid token 'z' in value pack-format, see -s usage."),
        ("-X acks", "% Expected -X property=value, not acks, use -X list to display available properties"),
        ("-X foo.bar.baz=1", "% ERROR: No such configuration property: \"foo.bar.baz\" (-X list shows all)"),
        (
            "-X linger.sm=1",
            "% ERROR: No such configuration property: \"linger.sm\" (did you mean \"linger.ms\"?)",
        ),
        (
            "-z lzma",
            "% ERROR: Invalid value \"lzma\" for configuration property \"compression.codec\" (expected none, gzip, snappy, lz4, zstd)",
        ),
        ("-F /nowhere -L -b x", "% ERROR: Failed to open /nowhere: No such file or directory"),
        (
            "-C -b x -t t -o latest",
            "% ERROR: -o: \"latest\" is no offset (expected beginning, end, stored, an offset, -N, s@MILLISECONDS or e@MILLISECONDS)",
        ),
        (
            "-C -b x -t t -o s@",
            "% ERROR: -o: \"s@\" is no offset (expected beginning, end, stored, an offset, -N, s@MILLISECONDS or e@MILLISECONDS)",
        ),
        (
            "-C -b x -t t -o stored",
            "% ERROR: -o stored needs the group whose offsets to use: add -X group.id=GROUP",
        ),
        ("-C -b x -t t -c ten", "% ERROR: -c: \"ten\" is no number"),
        ("-C -b x -t t -p 0,1", "% ERROR: -p: \"0,1\" is no number"),
        ("-C -b x -t t -p -2", "% ERROR: -p: -2 is no partition (expected 0 or more, or -1)"),
    ] {
        assert_eq!(parse(line).unwrap_err(), expected, "{line}");
    }
    for (line, part) in [
        ("-b x -G g t", "-G comes in a later release"),
        ("-M 3", "kcopy broker --nodes N"),
        ("-b x -C -t t -r http://x", "Schema Registry"),
        ("-b x -C -t t -s avro", "schema registry"),
        ("-b x -C -t t -f %z", "%z"),
        ("-b x -P -t t -X transactional.id=a", "transactions cannot be used yet"),
        ("-b x -P -t t -X sasl.username=a", "SASL cannot be used yet"),
        ("-b x -P -t t -X security.protocol=ssl", "TLS and SASL come in a later release"),
        ("-b x -C -t t -O", "-f '%o%k%s\\n'"),
        ("-b x -P -t t -D ~", ""),
    ] {
        match parse(line) {
            Err(error) => assert!(error.contains(part), "{line}: {error}"),
            Ok(_) => assert_eq!(part, "", "{line}"),
        }
    }
}

#[test]
fn an_empty_delimiter_is_for_consumers_only() {
    let args: Vec<OsString> = ["-P", "-b", "x", "-t", "t", "-D", ""].iter().map(Into::into).collect();
    let environment = Environment { stdin_is_terminal: false, ..Environment::of_process() };
    let wrong = crate::kcat::parse("kcat", &args, &environment).unwrap_err();
    assert_eq!(wrong.stderr, "% ERROR: Message delimiter -D must not be empty when producing\n");
}

#[test]
fn help_version_and_lists_are_printed_whatever_follows() {
    for (line, start) in [
        ("-h", "Usage: kcat <options>"),
        ("-V", "kcat - "),
        ("-C -h -Y", "Usage: kcat <options>"),
        ("--help", "Usage: kcat <options>"),
        ("-X list", "Property "),
        ("-X dump", "# Global config\n"),
        ("-b h:1 -X dump -X acks=1", "# Global config\nbootstrap.servers = h:1\n"),
    ] {
        let Plan::Print(text) = parse(line).unwrap() else { panic!("{line}") };
        assert!(text.starts_with(start), "{line}: {text}");
    }
    assert!(parse("-Y -h").is_err());
}

#[test]
fn the_mode_is_chosen_by_the_terminal() {
    let notice = |plan: Plan| plan.common().unwrap().notices.clone();
    let plan = Case { terminal: false, ..Case::default() }.parse("-b x -t t").unwrap();
    assert!(matches!(plan, Plan::Produce(_)));
    assert_eq!(notice(plan), ["Auto-selecting Producer mode (use -P or -C to override)"]);
    let plan = parse("-b x -t t").unwrap();
    assert!(matches!(plan, Plan::Consume(_)));
    assert_eq!(notice(plan), ["Auto-selecting Consumer mode (use -P or -C to override)"]);
    assert_eq!(notice(parse("-b x -t t -C").unwrap()), [""; 0]);
}

#[test]
fn the_last_mode_counts() {
    for (line, notice) in [
        ("-b x -t t -C -P", &["-P counts: -C came before it"][..]),
        ("-b x -t t -LP", &["-P counts: -L came before it"]),
        ("-b x -t t -G g -C -P", &["-C counts: -G came before it", "-P counts: -C came before it"]),
        ("-b x -t t -P -P", &[]),
    ] {
        assert_eq!(produce(line).common.notices, notice, "{line}");
    }
    assert!(matches!(parse("-b x -C -L -t t"), Ok(Plan::ListMetadata(_))));
    assert!(parse("-b x -C -G g t").unwrap_err().contains("-G comes in a later release"));
}

#[test]
fn offsets() {
    for (line, start, stop) in [
        ("", Start::Beginning, None),
        ("-o end", Start::End, None),
        ("-o 5", Start::Offset(5), None),
        ("-o -5", Start::BeforeEnd(5), None),
        ("-o -0", Start::Offset(0), None),
        ("-o s@5", Start::Timestamp(5), None),
        ("-o s@5 -o e@9", Start::Timestamp(5), Some(Stop::Timestamp(9))),
        ("-o e@9 -o 3", Start::Offset(3), Some(Stop::Timestamp(9))),
        ("-o 3 -o beginning", Start::Beginning, None),
    ] {
        let plan = consume(&format!("-C -b x -t t {line}"));
        assert_eq!((plan.start, plan.stop), (start, stop), "{line}");
        assert_eq!(plan.end, End::Follow);
    }
}

#[test]
fn groups_commit_only_where_nothing_is_lost() {
    let line = |rest: &str| consume(&format!("-C -b x -t t {rest}")).group.map(|group| group.commit);
    assert_eq!(line(""), None);
    assert_eq!(line("-X group.id=g"), Some(CommitPolicy::WhereNoneYet));
    assert_eq!(line("-X group.id=g -o stored"), Some(CommitPolicy::Always));
    assert_eq!(line("-X group.id=g -o stored -X enable.auto.commit=false"), Some(CommitPolicy::Never));
    assert_eq!(line("-X group.id=g -o stored -X auto.commit.enable=false"), Some(CommitPolicy::Never));
    assert_eq!(line("-X group.id=g -X enable.auto.commit=false"), None);
    let files = HashMap::from([("/f", &b"group.id=g\n"[..])]);
    let case = Case { files, ..Case::default() };
    let Plan::Consume(plan) = case.parse("-C -b x -t t -F /f").unwrap() else { panic!() };
    assert_eq!(plan.group, None);
    let Plan::Consume(plan) = case.parse("-C -b x -t t -F /f -o stored").unwrap() else { panic!() };
    assert_eq!(plan.group.unwrap().commit, CommitPolicy::Always);
    let plan = consume("-C -b x -t t -X group.id=g -o stored -X topic.auto.offset.reset=latest");
    assert_eq!(plan.start, Start::Committed { otherwise: OffsetReset::End });
}

#[test]
fn outputs() {
    let output = |rest: &str| consume(&format!("-C -b x -t t {rest}")).output;
    let pack = |what: &str, format: &str| Some(Pack::parse(what, format).unwrap());
    let (newline, percent) = (Template::delimited(b"\n", None), Template::parse("%s").unwrap());
    assert_eq!(output(""), Output::Template(newline.clone()));
    let delimited = Template::delimited(b"\r\n", Some(b"\t")).prints_null(true);
    assert_eq!(output("-K \\t -D \\r\\n -Z"), Output::Template(delimited));
    assert_eq!(output("-f %s -K :"), Output::Template(percent));
    assert_eq!(output("-J -f %s -D ;"), Output::Envelope(Envelope::new(b";")));
    let packs = newline.clone().packs(pack("key", ">i"), pack("value", "s"));
    assert_eq!(output("-s key=>i -s value=s"), Output::Template(packs));
    let packs = Envelope::new(b"\n").packs(pack("key", "q"), pack("value", "q"));
    assert_eq!(output("-J -s q"), Output::Envelope(packs));
    for line in ["", "-J", "-f %o"] {
        output(line).writer().unwrap();
    }
}

#[test]
fn producing() {
    let plan = produce("-P -b x -t t -H a=1 -H b= -H c -H a=x=y -p 3 -c 7 -T -E -Z -k fix -m 9 a b");
    let headers: Vec<_> =
        plan.headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref())).collect();
    assert_eq!(
        headers,
        [(&b"a"[..], Some(&b"1"[..])), (b"b", Some(b"")), (b"c", None), (b"a", Some(b"x=y"))]
    );
    assert_eq!(
        (plan.partition, plan.max_messages, plan.tee, plan.keep_going),
        (Some(3), Some(7), true, true)
    );
    assert_eq!(plan.input, Input::WholeFiles(vec!["a".into(), "b".into()]));
    assert_eq!(plan.common.timeout, Some(Duration::from_secs(9)));
    let plan = produce("-P -b x -t t -l f -p -1 -c 0 -m -1 -X partitioner=murmur2_random");
    assert_eq!(plan.input, Input::File("f".into()));
    assert_eq!((plan.partition, plan.max_messages, plan.common.timeout), (None, None, None));
    assert_eq!(plan.common.properties.partitioner, Some(Partitioner::Murmur2Random));
}

#[test]
fn queries_and_lists() {
    let Plan::QueryOffsets(plan) = parse("-t a:0:5 -Q -b x -t a:1:-1 -t a:2:-3 -J").unwrap() else {
        panic!()
    };
    assert_eq!(plan.queries.len(), 3);
    assert_eq!(plan.queries[1], OffsetQuery { topic: "a".into(), partition: 1, timestamp: -1 });
    assert!(plan.json);
    let Plan::ListMetadata(plan) = parse("-L -b x -t t -m 2").unwrap() else { panic!() };
    assert_eq!((plan.topic.as_deref(), plan.json), (Some("t"), false));
}

#[test]
fn config_files_are_searched_in_order_and_the_command_line_wins() {
    let files = HashMap::from([
        ("/one", &b"client.id=one\nbootstrap.servers=one"[..]),
        ("/two", b"client.id=two"),
        ("/env", b"client.id=env"),
        ("/home/.config/kcat.conf", b"client.id=home"),
        ("/bad", b"client.id=x\nnonsense"),
    ]);
    let case = |variables: &[(&'static str, &'static str)]| Case {
        variables: variables.iter().copied().collect(),
        files: files.clone(),
        terminal: true,
    };
    let client_id = |case: &Case<'_>, line: &str| {
        case.parse(line).map(|plan| plan.common().unwrap().properties.client_id.clone())
    };
    let (home, env) = (case(&[("HOME", "/home")]), case(&[("HOME", "/home"), ("KCAT_CONFIG", "/env")]));
    let some = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(client_id(&case(&[]), "-L -b x"), Ok(None));
    assert_eq!(client_id(&home, "-L -b x"), some("home"));
    assert_eq!(client_id(&home, "-L -b x -F none"), Ok(None));
    assert_eq!(client_id(&env, "-L -b x"), some("env"));
    assert_eq!(client_id(&env, "-L -b x -F none"), some("env"), "as in kcat, and as -h says");
    assert_eq!(client_id(&env, "-L -F /one -F /two"), some("two"));
    assert_eq!(client_id(&env, "-X client.id=mine -L -F /one"), some("mine"));
    assert_eq!(client_id(&case(&[("KAFKACAT_CONFIG", "/env")]), "-L -b x"), some("env"));
    assert_eq!(client_id(&case(&[("HOME", "/nobody")]), "-L -b x"), Ok(None));
    assert_eq!(client_id(&home, "-L -F /bad"), Err("% ERROR: /bad:2: expected property=value".to_owned()));
    let plan = home.parse("-L -b a -X bootstrap.servers=b -F /one").unwrap();
    assert_eq!(plan.common().unwrap().properties.bootstrap_servers[0].host, "a");
    assert!(home.parse("-L -F /one").is_ok(), "a file can name the brokers");
}

#[test]
fn verbosity_counts_in_order() {
    for (flags, verbosity) in [("", 1), ("-q", 0), ("-v", 2), ("-vv", 3), ("-q -v", 1), ("-v -q", 0)] {
        assert_eq!(parse(&format!("-L -b x {flags}")).unwrap().common().unwrap().verbosity, verbosity);
    }
}

proptest::proptest! {
    #[test]
    fn no_command_line_panics(args in proptest::collection::vec("-?[A-Za-z:,=@~\\\\0-9.]{0,8}", 0..8)) {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let environment = Environment {
            variable: &|_| None,
            read_file: &|_| Err(io::Error::from_raw_os_error(13)),
            stdin_is_terminal: true,
            now_ms: 0,
        };
        let _ = crate::kcat::parse("kcat", &args, &environment);
    }
}
