use std::collections::HashMap;
use std::io;
use std::path::Path;

use kcopy_format::template::Template;
use kcopy_format::{Columns, Format, FormatOptions, InvalidText};

use super::*;
use crate::plan::*;
use crate::properties::{Acks, CompressionType, IsolationLevel, OffsetReset};

const NOW: i64 = 1_767_225_600_000;

fn parse_with(files: &HashMap<&str, &str>, args: &[&str]) -> Result<Plan, WrongUse> {
    let args: Vec<OsString> = args.iter().map(Into::into).collect();
    let environment = Environment {
        variable: &|name| (name == "HOME").then(|| "/home".into()),
        read_file: &|path: &Path| match path.to_str().and_then(|path| files.get(path)) {
            Some(content) => Ok(content.as_bytes().to_vec()),
            None => Err(io::Error::from_raw_os_error(13)),
        },
        stdin_is_terminal: false,
        now_ms: NOW,
    };
    super::parse(&args, &environment)
}

fn parse(line: &str) -> Result<Plan, String> {
    let args: Vec<String> = line.split_whitespace().map(|arg| arg.replace('~', " ")).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    parse_with(&HashMap::new(), &args).map_err(|wrong| {
        assert_eq!(wrong.exit_code, 2, "{line}");
        wrong.stderr
    })
}

fn consume(line: &str) -> Consume {
    match parse(&format!("consume {line}")) {
        Ok(Plan::Consume(plan)) => *plan,
        other => panic!("{line}: {other:?}"),
    }
}

fn topic(line: &str) -> TopicPlan {
    match parse(&format!("topic {line}")) {
        Ok(Plan::Topic(plan)) => *plan,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_long_option_reads_its_variable() {
    /// `--config` sets topics and brokers there: KCOPY_CONFIG is the client's file everywhere.
    const OTHER: &[(&str, &str)] = &[("config-file", "KCOPY_CONFIG")];
    fn walk(command: &Command, path: &str, seen: &mut usize) {
        for arg in command.get_arguments() {
            let Some(long) = arg.get_long().filter(|long| *long != "help" && *long != "version") else {
                continue;
            };
            let expected = format!("KCOPY_{}", long.to_uppercase().replace('-', "_"));
            let expected =
                OTHER.iter().find(|(name, _)| *name == long).map_or(expected.as_str(), |(_, env)| env);
            match arg.get_env() {
                Some(env) => assert_eq!(env, expected, "{path} --{long}"),
                None => {
                    assert!(long == "config" && path != " consume" && path != " produce", "{path} --{long}")
                }
            }
            *seen += 1;
        }
        for subcommand in command.get_subcommands() {
            walk(subcommand, &format!("{path} {}", subcommand.get_name()), seen);
        }
    }
    let mut seen = 0;
    walk(&Cli::command(), "", &mut seen);
    assert!(seen > 80, "{seen}");
}

#[test]
fn every_help_opens_with_examples() {
    fn walk(command: &Command, path: &mut Vec<String>) {
        for subcommand in command.get_subcommands() {
            path.push(subcommand.get_name().to_owned());
            if !["load", "publish", "group"].contains(&subcommand.get_name()) {
                let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
                let Ok(Plan::Print(help)) = parse_with(&HashMap::new(), &args) else { panic!("{path:?}") };
                assert!(help.starts_with("Examples:\n  "), "{path:?}: {help}");
                assert!(help.contains("Usage: kcopy"), "{path:?}");
                let examples = help.lines().take_while(|line| !line.is_empty());
                for line in examples {
                    assert!(line.len() < 80, "{path:?}: {line} would be wrapped");
                }
            }
            walk(subcommand, path);
            path.pop();
        }
    }
    walk(&Cli::command(), &mut Vec::new());
    let Ok(Plan::Print(help)) = parse("--help") else { panic!() };
    assert!(help.starts_with("Examples:\n  kcopy consume"));
    let Ok(Plan::Print(version)) = parse("--version") else { panic!() };
    assert_eq!(version, format!("kcopy {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn dead_letters_are_not_loaded_again() {
    let Err(error) = parse("load a b --into t --on-error dead-letter=b") else { panic!("it was taken") };
    assert!(error.to_string().contains("loaded again and again"), "{error}");
}

#[test]
fn consume_is_bounded_text_from_the_beginning() {
    let plan = consume("orders");
    assert_eq!(plan.topics, TopicSelection::Names(vec!["orders".into()]));
    assert_eq!((plan.start, plan.stop, plan.end), (Start::Beginning, None, End::Pinned));
    assert_eq!((plan.group, plan.partitions), (None, None));
    assert_eq!(plan.limits, Limits::default());
    assert_eq!(plan.isolation, IsolationLevel::ReadCommitted);
    assert_eq!(plan.output, Output::Format(FormatOptions::default()));
    assert_eq!(plan.common.properties.bootstrap_servers[0].to_string(), "localhost:9092");
    assert_eq!(plan.common.verbosity, 1);
}

#[test]
fn consume_positions_and_groups() {
    let committed = |otherwise| Start::Committed { otherwise };
    for (line, start, stop) in [
        ("t --from -1h", Start::Timestamp(NOW - 3_600_000), None),
        ("t --from -5 --until @9", Start::BeforeEnd(5), Some(Stop::Timestamp(9))),
        ("t --from 7 --until 9", Start::Offset(7), Some(Stop::Offset(9))),
        ("t --until end", Start::Beginning, Some(Stop::BeforeEnd(0))),
        ("t --follow --until end", Start::Beginning, Some(Stop::BeforeEnd(0))),
        ("t --until -2", Start::Beginning, Some(Stop::BeforeEnd(2))),
        ("t --group g", committed(OffsetReset::Beginning), None),
        ("t --group g -X auto.offset.reset=latest", committed(OffsetReset::End), None),
        (
            "t -X group.id=g --from committed --until committed",
            committed(OffsetReset::Beginning),
            Some(Stop::Committed),
        ),
        ("t --group g --from beginning", Start::Beginning, None),
    ] {
        let plan = consume(line);
        assert_eq!((plan.start, plan.stop), (start, stop), "{line}");
    }
    let commit = |line: &str| consume(line).group.map(|group| group.commit);
    assert_eq!(commit("t --group g"), Some(CommitPolicy::Always));
    assert_eq!(commit("t --group g --no-commit"), Some(CommitPolicy::Never));
    assert_eq!(commit("t --group g -X enable.auto.commit=false"), Some(CommitPolicy::Never));
}

#[test]
fn consume_options_arrive() {
    let plan = consume(
        "a b -p 0,3-5 --follow --max-messages 7 --max-bytes 64MiB --max-time 30s --isolation read_uncommitted \
         --format csv --columns key,value --null NULL --delimiter ; --quote ' --header --invalid-text base64 -vv",
    );
    assert_eq!(plan.topics, TopicSelection::Names(vec!["a".into(), "b".into()]));
    assert_eq!(plan.partitions, Some(vec![0, 3, 4, 5]));
    assert_eq!(plan.end, End::Follow);
    assert_eq!(plan.limits.max_messages, Some(7));
    assert_eq!(plan.limits.max_bytes, Some(64 << 20));
    assert_eq!(plan.limits.max_time, Some(std::time::Duration::from_secs(30)));
    assert_eq!(plan.isolation, IsolationLevel::ReadUncommitted);
    assert_eq!(plan.common.verbosity, 3);
    let options = FormatOptions {
        format: Format::Csv,
        columns: Some(Columns::parse("key,value").unwrap()),
        null: Some("NULL".into()),
        delimiter: Some(b";".to_vec()),
        quote: Some(b"'".to_vec()),
        header: true,
        invalid_text: InvalidText::Base64,
        max_record_bytes: None,
    };
    assert_eq!(plan.output, Output::Format(options));
    let plan = consume("^a --regex --template %o:%s\\n");
    assert_eq!(plan.topics, TopicSelection::Regex(vec!["^a".into()]));
    assert_eq!(plan.output, Output::Template(Template::parse("%o:%s\n").unwrap()));
}

#[test]
fn types_of_their_own_and_odd_names_are_taken() {
    for columns in [
        "a~mood",
        "a~macaddr8",
        "a~cid",
        "a~\"itn8\"",
        "a~public.itn8",
        "a~timestamp_ms",
        "a~geometry(Point,4326)",
        "a~daterange",
        "a~citext",
        "\"id:int8\"",
        "ns:name",
    ] {
        consume(&format!("t --columns {columns}"));
    }
    // A catalog's types are what they are.
    consume("t --start 0:0 --columns a~uint4");
}

#[test]
fn produce_options_arrive() {
    let line = "produce t --format binary --columns key,value --acks 1 --compression zstd -H a=1 -H b -p 2";
    let Ok(Plan::Produce(plan)) = parse(line) else { panic!() };
    assert_eq!(plan.common.properties.acks, Some(Acks::Leader));
    assert_eq!(plan.common.properties.compression_type, Some(CompressionType::Zstd));
    assert_eq!(plan.headers, [(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)]);
    assert_eq!(plan.partition, Some(2));
    let columns = Columns::parse("key,value").unwrap();
    let options = FormatOptions { columns: Some(columns), ..FormatOptions::new(Format::Binary) };
    assert_eq!(plan.format, InputFormat::Format(options));
}

#[test]
fn topic_actions() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    for (line, action) in [
        ("list", TopicAction::List { topics: TopicsNamed::All { internal: false } }),
        ("list --internal", TopicAction::List { topics: TopicsNamed::All { internal: true } }),
        (
            "create t --partitions 3 --config a=b --config c=d=e --if-not-exists",
            TopicAction::Create {
                spec: TopicSpec {
                    name: "t".into(),
                    partitions: Some(3),
                    replication_factor: Some(1),
                    replica_assignment: None,
                    configs: vec![pair("a", "b"), pair("c", "d=e")],
                },
                existing: OnExisting::Keep,
            },
        ),
        (
            "alter t --partitions 6 --config a=b --unset c",
            TopicAction::Alter {
                topics: TopicsNamed::Names(vec!["t".into()]),
                partitions: Some(6),
                replica_assignment: None,
                set: vec![pair("a", "b")],
                unset: vec!["c".into()],
                missing: OnMissing::Fail,
            },
        ),
        (
            "delete a b --if-exists",
            TopicAction::Delete {
                topics: TopicsNamed::Names(vec!["a".into(), "b".into()]),
                missing: OnMissing::Ignore,
            },
        ),
        ("offsets t", TopicAction::Offsets { topic: "t".into(), isolation: IsolationLevel::ReadUncommitted }),
        (
            "trim t --before 5 -p 1",
            TopicAction::Trim { topic: "t".into(), partitions: Some(vec![1]), before: Some(5) },
        ),
        ("trim t --before end", TopicAction::Trim { topic: "t".into(), partitions: None, before: None }),
    ] {
        let plan = topic(line);
        assert_eq!((plan.action, plan.shape), (action, Shape::Table), "{line}");
    }
    assert_eq!(topic("describe --json").shape, Shape::Json);
    assert!(matches!(parse("cluster describe"), Ok(Plan::ClusterDescribe(_))));
}

#[test]
fn brokers() {
    let broker = |line: &str| match parse(&format!("broker {line}")) {
        Ok(Plan::Broker(plan)) => *plan,
        other => panic!("{line}: {other:?}"),
    };
    let plan = broker("--topic a --topic b:3 --config num.partitions=4 --nodes 2 --control 127.0.0.1:0");
    assert_eq!(plan.listen, ("127.0.0.1".into(), 9092));
    assert_eq!(plan.topics, [("a".into(), None), ("b".into(), Some(3))]);
    assert_eq!(plan.configs, [("num.partitions".into(), "4".into())]);
    assert_eq!((plan.nodes, plan.control), (2, Some(("127.0.0.1".into(), 0))));
    let plan = broker("--topic a:1 -- sh -c x");
    assert_eq!(plan.listen.1, 0);
    assert_eq!(plan.command, ["sh", "-c", "x"]);
}

#[test]
fn wrong_use_says_what_is_right() {
    for (line, part) in [
        ("", "Usage: kcopy"),
        ("consme t", "'consume'"),
        ("consume t --folow", "'--follow'"),
        ("consume", "<TOPIC>"),
        ("consume a/b", "\"a/b\" is no topic name"),
        ("consume t --from latest", "--from: \"latest\" is no position"),
        ("consume t --from committed", "--group GROUP"),
        ("consume t --until beginning", "would read nothing"),
        ("consume t --from 160 --until 150", "--until 150 is before --from 160"),
        ("consume t --from -5 --until -10", "--until -10 is before --from -5"),
        ("consume t --from -1h --until -2h", "--until -2h is before --from -1h"),
        ("consume t --partitions 5-3", "--partitions: \"5-3\" is no list of partitions"),
        ("consume t --max-bytes lots", "\"lots\" is no size"),
        ("consume t --max-bytes 0", "expected 1 byte or more"),
        ("consume t --max-time 5", "\"5\" is no duration"),
        ("consume t --max-messages 0", "expected a whole number from 1 to 18446744073709551615"),
        ("load t --into t --write-timeout 10ms", "an answer is waited for 1s to 1d"),
        ("consume t --format yaml", "possible values: text, csv, binary, json, raw"),
        ("consume t --template x --columns key", "--columns has no meaning beside --template"),
        ("consume t --template %z", "--template: "),
        ("consume t --columns a..b", "--columns: "),
        ("consume t --columns key,id~itn8", "column id: itn8 is no type that is known (did you mean int8?"),
        ("produce t --columns id~varchr(3)[]", "varchr(3) is no type that is known (did you mean varchar?"),
        ("consume t --columns id~int64[]", "did you mean int8?"),
        ("consume t --columns id~TIMESTMAPZ", "did you mean timestamp?"),
        ("consume t --columns id:itn8", "no colon stands before a type (did you mean \"id int8\"?"),
        ("produce t --columns id:int8", "did you mean \"id int8\"?"),
        ("consume t --format json --header", "--header"),
        ("consume t --format csv --delimiter ab", "--delimiter"),
        ("consume t --join", "--join comes in a later release"),
        ("consume t -X lingerms=1", "did you mean \"linger.ms\"?"),
        ("consume t -b h:x", "a port is 1 to 65535"),
        ("consume t -F /nowhere", "cannot read the configuration file /nowhere"),
        ("consume t -q -v", "cannot be used with"),
        ("produce t --acks 3", "expected all, -1, 0, 1"),
        ("produce t --transactional-id x", "transactions cannot be used yet"),
        ("produce t -H =x", "has no name"),
        ("topic create", "<NAME>"),
        ("topic create t --partitions 0", "expected a whole number from 1 to 2147483647"),
        ("topic create t --config x", "\"x\" is no KEY=VALUE"),
        ("topic alter t", "nothing to alter"),
        ("topic trim t", "--before"),
        ("topic trim t --before -1", "error"),
        ("topic trim t --before x", "\"x\" is no offset"),
        ("broker --topic t:0", "\"0\" is no number of partitions"),
        ("broker --listen h:65535 --nodes 2", "would need port 65536"),
        ("man nothing", "there is no command \"kcopy nothing\""),
        ("completions csh", "possible values: bash"),
        ("consume t --escape-bytes --format csv", "is for --format text"),
        ("load t", "--into <TABLE>"),
        ("load t --into a --into b", "two tables for all topics"),
        ("load t --into u=b", "u is not among the topics"),
        ("load t u --into t=a", "names no table for topic u"),
        ("load t --into a --from committed", "--import-group GROUP"),
        ("load t --into a --delete-on-tombstone", "needs --mode upsert"),
        ("load t --into a --dry-run", "belongs to --create-table"),
        ("load t --into a --on-error ignore", "dead-letter=TOPIC"),
        ("load t --into a --batch-bytes 1", "1KiB to 1GiB"),
        ("load t --into a --metrics nonsense", "--metrics"),
        ("load t --into a -d sslmod=require", "nearest: sslmode"),
        ("publish", "kcopy publish comes in a later release"),
        ("sql --program kcopy", "the server needs an absolute path"),
        ("sql --program /k --uninstall", "cannot be used with"),
        ("consume t --start 0", "is no start"),
        ("consume t u --start 0:1", "name one"),
        ("consume t --group g --start 0:1", "cannot be used with"),
        ("group list --json", "kcopy group comes in a later release"),
    ] {
        let text = parse(line).expect_err(line);
        assert!(text.contains(part), "{line}: {text}");
        assert!(text.ends_with('\n'), "{line}");
        assert!(line.is_empty() || text.starts_with("kcopy: error: "), "{line}: {text}");
    }
    let text = parse("brokr").expect_err("no such verb");
    assert!(text.contains("'broker'") && !text.contains("report"), "{text}");
}

#[test]
fn every_number_says_what_it_takes() {
    for (line, option, most) in [
        ("consume t", "--max-messages", u64::MAX.to_string()),
        ("produce t", "--max-messages", u64::MAX.to_string()),
        ("produce t", "--partition", i32::MAX.to_string()),
        ("topic create t", "--partitions", i32::MAX.to_string()),
        ("topic create t", "--replicas", i16::MAX.to_string()),
        ("topic alter t", "--partitions", i32::MAX.to_string()),
        ("broker", "--nodes", "1000".to_owned()),
        ("load t --into a", "--batch-rows", "10000000".to_owned()),
        ("load t --into a", "--connections", "256".to_owned()),
    ] {
        for wrong in ["x", "1.5", "-1", "99999999999999999999"] {
            let text = parse(&format!("{line} {option}={wrong}")).expect_err(line);
            let expected =
                format!("invalid value '{wrong}' for '{option} <N>': expected a whole number from ");
            assert!(text.contains(&expected) && text.contains(&format!(" to {most}")), "{text}");
        }
    }
}

#[test]
fn config_files_are_found_in_order() {
    let files = HashMap::from([
        ("/home/.config/kcopy.conf", "bootstrap.servers=home:1\ngroup.id=g"),
        ("/etc/kcopy.conf", "bootstrap.servers=etc:1"),
        ("/named", "bootstrap.servers=named:1"),
    ]);
    let host = |files: &HashMap<&str, &str>, args: &[&str]| {
        let plan = parse_with(files, args).unwrap();
        plan.common().unwrap().properties.bootstrap_servers[0].host.clone()
    };
    assert_eq!(host(&files, &["consume", "t"]), "home");
    assert_eq!(host(&files, &["consume", "t", "--config", "/named"]), "named");
    assert_eq!(host(&files, &["topic", "create", "t", "-F", "/named"]), "named");
    assert_eq!(host(&files, &["consume", "t", "-F", "none"]), "localhost");
    assert_eq!(host(&files, &["consume", "t", "-b", "mine"]), "mine");
    let only_etc = HashMap::from([("/etc/kcopy.conf", "bootstrap.servers=etc:1")]);
    assert_eq!(host(&only_etc, &["topic", "list"]), "etc");
}

#[test]
fn completions_and_manual_pages_are_made() {
    for (line, part) in [
        ("completions bash", "complete -F _kcopy"),
        ("completions zsh", "#compdef kcopy"),
        ("completions fish", "complete -c kcopy"),
        ("man", ".TH kcopy 1"),
        ("man topic create", ".TH kcopy-topic-create 1"),
        ("man", ".SH EXAMPLES\n.nf\n\\&  kcopy consume orders \\-\\-group load\n"),
        ("man consume", "\\(aq%t [%p] %o: %s\\en\\(aq\n"),
        ("man topic create", ".fi\n.SH EXIT STATUS\n"),
    ] {
        let Ok(Plan::Print(text)) = parse(line) else { panic!("{line}") };
        assert!(text.contains(part), "{line}: {}", &text[..200.min(text.len())]);
    }
}

proptest::proptest! {
    #[test]
    fn no_command_line_panics(
        verb in "consume|produce|topic (list|create|trim|alter)|broker|man|[a-z]{0,5}",
        args in proptest::collection::vec("(-{0,2}[a-zX]{0,8}=?)?[a-zA-Z0-9:,=@.-]{0,8}", 0..6),
    ) {
        let args: Vec<&str> = verb.split(' ').chain(args.iter().map(String::as_str)).collect();
        let _ = parse_with(&HashMap::new(), &args);
    }
}

#[test]
fn a_bare_port_is_one_of_the_loopback() {
    let Ok(Plan::Broker(plan)) = parse("broker --listen 9093 --control 0") else { panic!() };
    assert_eq!(plan.listen, ("127.0.0.1".to_owned(), 9093));
    assert_eq!(plan.control, Some(("127.0.0.1".to_owned(), 0)));
    let Err(wrong) = parse("broker --listen 65536") else { panic!() };
    assert!(wrong.contains("--listen: 65536 is no port"), "{wrong}");
}

#[test]
fn a_wrong_value_of_the_environment_names_the_variable() {
    let environment = Environment {
        variable: &|name| (name == "KCOPY_NODES" || name == "KCOPY_BROKERS").then(|| "x".into()),
        read_file: &|_| Err(io::Error::from_raw_os_error(2)),
        stdin_is_terminal: false,
        now_ms: NOW,
    };
    let of = |about: &str, args: &[&str]| {
        let args: Vec<OsString> = args.iter().map(Into::into).collect();
        super::origin(about, &args, &environment)
    };
    let expected = "The value comes from the environment variable KCOPY_NODES.\n";
    assert_eq!(of("--nodes <N>", &["broker"]), expected);
    assert_eq!(of("--nodes <N>", &["broker", "--", "x", "--nodes"]), expected);
    for (about, args) in [
        ("--nodes <N>", &["broker", "--nodes=x"][..]),
        ("--nodes <N>", &["broker", "--nodes", "x"]),
        ("--brokers: x", &["consume", "-bx"]),
        ("--listen: x", &["broker"]),
        ("<TOPIC>", &["consume"]),
    ] {
        assert_eq!(of(about, args), "", "{about} {args:?}");
    }
}

#[test]
fn properties_are_listed_behind_any_verb_that_takes_them() {
    for line in [
        "consume -X list",
        "consume t -b b -Xlist",
        "topic list --property list",
        "produce t --property=help",
        "load -X help",
        "cluster describe -X list",
    ] {
        assert_eq!(parse(line), Ok(Plan::Print(properties::list())), "{line}");
    }
    for line in ["consume t -- -X list", "broker --topic t -- kcat -X list"] {
        assert!(!matches!(parse(line), Ok(Plan::Print(_))), "{line}");
    }
    let Ok(Plan::Print(dump)) = parse("produce t -X dump -X linger.ms=7 --acks 1") else { panic!("no dump") };
    assert!(dump.contains("\nlinger.ms = 7\n") && dump.contains("\nacks = 1\n"), "{dump}");
}
