//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.

use kcopy_wire::{
    ErrorCode,
    messages::{
        AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, alter_configs_request,
        describe_configs_request, describe_configs_response, incremental_alter_configs_request,
    },
};

use crate::peer::{Peer, batch, builder};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

async fn describe(peer: &mut Peer, kind: i8, name: &str) -> describe_configs_response::DescribeConfigsResult {
    let request = DescribeConfigsRequest {
        resources: vec![describe_configs_request::DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys: None,
            ..Default::default()
        }],
        include_synonyms: true,
        ..Default::default()
    };
    peer.call(&request, 4).await.results[0].clone()
}

/// A property's value and source.
async fn value(peer: &mut Peer, kind: i8, name: &str, property: &str) -> (String, i8) {
    let described = describe(peer, kind, name).await;
    let found = described.configs.iter().find(|config| config.name == property);
    let found = found.unwrap_or_else(|| panic!("{property} is described"));
    (found.value.clone().unwrap_or_default().into(), found.config_source)
}

async fn alter(
    peer: &mut Peer,
    kind: i8,
    name: &str,
    operation: i8,
    property: &str,
    value: Option<&str>,
) -> ErrorCode {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![incremental_alter_configs_request::AlterConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: vec![incremental_alter_configs_request::AlterableConfig {
                name: property.into(),
                config_operation: operation,
                value: value.map(Into::into),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    peer.call(&request, 1).await.responses[0].error_code
}

#[tokio::test(start_paused = true)]
async fn defaults_are_kafkas() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let topic = describe(&mut peer, TOPIC, "t").await;
    assert_eq!((topic.error_code, topic.configs.len()), (ErrorCode::NONE, 37));
    assert_eq!(value(&mut peer, TOPIC, "t", "retention.ms").await, ("604800000".into(), 5));
    assert_eq!(value(&mut peer, TOPIC, "t", "min.insync.replicas").await, ("1".into(), 3));
    let broker = describe(&mut peer, BROKER, "1").await;
    assert!(broker.configs.len() >= 340);
    assert_eq!(value(&mut peer, BROKER, "1", "num.partitions").await, ("1".into(), 5));
    assert_eq!(value(&mut peer, BROKER, "1", "node.id").await, ("1".into(), 4));
    assert_eq!(describe(&mut peer, BROKER, "2").await.error_code, ErrorCode::INVALID_REQUEST);
    assert_eq!(describe(&mut peer, TOPIC, "no").await.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(describe(&mut peer, TOPIC, "a b").await.error_code, ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(describe(&mut peer, 99, "t").await.error_code, ErrorCode::INVALID_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn single_properties_are_set_and_unset() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let cases = [
        (SET, "retention.ms", Some("5"), ErrorCode::NONE),
        (SET, "retention.ms", Some("five"), ErrorCode::INVALID_CONFIG),
        (SET, "no.such", Some("5"), ErrorCode::INVALID_CONFIG),
        (SET, "retention.ms", None, ErrorCode::INVALID_REQUEST),
        (APPEND, "retention.ms", Some("5"), ErrorCode::INVALID_CONFIG),
        (APPEND, "cleanup.policy", Some("compact"), ErrorCode::NONE),
        (9, "cleanup.policy", Some("compact"), ErrorCode::UNKNOWN_SERVER_ERROR),
    ];
    for (operation, property, to, error) in cases {
        assert_eq!(alter(&mut peer, TOPIC, "t", operation, property, to).await, error, "{property} {to:?}");
    }
    assert_eq!(value(&mut peer, TOPIC, "t", "retention.ms").await, ("5".into(), 1));
    assert_eq!(value(&mut peer, TOPIC, "t", "cleanup.policy").await, ("delete,compact".into(), 1));
    alter(&mut peer, TOPIC, "t", SUBTRACT, "cleanup.policy", Some("delete")).await;
    assert_eq!(value(&mut peer, TOPIC, "t", "cleanup.policy").await, ("compact".into(), 1));
    assert_eq!(alter(&mut peer, TOPIC, "t", DELETE, "retention.ms", None).await, ErrorCode::NONE);
    assert_eq!(value(&mut peer, TOPIC, "t", "retention.ms").await, ("604800000".into(), 5));
    let unknown = alter(&mut peer, TOPIC, "no", SET, "retention.ms", Some("5")).await;
    assert_eq!(unknown, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    // The change is in force: a compacted topic wants keys.
    assert_eq!(peer.produce("t", 0, batch(&["x"])).await.error_code, ErrorCode::INVALID_RECORD);
}

#[tokio::test(start_paused = true)]
async fn brokers_change_at_run_time_where_kafkas_do() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    assert_eq!(alter(&mut peer, BROKER, "", SET, "message.max.bytes", Some("100")).await, ErrorCode::NONE);
    assert_eq!(value(&mut peer, BROKER, "1", "message.max.bytes").await, ("100".into(), 3));
    assert_eq!(value(&mut peer, TOPIC, "t", "max.message.bytes").await, ("100".into(), 3));
    let too_large = peer.produce("t", 0, batch(&[&"x".repeat(100)])).await;
    assert_eq!(too_large.error_code, ErrorCode::MESSAGE_TOO_LARGE);
    let refused = alter(&mut peer, BROKER, "1", SET, "num.partitions", Some("3")).await;
    assert_eq!(refused, ErrorCode::INVALID_REQUEST);
    let other = alter(&mut peer, BROKER, "7", SET, "message.max.bytes", Some("3")).await;
    assert_eq!(other, ErrorCode::INVALID_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn the_older_api_replaces_everything() {
    let cluster = builder().start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    peer.create_topic("t", &[("retention.ms", "5"), ("segment.ms", "6")]).await;
    let request = AlterConfigsRequest {
        resources: vec![alter_configs_request::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: "t".into(),
            configs: vec![alter_configs_request::AlterableConfig {
                name: "retention.ms".into(),
                value: Some("7".into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(peer.call(&request, 2).await.responses[0].error_code, ErrorCode::NONE);
    assert_eq!(value(&mut peer, TOPIC, "t", "retention.ms").await, ("7".into(), 1));
    assert_eq!(value(&mut peer, TOPIC, "t", "segment.ms").await.1, 5);
}

#[tokio::test]
async fn a_cluster_does_not_start_with_properties_that_kafka_refuses() {
    for (name, value, message) in [
        (
            "num.partition",
            "4",
            "INVALID_CONFIG: unknown broker property num.partition, did you mean num.partitions?",
        ),
        (
            "num.partitions",
            "0",
            "INVALID_CONFIG: Invalid value 0 for configuration num.partitions: Value must be at least 1",
        ),
    ] {
        let error = builder().config(name, value).start().await.unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[tokio::test(start_paused = true)]
async fn values_are_shown_as_they_are_understood() {
    let cluster = builder().start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    peer.create_topic("t", &[("retention.ms", "+5"), ("preallocate", "TRUE")]).await;
    assert_eq!(value(&mut peer, TOPIC, "t", "retention.ms").await, ("5".into(), 1));
    assert_eq!(value(&mut peer, TOPIC, "t", "preallocate").await, ("true".into(), 1));
    // A property of groups that no broker property stands behind is its own synonym.
    let group = describe(&mut peer, 32, "g").await;
    let found = group.configs.iter().find(|config| config.name == "share.isolation.level").unwrap();
    assert_eq!((found.synonyms.len(), &*found.synonyms[0].name), (1, "share.isolation.level"));
}
