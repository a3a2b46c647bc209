//! What a cluster starts with.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    actor::Actor,
    clock::Clock,
    cluster::{Cluster, Node},
    config::BrokerConfigs,
    error::Error,
    mini_cluster::{Listening, MiniCluster},
};

/// The id of the first broker, unless `node.id` says otherwise.
const FIRST_NODE_ID: i32 = 1;

/// A place where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// What is bound.
    pub(crate) bind_host: String,
    /// What clients are told.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) in_memory: bool,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Builds a [`MiniCluster`]. Everything has Apache Kafka 4.4's default, except that brokers listen on free ports of
/// 127.0.0.1.
#[derive(Clone, Debug)]
pub struct MiniClusterBuilder {
    nodes: i32,
    host: String,
    port: u16,
    in_memory: bool,
    topics: Vec<(String, Option<i32>)>,
    properties: BTreeMap<String, String>,
    clock: Option<Clock>,
    seed: u64,
    round_trip: Duration,
}

impl Default for MiniClusterBuilder {
    fn default() -> Self {
        Self {
            nodes: 1,
            host: "127.0.0.1".into(),
            port: 0,
            in_memory: false,
            topics: Vec::new(),
            properties: BTreeMap::new(),
            clock: None,
            seed: 1,
            round_trip: Duration::ZERO,
        }
    }
}

impl MiniClusterBuilder {
    /// How many brokers; 1 by default. Their ids follow each other from `node.id` on, which is 1 by default.
    #[must_use]
    pub fn nodes(mut self, nodes: i32) -> Self {
        self.nodes = nodes;
        self
    }

    /// Where to listen; 127.0.0.1 and port 0 by default, which takes free ports. Further brokers take the ports that
    /// follow.
    #[must_use]
    pub fn listen(mut self, host: &str, port: u16) -> Self {
        self.host = host.into();
        self.port = port;
        self
    }

    /// Listens in memory only: clients connect through [`MiniCluster::network`]. With a paused runtime clock this is
    /// a simulation that can be repeated exactly.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Creates a topic at the start.
    #[must_use]
    pub fn topic(mut self, name: &str, partitions: i32) -> Self {
        self.topics.push((name.into(), Some(partitions)));
        self
    }

    /// Creates a topic at the start, with `num.partitions` partitions.
    #[must_use]
    pub fn default_topic(mut self, name: &str) -> Self {
        self.topics.push((name.into(), None));
        self
    }

    /// Sets a broker property by Apache Kafka's name. Names and values are checked at the start; see
    /// [`property_effect`](crate::property_effect) for what a property does here.
    #[must_use]
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// The clock; the system's by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// What ids are derived from; the same seed gives the same ids.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Makes every answer arrive this much later.
    #[must_use]
    pub fn round_trip(mut self, round_trip: Duration) -> Self {
        self.round_trip = round_trip;
        self
    }

    /// Starts the cluster on the current tokio runtime; it answers when this returns.
    ///
    /// # Errors
    /// An unknown property or an invalid value, a topic that cannot be, an address that is taken.
    pub async fn start(self) -> Result<MiniCluster, Error> {
        if self.nodes < 1 {
            return Err(Error::invalid("a cluster needs at least one broker"));
        }
        let clock = self.clock.unwrap_or_else(Clock::system);
        let configs = BrokerConfigs::new(self.properties.clone())?;
        let max_request_bytes =
            usize::try_from(configs.number("socket.request.max.bytes", None)).unwrap_or(0);
        let max_idle = max_idle(configs.number("connections.max.idle.ms", None));
        let first_id =
            configs.value("node.id", None).and_then(|id| id.trim().parse().ok()).unwrap_or(FIRST_NODE_ID);
        let rack = configs.value("broker.rack", None);
        let mut cluster = Cluster::new(clock, configs, self.seed);
        let mut places = Vec::new();
        for index in 0..self.nodes {
            let listening = Listening::at(&self.address(index)?).await?;
            cluster.add_node(Node {
                id: first_id + index,
                host: listening.address.host.clone(),
                port: listening.address.port,
                rack: rack.clone(),
                online: true,
            });
            places.push((first_id + index, listening));
        }
        self.create_topics(&mut cluster)?;
        let actor = Actor::spawn(cluster, self.round_trip);
        let mut running = MiniCluster::new(actor, clock);
        for (node_id, listening) in places {
            running.add_node(node_id, listening, max_request_bytes, max_idle).await;
        }
        Ok(running)
    }

    fn create_topics(&self, cluster: &mut Cluster) -> Result<(), Error> {
        for (name, partitions) in &self.topics {
            cluster.check_new_topic(name)?;
            let default = || i32::try_from(cluster.configs.number("num.partitions", None)).unwrap_or(1);
            let partitions = partitions.unwrap_or_else(default);
            if partitions < 1 {
                return Err(Error::invalid(format!("topic {name} needs at least one partition")));
            }
            let replication = cluster.configs.number("default.replication.factor", None);
            let placement = cluster.place(partitions, i16::try_from(replication).unwrap_or(1))?;
            cluster.create_topic(name, placement, BTreeMap::new());
        }
        Ok(())
    }

    fn address(&self, index: i32) -> Result<Address, Error> {
        let offset = u16::try_from(index).map_err(|_| Error::invalid("too many brokers"))?;
        if self.in_memory {
            return Ok(Address {
                bind_host: String::new(),
                host: "mini".into(),
                port: 9092 + offset,
                in_memory: true,
            });
        }
        let port = match self.port {
            0 => 0,
            port => port
                .checked_add(offset)
                .ok_or_else(|| Error::invalid("too few ports after the one to listen on"))?,
        };
        // Nobody can connect to the wildcard address, so clients are told another.
        let host = match self.host.as_str() {
            "" | "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            host => host,
        };
        Ok(Address {
            bind_host: if self.host.is_empty() { "0.0.0.0".into() } else { self.host.clone() },
            host: host.into(),
            port,
            in_memory: false,
        })
    }
}

/// `connections.max.idle.ms`; a negative number means no limit.
fn max_idle(milliseconds: i64) -> Duration {
    /// Far beyond any run, and still an instant that can be computed.
    const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
    u64::try_from(milliseconds).map_or(FOREVER, Duration::from_millis).min(FOREVER)
}
