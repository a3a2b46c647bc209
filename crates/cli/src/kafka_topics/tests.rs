use std::ffi::OsString;
use std::path::Path;

use crate::environment::Environment;
use crate::plan::*;

fn parse_with(variables: &[(&str, &str)], line: &str) -> Result<Plan, String> {
    let args: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
    let environment = Environment {
        variable: &|name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.into()),
        read_file: &|path: &Path| match path.to_str() {
            Some("/client") => Ok(b"bootstrap.servers=file:1\nclient.id=me".to_vec()),
            _ => Err(std::io::Error::from_raw_os_error(2)),
        },
        stdin_is_terminal: true,
        now_ms: 0,
    };
    super::parse(&args, &environment).map_err(|wrong| {
        assert_eq!(wrong.exit_code, 1);
        wrong.stderr
    })
}

fn action(line: &str) -> TopicAction {
    match parse_with(&[], &format!("--bootstrap-server b:1 {line}")) {
        Ok(Plan::Topic(plan)) => {
            assert_eq!(plan.shape, Shape::Apache);
            plan.action
        }
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn actions() {
    let pattern = |regex: &str| TopicsNamed::Pattern { regex: regex.into(), internal: true };
    let all = TopicsNamed::All { internal: true };
    let spec = TopicSpec {
        name: "PGSHARD".into(),
        partitions: Some(3),
        replication_factor: Some(1),
        replica_assignment: None,
        configs: Vec::new(),
    };
    let assigned = TopicSpec {
        partitions: None,
        replication_factor: None,
        replica_assignment: Some(vec![vec![0, 1], vec![1, 2]]),
        configs: vec![("a".into(), "b".into()), ("c".into(), "d=e".into())],
        ..spec.clone()
    };
    for (line, expected) in [
        (
            "--create --replication-factor 1 --partitions 3 --topic PGSHARD",
            TopicAction::Create { spec, existing: OnExisting::Fail },
        ),
        (
            "--create --topic=PGSHARD --replica-assignment 0:1,1:2 --config a=b --config c=d=e --if-not-exists",
            TopicAction::Create { spec: assigned, existing: OnExisting::Keep },
        ),
        ("--list", TopicAction::List { topics: all.clone() }),
        ("--list --exclude-internal", TopicAction::List { topics: TopicsNamed::All { internal: false } }),
        ("--delete --topic a,b", TopicAction::Delete { topics: pattern("a|b"), missing: OnMissing::Fail }),
        (
            "--delete --topic a.* --if-exists",
            TopicAction::Delete { topics: pattern("a.*"), missing: OnMissing::Ignore },
        ),
        (
            "--describe",
            TopicAction::Describe {
                topics: all.clone(),
                filter: PartitionFilter::All,
                missing: OnMissing::Fail,
            },
        ),
        (
            "--describe --under-rep",
            TopicAction::Describe {
                topics: all,
                filter: PartitionFilter::UnderReplicated,
                missing: OnMissing::Fail,
            },
        ),
        (
            "--describe --topic-id x",
            TopicAction::Describe {
                topics: TopicsNamed::Id("x".into()),
                filter: PartitionFilter::All,
                missing: OnMissing::Fail,
            },
        ),
        (
            "--alter --topic a --partitions 5",
            TopicAction::Alter {
                topics: pattern("a"),
                partitions: Some(5),
                replica_assignment: None,
                set: Vec::new(),
                unset: Vec::new(),
                missing: OnMissing::Fail,
            },
        ),
    ] {
        assert_eq!(action(line), expected, "{line}");
    }
}

#[test]
fn brokers_come_from_the_option_the_environment_or_the_file() {
    let host = |variables: &[(&str, &str)], line: &str| {
        let plan = parse_with(variables, line).unwrap();
        plan.common().unwrap().properties.bootstrap_servers[0].to_string()
    };
    let variables = [("KCOPY_BROKERS", "env:1")];
    assert_eq!(host(&variables, "--list --bootstrap-server a"), "a:9092");
    assert_eq!(host(&variables, "--list"), "env:1");
    assert_eq!(host(&[], "--list --command-config /client"), "file:1");
    assert_eq!(host(&variables, "--list --command-config /client"), "env:1");
}

#[test]
fn time_outs_are_those_of_the_file() {
    let timeouts = |content: &str| {
        let args = ["--list", "--bootstrap-server", "h", "--command-config", "/c"].map(OsString::from);
        let environment = Environment {
            variable: &|_| None,
            read_file: &|_| Ok(content.as_bytes().to_vec()),
            stdin_is_terminal: false,
            now_ms: 0,
        };
        let plan = crate::kafka_topics::parse(&args, &environment).map_err(|wrong| wrong.stderr)?;
        let common = plan.common().unwrap();
        let seconds = |duration: std::time::Duration| duration.as_secs();
        Ok::<_, String>((common.timeout.map(seconds), common.properties.socket_timeout.map(seconds)))
    };
    assert_eq!(timeouts(""), Ok((Some(60), None)));
    assert_eq!(timeouts("default.api.timeout.ms=5000"), Ok((Some(5), None)));
    assert_eq!(timeouts("request.timeout.ms=5000"), Ok((Some(60), Some(5))));
    assert_eq!(timeouts("request.timeout.ms=90000"), Ok((Some(90), Some(90))));
    assert_eq!(timeouts("socket.timeout.ms=7000"), Ok((Some(60), Some(7))));
    assert_eq!(timeouts("request.timeout.ms=4000\ndefault.api.timeout.ms=5000"), Ok((Some(5), Some(4))));
    let refused = timeouts("request.timeout.ms=6000\ndefault.api.timeout.ms=5000").unwrap_err();
    assert!(refused.contains("must be no smaller than the value of request.timeout.ms"), "{refused}");
}

#[test]
fn refusals_are_kafkas() {
    for (line, expected) in [
        ("", "Create, delete, describe, or change a topic."),
        ("--list", "--bootstrap-server must be specified"),
        ("--bogus", "bogus is not a recognized option"),
        ("--discribe", "discribe is not a recognized option (did you mean --describe?)"),
        (
            "--un",
            "un is not a recognized option (it could be --unavailable-partitions or --under-min-isr-partitions)",
        ),
        ("--create --topic", "Option topic requires an argument"),
        ("--list=x", "Option list takes no argument"),
        ("foo", "\"foo\" is not an option (every value belongs to a --option)"),
        (
            "--list --create",
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
        ),
        (
            "--topic a",
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
        ),
        ("--bootstrap-server b --create", "Missing required argument \"[topic]\""),
        ("--bootstrap-server b --alter --topic a", "Missing required argument \"[partitions]\""),
        (
            "--delete --bootstrap-server x:1 --topic a --config a=b",
            "Option \"[config]\" can't be used with option \"[delete]\"",
        ),
        ("--list --if-exists", "Option \"[if-exists]\" can't be used with option \"[list]\""),
        (
            "--create --topic a --partitions 1 --replica-assignment 0",
            "Option \"[replica-assignment]\" can't be used with option \"[partitions]\"",
        ),
        (
            "--describe --unavailable-partitions --at-min-isr-partitions",
            "Option \"[unavailable-partitions]\" can't be used with option \"[at-min-isr-partitions]\"",
        ),
        ("--bootstrap-server b --create --topic a --partitions 0", "The partitions must be greater than 0"),
        (
            "--bootstrap-server b --create --topic a --partitions x",
            "Cannot parse argument 'x' of option partitions: a whole number is expected",
        ),
        (
            "--bootstrap-server b --create --topic a --replication-factor 40000",
            "The replication factor must be between 1 and 32767 inclusive",
        ),
        (
            "--bootstrap-server b --create --topic a --config x",
            "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".",
        ),
        (
            "--bootstrap-server b --create --topic a --replica-assignment 0:0",
            "Partition replica lists may not contain duplicate entries: 0",
        ),
        (
            "--bootstrap-server b --create --topic a --replica-assignment 0:1,2",
            "Partition 1 has different replication factor: [2]",
        ),
        (
            "--bootstrap-server b --describe --if-exists",
            "--topic or --topic-id is required to describe a topic",
        ),
        (
            "--bootstrap-server b:0 --list",
            "invalid value for configuration property \"bootstrap.servers\": broker address \"b:0\": a port is 1 to 65535",
        ),
    ] {
        let text = parse_with(&[], line).unwrap_err();
        assert_eq!(text.lines().next().unwrap(), expected, "{line}");
    }
    let text = parse_with(&[], "--zookeeper z:2181 --list").unwrap_err();
    assert!(text.contains("use --bootstrap-server HOST:9092"), "{text}");
    let text = parse_with(&[], "--bootstrap-server b --alter --topic a --config x=y").unwrap_err();
    assert!(text.contains("kcopy topic alter NAME --config KEY=VALUE"), "{text}");
}

#[test]
fn help_and_version_are_printed() {
    let Ok(Plan::Print(text)) = parse_with(&[], "--help") else { panic!() };
    assert!(text.starts_with("Usage: kafka-topics"));
    let Ok(Plan::Print(text)) = parse_with(&[], "--version") else { panic!() };
    assert!(text.starts_with("kcopy "));
}

proptest::proptest! {
    #[test]
    fn no_command_line_panics(line in "(-{0,2}[a-z-]{0,12}=? ?[a-z0-9:,=]{0,6} ?){0,6}") {
        let _ = parse_with(&[], &line);
    }
}
