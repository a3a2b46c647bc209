//! Options of kcat that were read, to a checked plan.

use std::path::PathBuf;

use kcopy_format::envelope::Envelope;
use kcopy_format::template::Template;

use super::Refusal;
use super::args::Args;
use crate::environment::Environment;
use crate::plan::{
    CommitPolicy, Common, Consume, End, Exact, Grammar, GroupUse, Input, InputFormat, Limits, ListMetadata,
    OffsetQuery, Output, Plan, Produce, QueryOffsets, Start, TopicSelection,
};
use crate::properties::{ClientProperties, OffsetReset, Scope, Source};

/// Checks the options against each other, in kcat's order, and makes the plan of their mode.
pub(super) fn check(mut args: Args, environment: &Environment<'_>) -> Result<Plan, Refusal> {
    if args.mode == Some(b'M') {
        return Err(Refusal::Fatal(
            "-M comes in a later release: `kcopy broker --nodes N` starts a cluster in memory".into(),
        ));
    }
    if args.properties.value("bootstrap.servers").is_none() {
        // kcat has no such variable; `kcopy broker -- COMMAND` sets it for all that runs inside.
        let Some(brokers) = environment.non_empty("KCOPY_BROKERS") else {
            return Err(Refusal::Usage("-b <broker,..> missing".into()));
        };
        let pair = format!("bootstrap.servers={}", brokers.to_string_lossy());
        args.properties.set_pair(&pair, Source::CommandLine)?;
    }
    let mode = match args.mode {
        Some(b'G') => {
            return Err(Refusal::Fatal(
                "-G comes in a later release: -C -o stored -X group.id=GROUP reads with a group's offsets without joining it".into(),
            ));
        }
        Some(mode) => mode,
        None => {
            let (mode, name) =
                if environment.stdin_is_terminal { (b'C', "Consumer") } else { (b'P', "Producer") };
            args.notices.push(format!("Auto-selecting {name} mode (use -P or -C to override)"));
            mode
        }
    };
    if matches!(mode, b'C' | b'P') && args.topics.is_empty() {
        return Err(Refusal::Usage("-t <topic> missing".into()));
    }
    if mode == b'Q' && args.topics.is_empty() {
        return Err(Refusal::Usage("-t <topic>:<partition>:<offset_or_timestamp> missing".into()));
    }
    if mode != b'C' && (args.key_pack.is_some() || args.value_pack.is_some()) {
        return Err(Refusal::Fatal("-s serdes only available in the consumer".into()));
    }
    if mode != b'P' && !args.operands.is_empty() {
        return Err(Refusal::Usage(
            "file/topic list only allowed in producer(-P)/kafkaconsumer(-G) mode".into(),
        ));
    }
    let common = common(&mut args, mode)?;
    match mode {
        b'C' => consume(args, common),
        b'P' => produce(args, common),
        b'L' => Ok(Plan::ListMetadata(Box::new(ListMetadata {
            common,
            topic: args.topics.pop(),
            json: args.json,
        }))),
        _ => query(args, common),
    }
}

fn common(args: &mut Args, mode: u8) -> Result<Common, Refusal> {
    let properties = ClientProperties::from_set(&args.properties).map_err(Refusal::Fatal)?;
    let scope = match mode {
        b'C' => Some(Scope::Consumer),
        b'P' => Some(Scope::Producer),
        _ => None,
    };
    let mut notices = std::mem::take(&mut args.notices);
    notices.extend(args.properties.without_effect(scope, args.verbosity > 1));
    Ok(Common {
        grammar: Grammar::Kcat,
        properties,
        verbosity: args.verbosity,
        notices,
        timeout: args.metadata_timeout,
        dump: None,
    })
}

fn consume(mut args: Args, common: Common) -> Result<Plan, Refusal> {
    let properties = &common.properties;
    let otherwise = properties.auto_offset_reset.unwrap_or(OffsetReset::Beginning);
    let start = match args.start.unwrap_or(Start::Beginning) {
        Start::Committed { .. } => Start::Committed { otherwise },
        start => start,
    };
    let group = group(start, properties)?;
    let output = if args.json {
        Output::Envelope(Envelope::new(&args.delimiter).packs(args.key_pack, args.value_pack))
    } else {
        let template = match args.template {
            Some(template) => template,
            None => Template::delimited(&args.delimiter, args.key_delimiter.as_deref()),
        };
        Output::Template(template.prints_null(args.null).packs(args.key_pack, args.value_pack))
    };
    let isolation = properties.isolation_level.unwrap_or_default();
    Ok(Plan::Consume(Box::new(Consume {
        exact: Exact::default(),
        topics: TopicSelection::Names(args.topics.pop().into_iter().collect()),
        partitions: args.partition.map(|partition| vec![partition]),
        start,
        stop: args.stop,
        end: if args.exit_at_end { End::Pinned } else { End::Follow },
        limits: Limits { max_messages: args.max_messages, ..Limits::default() },
        group,
        isolation,
        output,
        unbuffered: args.unbuffered,
        keep_going: args.keep_going,
        common,
    })))
}

/// `-o stored` reads and commits. From another start only a group on the command line commits, and only where
/// it has no offset yet: kcat's way of skipping and losing records with both is mended here.
fn group(start: Start, properties: &ClientProperties) -> Result<Option<GroupUse>, Refusal> {
    let stored = matches!(start, Start::Committed { .. });
    let Some(id) = properties.group_id.clone() else {
        return if stored {
            Err(Refusal::Fatal(
                "-o stored needs the group whose offsets to use: add -X group.id=GROUP".into(),
            ))
        } else {
            Ok(None)
        };
    };
    let commit = match (properties.enable_auto_commit, stored, properties.group_id_on_command_line) {
        (Some(false), ..) => CommitPolicy::Never,
        (_, true, _) => CommitPolicy::Always,
        (_, false, true) => CommitPolicy::WhereNoneYet,
        (_, false, false) => CommitPolicy::Never,
    };
    let needed = stored || commit != CommitPolicy::Never;
    Ok(needed.then_some(GroupUse { id, commit }))
}

fn produce(mut args: Args, common: Common) -> Result<Plan, Refusal> {
    if args.delimiter.is_empty() {
        return Err(Refusal::Fatal("Message delimiter -D must not be empty when producing".into()));
    }
    let mut files: Vec<PathBuf> = args.operands.into_iter().map(PathBuf::from).collect();
    let input = match (args.line_mode, files.len()) {
        (_, 0) => Input::Stdin,
        (true, 1) => Input::File(files.swap_remove(0)),
        (true, _) => return Err(Refusal::Fatal("Only one file allowed for line mode (-l)".into())),
        (false, _) => Input::WholeFiles(files),
    };
    Ok(Plan::Produce(Box::new(Produce {
        topic: args.topics.pop().unwrap_or_default(),
        input,
        format: InputFormat::Delimited {
            delimiter: args.delimiter,
            key_delimiter: args.key_delimiter,
            fixed_key: args.fixed_key,
            empty_is_null: args.null,
        },
        headers: args.headers,
        partition: args.partition,
        max_messages: args.max_messages,
        tee: args.tee,
        unreachable_timeout: None,
        keep_going: args.keep_going,
        common,
    })))
}

fn query(args: Args, common: Common) -> Result<Plan, Refusal> {
    let mut queries: Vec<OffsetQuery> = Vec::with_capacity(args.topics.len());
    for text in &args.topics {
        let query = offset_query(text)
            .ok_or_else(|| Refusal::Fatal("-t: expected \"topic:partition:offset_or_timestamp\"".into()))?;
        // Kafka has numbers below these for what brokers keep in remote storage; without any, they answer 0.
        if query.timestamp < LARGEST_TIMESTAMP {
            return Err(Refusal::Fatal(format!(
                "-t: {} is no timestamp (expected milliseconds, -1 for the end, -2 for the beginning, or -3 for the \
                 record with the largest timestamp)",
                query.timestamp
            )));
        }
        if queries.iter().any(|it| it.topic == query.topic && it.partition == query.partition) {
            return Err(Refusal::Fatal(format!(
                "-t: partition {} [{}] occurs twice, and each must only occur once",
                query.topic, query.partition
            )));
        }
        queries.push(query);
    }
    Ok(Plan::QueryOffsets(Box::new(QueryOffsets { common, queries, json: args.json })))
}

/// The least of the protocol's numbers that stand for a place and not for a time.
const LARGEST_TIMESTAMP: i64 = -3;

/// `topic:partition:timestamp`.
fn offset_query(text: &str) -> Option<OffsetQuery> {
    let mut parts = text.splitn(3, ':');
    let topic = parts.next().filter(|topic| !topic.is_empty())?.to_owned();
    let partition = parts.next()?.parse().ok().filter(|partition| *partition >= 0)?;
    let timestamp = parts.next()?.parse().ok()?;
    Some(OffsetQuery { topic, partition, timestamp })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
