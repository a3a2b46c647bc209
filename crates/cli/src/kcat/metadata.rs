//! What `-L` and `-Q` print, byte for byte as kcat does.

use std::fmt::Write;

use kcopy_wire::ErrorCode;

use crate::view::{BrokerView, TopicView};

/// What `-L` shows. Errors of topics and partitions are [`error_text`]s.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataView {
    /// The broker that answered; `None` for a bootstrap server whose id is not known yet.
    pub originating_broker_id: Option<i32>,
    /// Its address, `host:port`.
    pub originating_broker: String,
    /// The topic that was asked for, or all.
    pub query: Option<String>,
    /// The controller's id.
    pub controller_id: Option<i32>,
    /// The brokers.
    pub brokers: Vec<BrokerView>,
    /// The topics.
    pub topics: Vec<TopicView>,
}

impl MetadataView {
    /// librdkafka's name of the broker that answered.
    fn originating_name(&self) -> String {
        match self.originating_broker_id {
            Some(id) => format!("{}/{id}", self.originating_broker),
            None => format!("{}/bootstrap", self.originating_broker),
        }
    }
}

/// `-L`.
pub fn list(view: &MetadataView) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_list(view, &mut text);
    text
}

fn write_list(view: &MetadataView, text: &mut String) -> std::fmt::Result {
    let query = view.query.as_deref().unwrap_or("all topics");
    let id = view.originating_broker_id.unwrap_or(-1);
    writeln!(text, "Metadata for {query} (from broker {id}: {}):", view.originating_name())?;
    writeln!(text, " {} brokers:", view.brokers.len())?;
    for broker in &view.brokers {
        let controller = if view.controller_id == Some(broker.id) { " (controller)" } else { "" };
        writeln!(text, "  broker {} at {}:{}{controller}", broker.id, broker.host, broker.port)?;
    }
    writeln!(text, " {} topics:", view.topics.len())?;
    for topic in &view.topics {
        write!(text, "  topic \"{}\" with {} partitions:", topic.name, topic.partitions.len())?;
        if let Some(error) = &topic.error {
            let again =
                if *error == error_text(ErrorCode::LEADER_NOT_AVAILABLE) { " (try again)" } else { "" };
            write!(text, " {error}{again}")?;
        }
        text.push('\n');
        for partition in &topic.partitions {
            let leader = partition.leader.unwrap_or(-1);
            write!(text, "    partition {}, leader {leader}, replicas: ", partition.partition)?;
            write!(text, "{}, isrs: {}", ids(&partition.replicas), ids(&partition.isr))?;
            match &partition.error {
                Some(error) => writeln!(text, ", {error}")?,
                None => text.push('\n'),
            }
        }
    }
    Ok(())
}

/// `-L -J`: one line without its end, members in kcat's order.
pub fn list_json(view: &MetadataView) -> String {
    let brokers = view.brokers.iter().map(|broker| {
        format!("{{\"id\":{},\"name\":{}}}", broker.id, string(&format!("{}:{}", broker.host, broker.port)))
    });
    let topics = view.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            format!(
                "{{\"partition\":{}{},\"leader\":{},\"replicas\":[{}],\"isrs\":[{}]}}",
                partition.partition,
                error_member(partition.error.as_deref()),
                partition.leader.unwrap_or(-1),
                id_objects(&partition.replicas),
                id_objects(&partition.isr)
            )
        });
        let error = error_member(topic.error.as_deref());
        format!("{{\"topic\":{}{error},\"partitions\":[{}]}}", string(&topic.name), joined(partitions))
    });
    format!(
        "{{\"originating_broker\":{{\"id\":{},\"name\":{}}},\"query\":{{\"topic\":{}}},\"controllerid\":{},\
         \"brokers\":[{}],\"topics\":[{}]}}",
        view.originating_broker_id.unwrap_or(-1),
        string(&view.originating_name()),
        string(view.query.as_deref().unwrap_or("*")),
        view.controller_id.unwrap_or(-1),
        joined(brokers),
        joined(topics)
    )
}

/// An answer to `-Q`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetAnswer {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset; -1 (the end) where no record is that late.
    pub offset: i64,
    /// Why there is none: an [`error_text`].
    pub error: Option<String>,
}

/// `-Q`.
pub fn offsets(answers: &[OffsetAnswer]) -> String {
    let mut text = String::new();
    for answer in answers {
        let _ = write!(text, "{} [{}] offset {}", answer.topic, answer.partition, answer.offset);
        match &answer.error {
            Some(error) => {
                let _ = writeln!(text, ": {error}");
            }
            None => text.push('\n'),
        }
    }
    text
}

/// `-Q -J`: one line without its end. Answers of one topic are gathered, where kcat repeats its key.
pub fn offsets_json(answers: &[OffsetAnswer]) -> String {
    let mut topics: Vec<&str> = Vec::new();
    for answer in answers {
        if !topics.contains(&answer.topic.as_str()) {
            topics.push(&answer.topic);
        }
    }
    let members = topics.into_iter().map(|topic| {
        let partitions = answers.iter().filter(|answer| answer.topic == topic).map(|answer| {
            let error = error_member(answer.error.as_deref());
            let (partition, offset) = (answer.partition, answer.offset);
            format!(",\"{partition}\":{{\"partition\":{partition},\"offset\":{offset}{error}}}")
        });
        let name = string(topic);
        format!("{name}:{{\"topic\":{name}{}}}", partitions.collect::<String>())
    });
    format!("{{{}}}", joined(members))
}

/// librdkafka's sentence for a broker's error code.
pub fn error_text(code: ErrorCode) -> String {
    let words = match code {
        ErrorCode::NONE => return "Success".to_owned(),
        ErrorCode::UNKNOWN_SERVER_ERROR => return "Unknown broker error".to_owned(),
        ErrorCode::CORRUPT_MESSAGE => "Invalid message".to_owned(),
        ErrorCode::INVALID_FETCH_SIZE => "Invalid message size".to_owned(),
        ErrorCode::NOT_LEADER_OR_FOLLOWER => "Not leader for partition".to_owned(),
        ErrorCode::MESSAGE_TOO_LARGE => "Message size too large".to_owned(),
        ErrorCode::OFFSET_METADATA_TOO_LARGE => "Offset metadata string too large".to_owned(),
        ErrorCode::NETWORK_EXCEPTION => "Broker disconnected before response received".to_owned(),
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => "Coordinator load in progress".to_owned(),
        ErrorCode::COORDINATOR_NOT_AVAILABLE => "Coordinator not available".to_owned(),
        ErrorCode::NOT_COORDINATOR => "Not coordinator".to_owned(),
        ErrorCode::INVALID_TOPIC_EXCEPTION => "Invalid topic".to_owned(),
        ErrorCode::RECORD_LIST_TOO_LARGE => {
            "Message batch larger than configured server segment size".to_owned()
        }
        ErrorCode::NOT_ENOUGH_REPLICAS => "Not enough in-sync replicas".to_owned(),
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => {
            "Message(s) written to insufficient number of in-sync replicas".to_owned()
        }
        ErrorCode::INVALID_REQUIRED_ACKS => "Invalid required acks value".to_owned(),
        ErrorCode::ILLEGAL_GENERATION => "Specified group generation id is not valid".to_owned(),
        code => {
            // Most sentences are the code's name in lower case.
            let words = code.name().replace('_', " ").to_lowercase();
            let mut letters = words.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters).collect()
        }
    };
    format!("Broker: {words}")
}

fn ids(ids: &[i32]) -> String {
    joined(ids.iter().map(i32::to_string))
}

fn id_objects(ids: &[i32]) -> String {
    joined(ids.iter().map(|id| format!("{{\"id\":{id}}}")))
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

fn error_member(error: Option<&str>) -> String {
    error.map(|error| format!(",\"error\":{}", string(error))).unwrap_or_default()
}

/// A JSON string.
fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::PartitionView;

    fn view() -> MetadataView {
        let partition = |partition, leader, error: Option<&str>| PartitionView {
            partition,
            leader,
            replicas: vec![1, 2],
            isr: vec![1],
            error: error.map(str::to_owned),
            ..PartitionView::default()
        };
        let broker = |id| BrokerView { id, host: "h".into(), port: 9090 + id as u16, rack: None };
        MetadataView {
            originating_broker_id: Some(1),
            originating_broker: "h:9091".into(),
            query: None,
            controller_id: Some(2),
            brokers: vec![broker(1), broker(2)],
            topics: vec![
                TopicView {
                    name: "t1".into(),
                    partitions: vec![
                        partition(0, Some(1), None),
                        partition(1, None, Some("Broker: Leader not available")),
                    ],
                    ..TopicView::default()
                },
                TopicView {
                    name: "nope".into(),
                    error: Some(error_text(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)),
                    ..TopicView::default()
                },
                TopicView {
                    name: "new".into(),
                    error: Some(error_text(ErrorCode::LEADER_NOT_AVAILABLE)),
                    ..TopicView::default()
                },
            ],
        }
    }

    #[test]
    fn the_list_is_kcats() {
        assert_eq!(
            list(&view()),
            r#"Metadata for all topics (from broker 1: h:9091/1):
 2 brokers:
  broker 1 at h:9091
  broker 2 at h:9092 (controller)
 3 topics:
  topic "t1" with 2 partitions:
    partition 0, leader 1, replicas: 1,2, isrs: 1
    partition 1, leader -1, replicas: 1,2, isrs: 1, Broker: Leader not available
  topic "nope" with 0 partitions: Broker: Unknown topic or partition
  topic "new" with 0 partitions: Broker: Leader not available (try again)
"#
        );
        let bootstrap = MetadataView {
            originating_broker: "h:1".into(),
            query: Some("t".into()),
            ..MetadataView::default()
        };
        assert_eq!(
            list(&bootstrap),
            "Metadata for t (from broker -1: h:1/bootstrap):\n 0 brokers:\n 0 topics:\n"
        );
    }

    #[test]
    fn the_json_list_is_kcats() {
        let mut view = view();
        view.topics.truncate(2);
        let json = list_json(&view);
        assert_eq!(
            json,
            concat!(
                r#"{"originating_broker":{"id":1,"name":"h:9091/1"},"query":{"topic":"*"},"controllerid":2,"#,
                r#""brokers":[{"id":1,"name":"h:9091"},{"id":2,"name":"h:9092"}],"topics":[{"topic":"t1","partitions":["#,
                r#"{"partition":0,"leader":1,"replicas":[{"id":1},{"id":2}],"isrs":[{"id":1}]},"#,
                r#"{"partition":1,"error":"Broker: Leader not available","leader":-1,"replicas":[{"id":1},{"id":2}],"isrs":[{"id":1}]}]},"#,
                r#"{"topic":"nope","error":"Broker: Unknown topic or partition","partitions":[]}]}"#
            )
        );
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
    }

    #[test]
    fn offsets_by_time() {
        let answer = |topic: &str, partition, offset| OffsetAnswer {
            topic: topic.into(),
            partition,
            offset,
            error: None,
        };
        let mut answers = vec![answer("t1", 0, 42), answer("t2", 1, -1), answer("t1", 1, 7)];
        answers[1].error = Some(error_text(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        assert_eq!(
            offsets(&answers),
            "t1 [0] offset 42\nt2 [1] offset -1: Broker: Unknown topic or partition\nt1 [1] offset 7\n"
        );
        assert_eq!(offsets_json(&answers[..1]), r#"{"t1":{"topic":"t1","0":{"partition":0,"offset":42}}}"#);
        assert_eq!(
            offsets_json(&answers),
            concat!(
                r#"{"t1":{"topic":"t1","0":{"partition":0,"offset":42},"1":{"partition":1,"offset":7}},"#,
                r#""t2":{"topic":"t2","1":{"partition":1,"offset":-1,"error":"Broker: Unknown topic or partition"}}}"#
            )
        );
    }

    #[test]
    fn error_texts() {
        for (code, text) in [
            (ErrorCode::OFFSET_OUT_OF_RANGE, "Broker: Offset out of range"),
            (ErrorCode::TOPIC_AUTHORIZATION_FAILED, "Broker: Topic authorization failed"),
            (ErrorCode::MESSAGE_TOO_LARGE, "Broker: Message size too large"),
        ] {
            assert_eq!(error_text(code), text);
        }
    }
}
