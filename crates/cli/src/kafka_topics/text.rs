//! What `kafka-topics` prints.

use std::fmt::Write;

use crate::plan::PartitionFilter;
use crate::view::{PartitionView, TopicView};

/// The usage.
pub const USAGE: &str = "\
Usage: kafka-topics --bootstrap-server HOST:PORT ACTION [options]
Actions, exactly one:
  --create                     Create a topic
  --list                       List the topics
  --describe                   Show partitions and settings
  --alter                      Add partitions
  --delete                     Delete topics
Options:
  --topic NAME                 The topic; but for --create a regular expression over
                               the whole name, with commas for alternatives
  --topic-id ID                The topic to describe, by its id
  --partitions N               Partitions of the topic (create, alter)
  --replication-factor N       Replicas of each partition (create)
  --replica-assignment LIST    Brokers of each partition: 0:1,1:2,.. (create, alter)
  --config KEY=VALUE           A setting, may be repeated (create); kcopy topic alter
                               changes settings later
  --if-not-exists              Succeed if the topic is there (create)
  --if-exists                  Succeed if it is not there (alter, delete, describe)
  --exclude-internal           Leave Kafka's own topics out (list, describe)
  --under-replicated-partitions, --unavailable-partitions,
  --under-min-isr-partitions, --at-min-isr-partitions, --topics-with-overrides
                               Show only these (describe)
  --bootstrap-server HOST:PORT Brokers to ask first [default: KCOPY_BROKERS]
  --command-config FILE        Properties of the client, such as default.api.timeout.ms:
                               an operation ends after 60000 if it is not set
  --version, --help
Example:
  kafka-topics --bootstrap-server localhost:9092 --create --topic orders --partitions 3
";

/// After a topic was created.
pub fn created(name: &str) -> String {
    format!("Created topic {name}.\n")
}

/// Before a topic is created whose name could collide with another one in names of metrics.
pub fn collision_warning(name: &str) -> Option<&'static str> {
    name.contains(['.', '_']).then_some(
        "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. \
         To avoid issues it is best to use either, but not both.\n",
    )
}

/// Where `--topic` names none, without `--if-exists`.
pub fn missing_topic(pattern: &str) -> String {
    format!("Topic '{pattern}' does not exist as expected")
}

/// Where `--topic-id` names none, without `--if-exists`.
pub fn missing_topic_id(id: &str) -> String {
    format!("TopicId '{id}' does not exist as expected")
}

/// What goes before a broker's refusal.
pub fn failed(reason: &str) -> String {
    format!("Error while executing topic command : {reason}\n")
}

/// `--list`: sorted names, one a line; an empty line where there are none, as Kafka prints.
pub fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.join("\n") + "\n"
}

/// `--describe`: `topics` with their settings, sorted by name; `live_brokers` are the ids in the metadata.
pub fn describe(topics: &[TopicView], filter: PartitionFilter, live_brokers: &[i32]) -> String {
    let mut topics: Vec<&TopicView> = topics.iter().collect();
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    let mut text = String::new();
    for topic in topics {
        let has_overrides = topic.configs.iter().any(|config| !config.is_default);
        let with_header = match filter {
            PartitionFilter::All => true,
            PartitionFilter::WithOverrides => has_overrides,
            _ => false,
        };
        if with_header {
            text.push_str(&topic_line(topic));
        }
        if filter == PartitionFilter::WithOverrides {
            continue;
        }
        for partition in &topic.partitions {
            if shows(filter, topic, partition, live_brokers) {
                text.push_str(&partition_line(topic, partition));
            }
        }
    }
    text
}

fn shows(
    filter: PartitionFilter,
    topic: &TopicView,
    partition: &PartitionView,
    live_brokers: &[i32],
) -> bool {
    let min_isr = || {
        let config = topic.configs.iter().find(|config| config.name == "min.insync.replicas");
        config.and_then(|config| config.value.as_deref()?.parse::<usize>().ok()).unwrap_or(1)
    };
    match filter {
        PartitionFilter::All | PartitionFilter::WithOverrides => true,
        PartitionFilter::UnderReplicated => partition.isr.len() < replication_factor(partition),
        PartitionFilter::Unavailable => partition.leader.is_none_or(|leader| !live_brokers.contains(&leader)),
        PartitionFilter::UnderMinIsr => partition.leader.is_none() || partition.isr.len() < min_isr(),
        PartitionFilter::AtMinIsr => partition.isr.len() == min_isr(),
    }
}

/// Replicas that a reassignment only adds do not count yet.
fn replication_factor(partition: &PartitionView) -> usize {
    let adding = partition.reassignment.as_ref().map_or(0, |reassignment| reassignment.adding.len());
    partition.replicas.len().saturating_sub(adding)
}

fn topic_line(topic: &TopicView) -> String {
    let overrides = topic.configs.iter().filter(|config| !config.is_default);
    let configs: Vec<String> = overrides
        .map(|config| format!("{}={}", config.name, config.value.as_deref().unwrap_or("null")))
        .collect();
    let mut line = format!("Topic: {}", topic.name);
    // Writing to a String cannot fail.
    if let Some(id) = &topic.topic_id {
        let _ = write!(line, "\tTopicId: {id}");
    }
    let factor = topic.partitions.first().map_or(0, replication_factor);
    let _ = write!(line, "\tPartitionCount: {}", topic.partitions.len());
    let _ = writeln!(line, "\tReplicationFactor: {factor}\tConfigs: {}", configs.join(","));
    line
}

fn partition_line(topic: &TopicView, partition: &PartitionView) -> String {
    let leader = partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
    let mut line = format!(
        "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}",
        topic.name,
        partition.partition,
        ids(&partition.replicas),
        ids(&partition.isr)
    );
    if let Some(reassignment) = &partition.reassignment {
        let _ = write!(line, "\tAdding Replicas: {}", ids(&reassignment.adding));
        let _ = write!(line, "\tRemoving Replicas: {}", ids(&reassignment.removing));
    }
    let elr = |list: &Option<Vec<i32>>| list.as_deref().map_or_else(|| "N/A".to_owned(), ids);
    let _ = write!(line, "\tElr: {}", elr(&partition.eligible_leader_replicas));
    let _ = writeln!(line, "\tLastKnownElr: {}", elr(&partition.last_known_elr));
    line
}

fn ids(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{ConfigView, ReassignmentView};

    fn topic() -> TopicView {
        let partition = |partition, leader, isr: &[i32]| PartitionView {
            partition,
            leader,
            replicas: vec![1, 2],
            isr: isr.to_vec(),
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            ..PartitionView::default()
        };
        let config = |name: &str, value: &str, is_default| ConfigView {
            name: name.into(),
            value: Some(value.into()),
            is_default,
            is_topic_override: !is_default,
        };
        TopicView {
            name: "t".into(),
            topic_id: Some("OeYdTvdOS8eJ6A5eBLq-Sg".into()),
            partitions: vec![partition(0, Some(1), &[1, 2]), partition(1, None, &[2])],
            configs: vec![
                config("retention.ms", "1000", false),
                config("min.insync.replicas", "2", true),
                config("segment.bytes", "1073741824", false),
            ],
            ..TopicView::default()
        }
    }

    const FIRST: &str =
        "\tTopic: t\tPartition: 0\tLeader: 1\tReplicas: 1,2\tIsr: 1,2\tElr: \tLastKnownElr: \n";
    const SECOND: &str =
        "\tTopic: t\tPartition: 1\tLeader: none\tReplicas: 1,2\tIsr: 2\tElr: \tLastKnownElr: \n";
    const HEADER: &str = "Topic: t\tTopicId: OeYdTvdOS8eJ6A5eBLq-Sg\tPartitionCount: 2\tReplicationFactor: 2\t\
                          Configs: retention.ms=1000,segment.bytes=1073741824\n";

    #[test]
    fn descriptions() {
        let all = [HEADER, FIRST, SECOND].concat();
        for (filter, expected) in [
            (PartitionFilter::All, all.as_str()),
            (PartitionFilter::WithOverrides, HEADER),
            (PartitionFilter::UnderReplicated, SECOND),
            (PartitionFilter::Unavailable, SECOND),
            (PartitionFilter::UnderMinIsr, SECOND),
            (PartitionFilter::AtMinIsr, FIRST),
        ] {
            assert_eq!(describe(&[topic()], filter, &[1, 2]), expected, "{filter:?}");
        }
        assert_eq!(describe(&[topic()], PartitionFilter::Unavailable, &[2]), [FIRST, SECOND].concat());
    }

    #[test]
    fn reassignments_and_old_brokers() {
        let mut topic = topic();
        topic.topic_id = None;
        topic.configs.clear();
        topic.partitions.truncate(1);
        topic.partitions[0].eligible_leader_replicas = None;
        topic.partitions[0].last_known_elr = None;
        topic.partitions[0].reassignment = Some(ReassignmentView { adding: vec![2], removing: vec![] });
        assert_eq!(
            describe(&[topic], PartitionFilter::All, &[1]),
            "Topic: t\tPartitionCount: 1\tReplicationFactor: 1\tConfigs: \n\
             \tTopic: t\tPartition: 0\tLeader: 1\tReplicas: 1,2\tIsr: 1,2\tAdding Replicas: 2\tRemoving Replicas: \
             \tElr: N/A\tLastKnownElr: N/A\n"
        );
    }

    #[test]
    fn short_texts() {
        assert_eq!(created("PGSHARD"), "Created topic PGSHARD.\n");
        assert_eq!(list(["b", "a"].into_iter()), "a\nb\n");
        assert_eq!(list(std::iter::empty()), "\n");
        assert!(collision_warning("a.b").is_some() && collision_warning("a-b").is_none());
        assert_eq!(missing_topic("x"), "Topic 'x' does not exist as expected");
    }
}
