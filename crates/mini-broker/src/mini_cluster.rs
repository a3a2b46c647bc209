//! The library's face: a cluster that is built, started, disturbed and watched.

use std::{collections::BTreeMap, io, time::Duration};

use bytes::Bytes;
use kcopy_wire::{ApiKey, Uuid, records::Batch};
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
    task::JoinHandle,
};

use crate::{
    actor::{Actor, Handle, Stopped},
    builder::{Address, MiniClusterBuilder},
    clock::Clock,
    error::Error,
    faults::Fault,
    journal::SeenRequest,
    net::{Settings, listener},
    observe::{self, CommittedOffset, TopicState},
    producer_state::Producers,
};

/// How much an in-memory connection holds in each direction.
const PIPE_BYTES: usize = 1 << 20;
/// In-memory connections that may wait to be accepted.
const BACKLOG: usize = 128;

/// A cluster of brokers in this process. Dropping it stops it.
///
/// ```
/// use kcopy_mini_broker::MiniCluster;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let cluster = MiniCluster::builder().topic("orders", 3).start().await?;
/// assert!(cluster.bootstrap_servers().starts_with("127.0.0.1:"));
/// # Ok::<(), kcopy_mini_broker::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct MiniCluster {
    actor: Handle,
    clock: Clock,
    nodes: BTreeMap<i32, NodeTask>,
    network: MemoryNetwork,
}

/// A broker's place, and the task that accepts its connections while it runs.
#[derive(Debug)]
struct NodeTask {
    address: Address,
    max_request_bytes: usize,
    max_idle: Duration,
    task: Option<AbortOnDrop>,
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl MiniCluster {
    /// A builder with Apache Kafka 4.4's defaults.
    #[must_use]
    pub fn builder() -> MiniClusterBuilder {
        MiniClusterBuilder::default()
    }

    pub(crate) fn new(actor: Handle, clock: Clock) -> Self {
        let network = MemoryNetwork { actor: actor.clone() };
        Self { actor, clock, nodes: BTreeMap::new(), network }
    }

    pub(crate) async fn add_node(
        &mut self,
        node_id: i32,
        listening: Listening,
        max_request_bytes: usize,
        max_idle: Duration,
    ) {
        let address = listening.address.clone();
        let mut node = NodeTask { address, max_request_bytes, max_idle, task: None };
        node.task = Some(self.accept(node_id, &node, listening).await);
        self.nodes.insert(node_id, node);
    }

    async fn accept(&self, node_id: i32, node: &NodeTask, listening: Listening) -> AbortOnDrop {
        let settings = Settings {
            node_id,
            max_request_bytes: node.max_request_bytes,
            max_idle: node.max_idle,
            clock: self.clock,
        };
        let actor = self.actor.clone();
        AbortOnDrop(match listening.kind {
            Kind::Tcp(tcp) => tokio::spawn(listener::run(tcp, settings, actor)),
            Kind::Memory(pipes, sender) => {
                let key = (node.address.host.clone(), node.address.port);
                // A stopped cluster accepts nothing anyway.
                let _ = self.actor.control(move |actor| actor.pipes.insert(key, sender)).await;
                tokio::spawn(listener::run(pipes, settings, actor))
            }
        })
    }

    /// `HOST:PORT` of every broker, separated by commas.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        let servers: Vec<String> = self.nodes.values().map(|node| node.address.to_string()).collect();
        servers.join(",")
    }

    /// The brokers' ids.
    pub fn node_ids(&self) -> impl Iterator<Item = i32> {
        self.nodes.keys().copied()
    }

    /// `HOST:PORT` of one broker.
    #[must_use]
    pub fn address(&self, node_id: i32) -> Option<String> {
        self.nodes.get(&node_id).map(|node| node.address.to_string())
    }

    /// Whether a broker is there and not stopped.
    #[must_use]
    pub fn is_running(&self, node_id: i32) -> bool {
        self.nodes.get(&node_id).is_some_and(|node| node.task.is_some())
    }

    /// The clock that stamps records and ends waits.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Connects clients in this process, when the cluster was built with
    /// [`in_memory`](MiniClusterBuilder::in_memory).
    #[must_use]
    pub fn network(&self) -> MemoryNetwork {
        self.network.clone()
    }

    /// Stops a broker: its connections break, and another in-sync replica leads its partitions.
    ///
    /// # Errors
    /// No such broker.
    pub async fn stop_node(&mut self, node_id: i32) -> Result<(), Error> {
        let node = self.nodes.get_mut(&node_id).ok_or_else(|| Error::no_node(node_id))?;
        node.task = None;
        let key = (node.address.host.clone(), node.address.port);
        self.on_actor(move |actor| {
            actor.pipes.remove(&key);
            actor.cluster.node_stopped(node_id);
        })
        .await
    }

    /// Starts a stopped broker again, on the port it had.
    ///
    /// # Errors
    /// No such broker, or its port is taken.
    pub async fn start_node(&mut self, node_id: i32) -> Result<(), Error> {
        let node = self.nodes.get(&node_id).ok_or_else(|| Error::no_node(node_id))?;
        if node.task.is_some() {
            return Ok(());
        }
        let listening = Listening::at(&node.address).await?;
        self.on_actor(move |actor| actor.cluster.node_started(node_id)).await?;
        let node = self.nodes.get(&node_id).ok_or_else(|| Error::no_node(node_id))?;
        let task = self.accept(node_id, node, listening).await;
        if let Some(node) = self.nodes.get_mut(&node_id) {
            node.task = Some(task);
        }
        Ok(())
    }

    /// Creates a topic, as a client would.
    ///
    /// # Errors
    /// What a client would be told.
    pub async fn create_topic(&self, name: &str, partitions: i32) -> Result<Uuid, Error> {
        let name = name.to_owned();
        self.on_actor(move |actor| {
            let cluster = &mut actor.cluster;
            cluster.check_new_topic(&name).map_err(Error::from)?;
            let replication = cluster.configs.number("default.replication.factor", None);
            let replication = i16::try_from(replication).unwrap_or(1);
            let placement = cluster.place(partitions, replication).map_err(Error::from)?;
            Ok(cluster.create_topic(&name, placement, BTreeMap::new()).id)
        })
        .await?
    }

    /// Appends a batch as a follower does that copies another broker's log, and returns the offset of its first
    /// record: only its frame and CRC are checked. So a log can hold what clients of this broker may not write:
    /// transactions that are open, committed or aborted, and the markers that end them
    /// ([`BatchBuilder::control`](kcopy_wire::records::BatchBuilder::control)).
    ///
    /// # Errors
    /// No such partition, or not one whole batch.
    pub async fn append_batch(&self, topic: &str, partition: i32, batch: Bytes) -> Result<i64, Error> {
        let parsed = Batch::new(batch.clone()).and_then(|parsed| parsed.verify_crc());
        parsed.map_err(|error| Error::invalid(format!("the batch for {topic} [{partition}]: {error}")))?;
        let topic = topic.to_owned();
        self.on_actor(move |actor| {
            let cluster = &mut actor.cluster;
            let found = cluster
                .topics
                .get_mut(&topic)
                .and_then(|topic| topic.partition_mut(partition))
                .ok_or_else(|| Error::no_partition(&topic, partition))?;
            let leader_epoch = found.leader_epoch;
            let base_offset = found.log.append(&batch, leader_epoch);
            let base_offset = base_offset.ok_or_else(|| Error::invalid("not one whole batch"))?;
            let waiters = found.waiters.clone();
            cluster.waiting.arrived(&waiters, batch.len());
            Ok(base_offset)
        })
        .await?
    }

    /// Makes one of a partition's replicas, or any broker, its leader, in a new leader epoch.
    ///
    /// # Errors
    /// No such partition or broker.
    pub async fn move_leader(&self, topic: &str, partition: i32, node_id: i32) -> Result<(), Error> {
        self.elect(topic, partition, node_id, None).await.map(drop)
    }

    /// Makes a broker a partition's leader that does not have what begins with the batch of `offset`: an unclean
    /// election, which loses it. Returns where the log ends now.
    ///
    /// # Errors
    /// No such partition or broker.
    pub async fn elect_uncleanly(
        &self,
        topic: &str,
        partition: i32,
        node_id: i32,
        offset: i64,
    ) -> Result<i64, Error> {
        self.elect(topic, partition, node_id, Some(offset)).await
    }

    async fn elect(
        &self,
        topic: &str,
        partition: i32,
        node_id: i32,
        lost_from: Option<i64>,
    ) -> Result<i64, Error> {
        let topic = topic.to_owned();
        self.on_actor(move |actor| {
            let cluster = &mut actor.cluster;
            if !cluster.is_online(node_id) {
                return Err(Error::no_node(node_id));
            }
            let found = cluster
                .topics
                .get_mut(&topic)
                .and_then(|topic| topic.partition_mut(partition))
                .ok_or_else(|| Error::no_partition(&topic, partition))?;
            if !found.replicas.contains(&node_id) {
                // A reassignment of this one replica.
                let old = found.leader.or(found.replicas.first().copied());
                found.replicas.iter_mut().chain(found.isr.iter_mut()).for_each(|id| {
                    if Some(*id) == old {
                        *id = node_id;
                    }
                });
            }
            if !found.isr.contains(&node_id) {
                found.isr.push(node_id);
            }
            if let Some(offset) = lost_from {
                found.log.truncate(offset);
                // What they wrote last may be gone; Kafka takes up such a producer as a new one.
                found.producers = Producers::default();
            }
            found.lead(Some(node_id));
            let end = found.log.log_end_offset();
            let waiters = found.waiters.clone();
            cluster.waiting.wake_all(&waiters);
            Ok(end)
        })
        .await?
    }

    /// Makes a broker the coordinator of a group.
    ///
    /// # Errors
    /// No such broker.
    pub async fn move_coordinator(&self, group_id: &str, node_id: i32) -> Result<(), Error> {
        let group_id = group_id.to_owned();
        self.on_actor(move |actor| {
            if !actor.cluster.nodes.contains_key(&node_id) {
                return Err(Error::no_node(node_id));
            }
            actor.cluster.coordinators.insert(group_id, node_id);
            Ok(())
        })
        .await?
    }

    /// The broker that leads a partition; `None` if none does or there is no such partition.
    ///
    /// # Errors
    /// The cluster was stopped.
    pub async fn leader(&self, topic: &str, partition: i32) -> Result<Option<i32>, Error> {
        let topic = topic.to_owned();
        self.on_actor(move |actor| {
            let found = actor.cluster.topics.get(&topic)?.partition(partition)?;
            found.leader
        })
        .await
    }

    /// A partition's log start offset and end offset.
    ///
    /// # Errors
    /// No such partition.
    pub async fn offsets(&self, topic: &str, partition: i32) -> Result<(i64, i64), Error> {
        let topic = topic.to_owned();
        self.on_actor(move |actor| {
            let found = actor.cluster.topics.get(&topic).and_then(|topic| topic.partition(partition));
            let log = &found.ok_or_else(|| Error::no_partition(&topic, partition))?.log;
            Ok((log.log_start_offset(), log.log_end_offset()))
        })
        .await?
    }

    /// What a group has committed for a partition.
    ///
    /// # Errors
    /// The cluster was stopped.
    pub async fn committed(&self, group_id: &str, topic: &str, partition: i32) -> Result<Option<i64>, Error> {
        let (group_id, topic) = (group_id.to_owned(), topic.to_owned());
        self.on_actor(move |actor| {
            let group = actor.cluster.groups.get(&group_id)?;
            let committed = group.offsets.get(&(topic.as_str().into(), partition))?;
            Some(committed.offset)
        })
        .await
    }

    /// All topics, by name.
    ///
    /// # Errors
    /// The cluster was stopped.
    pub async fn topics(&self) -> Result<Vec<TopicState>, Error> {
        self.on_actor(|actor| observe::topics(&actor.cluster)).await
    }

    /// What all groups have committed, by group, topic and partition.
    ///
    /// # Errors
    /// The cluster was stopped.
    pub async fn committed_offsets(&self) -> Result<Vec<CommittedOffset>, Error> {
        self.on_actor(|actor| observe::committed_offsets(&actor.cluster)).await
    }

    /// Injects a fault; it acts until it is used up or cleared.
    ///
    /// # Errors
    /// The cluster was stopped.
    pub async fn inject(&self, fault: Fault) -> Result<(), Error> {
        self.on_actor(move |actor| actor.faults.inject(fault)).await
    }

    /// Ends all faults; the round trip stays.
    ///
    /// # Errors
    /// The cluster was stopped.
    pub async fn clear_faults(&self) -> Result<(), Error> {
        self.on_actor(|actor| actor.faults.clear()).await
    }

    /// Makes every answer arrive this much later. Requests are not held up, so many can be under way.
    ///
    /// # Errors
    /// The cluster was stopped.
    pub async fn set_round_trip(&self, round_trip: Duration) -> Result<(), Error> {
        self.on_actor(move |actor| actor.faults.round_trip = round_trip).await
    }

    /// The last 65,536 requests, oldest first.
    ///
    /// # Errors
    /// The cluster was stopped.
    pub async fn requests(&self) -> Result<Vec<SeenRequest>, Error> {
        self.on_actor(|actor| actor.journal.recent()).await
    }

    /// How many requests of an API have come so far.
    ///
    /// # Errors
    /// The cluster was stopped.
    pub async fn request_count(&self, api: ApiKey) -> Result<u64, Error> {
        self.on_actor(move |actor| actor.journal.count(api)).await
    }

    /// Stops all brokers and waits until their connections are closed.
    pub async fn stop(mut self) {
        for (_, node) in std::mem::take(&mut self.nodes) {
            if let Some(mut task) = node.task {
                task.0.abort();
                // The task was cancelled: that is what this waits for.
                let _ = (&mut task.0).await;
            }
        }
    }

    async fn on_actor<T: Send + 'static>(
        &self,
        control: impl FnOnce(&mut Actor) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.actor.control(control).await.map_err(|Stopped| Error::stopped())
    }
}

/// A bound place that accepts connections.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) address: Address,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp(tokio::net::TcpListener),
    Memory(listener::MemoryListener, mpsc::Sender<DuplexStream>),
}

impl Listening {
    /// Binds; port 0 of a TCP address becomes the port that the system chose.
    pub(crate) async fn at(address: &Address) -> Result<Self, Error> {
        if address.in_memory {
            let (sender, receiver) = mpsc::channel(BACKLOG);
            return Ok(Self { address: address.clone(), kind: Kind::Memory(receiver, sender) });
        }
        let bound = listener::bind(&address.bind_host, address.port).await;
        let (listener, bound) = bound.map_err(|error| Error::bind(address, &error))?;
        Ok(Self { address: Address { port: bound.port(), ..address.clone() }, kind: Kind::Tcp(listener) })
    }
}

/// Connects to the brokers of a cluster that was built with [`in_memory`](MiniClusterBuilder::in_memory).
#[derive(Clone, Debug)]
pub struct MemoryNetwork {
    actor: Handle,
}

impl MemoryNetwork {
    /// Connects to a broker by the host and port that it advertises.
    ///
    /// # Errors
    /// `ConnectionRefused` if no broker listens there.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<DuplexStream> {
        let key = (host.to_owned(), port);
        let sender = self.actor.control(move |actor| actor.pipes.get(&key).cloned()).await;
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let sender = sender.ok().flatten().ok_or_else(refused)?;
        let (client, server) = duplex(PIPE_BYTES);
        sender.send(server).await.map_err(|_| refused())?;
        Ok(client)
    }
}
