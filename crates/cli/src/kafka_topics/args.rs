//! The flags of `kafka-topics`, checked by Apache Kafka's own rules.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::text;
use crate::environment::Environment;
use crate::plan::{
    Common, Grammar, OnExisting, OnMissing, PartitionFilter, Plan, Shape, TopicAction, TopicPlan, TopicSpec,
    TopicsNamed, nearest,
};
use crate::properties::{ClientProperties, PropertySet, Source, read_config};

/// The options, and whether each takes a value.
const OPTIONS: &[(&str, bool)] = &[
    ("alter", false),
    ("at-min-isr-partitions", false),
    ("bootstrap-server", true),
    ("command-config", true),
    ("config", true),
    ("create", false),
    ("delete", false),
    ("delete-config", true),
    ("describe", false),
    ("exclude-internal", false),
    ("help", false),
    ("if-exists", false),
    ("if-not-exists", false),
    ("list", false),
    ("partition-size-limit-per-response", true),
    ("partitions", true),
    ("replica-assignment", true),
    ("replication-factor", true),
    ("topic", true),
    ("topic-id", true),
    ("topics-with-overrides", false),
    ("unavailable-partitions", false),
    ("under-min-isr-partitions", false),
    ("under-replicated-partitions", false),
    ("version", false),
    ("zookeeper", true),
];

const ACTIONS: &[&str] = &["create", "list", "alter", "describe", "delete"];

/// Options that only some actions take.
const ONLY_WITH: &[(&str, &[&str])] = &[
    ("config", &["create", "alter"]),
    ("partitions", &["create", "alter"]),
    ("replication-factor", &["create"]),
    ("replica-assignment", &["create", "alter"]),
    ("under-replicated-partitions", &["describe"]),
    ("under-min-isr-partitions", &["describe"]),
    ("at-min-isr-partitions", &["describe"]),
    ("unavailable-partitions", &["describe"]),
    ("topics-with-overrides", &["describe"]),
    ("if-exists", &["alter", "delete", "describe"]),
    ("if-not-exists", &["create"]),
    ("exclude-internal", &["list", "describe"]),
];

const FILTERS: &[(&str, PartitionFilter)] = &[
    ("under-replicated-partitions", PartitionFilter::UnderReplicated),
    ("unavailable-partitions", PartitionFilter::Unavailable),
    ("under-min-isr-partitions", PartitionFilter::UnderMinIsr),
    ("at-min-isr-partitions", PartitionFilter::AtMinIsr),
    ("topics-with-overrides", PartitionFilter::WithOverrides),
];

/// Why a command line is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The reason, then the usage.
    Usage(String),
    /// The reason alone.
    Plain(String),
}

/// Options with their values, in order.
struct Options(Vec<(&'static str, String)>);

impl Options {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(option, _)| *option == name)
    }

    /// The last value, as for Kafka's parser where an option is given once.
    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(option, _)| *option == name).map(|(_, value)| value.as_str())
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let number = value.parse().map_err(|_| {
            Refusal::Plain(format!(
                "Cannot parse argument '{value}' of option {name}: a whole number is expected"
            ))
        });
        number.map(Some)
    }
}

pub(super) fn parse(args: &[OsString], environment: &Environment<'_>) -> Result<Plan, Refusal> {
    if args.is_empty() {
        return Err(Refusal::Usage("Create, delete, describe, or change a topic.".into()));
    }
    let options = read(args)?;
    if options.has("help") {
        return Ok(Plan::Print(text::USAGE.to_owned()));
    }
    if options.has("version") {
        return Ok(Plan::Print(format!("kcopy {}\n", env!("CARGO_PKG_VERSION"))));
    }
    if options.has("zookeeper") {
        return Err(Refusal::Plain(
            "zookeeper is not a recognized option: since Kafka 3.0 topics are managed through the brokers; \
             use --bootstrap-server HOST:9092 instead of --zookeeper HOST:2181"
                .into(),
        ));
    }
    let action = check_combination(&options)?;
    let common = common(&options, environment)?;
    check_required(&options, action)?;
    let action = match action {
        "create" => create(&options)?,
        "list" => TopicAction::List { topics: topics(&options) },
        "describe" => TopicAction::Describe {
            topics: match options.value("topic-id") {
                Some(id) => TopicsNamed::Id(id.to_owned()),
                None => topics(&options),
            },
            filter: FILTERS
                .iter()
                .find(|(name, _)| options.has(name))
                .map_or_else(Default::default, |(_, it)| *it),
            missing: missing(&options),
        },
        "alter" => TopicAction::Alter {
            topics: topics(&options),
            partitions: partitions(&options)?,
            replica_assignment: replica_assignment(&options)?,
            set: Vec::new(),
            unset: Vec::new(),
            missing: missing(&options),
        },
        _ => TopicAction::Delete { topics: topics(&options), missing: missing(&options) },
    };
    Ok(Plan::Topic(Box::new(TopicPlan { common, action, shape: Shape::Apache })))
}

/// Reads `--option value` and `--option=value`; a beginning that fits one option only is enough.
fn read(args: &[OsString]) -> Result<Options, Refusal> {
    let mut options = Vec::new();
    let mut args = args.iter().map(|arg| arg.to_string_lossy());
    while let Some(arg) = args.next() {
        let Some(long) =
            arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|name| !name.is_empty())
        else {
            return Err(Refusal::Plain(format!(
                "\"{arg}\" is not an option (every value belongs to a --option)"
            )));
        };
        let (name, attached) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let (name, takes_value) = lookup(name)?;
        let value = match (takes_value, attached) {
            (true, Some(value)) => value,
            (true, None) => match args.next() {
                Some(value) => value.into_owned(),
                None => return Err(Refusal::Plain(format!("Option {name} requires an argument"))),
            },
            (false, None) => String::new(),
            (false, Some(_)) => return Err(Refusal::Plain(format!("Option {name} takes no argument"))),
        };
        options.push((name, value));
    }
    Ok(Options(options))
}

fn lookup(name: &str) -> Result<(&'static str, bool), Refusal> {
    if let Some(option) = OPTIONS.iter().find(|(option, _)| *option == name) {
        return Ok(*option);
    }
    let mut beginnings = OPTIONS.iter().filter(|(option, _)| option.starts_with(name));
    match (beginnings.next(), beginnings.next()) {
        (Some(option), None) => Ok(*option),
        (Some((first, _)), Some((second, _))) => Err(Refusal::Plain(format!(
            "{name} is not a recognized option (it could be --{first} or --{second})"
        ))),
        (None, _) => {
            let hint = match nearest(name, OPTIONS.iter().map(|(option, _)| *option)) {
                Some(nearest) => format!(" (did you mean --{nearest}?)"),
                None => String::new(),
            };
            Err(Refusal::Plain(format!("{name} is not a recognized option{hint}")))
        }
    }
}

/// Exactly one action, and only options that it takes.
fn check_combination(options: &Options) -> Result<&'static str, Refusal> {
    let mut actions = ACTIONS.iter().filter(|action| options.has(action));
    let (Some(action), None) = (actions.next(), actions.next()) else {
        return Err(Refusal::Usage(
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete"
                .into(),
        ));
    };
    if *action == "alter" && options.has("config") {
        return Err(Refusal::Usage(
            "Option combination \"[bootstrap-server],[config]\" can't be used with option \"[alter]\" (to alter \
             topic configurations use kcopy topic alter NAME --config KEY=VALUE)"
                .into(),
        ));
    }
    for (option, allowed) in ONLY_WITH {
        if options.has(option) && !allowed.contains(action) {
            return Err(exclusive(option, action));
        }
    }
    for both in ["partitions", "replication-factor"] {
        if *action == "create" && options.has("replica-assignment") && options.has(both) {
            return Err(exclusive("replica-assignment", both));
        }
    }
    let mut filters = FILTERS.iter().filter(|(name, _)| options.has(name));
    if let (Some((first, _)), Some((second, _))) = (filters.next(), filters.next()) {
        return Err(exclusive(first, second));
    }
    Ok(action)
}

fn exclusive(option: &str, other: &str) -> Refusal {
    Refusal::Usage(format!("Option \"[{option}]\" can't be used with option \"[{other}]\""))
}

fn check_required(options: &Options, action: &str) -> Result<(), Refusal> {
    let required: &[&str] = match action {
        "create" | "delete" => &["topic"],
        "alter" => &["topic", "partitions"],
        _ => &[],
    };
    if let Some(missing) = required.iter().find(|name| !options.has(name)) {
        return Err(Refusal::Usage(format!("Missing required argument \"[{missing}]\"")));
    }
    if action == "describe" && options.has("if-exists") && !options.has("topic") && !options.has("topic-id") {
        return Err(Refusal::Usage("--topic or --topic-id is required to describe a topic".into()));
    }
    Ok(())
}

/// `default.api.timeout.ms` where it is not set.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// `--bootstrap-server`, else what `kcopy broker` sets for its command, else what the configuration file says.
fn common(options: &Options, environment: &Environment<'_>) -> Result<Common, Refusal> {
    let mut set = PropertySet::default();
    let fail = |reason: &dyn std::fmt::Display| Refusal::Plain(reason.to_string());
    if let Some(file) = options.value("command-config") {
        let path = Path::new(file);
        let content = (environment.read_file)(path).map_err(|error| fail(&format!("{file}: {error}")))?;
        read_config(path, &content, &mut set).map_err(|error| fail(&error))?;
    }
    let variable =
        environment.non_empty("KCOPY_BROKERS").map(|brokers| brokers.to_string_lossy().into_owned());
    if let Some(brokers) = options.value("bootstrap-server").map(str::to_owned).or(variable) {
        set.set("bootstrap.servers", &brokers, Source::CommandLine).map_err(|error| fail(&error))?;
    }
    if set.value("bootstrap.servers").is_none() {
        return Err(Refusal::Plain("--bootstrap-server must be specified".into()));
    }
    let mut notices = Vec::new();
    if options.has("delete-config") {
        notices.push(
            "--delete-config has no effect since Kafka 4.0: use kcopy topic alter NAME --unset KEY"
                .to_owned(),
        );
    }
    let mut properties = ClientProperties::from_set(&set).map_err(Refusal::Plain)?;
    let timeout = timeout(&properties)?;
    // Java's name of a request's time-out comes first here, and that of a whole operation is none.
    let librdkafkas = properties.socket_timeout.filter(|_| set.value("socket.timeout.ms").is_some());
    properties.socket_timeout = properties.request_timeout.or(librdkafkas);
    Ok(Common {
        grammar: Grammar::KafkaTopics,
        properties,
        verbosity: 1,
        notices,
        timeout: Some(timeout),
        dump: None,
    })
}

/// How long an operation may take, tries after failures included: by Java's rules, its default among them.
fn timeout(properties: &ClientProperties) -> Result<Duration, Refusal> {
    match (properties.default_api_timeout, properties.request_timeout) {
        (Some(all), Some(request)) if all < request => Err(Refusal::Plain(
            "The specified value of default.api.timeout.ms must be no smaller than the value of request.timeout.ms."
                .into(),
        )),
        (Some(all), _) => Ok(all),
        (None, request) => Ok(request.unwrap_or_default().max(DEFAULT_TIMEOUT)),
    }
}

fn create(options: &Options) -> Result<TopicAction, Refusal> {
    let mut configs = Vec::new();
    for (_, config) in options.0.iter().filter(|(name, _)| *name == "config") {
        match config.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() && !value.trim().is_empty() => {
                configs.push((key.trim().to_owned(), value.trim().to_owned()));
            }
            _ => {
                return Err(Refusal::Plain(
                    "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\"."
                        .into(),
                ));
            }
        }
    }
    let replication_factor = match options.number::<i64>("replication-factor")? {
        None => None,
        Some(factor) => Some(i16::try_from(factor).ok().filter(|factor| *factor > 0).ok_or_else(|| {
            Refusal::Plain("The replication factor must be between 1 and 32767 inclusive".into())
        })?),
    };
    let spec = TopicSpec {
        name: options.value("topic").unwrap_or_default().to_owned(),
        partitions: partitions(options)?,
        replication_factor,
        replica_assignment: replica_assignment(options)?,
        configs,
    };
    let existing = if options.has("if-not-exists") { OnExisting::Keep } else { OnExisting::Fail };
    Ok(TopicAction::Create { spec, existing })
}

fn partitions(options: &Options) -> Result<Option<i32>, Refusal> {
    match options.number::<i32>("partitions")? {
        Some(partitions) if partitions < 1 => {
            Err(Refusal::Plain("The partitions must be greater than 0".into()))
        }
        partitions => Ok(partitions),
    }
}

/// Brokers of each partition: `0:1,1:2`.
fn replica_assignment(options: &Options) -> Result<Option<Vec<Vec<i32>>>, Refusal> {
    let Some(text) = options.value("replica-assignment").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let mut assignment: Vec<Vec<i32>> = Vec::new();
    for (partition, list) in text.split(',').enumerate() {
        let brokers: Result<Vec<i32>, _> = list.split(':').map(|broker| broker.trim().parse()).collect();
        let brokers = brokers.map_err(|_| {
            Refusal::Plain(format!(
                "\"{list}\" of --replica-assignment is no list of broker ids (expected for example 0:1)"
            ))
        })?;
        let mut sorted = brokers.clone();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Refusal::Plain(format!(
                "Partition replica lists may not contain duplicate entries: {}",
                twice[0]
            )));
        }
        if assignment.first().is_some_and(|first| first.len() != brokers.len()) {
            return Err(Refusal::Plain(format!(
                "Partition {partition} has different replication factor: {brokers:?}"
            )));
        }
        assignment.push(brokers);
    }
    Ok(Some(assignment))
}

/// `--topic` is a regular expression over whole names; without it all topics are meant.
fn topics(options: &Options) -> TopicsNamed {
    let internal = !options.has("exclude-internal");
    match options.value("topic").filter(|topic| !topic.is_empty()) {
        None => TopicsNamed::All { internal },
        Some(pattern) => {
            // Kafka's include lists take commas for alternatives and ignore quotes and spaces around them.
            let alternatives: Vec<&str> =
                pattern.trim_matches(|it| it == '"' || it == '\'').split(',').map(str::trim).collect();
            TopicsNamed::Pattern { regex: alternatives.join("|"), internal }
        }
    }
}

fn missing(options: &Options) -> OnMissing {
    if options.has("if-exists") { OnMissing::Ignore } else { OnMissing::Fail }
}
