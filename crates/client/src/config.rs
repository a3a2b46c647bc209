//! What a client needs to know before it starts.

use std::{fmt, net::Ipv6Addr, sync::Arc, time::Duration};

use crate::{
    error::{Error, Result},
    transport::{Connect, TcpConnect},
};

/// The checked configuration of a [`Client`](crate::Client).
///
/// ```
/// use kcopy_client::ClientConfig;
///
/// let config = ClientConfig::builder().bootstrap_servers("localhost:9092,[::1]:9093").build()?;
/// assert_eq!(config.bootstrap_servers[1].to_string(), "[::1]:9093");
/// # Ok::<(), kcopy_client::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Where the cluster is asked first.
    pub bootstrap_servers: Vec<HostPort>,
    /// The name in the broker's logs and quotas.
    pub client_id: String,
    /// The rack that this client is in, for replicas nearby.
    pub client_rack: String,
    /// How long the answer to one request may take.
    pub request_timeout: Duration,
    /// How long a connection may take, name look-up and version negotiation included.
    pub connection_setup_timeout: Duration,
    /// How long an operation may take with all its retries.
    pub operation_timeout: Duration,
    /// How long a topic that the cluster does not know is asked for again: it may be new.
    pub unknown_topic_grace: Duration,
    /// The pause after the first failed connection to a broker.
    pub reconnect_backoff: Duration,
    /// The longest pause between connections to a broker.
    pub reconnect_backoff_max: Duration,
    /// The pause before the first retry of a request.
    pub retry_backoff: Duration,
    /// The longest pause before a retry.
    pub retry_backoff_max: Duration,
    /// After this time metadata is asked for again though nothing went wrong.
    pub metadata_max_age: Duration,
    /// The largest answer that is taken.
    pub receive_message_max_bytes: usize,
    /// The most requests that one connection has under way.
    pub max_in_flight: usize,
    /// Whether asking for a topic may create it, if the broker allows that as well.
    pub allow_auto_create_topics: bool,
    /// How connections are made.
    pub connector: Arc<dyn Connect>,
}

impl ClientConfig {
    /// Starts with the defaults.
    pub fn builder() -> ClientConfigBuilder {
        ClientConfigBuilder::default()
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client_id", &self.client_id)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}

/// Collects the configuration of a client.
#[derive(Clone)]
#[must_use]
pub struct ClientConfigBuilder {
    bootstrap_servers: String,
    config: ClientConfig,
}

impl Default for ClientConfigBuilder {
    fn default() -> ClientConfigBuilder {
        let config = ClientConfig {
            bootstrap_servers: Vec::new(),
            client_id: "kcopy".into(),
            client_rack: String::new(),
            request_timeout: Duration::from_secs(30),
            connection_setup_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(60),
            unknown_topic_grace: Duration::from_millis(500),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(300),
            receive_message_max_bytes: 100_000_000,
            max_in_flight: 128,
            allow_auto_create_topics: false,
            connector: Arc::new(TcpConnect::default()),
        };
        ClientConfigBuilder { bootstrap_servers: String::new(), config }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $kind:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $kind) -> Self {
            self.config.$name = $name;
            self
        }
    )*};
}

impl ClientConfigBuilder {
    /// `HOST[:PORT]`, several separated by commas; the port is 9092 where none is given. Necessary.
    pub fn bootstrap_servers(mut self, servers: impl Into<String>) -> Self {
        self.bootstrap_servers = servers.into();
        self
    }

    /// The name in the broker's logs and quotas; default `kcopy`.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.config.client_id = client_id.into();
        self
    }

    /// The rack that this client is in (KIP-392); default none.
    pub fn client_rack(mut self, client_rack: impl Into<String>) -> Self {
        self.config.client_rack = client_rack.into();
        self
    }

    /// How connections are made; default [`TcpConnect`].
    pub fn connector(mut self, connector: impl Connect) -> Self {
        self.config.connector = Arc::new(connector);
        self
    }

    setters! {
        /// How long the answer to one request may take; default 30 s. Then the connection is given up.
        request_timeout: Duration;
        /// How long a connection may take, negotiation included; default 10 s.
        connection_setup_timeout: Duration;
        /// How long an operation may take with all its retries; default 60 s.
        operation_timeout: Duration;
        /// How long a topic that the cluster does not know is asked for again; default 500 ms. A topic
        /// that was just created is not known to all brokers at once.
        unknown_topic_grace: Duration;
        /// The pause after the first failed connection to a broker; default 50 ms.
        reconnect_backoff: Duration;
        /// The longest pause between connections to a broker; default 1 s.
        reconnect_backoff_max: Duration;
        /// The pause before the first retry of a request; default 100 ms. It doubles each time.
        retry_backoff: Duration;
        /// The longest pause before a retry; default 1 s.
        retry_backoff_max: Duration;
        /// The age at which metadata is asked for again; default 5 min.
        metadata_max_age: Duration;
        /// The largest answer that is taken, in bytes; default 100,000,000. A larger one ends the
        /// connection.
        receive_message_max_bytes: usize;
        /// The most requests that one connection has under way; default 128, at least 1.
        max_in_flight: usize;
        /// Whether asking for a topic may create it; default no.
        allow_auto_create_topics: bool;
    }

    /// Checks everything.
    ///
    /// # Errors
    /// No bootstrap servers, one that is no `HOST:PORT`, or a number that makes no sense.
    pub fn build(self) -> Result<ClientConfig> {
        let mut config = self.config;
        let servers = self.bootstrap_servers.split(',').map(str::trim).filter(|server| !server.is_empty());
        config.bootstrap_servers = servers.map(HostPort::parse).collect::<Result<_>>()?;
        if config.bootstrap_servers.is_empty() {
            return Err(Error::invalid("no bootstrap servers: name at least one broker as HOST:PORT"));
        }
        if config.max_in_flight == 0 {
            return Err(Error::invalid("max_in_flight is 0: at least one request must be under way"));
        }
        if config.receive_message_max_bytes < 1000 {
            return Err(Error::invalid("receive_message_max_bytes is below 1000: no answer would fit"));
        }
        Ok(config)
    }
}

/// The address of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl HostPort {
    /// The port where none is given.
    pub const DEFAULT_PORT: u16 = 9092;

    /// Reads `HOST`, `HOST:PORT`, `[IPV6]:PORT` or an IPv6 address; `PLAINTEXT://` may stand in front.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<HostPort> {
        let wrong = |why: &str| Error::invalid(format!("broker address {text:?}: {why}"));
        let address = match text.split_once("://") {
            None => text,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("plaintext") => rest,
            Some((scheme, _)) => {
                return Err(wrong(&format!("{scheme} is not supported, only PLAINTEXT is so far")));
            }
        };
        let (host, port) = if let Some(rest) = address.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(|| wrong("the closing ] is missing"))?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(wrong("after ] comes :PORT")),
            }
        } else if address.matches(':').count() > 1 {
            // Only an address can have several; a link-local one may name its interface.
            let is_address = address.split('%').next().is_some_and(|it| it.parse::<Ipv6Addr>().is_ok());
            if !is_address {
                return Err(wrong("several colons, and no IPv6 address"));
            }
            (address, None)
        } else {
            match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            }
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(wrong("a broker is given as HOST:PORT"));
        }
        let port = match port {
            None => HostPort::DEFAULT_PORT,
            Some(port) => {
                port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("a port is 1 to 65535"))?
            }
        };
        Ok(HostPort { host: host.into(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_form() {
        for (text, expected) in [
            ("h", "h:9092"),
            ("h:1", "h:1"),
            ("::1", "[::1]:9092"),
            ("[::1]", "[::1]:9092"),
            ("[fe80::1]:65535", "[fe80::1]:65535"),
            ("PLAINTEXT://127.0.0.1:9093", "127.0.0.1:9093"),
        ] {
            assert_eq!(HostPort::parse(text).unwrap().to_string(), expected, "{text}");
        }
        for text in
            ["h:", "h:0", "h:65536", ":9092", "[::1", "[::1]9", "SSL://h:1", "a b:1", "h:x", "a:b:c", "h:1:2"]
        {
            let error = HostPort::parse(text).unwrap_err();
            assert!(error.message().starts_with("broker address"), "{text}: {error}");
        }
    }

    #[test]
    fn a_client_needs_a_broker() {
        let error = ClientConfig::builder().bootstrap_servers(" , ").build().unwrap_err();
        assert!(error.message().contains("no bootstrap servers"));
    }
}
