//! The handle on a cluster.

pub(crate) mod by_leader;
mod connections;
mod coordinator;
mod retry;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kcopy_wire::{
    ErrorCode, Request, Str,
    messages::{MetadataRequest, MetadataResponse, metadata_request::MetadataRequestTopic},
};
use tokio::{sync::Semaphore, time::Instant};

use self::{connections::Connections, coordinator::Coordinators};
pub use self::{connections::Lane, coordinator::CoordinatorKind, retry::Retry};
use crate::{
    config::{ClientConfig, HostPort},
    connection::Connection,
    context::{METADATA, TOPIC},
    error::{Error, ErrorKind, Result},
    metadata::{Broker, Metadata},
};

/// A handle on a cluster: cheap to clone, shared by producers, consumers and administration.
///
/// ```no_run
/// # async fn example() -> kcopy_client::Result<()> {
/// use kcopy_client::{Client, ClientConfig};
///
/// let config = ClientConfig::builder().bootstrap_servers("localhost:9092").build()?;
/// let client = Client::connect(config).await?;
/// let metadata = client.topics(&["orders"]).await?;
/// println!("{:?}", metadata.leader("orders", 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Arc<ClientConfig>,
    connections: Connections,
    metadata: Mutex<Arc<Metadata>>,
    /// One refresh at a time: the others find its result.
    refresh: Semaphore,
    coordinators: Coordinators,
}

/// Which broker a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target<'a> {
    /// Any that is there.
    Any,
    /// The one with this id.
    Broker(i32),
    /// The controller, or who passes requests on to it.
    Controller,
    /// The coordinator of a group or of a transactional id.
    Coordinator(CoordinatorKind, &'a str),
}

impl Client {
    /// Connects to the first of the bootstrap servers that answers. More is not asked yet: metadata
    /// comes with the first operation that needs it.
    ///
    /// # Errors
    /// No server could be reached within `operation_timeout`.
    pub async fn connect(config: ClientConfig) -> Result<Client> {
        let client = Client::new(config);
        let mut retry = client.retry("connecting");
        loop {
            let connection = retry.limit(client.connection(Target::Any)).await;
            match connection.map_err(|error| error.with_broker(client.servers())) {
                Ok(_) => return Ok(client),
                Err(error) => {
                    // Who answers but cannot be talked to will not change soon.
                    if error.kind() == ErrorKind::Protocol {
                        return Err(error);
                    }
                    retry.pause(error).await?;
                }
            }
        }
    }

    /// A handle that connects when it is first used.
    pub fn new(config: ClientConfig) -> Client {
        let config = Arc::new(config);
        Client(Arc::new(Shared {
            connections: Connections::new(Arc::clone(&config)),
            metadata: Mutex::default(),
            refresh: Semaphore::new(1),
            coordinators: Coordinators::default(),
            config,
        }))
    }

    /// The configuration.
    pub fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// The bootstrap servers, for an error about what no broker in particular has said: `broker localhost:9092`, or
    /// the first of several.
    pub fn servers(&self) -> String {
        match self.0.config.bootstrap_servers.as_slice() {
            [] => "no broker".into(),
            [one] => format!("broker {one}"),
            [first, _] => format!("broker {first} or the other one"),
            [first, others @ ..] => format!("broker {first} or {} others", others.len()),
        }
    }

    /// Starts an operation of several attempts that may take `operation_timeout` in all; `what` is for
    /// the error.
    pub fn retry<'a>(&'a self, what: &'a str) -> Retry<'a> {
        self.retry_within(what, self.0.config.operation_timeout)
    }

    /// Starts an operation of several attempts that may take `timeout` in all.
    pub fn retry_within<'a>(&'a self, what: &'a str, timeout: Duration) -> Retry<'a> {
        Retry::new(self, what, timeout)
    }

    /// Sends a request and waits for the answer: one attempt. Error codes inside the answer are the
    /// caller's to read. Dropping the future abandons the answer, not the request.
    ///
    /// # Errors
    /// No connection, no common version, no answer in time, a malformed answer.
    pub async fn request<R: Request>(&self, target: Target<'_>, request: &R) -> Result<R::Response> {
        self.connection(target).await?.request(request).await
    }

    /// An open connection, made if there is none.
    ///
    /// # Errors
    /// The broker is not known or cannot be reached.
    pub async fn connection(&self, target: Target<'_>) -> Result<Connection> {
        self.connection_noting(target, &mut self.servers()).await
    }

    /// As [`Client::connection`]; `asked` is [`Client::servers`] and becomes who is asked, for an error should there be
    /// no answer.
    pub(crate) async fn connection_noting(
        &self,
        target: Target<'_>,
        asked: &mut String,
    ) -> Result<Connection> {
        let address = match target {
            Target::Any => {
                let connection = self.any_connection().await?;
                connection.broker_name().clone_into(asked);
                return Ok(connection);
            }
            Target::Broker(id) => self.broker_address(id).await?,
            Target::Controller => {
                if self.metadata().brokers.is_empty() {
                    self.refresh_metadata(&[], 0).await?;
                }
                match self.metadata().controller_id {
                    Some(id) => self.broker_address(id).await?,
                    None => {
                        return Err(Error::broker(ErrorCode::NOT_CONTROLLER)
                            .prefixed("the cluster has no controller at present"));
                    }
                }
            }
            Target::Coordinator(kind, key) => self.coordinator(kind, key).await?,
        };
        *asked = format!("broker {address}");
        self.0.connections.get(&address, Lane::Shared).await
    }

    /// An open connection to a broker.
    ///
    /// # Errors
    /// The broker is not known or cannot be reached.
    pub async fn broker_connection(&self, id: i32, lane: Lane) -> Result<Connection> {
        let address = self.broker_address(id).await?;
        self.0.connections.get(&address, lane).await
    }

    async fn broker_address(&self, id: i32) -> Result<HostPort> {
        let mut metadata = self.metadata();
        if !metadata.brokers.contains_key(&id) {
            metadata = self.refresh_metadata(&[], metadata.generation).await?;
        }
        let broker = metadata.brokers.get(&id).ok_or_else(|| {
            Error::new(ErrorKind::Connect, format!("the cluster has no broker {id} at present"))
        })?;
        Ok(address_of(broker))
    }

    async fn any_connection(&self) -> Result<Connection> {
        let mut addresses: Vec<HostPort> = self.metadata().brokers.values().map(address_of).collect();
        fastrand::shuffle(&mut addresses);
        let known = addresses.len();
        for server in &self.0.config.bootstrap_servers {
            if !addresses.contains(server) {
                addresses.push(server.clone());
            }
        }
        fastrand::shuffle(&mut addresses[known..]);
        self.0.connections.any(&addresses).await
    }

    /// How far away the nearest broker is, as far as it is known.
    pub(crate) fn round_trip(&self) -> Duration {
        self.0.connections.round_trip()
    }

    /// What is known of the cluster now, without asking.
    pub fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.0.metadata.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Metadata that holds these topics, asked for where they are not known, or known for longer than
    /// `metadata_max_age`, or known with an error. A topic that does not exist is there with its error.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn topics(&self, names: &[&str]) -> Result<Arc<Metadata>> {
        let metadata = self.metadata();
        let now = Instant::now();
        let max_age = self.0.config.metadata_max_age;
        let is_fresh = |name: &str| {
            let good = metadata.topic(name).is_some_and(|topic| topic.error.is_none());
            good && metadata.known_since(name).is_some_and(|(_, at)| now.duration_since(at) < max_age)
        };
        let stale: Vec<&str> = names.iter().copied().filter(|name| !is_fresh(name)).collect();
        if stale.is_empty() {
            return Ok(metadata);
        }
        self.refresh_metadata(&stale, metadata.generation).await
    }

    /// Asks for brokers, controller and `topics` again, unless somebody else has since generation
    /// `seen`: the one that turned out to be wrong. Only the named topics are asked for.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn refresh_metadata(&self, topics: &[&str], seen: u64) -> Result<Arc<Metadata>> {
        let _one_at_a_time = self.0.refresh.acquire().await.map_err(|_| Error::closed("client"))?;
        let metadata = self.metadata();
        let is_newer = |name: &&str| metadata.known_since(name).is_some_and(|(at, _)| at > seen);
        if metadata.generation > seen && topics.iter().all(is_newer) {
            return Ok(metadata);
        }
        let response = self.request_metadata(Some(topics)).await?.1;
        Ok(self.take_metadata(&response))
    }

    /// Asks for metadata, of all topics with None. Returns who answered as well.
    pub(crate) async fn request_metadata(
        &self,
        topics: Option<&[&str]>,
    ) -> Result<(Connection, MetadataResponse)> {
        let connection = self.any_connection().await?;
        let version = connection.version_of::<MetadataRequest>()?;
        let named = |name: &&str| MetadataRequestTopic { name: Some(Str::from(*name)), ..Default::default() };
        // Before version 4 a broker creates what it is asked for, whatever the client would like.
        let request = MetadataRequest {
            // In version 0 an empty list means all topics.
            topics: match topics {
                None if version == 0 => Some(Vec::new()),
                None => None,
                Some(topics) => Some(topics.iter().map(named).collect()),
            },
            allow_auto_topic_creation: version < 4 || self.0.config.allow_auto_create_topics,
            ..Default::default()
        };
        let timeout = self.0.config.request_timeout;
        let response = connection.send(&request, version, timeout).await?.await?;
        if let Err(code) = response.error_code.into_result() {
            return Err(Error::broker(code).with_broker(connection.broker_name()));
        }
        tell_of_metadata(&connection, &response);
        Ok((connection, response))
    }

    pub(crate) fn take_metadata(&self, response: &MetadataResponse) -> Arc<Metadata> {
        self.update_metadata(|metadata| Some(metadata.updated(response, Instant::now())))
    }

    /// Takes in a leader that an answer to a fetch or produce named (KIP-951).
    pub(crate) fn take_leader(
        &self,
        topic: &str,
        partition: i32,
        leader: i32,
        leader_epoch: i32,
        endpoint: Option<Broker>,
    ) {
        tracing::debug!(target: TOPIC, topic, partition, leader, leader_epoch, "a broker names the leader");
        self.update_metadata(|known| known.with_leader(topic, partition, leader, leader_epoch, endpoint));
    }

    fn update_metadata(&self, update: impl FnOnce(&Metadata) -> Option<Metadata>) -> Arc<Metadata> {
        let mut current = self.0.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = update(&current) {
            *current = Arc::new(next);
        }
        Arc::clone(&current)
    }
}

fn tell_of_metadata(connection: &Connection, response: &MetadataResponse) {
    tracing::debug!(
        target: METADATA,
        brokers = response.brokers.len(),
        topics = response.topics.len(),
        controller = response.controller_id,
        cluster = response.cluster_id.as_deref().unwrap_or_default(),
        from = %connection.address(),
        "metadata"
    );
    for topic in &response.topics {
        let name = topic.name.as_deref().unwrap_or_default();
        let leaders =
            || topic.partitions.iter().map(|partition| (partition.partition_index, partition.leader_id));
        tracing::debug!(
            target: TOPIC,
            topic = name,
            code = %topic.error_code,
            leaders = ?leaders().collect::<BTreeMap<_, _>>(),
            "metadata of a topic"
        );
    }
}

pub(crate) fn address_of(broker: &Broker) -> HostPort {
    HostPort { host: broker.host.clone(), port: broker.port }
}
