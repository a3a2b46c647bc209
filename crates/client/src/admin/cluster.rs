//! What a cluster consists of.

use kcopy_wire::messages::DescribeClusterRequest;

use super::Admin;
use crate::{
    client::{Target, address_of},
    config::HostPort,
    error::{Error, Result},
    metadata::{self, Broker, Topic},
};

/// Brokers and topics as one broker sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterListing {
    /// Where the answer came from.
    pub originating_address: HostPort,
    /// The id of the broker there, if its address is among those of the cluster.
    pub originating_broker: Option<i32>,
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The controller, or in a KRaft cluster some broker that passes requests on to it.
    pub controller_id: Option<i32>,
    /// The brokers by their ids.
    pub brokers: Vec<Broker>,
    /// The topics in the broker's order, each with its own error.
    pub topics: Vec<Topic>,
}

/// The cluster without its topics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterDescription {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The controller, or in a KRaft cluster some broker that passes requests on to it.
    pub controller_id: Option<i32>,
    /// The brokers by their ids.
    pub brokers: Vec<DescribedBroker>,
}

/// A broker of a [`ClusterDescription`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DescribedBroker {
    /// Where it is.
    pub broker: Broker,
    /// Whether it is registered but takes no part at present; false where the broker asked is too old
    /// to tell.
    pub is_fenced: bool,
}

impl Admin {
    /// Lists topics, all of them with None; one that does not exist is listed with its error. The
    /// cluster may create topics that are named and do not exist, if `allow_auto_create_topics` says
    /// so.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn list_topics(&self, topics: Option<&[&str]>) -> Result<ClusterListing> {
        let mut retry = self.client.retry("listing topics");
        let (connection, response) = loop {
            match retry.limit(self.client.request_metadata(topics)).await {
                Ok(answer) => break answer,
                Err(error) => retry.pause(error.with_broker(self.client.servers())).await?,
            }
        };
        self.client.take_metadata(&response);
        let brokers: Vec<Broker> = metadata::brokers(&response).into_values().collect();
        let address = connection.address().clone();
        let originating = brokers.iter().find(|broker| address_of(broker) == address);
        let topic = |answer: &_| metadata::topic(metadata::name_of(answer), answer, None);
        Ok(ClusterListing {
            originating_broker: originating.map(|broker| broker.id),
            originating_address: address,
            cluster_id: response.cluster_id.as_ref().map(ToString::to_string),
            controller_id: (response.controller_id >= 0).then_some(response.controller_id),
            topics: response.topics.iter().map(topic).collect(),
            brokers,
        })
    }

    /// Describes the cluster. From brokers before 2.8 it is pieced together from metadata.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let mut retry = self.client.retry("describing the cluster");
        loop {
            match retry.limit(self.describe_cluster_once()).await {
                Ok(description) => return Ok(description),
                Err(error) => retry.pause(error.with_broker(self.client.servers())).await?,
            }
        }
    }

    async fn describe_cluster_once(&self) -> Result<ClusterDescription> {
        let connection = self.client.connection(Target::Any).await?;
        let Ok(version) = connection.version_of::<DescribeClusterRequest>() else {
            let metadata = self.client.refresh_metadata(&[], self.client.metadata().generation).await?;
            let described = |broker: &Broker| DescribedBroker { broker: broker.clone(), is_fenced: false };
            return Ok(ClusterDescription {
                cluster_id: metadata.cluster_id.clone(),
                controller_id: metadata.controller_id,
                brokers: metadata.brokers.values().map(described).collect(),
            });
        };
        let request = DescribeClusterRequest { include_fenced_brokers: version >= 2, ..Default::default() };
        let response = connection.send(&request, version, connection.request_timeout()).await?.await?;
        response.error_code.into_result().map_err(|code| {
            Error::broker_with_message(code, response.error_message.as_deref())
                .with_broker(connection.broker_name())
        })?;
        let brokers = response.brokers.iter().filter_map(|broker| {
            let port = u16::try_from(broker.port).ok()?;
            let rack = broker.rack.as_ref().map(ToString::to_string);
            let id = broker.broker_id;
            let broker_there = Broker { id, host: broker.host.to_string(), port, rack };
            Some(DescribedBroker { broker: broker_there, is_fenced: broker.is_fenced })
        });
        let mut brokers: Vec<_> = brokers.collect();
        brokers.sort_by_key(|described| described.broker.id);
        Ok(ClusterDescription {
            cluster_id: Some(response.cluster_id.to_string()),
            controller_id: (response.controller_id >= 0).then_some(response.controller_id),
            brokers,
        })
    }
}
