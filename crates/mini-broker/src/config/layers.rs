//! The layers of configuration: defaults, static properties, dynamic ones of the cluster and of a broker, topics.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Access, ConfigError, Kind, TimestampType, TopicRow, broker_row, broker_table, group_row, topic_row,
    topic_table, validate::check,
};

/// Where a value comes from, with the number that DescribeConfigs gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Topic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    ClientMetrics = 7,
    Group = 8,
}

/// One layer's value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Synonym {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
}

/// A property as DescribeConfigs shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
    pub(crate) read_only: bool,
    pub(crate) sensitive: bool,
    pub(crate) kind: Kind,
    pub(crate) synonyms: Vec<Synonym>,
}

/// Properties by name.
pub(crate) type Properties = BTreeMap<String, String>;

/// The brokers' configuration.
#[derive(Debug, Default)]
pub(crate) struct BrokerConfigs {
    /// Given at the start, for all brokers.
    fixed: Properties,
    /// Given at the start, for one broker.
    fixed_of_node: BTreeMap<i32, Properties>,
    /// Set at run time, for all brokers.
    pub(crate) dynamic_default: Properties,
    /// Set at run time, for one broker.
    pub(crate) dynamic: BTreeMap<i32, Properties>,
}

impl BrokerConfigs {
    /// Checked properties of a whole cluster.
    ///
    /// # Errors
    /// An unknown name or an invalid value.
    pub(crate) fn new(fixed: Properties) -> Result<Self, ConfigError> {
        for (name, value) in &fixed {
            super::property_effect(name, value)?;
        }
        let mut configs = Self { fixed, ..Self::default() };
        // A cluster that was formatted with eligible leader replicas (KIP-966) carries its min.insync.replicas as a
        // dynamic default from the start.
        let min_insync = configs.value("min.insync.replicas", None).unwrap_or_default();
        configs.dynamic_default.insert("min.insync.replicas".into(), min_insync);
        Ok(configs)
    }

    pub(crate) fn set_for_node(&mut self, node_id: i32, name: &str, value: String) {
        self.fixed_of_node.entry(node_id).or_default().insert(name.to_owned(), value);
    }

    /// A broker property's value in effect, for one broker or for the cluster.
    pub(crate) fn value(&self, name: &str, node_id: Option<i32>) -> Option<String> {
        self.layers(name, node_id).into_iter().next().and_then(|layer| layer.value)
    }

    /// A number in effect; properties are checked when they are set, so what does not parse is a list or text.
    pub(crate) fn number(&self, name: &str, node_id: Option<i32>) -> i64 {
        self.value(name, node_id).and_then(|value| value.trim().parse().ok()).unwrap_or_default()
    }

    /// A boolean in effect.
    pub(crate) fn boolean(&self, name: &str) -> bool {
        self.value(name, None).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// The values of a property, the one in effect first.
    fn layers(&self, name: &str, node_id: Option<i32>) -> Vec<Synonym> {
        let of_node = |layer: &BTreeMap<i32, Properties>| {
            node_id.and_then(|id| layer.get(&id)).and_then(|properties| properties.get(name)).cloned()
        };
        let default = broker_row(name).and_then(|row| row.2).map(str::to_owned);
        let fixed = of_node(&self.fixed_of_node).or_else(|| self.fixed.get(name).cloned());
        [
            (of_node(&self.dynamic), Source::DynamicBroker),
            (self.dynamic_default.get(name).cloned(), Source::DynamicDefaultBroker),
            (fixed, Source::StaticBroker),
            (default, Source::Default),
        ]
        .into_iter()
        .filter_map(|(value, source)| {
            value.map(|value| Synonym { name: name.to_owned(), value: Some(value), source })
        })
        .collect()
    }

    /// One broker's properties, or with `None` the cluster's dynamic defaults.
    pub(crate) fn describe(&self, node_id: Option<i32>) -> Vec<Entry> {
        let names: Vec<&str> = match node_id {
            Some(_) => broker_table::ROWS.iter().map(|row| row.0).collect(),
            None => self.dynamic_default.keys().map(String::as_str).collect(),
        };
        names
            .into_iter()
            .filter_map(|name| {
                let row = broker_row(name)?;
                let mut synonyms = self.layers(name, node_id);
                if node_id.is_none() {
                    synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
                }
                Some(entry(name, row.1, row.3 == Access::ReadOnly, None, synonyms))
            })
            .collect()
    }

    /// A topic's properties.
    pub(crate) fn describe_topic(&self, properties: &Properties, node_id: i32) -> Vec<Entry> {
        self.describe_rows(topic_table::TOPIC_ROWS, properties, node_id, Source::Topic)
    }

    /// A group's properties.
    pub(crate) fn describe_group(&self, properties: &Properties, node_id: i32) -> Vec<Entry> {
        self.describe_rows(topic_table::GROUP_ROWS, properties, node_id, Source::Group)
    }

    fn describe_rows(
        &self,
        rows: &'static [TopicRow],
        properties: &Properties,
        node_id: i32,
        own: Source,
    ) -> Vec<Entry> {
        rows.iter()
            .map(|row| {
                let of_broker = row.3.split(',').filter_map(|synonym| synonym.split('*').next());
                let mut synonyms: Vec<Synonym> =
                    of_broker.flat_map(|name| self.layers(name, Some(node_id))).collect();
                synonyms.sort_by_key(|synonym| synonym.source as i8);
                // What stands before the first one's name is not shown, be it all.
                let first =
                    synonyms.iter().position(|synonym| row.3.split(',').next() == Some(&synonym.name));
                synonyms.drain(..first.unwrap_or(synonyms.len()));
                if row.3 == row.0 && own == Source::Group {
                    let value = row.2.map(str::to_owned);
                    synonyms.push(Synonym { name: row.0.to_owned(), value, source: Source::Default });
                }
                let value = properties.get(row.0).map(|value| row.1.shown(value));
                if let Some(value) = &value {
                    let set_here =
                        Synonym { name: row.0.to_owned(), value: Some(value.clone()), source: own };
                    synonyms.insert(0, set_here);
                }
                let value = value.or_else(|| self.inherited(row, Some(node_id)));
                entry(row.0, row.1, false, value, synonyms)
            })
            .collect()
    }

    /// A topic property's value where the topic does not set it: the first broker synonym that somebody set, else the
    /// first that has a default.
    fn inherited(&self, row: &TopicRow, node_id: Option<i32>) -> Option<String> {
        row.3
            .split(',')
            .filter(|synonym| !synonym.is_empty())
            .find_map(|synonym| {
                let (name, factor) = match synonym.split_once('*') {
                    Some((name, factor)) => (name, factor.parse::<i64>().unwrap_or(1)),
                    None => (synonym, 1),
                };
                let value = self.value(name, node_id)?;
                match value.parse::<i64>() {
                    Ok(number) if factor != 1 => Some(number.saturating_mul(factor).to_string()),
                    _ => Some(value),
                }
            })
            .or_else(|| row.2.map(str::to_owned))
    }

    /// What the log needs to know of a topic's configuration.
    pub(crate) fn topic_settings(&self, properties: &Properties) -> Arc<TopicSettings> {
        let text = |name: &str| {
            properties
                .get(name)
                .cloned()
                .or_else(|| topic_row(name).and_then(|row| self.inherited(row, None)))
                .unwrap_or_default()
        };
        let number = |name: &str| text(name).trim().parse::<i64>().unwrap_or_default();
        Arc::new(TopicSettings {
            compact: text("cleanup.policy").split(',').any(|policy| policy.trim() == "compact"),
            deletes: text("cleanup.policy").split(',').any(|policy| policy.trim() == "delete"),
            compression_type: text("compression.type"),
            gzip_level: i32::try_from(number("compression.gzip.level")).ok(),
            lz4_level: i32::try_from(number("compression.lz4.level")).ok(),
            zstd_level: i32::try_from(number("compression.zstd.level")).ok(),
            max_message_bytes: usize::try_from(number("max.message.bytes")).unwrap_or_default(),
            max_decompressed_bytes: usize::try_from(number("max.decompressed.message.bytes"))
                .unwrap_or_default(),
            segment_bytes: usize::try_from(number("segment.bytes")).unwrap_or(usize::MAX),
            timestamp_type: if text("message.timestamp.type") == "LogAppendTime" {
                TimestampType::LogAppendTime
            } else {
                TimestampType::CreateTime
            },
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            min_insync_replicas: usize::try_from(number("min.insync.replicas")).unwrap_or(1),
        })
    }

    /// Checks a topic's whole set of properties.
    ///
    /// # Errors
    /// The message that Apache Kafka gives.
    pub(crate) fn check_topic(&self, properties: &Properties) -> Result<(), ConfigError> {
        for (name, value) in properties {
            let row = topic_row(name)
                .ok_or_else(|| ConfigError::new(format!("Unknown topic config name: {name}")))?;
            check(name, row.1, row.4, value)?;
        }
        if properties
            .get("remote.storage.enable")
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
        {
            return Err(ConfigError::new(
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log \
                 storage.",
            ));
        }
        let lag = |name: &str| {
            let row = topic_row(name)?;
            let value = properties.get(name).cloned().or_else(|| self.inherited(row, None))?;
            value.trim().parse::<i64>().ok()
        };
        if let (Some(min), Some(max)) = (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"))
            && min > max
        {
            return Err(ConfigError::new(format!(
                "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
            )));
        }
        Ok(())
    }

    /// Checks a group's whole set of properties.
    ///
    /// # Errors
    /// The message that Apache Kafka gives.
    pub(crate) fn check_group(properties: &Properties) -> Result<(), ConfigError> {
        for (name, value) in properties {
            let row = group_row(name)
                .ok_or_else(|| ConfigError::new(format!("Unknown group config name: {name}")))?;
            check(name, row.1, row.4, value)?;
        }
        Ok(())
    }

    /// Checks properties that are to be set on running brokers.
    ///
    /// # Errors
    /// The message that Apache Kafka gives; properties that need a restart are refused.
    pub(crate) fn check_dynamic(properties: &Properties) -> Result<(), ConfigError> {
        let fixed: Vec<&str> = properties
            .keys()
            .filter(|name| broker_row(name).is_some_and(|row| row.3 == Access::ReadOnly))
            .map(String::as_str)
            .collect();
        if !fixed.is_empty() {
            return Err(ConfigError::new(format!(
                "Cannot update these configs dynamically: [{}]",
                fixed.join(", ")
            )));
        }
        for (name, value) in properties {
            if let Some(row) = broker_row(name) {
                check(name, row.1, row.4, value)?;
            }
        }
        Ok(())
    }
}

/// A topic's configuration as the log uses it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    pub(crate) compact: bool,
    pub(crate) deletes: bool,
    /// `producer`, `uncompressed` or a codec.
    pub(crate) compression_type: String,
    pub(crate) gzip_level: Option<i32>,
    pub(crate) lz4_level: Option<i32>,
    pub(crate) zstd_level: Option<i32>,
    pub(crate) max_message_bytes: usize,
    pub(crate) max_decompressed_bytes: usize,
    pub(crate) segment_bytes: usize,
    pub(crate) timestamp_type: TimestampType,
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) timestamp_after_max_ms: i64,
    pub(crate) min_insync_replicas: usize,
}

/// Assembles an entry: the first synonym is in effect, secrets are hidden.
fn entry(
    name: &str,
    kind: Kind,
    read_only: bool,
    value: Option<String>,
    mut synonyms: Vec<Synonym>,
) -> Entry {
    let sensitive = kind == Kind::Password;
    if sensitive {
        for synonym in &mut synonyms {
            synonym.value = None;
        }
    }
    let first = synonyms.first();
    Entry {
        name: name.to_owned(),
        value: if sensitive {
            None
        } else {
            value.or_else(|| first.and_then(|synonym| synonym.value.clone()))
        },
        source: first.map_or(Source::Default, |synonym| synonym.source),
        read_only,
        sensitive,
        kind,
        synonyms,
    }
}
