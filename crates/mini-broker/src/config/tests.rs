use super::{layers::Properties, *};

fn properties(pairs: &[(&str, &str)]) -> Properties {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn tables_are_sorted_and_their_defaults_valid() {
    assert!(broker_table::ROWS.is_sorted_by(|a, b| a.0 < b.0));
    assert!(topic_table::TOPIC_ROWS.is_sorted_by(|a, b| a.0 < b.0));
    assert!(topic_table::GROUP_ROWS.is_sorted_by(|a, b| a.0 < b.0));
    for row in broker_table::ROWS {
        if let Some(default) = row.2 {
            assert_eq!(validate::check(row.0, row.1, row.4, default), Ok(()));
        }
    }
    for row in topic_table::TOPIC_ROWS.iter().chain(topic_table::GROUP_ROWS) {
        if let Some(default) = row.2 {
            assert_eq!(validate::check(row.0, row.1, row.4, default), Ok(()));
        }
        for synonym in row.3.split(',').filter(|synonym| !synonym.is_empty()) {
            let name = synonym.split('*').next().unwrap_or_default();
            // A few group properties have no broker-wide form and name themselves.
            assert!(broker_row(name).is_some() || name == row.0, "{name}");
        }
    }
}

#[test]
fn values_are_checked_with_kafkas_messages() {
    let cases = [
        (
            "retention.ms",
            "abc",
            "Invalid value abc for configuration retention.ms: Not a number of type LONG",
        ),
        ("retention.ms", "-2", "Invalid value -2 for configuration retention.ms: Value must be at least -1"),
        (
            "cleanup.policy",
            "shred",
            "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        ("no.such", "1", "Unknown topic config name: no.such"),
        (
            "compression.gzip.level",
            "10",
            "Invalid value 10 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
        ),
        (
            "min.cleanable.dirty.ratio",
            "2",
            "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        ),
        (
            "leader.replication.throttled.replicas",
            "0:1,x",
            "Invalid value [0:1, x] for configuration leader.replication.throttled.replicas: \
             leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following \
             format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        ),
        (
            "remote.storage.enable",
            "true",
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        ),
        (
            "preallocate",
            "yes",
            "Invalid value yes for configuration preallocate: Expected value to be either true or false",
        ),
    ];
    let configs = BrokerConfigs::default();
    for (name, value, message) in cases {
        let error = configs.check_topic(&properties(&[(name, value)])).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let fine = properties(&[
        ("cleanup.policy", "compact,delete"),
        ("compression.gzip.level", "-1"),
        ("leader.replication.throttled.replicas", "0:1, 2:3"),
        ("follower.replication.throttled.replicas", "*"),
        ("remote.storage.enable", "false"),
    ]);
    assert_eq!(configs.check_topic(&fine), Ok(()));
}

#[test]
fn an_unknown_broker_property_names_the_nearest() {
    let error = property_effect("num.partition", "4").unwrap_err().to_string();
    assert_eq!(error, "unknown broker property num.partition, did you mean num.partitions?");
    let error = property_effect("retention.ms", "4").unwrap_err().to_string();
    assert_eq!(error, "retention.ms is a topic property, not a broker property");
    assert_eq!(property_effect("num.partitions", "4"), Ok(PropertyEffect::Honoured));
    assert_eq!(property_effect("num.io.threads", "4"), Ok(PropertyEffect::ShownOnly));
}

#[test]
fn the_topic_inherits_from_the_first_synonym_that_is_set() {
    let find = |configs: &BrokerConfigs, own: &Properties| {
        configs
            .describe_topic(own, 1)
            .into_iter()
            .find(|entry| entry.name == "retention.ms")
            .expect("retention.ms is a topic property")
    };
    let none = Properties::new();
    let entry = find(&BrokerConfigs::default(), &none);
    assert_eq!(entry.value.as_deref(), Some("604800000"));
    assert_eq!((entry.source, entry.synonyms.len()), (Source::Default, 0));

    let minutes = BrokerConfigs::new(properties(&[("log.retention.minutes", "5")])).unwrap();
    assert_eq!(find(&minutes, &none).value.as_deref(), Some("300000"));

    let entry = find(&minutes, &properties(&[("retention.ms", "7")]));
    assert_eq!(entry.value.as_deref(), Some("7"));
    assert_eq!(entry.source, Source::Topic);
    assert_eq!(entry.synonyms.len(), 1);

    let mut both = BrokerConfigs::new(properties(&[("log.retention.minutes", "5")])).unwrap();
    both.dynamic_default.insert("log.retention.ms".into(), "777".into());
    let entry = find(&both, &none);
    assert_eq!(entry.value.as_deref(), Some("777"));
    let synonyms: Vec<_> = entry.synonyms.iter().map(|synonym| synonym.name.as_str()).collect();
    assert_eq!(synonyms, ["log.retention.ms", "log.retention.minutes", "log.retention.hours"]);
}

#[test]
fn values_are_shown_as_java_writes_them() {
    for (kind, value, shown) in [
        (Kind::Boolean, " TRUE ", "true"),
        (Kind::Long, "+5", "5"),
        (Kind::Int, "007", "7"),
        (Kind::Double, "1", "1.0"),
        (Kind::Double, "0.50", "0.5"),
        (Kind::List, "compact, delete", "compact,delete"),
        (Kind::String, " lz4 ", "lz4"),
    ] {
        assert_eq!(kind.shown(value), shown);
    }
}

#[test]
fn layers_override_each_other() {
    let mut configs = BrokerConfigs::new(properties(&[("message.max.bytes", "10")])).unwrap();
    configs.dynamic_default.insert("message.max.bytes".into(), "20".into());
    configs.dynamic.insert(1, properties(&[("message.max.bytes", "30")]));
    let sources = |node| {
        configs.describe(Some(node)).into_iter().find(|entry| entry.name == "message.max.bytes").map(
            |entry| {
                let sources: Vec<Source> = entry.synonyms.iter().map(|synonym| synonym.source).collect();
                (entry.value.unwrap_or_default(), sources)
            },
        )
    };
    use Source::{Default, DynamicBroker, DynamicDefaultBroker, StaticBroker};
    let all = vec![DynamicBroker, DynamicDefaultBroker, StaticBroker, Default];
    assert_eq!(sources(1), Some(("30".into(), all.clone())));
    assert_eq!(sources(2), Some(("20".into(), all[1..].to_vec())));
}

#[test]
fn read_only_properties_cannot_change_at_run_time() {
    let error = BrokerConfigs::check_dynamic(&properties(&[("num.partitions", "3")])).unwrap_err();
    assert!(error.to_string().starts_with("Cannot update these configs dynamically"));
    assert_eq!(BrokerConfigs::check_dynamic(&properties(&[("message.max.bytes", "3")])), Ok(()));
}
