//! What kcopy's own administration prints: aligned tables for people, one JSON document for programs.
//!
//! The names in the JSON are stable: scripts rely on them. A value that is not known is null.

use serde_json::{Value, json};

use crate::view::{ClusterView, OffsetsView, PartitionView, TopicView};

/// `kcopy topic list`.
pub fn topic_list(topics: &[TopicView]) -> String {
    let rows = topics.iter().map(|topic| {
        vec![
            topic.name.clone(),
            topic.partitions.len().to_string(),
            replicas(topic),
            problem(topic.error.as_deref()),
        ]
    });
    table(&["TOPIC", ">PARTITIONS", ">REPLICAS", "ERROR"], rows)
}

/// `kcopy topic list --json`.
pub fn topic_list_json(topics: &[TopicView]) -> String {
    let topics: Vec<Value> = topics
        .iter()
        .map(|topic| {
            json!({
                "name": topic.name,
                "topic_id": topic.topic_id,
                "internal": topic.internal,
                "partitions": topic.partitions.len(),
                "replication_factor": topic.partitions.first().map(|partition| partition.replicas.len()),
                "error": topic.error,
            })
        })
        .collect();
    document(&json!({ "topics": topics }))
}

/// `kcopy topic describe`.
pub fn topic_describe(topics: &[TopicView]) -> String {
    let mut parts = Vec::with_capacity(topics.len());
    for topic in topics {
        let mut text = format!("Topic {}", topic.name);
        if let Some(id) = &topic.topic_id {
            text.push_str(&format!("  id {id}"));
        }
        if topic.internal {
            text.push_str("  internal");
        }
        if let Some(error) = &topic.error {
            text.push_str(&format!("  error: {error}"));
        }
        text.push('\n');
        let rows = topic.partitions.iter().map(|partition| {
            vec![
                partition.partition.to_string(),
                optional(partition.leader),
                optional(partition.leader_epoch),
                ids(&partition.replicas),
                ids(&partition.isr),
                problem(partition_problem(partition).as_deref()),
            ]
        });
        let header = [">PARTITION", ">LEADER", ">EPOCH", "REPLICAS", "IN SYNC", "ERROR"];
        if !topic.partitions.is_empty() {
            text.push_str(&indented(&table(&header, rows)));
        }
        let settings = topic.configs.iter().filter(|config| config.is_topic_override).map(|config| {
            vec![config.name.clone(), config.value.clone().unwrap_or_else(|| "[hidden]".to_owned())]
        });
        let settings: Vec<Vec<String>> = settings.collect();
        if !settings.is_empty() {
            text.push_str(&indented(&table(&["SETTING", "VALUE"], settings.into_iter())));
        }
        parts.push(text);
    }
    parts.join("\n")
}

/// `kcopy topic describe --json`.
pub fn topic_describe_json(topics: &[TopicView]) -> String {
    let topics: Vec<Value> = topics
        .iter()
        .map(|topic| {
            let configs = topic.configs.iter().map(|config| {
                json!({
                    "name": config.name,
                    "value": config.value,
                    "is_default": config.is_default,
                    "is_topic_override": config.is_topic_override,
                })
            });
            json!({
                "name": topic.name,
                "topic_id": topic.topic_id,
                "internal": topic.internal,
                "error": topic.error,
                "partitions": topic.partitions.iter().map(partition_json).collect::<Vec<_>>(),
                "configs": configs.collect::<Vec<_>>(),
            })
        })
        .collect();
    document(&json!({ "topics": topics }))
}

fn partition_json(partition: &PartitionView) -> Value {
    json!({
        "partition": partition.partition,
        "leader": partition.leader,
        "leader_epoch": partition.leader_epoch,
        "replicas": partition.replicas,
        "isr": partition.isr,
        "offline_replicas": partition.offline_replicas,
        "error": partition.error,
    })
}

/// `kcopy topic offsets`.
pub fn topic_offsets(offsets: &[OffsetsView]) -> String {
    let rows = offsets.iter().map(|row| {
        vec![
            row.partition.to_string(),
            optional(row.earliest),
            optional(row.latest),
            optional(row.span()),
            problem(row.error.as_deref()),
        ]
    });
    table(&[">PARTITION", ">EARLIEST", ">LATEST", ">OFFSETS", "ERROR"], rows)
}

/// `kcopy topic offsets --json`.
pub fn topic_offsets_json(topic: &str, offsets: &[OffsetsView]) -> String {
    let partitions: Vec<Value> = offsets
        .iter()
        .map(|row| {
            json!({
                "partition": row.partition,
                "earliest": row.earliest,
                "latest": row.latest,
                "error": row.error,
            })
        })
        .collect();
    document(&json!({ "topic": topic, "partitions": partitions }))
}

/// What `kcopy topic create|alter|delete|trim --json` did, in that order.
pub fn topic_changes_json(changes: &[Value]) -> String {
    document(&json!({ "changes": changes }))
}

/// `kcopy cluster describe`.
pub fn cluster_describe(cluster: &ClusterView) -> String {
    let id = cluster.cluster_id.as_deref().unwrap_or("-");
    let rows = cluster.brokers.iter().map(|broker| {
        let controller = if cluster.controller_id == Some(broker.id) { "controller" } else { "" };
        vec![
            broker.id.to_string(),
            format!("{}:{}", broker.host, broker.port),
            broker.rack.clone().unwrap_or_else(|| "-".to_owned()),
            controller.to_owned(),
        ]
    });
    format!("Cluster {id}\n{}", indented(&table(&[">BROKER", "ADDRESS", "RACK", "ROLE"], rows)))
}

/// `kcopy cluster describe --json`.
pub fn cluster_describe_json(cluster: &ClusterView) -> String {
    let brokers: Vec<Value> = cluster
        .brokers
        .iter()
        .map(|broker| json!({ "id": broker.id, "host": broker.host, "port": broker.port, "rack": broker.rack }))
        .collect();
    document(&json!({
        "cluster_id": cluster.cluster_id,
        "controller_id": cluster.controller_id,
        "brokers": brokers,
    }))
}

/// Columns as wide as their widest cell; a `>` before a header aligns to the right. A last column that is empty
/// throughout is left out, and no line ends in spaces.
fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    let names: Vec<&str> = header.iter().map(|name| name.trim_start_matches('>')).collect();
    let is_empty = |column: usize| rows.iter().all(|row| row[column].is_empty());
    let columns = names.len() - usize::from(is_empty(names.len() - 1));
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([names[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &[&str]| {
        let padded = (0..columns).map(|column| match header[column].starts_with('>') {
            true => format!("{:>1$}", cells[column], widths[column]),
            false => format!("{:<1$}", cells[column], widths[column]),
        });
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    };
    line(&names);
    for row in &rows {
        line(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn document(value: &Value) -> String {
    format!("{value:#}\n")
}

fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn problem(error: Option<&str>) -> String {
    error.unwrap_or_default().to_owned()
}

fn partition_problem(partition: &PartitionView) -> Option<String> {
    match (&partition.error, partition.offline_replicas.as_slice()) {
        (Some(error), _) => Some(error.clone()),
        (None, []) => None,
        (None, offline) => Some(format!("offline replicas {}", ids(offline))),
    }
}

fn replicas(topic: &TopicView) -> String {
    optional(topic.partitions.first().map(|partition| partition.replicas.len()))
}

fn ids(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{BrokerView, ConfigView};

    fn topics() -> Vec<TopicView> {
        let partition = |partition| PartitionView {
            partition,
            leader: (partition == 0).then_some(1),
            leader_epoch: Some(4),
            replicas: vec![1, 2],
            isr: vec![1],
            offline_replicas: if partition == 0 { vec![] } else { vec![2] },
            ..PartitionView::default()
        };
        vec![
            TopicView {
                name: "orders".into(),
                topic_id: Some("OeYdTvdOS8eJ6A5eBLq-Sg".into()),
                partitions: vec![partition(0), partition(10)],
                configs: vec![
                    ConfigView {
                        name: "retention.ms".into(),
                        value: Some("1000".into()),
                        is_topic_override: true,
                        ..ConfigView::default()
                    },
                    ConfigView { name: "x".into(), is_default: true, ..ConfigView::default() },
                ],
                ..TopicView::default()
            },
            TopicView { name: "b".into(), error: Some("gone".into()), ..TopicView::default() },
        ]
    }

    #[test]
    fn tables_are_aligned() {
        assert_eq!(
            topic_list(&topics()),
            "TOPIC   PARTITIONS  REPLICAS  ERROR\norders           2         2\nb                0         -  gone\n"
        );
        assert_eq!(
            topic_list(&topics()[..1]),
            "TOPIC   PARTITIONS  REPLICAS\norders           2         2\n"
        );
        assert_eq!(topic_list(&[]), "TOPIC  PARTITIONS  REPLICAS\n");
        assert_eq!(
            topic_describe(&topics()),
            "Topic orders  id OeYdTvdOS8eJ6A5eBLq-Sg
  PARTITION  LEADER  EPOCH  REPLICAS  IN SYNC  ERROR
          0       1      4  1,2       1
         10       -      4  1,2       1        offline replicas 2
  SETTING       VALUE
  retention.ms  1000

Topic b  error: gone
"
        );
        let offsets = [
            OffsetsView { partition: 0, earliest: Some(3), latest: Some(10), error: None },
            OffsetsView { partition: 1, error: Some("no leader".into()), ..OffsetsView::default() },
        ];
        assert_eq!(
            topic_offsets(&offsets),
            "PARTITION  EARLIEST  LATEST  OFFSETS  ERROR\n        0         3      10        7\n        1         -       -        -  no leader\n"
        );
        assert_eq!(
            cluster_describe(&cluster()),
            "Cluster abc\n  BROKER  ADDRESS  RACK  ROLE\n       1  h:1      -     controller\n       2  h:2      r\n"
        );
    }

    fn cluster() -> ClusterView {
        let broker = |id, rack: Option<&str>| BrokerView {
            id,
            host: "h".into(),
            port: id as u16,
            rack: rack.map(Into::into),
        };
        ClusterView {
            cluster_id: Some("abc".into()),
            controller_id: Some(1),
            brokers: vec![broker(1, None), broker(2, Some("r"))],
        }
    }

    #[test]
    fn documents_are_json_with_stable_names() {
        let parse = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        let list = parse(topic_list_json(&topics()));
        assert_eq!(
            list["topics"][0],
            json!({"name": "orders", "topic_id": "OeYdTvdOS8eJ6A5eBLq-Sg", "internal": false, "partitions": 2,
                   "replication_factor": 2, "error": null})
        );
        assert_eq!(list["topics"][1]["error"], json!("gone"));
        let describe = parse(topic_describe_json(&topics()));
        assert_eq!(
            describe["topics"][0]["partitions"][1],
            json!({"partition": 10, "leader": null, "leader_epoch": 4, "replicas": [1, 2], "isr": [1],
                   "offline_replicas": [2], "error": null})
        );
        assert_eq!(describe["topics"][0]["configs"][0]["value"], json!("1000"));
        let offsets = [OffsetsView { partition: 0, earliest: Some(3), latest: Some(10), error: None }];
        assert_eq!(
            parse(topic_offsets_json("t", &offsets)),
            json!({"topic": "t", "partitions": [{"partition": 0, "earliest": 3, "latest": 10, "error": null}]})
        );
        assert_eq!(
            parse(cluster_describe_json(&cluster()))["brokers"][1],
            json!({"id": 2, "host": "h", "port": 2, "rack": "r"})
        );
    }
}
