//! Topic administration, for kcopy's own grammar and for kafka-topics.

use std::cell::RefCell;

use kcopy_client::{
    Client, Error, IsolationLevel, OffsetQuery, OffsetSpec, Topic,
    admin::{
        Admin, ConfigAlteration, ConfigChange, ConfigResource, ConfigSource, DeleteRecords, NewPartitions,
        NewTopic,
    },
    wire::{ErrorCode, Str},
};
use regex_lite::Regex;
use serde_json::{Value, json};

use super::{failure::Failure, print::print, session::Session, view};
use crate::{
    kafka_topics::text,
    plan::{OnExisting, OnMissing, PartitionFilter, Shape, TopicAction, TopicPlan, TopicSpec, TopicsNamed},
    process::say,
    properties, tables,
    view::{ConfigView, OffsetsView, TopicView},
};

/// Carries out what the plan says of topics.
///
/// # Errors
/// No broker answers, or it refuses.
pub(super) fn run(plan: &TopicPlan) -> Result<(), Failure> {
    let session = Session::new(&plan.common)?;
    let run =
        Run { plan, client: &session.client, admin: session.client.admin(), changes: RefCell::default() };
    let acted = session.block_on(run.act());
    // What was changed before an error is changed all the same.
    let changes = run.changes.into_inner();
    if plan.shape == Shape::Json && !plan.action.only_tells() {
        print(&tables::topic_changes_json(&changes))?;
    }
    acted
}

struct Run<'a> {
    plan: &'a TopicPlan,
    client: &'a Client,
    admin: Admin,
    /// What was done, for the document of `--json`.
    changes: RefCell<Vec<Value>>,
}

impl Run<'_> {
    async fn act(&self) -> Result<(), Failure> {
        match &self.plan.action {
            TopicAction::List { topics } => self.list(topics).await,
            TopicAction::Describe { topics, filter, missing } => {
                self.describe(topics, *filter, *missing).await
            }
            TopicAction::Create { spec, existing } => self.create(spec, *existing).await,
            TopicAction::Alter { topics, partitions, replica_assignment, set, unset, missing } => {
                let names = self.names(topics, *missing).await?;
                let configs = alterations(&names, set, unset);
                // Two requests: a setting that the broker refuses shall not leave the partitions added.
                if partitions.is_some() && !configs.is_empty() {
                    all(self.admin.clone().validate_only().alter_configs(&configs).await?)?;
                }
                self.alter_partitions(&names, *partitions, replica_assignment.as_deref()).await?;
                self.alter_configs(&names, &configs).await
            }
            TopicAction::Delete { topics, missing } => self.delete(topics, *missing).await,
            TopicAction::Offsets { topic, isolation } => self.offsets(topic, *isolation).await,
            TopicAction::Trim { topic, partitions, before } => {
                self.trim(topic, partitions.as_deref(), *before).await
            }
        }
    }

    /// People are told what was done, unless they want quiet; programs get a document at the end.
    fn say(&self, kafka: &str, own: &str, change: Value) -> Result<(), Failure> {
        match self.plan.shape {
            Shape::Apache => print(kafka),
            Shape::Table if !self.plan.common.quiet() => {
                say!("{own}");
                Ok(())
            }
            Shape::Table => Ok(()),
            Shape::Json => {
                self.changes.borrow_mut().push(change);
                Ok(())
            }
        }
    }

    async fn list(&self, topics: &TopicsNamed) -> Result<(), Failure> {
        let found = self.find(topics).await?;
        let mut views: Vec<TopicView> =
            found.iter().map(|topic| view::topic(topic, view::error_name)).collect();
        views.sort_by(|one, other| one.name.cmp(&other.name));
        print(&match self.plan.shape {
            Shape::Table => tables::topic_list(&views),
            Shape::Json => tables::topic_list_json(&views),
            Shape::Apache => text::list(views.iter().map(|topic| topic.name.as_str())),
        })
    }

    async fn describe(
        &self,
        topics: &TopicsNamed,
        filter: PartitionFilter,
        missing: OnMissing,
    ) -> Result<(), Failure> {
        let found = self.find_some(topics, missing).await?;
        let resources: Vec<ConfigResource> =
            found.iter().map(|topic| ConfigResource::Topic(topic.name.clone())).collect();
        let configs = self.admin.describe_configs(&resources).await?;
        let mut views = Vec::with_capacity(found.len());
        for (topic, configs) in found.iter().zip(configs) {
            let mut shown = view::topic(topic, view::error_name);
            shown.configs = configs?
                .into_iter()
                .map(|entry| ConfigView {
                    name: entry.name.to_string(),
                    value: entry.value.map(String::from),
                    is_default: entry.source == ConfigSource::Default,
                    is_topic_override: entry.source == ConfigSource::Topic,
                })
                .collect();
            views.push(shown);
        }
        views.sort_by(|one, other| one.name.cmp(&other.name));
        let live_brokers: Vec<i32> = self.client.metadata().brokers.keys().copied().collect();
        print(&match self.plan.shape {
            Shape::Table => tables::topic_describe(&views),
            Shape::Json => tables::topic_describe_json(&views),
            Shape::Apache => text::describe(&views, filter, &live_brokers),
        })
    }

    async fn create(&self, spec: &TopicSpec, existing: OnExisting) -> Result<(), Failure> {
        let mut topic = NewTopic::new(spec.name.as_str());
        if let Some(partitions) = spec.partitions {
            topic = topic.partitions(partitions);
        }
        if let Some(replication_factor) = spec.replication_factor {
            topic = topic.replication_factor(replication_factor);
        }
        if let Some(assignments) = &spec.replica_assignment {
            topic = topic.assignments(assignments.clone());
        }
        for (name, value) in &spec.configs {
            topic = topic.config(name.as_str(), value.as_str());
        }
        if self.plan.shape == Shape::Apache
            && let Some(warning) = text::collision_warning(&spec.name)
        {
            print(warning)?;
        }
        let created = self.admin.create_topics(&[topic]).await?;
        match one(created)? {
            Ok(_) => {
                let name = &spec.name;
                let change = json!({ "topic": name, "action": "created" });
                self.say(&text::created(name), &format!("created topic {name}"), change)
            }
            Err(error)
                if existing == OnExisting::Keep && error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) =>
            {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn alter_partitions(
        &self,
        names: &[Str],
        partitions: Option<i32>,
        assignment: Option<&[Vec<i32>]>,
    ) -> Result<(), Failure> {
        let Some(total) = partitions else { return Ok(()) };
        let metadata = self.client.topics(&names.iter().map(|name| &**name).collect::<Vec<_>>()).await?;
        let new = |name: &Str| {
            // The assignment that is given is that of all partitions; brokers want that of the new ones.
            let present = metadata.topic(name).map_or(0, |topic| topic.partitions.len());
            let assignments = assignment.map(|all| all.iter().skip(present).cloned().collect());
            NewPartitions { topic: name.clone(), total, assignments: assignments.unwrap_or_default() }
        };
        let wanted: Vec<NewPartitions> = names.iter().map(new).collect();
        all(self.admin.create_partitions(&wanted).await?)?;
        for name in names {
            let change = json!({ "topic": &**name, "action": "partitions added", "partitions": total });
            self.say("", &format!("topic {name} has {total} partitions"), change)?;
        }
        Ok(())
    }

    async fn alter_configs(&self, names: &[Str], alterations: &[ConfigAlteration]) -> Result<(), Failure> {
        if alterations.is_empty() {
            return Ok(());
        }
        all(self.admin.alter_configs(alterations).await?)?;
        for name in names {
            let change = json!({ "topic": &**name, "action": "configuration changed" });
            self.say("", &format!("changed the configuration of topic {name}"), change)?;
        }
        Ok(())
    }

    async fn delete(&self, topics: &TopicsNamed, missing: OnMissing) -> Result<(), Failure> {
        let names = self.names(topics, missing).await?;
        for (name, deleted) in names.iter().zip(self.admin.delete_topics(&names).await?) {
            match deleted {
                Ok(()) => {
                    let change = json!({ "topic": &**name, "action": "deleted" });
                    self.say("", &format!("deleted topic {name}"), change)?;
                }
                Err(error)
                    if missing == OnMissing::Ignore
                        && error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn offsets(&self, name: &str, isolation: properties::IsolationLevel) -> Result<(), Failure> {
        let isolation = match isolation {
            properties::IsolationLevel::ReadCommitted => IsolationLevel::ReadCommitted,
            properties::IsolationLevel::ReadUncommitted => IsolationLevel::ReadUncommitted,
        };
        let topic = self.existing(name).await?;
        let questions = |spec| -> Vec<OffsetQuery> {
            topic.partitions.iter().map(|partition| OffsetQuery::new(name, partition.index, spec)).collect()
        };
        let (earliest, latest) = (questions(OffsetSpec::Earliest), questions(OffsetSpec::Latest));
        let (earliest, latest) = tokio::try_join!(
            self.client.list_offsets(&earliest, isolation),
            self.client.list_offsets(&latest, isolation),
        )?;
        let mut failed = false;
        let mut views = Vec::with_capacity(topic.partitions.len());
        for ((partition, earliest), latest) in topic.partitions.iter().zip(earliest).zip(latest) {
            let mut shown = OffsetsView { partition: partition.index, ..OffsetsView::default() };
            match (earliest, latest) {
                (Ok(earliest), Ok(latest)) => {
                    (shown.earliest, shown.latest) = (earliest.offset, latest.offset)
                }
                (Err(error), _) | (_, Err(error)) => {
                    failed = true;
                    shown.error = Some(error.to_string());
                }
            }
            views.push(shown);
        }
        print(&match self.plan.shape {
            Shape::Json => tables::topic_offsets_json(name, &views),
            Shape::Table | Shape::Apache => tables::topic_offsets(&views),
        })?;
        if failed { Err(Failure::AlreadyTold) } else { Ok(()) }
    }

    async fn trim(&self, name: &str, partitions: Option<&[i32]>, before: Option<i64>) -> Result<(), Failure> {
        let topic = self.existing(name).await?;
        let all_partitions: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
        let wanted: Vec<DeleteRecords> = partitions
            .unwrap_or(&all_partitions)
            .iter()
            .map(|partition| DeleteRecords { topic: name.into(), partition: *partition, before })
            .collect();
        if let Some(before) = before {
            self.check_reach(&wanted, before).await?;
        }
        let mut failures = Vec::new();
        for (record, deleted) in wanted.iter().zip(self.admin.delete_records(&wanted).await?) {
            let first = match deleted {
                Ok(deleted) => deleted.low_watermark,
                Err(error) => {
                    failures.push(error.to_string());
                    continue;
                }
            };
            let partition = record.partition;
            let change =
                json!({ "topic": name, "action": "trimmed", "partition": partition, "earliest": first });
            self.say("", &format!("{name} [{partition}] begins at offset {first}"), change)?;
        }
        if failures.is_empty() { Ok(()) } else { Err(Failure::Told(failures.join("; "))) }
    }

    /// Whether each partition goes as far as `before`. A broker refuses where one does not, and has trimmed the others
    /// by then, which nothing brings back.
    async fn check_reach(&self, wanted: &[DeleteRecords], before: i64) -> Result<(), Failure> {
        let end = |record: &DeleteRecords| {
            OffsetQuery::new(record.topic.clone(), record.partition, OffsetSpec::Latest)
        };
        let ends: Vec<OffsetQuery> = wanted.iter().map(end).collect();
        let ends = self.client.list_offsets(&ends, IsolationLevel::ReadUncommitted).await?;
        let mut short = Vec::new();
        for (record, end) in wanted.iter().zip(ends) {
            let end = end?.offset.unwrap_or(0);
            if end < before {
                short.push(format!("[{}] at {end}", record.partition));
            }
        }
        if short.is_empty() {
            return Ok(());
        }
        Err(Failure::Told(format!(
            "nothing was trimmed: offset {before} is beyond the end of {} ({}); --partitions LIST trims the others, and \
             --before end keeps nothing",
            if short.len() == 1 { "a partition" } else { "partitions" },
            short.join(", ")
        )))
    }

    async fn existing(&self, name: &str) -> Result<Topic, Failure> {
        let listing = self.admin.list_topics(Some(&[name])).await?;
        let topic = listing.topics.into_iter().find(|topic| topic.name == name);
        match topic {
            Some(topic) => match topic.error {
                None => Ok(topic),
                Some(code) => Err(self.of_topic(code, name).into()),
            },
            None => Err(self.of_topic(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, name).into()),
        }
    }

    /// What the brokers say of a topic.
    fn of_topic(&self, code: ErrorCode, name: &str) -> Error {
        Error::broker(code).with_topic(name).with_broker(self.client.servers())
    }

    /// The topics that are meant and are there.
    async fn find(&self, topics: &TopicsNamed) -> Result<Vec<Topic>, Failure> {
        let names: Option<Vec<&str>> = match topics {
            TopicsNamed::Names(names) => Some(names.iter().map(String::as_str).collect()),
            _ => None,
        };
        let listing = self.admin.list_topics(names.as_deref()).await?;
        let pattern = match topics {
            TopicsNamed::Pattern { regex, .. } => {
                let whole = format!("^(?:{regex})$");
                Some(
                    Regex::new(&whole)
                        .map_err(|error| Failure::WrongUse(format!("topic pattern: {error}")))?,
                )
            }
            _ => None,
        };
        let is_meant = |topic: &Topic| match topics {
            TopicsNamed::All { internal } => *internal || !topic.is_internal,
            TopicsNamed::Names(_) => topic.error != Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            TopicsNamed::Pattern { internal, .. } => {
                (*internal || !topic.is_internal)
                    && pattern.as_ref().is_some_and(|pattern| pattern.is_match(&topic.name))
            }
            TopicsNamed::Id(id) => topic.id.is_some_and(|own| own.to_string() == *id),
        };
        let mut found = listing.topics;
        found.retain(is_meant);
        for topic in &found {
            if let (TopicsNamed::Names(_), Some(code)) = (topics, topic.error) {
                return Err(self.of_topic(code, &topic.name).into());
            }
        }
        Ok(found)
    }

    async fn find_some(&self, topics: &TopicsNamed, missing: OnMissing) -> Result<Vec<Topic>, Failure> {
        let found = self.find(topics).await?;
        if missing == OnMissing::Ignore {
            return Ok(found);
        }
        match topics {
            TopicsNamed::Names(names) => {
                let is_there = |name: &&String| found.iter().any(|topic| topic.name == name.as_str());
                match names.iter().find(|name| !is_there(name)) {
                    Some(name) => Err(self.of_topic(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, name).into()),
                    None => Ok(found),
                }
            }
            TopicsNamed::Pattern { regex, .. } if found.is_empty() => {
                Err(Failure::Told(text::missing_topic(regex)))
            }
            TopicsNamed::Id(id) if found.is_empty() => Err(Failure::Told(text::missing_topic_id(id))),
            _ => Ok(found),
        }
    }

    async fn names(&self, topics: &TopicsNamed, missing: OnMissing) -> Result<Vec<Str>, Failure> {
        Ok(self.find_some(topics, missing).await?.into_iter().map(|topic| topic.name).collect())
    }
}

/// What changes in the configurations of topics; nothing where there is nothing to set and to unset.
fn alterations(names: &[Str], set: &[(String, String)], unset: &[String]) -> Vec<ConfigAlteration> {
    let set = set.iter().map(|(name, value)| (name.into(), ConfigChange::Set(value.into())));
    let changes: Vec<_> = set.chain(unset.iter().map(|name| (name.into(), ConfigChange::Unset))).collect();
    if changes.is_empty() {
        return Vec::new();
    }
    let of = |name: &Str| ConfigAlteration {
        resource: ConfigResource::Topic(name.clone()),
        changes: changes.clone(),
    };
    names.iter().map(of).collect()
}

/// The only answer to the only question.
fn one<T>(answers: Vec<Result<T, Error>>) -> Result<Result<T, Error>, Failure> {
    answers.into_iter().next().ok_or_else(|| Failure::Told("the broker's answer is empty".into()))
}

fn all(answers: Vec<Result<(), Error>>) -> Result<(), Failure> {
    for answer in answers {
        answer?;
    }
    Ok(())
}
