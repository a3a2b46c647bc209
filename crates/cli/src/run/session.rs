//! A client with the properties of a plan, and the runtime that it lives on.

use std::{future::Future, thread::JoinHandle};

use kcopy_client::{AddressFamily, Client, ClientConfig, TcpConnect};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
};

use super::failure::Failure;
use crate::{
    plan::{Common, Grammar},
    properties::{self, ClientProperties},
};

/// A client and its runtime: one thread, since starting a pool costs more than a short run takes.
#[derive(Debug)]
pub(crate) struct Session {
    /// Where the client's tasks run.
    pub runtime: Runtime,
    /// The client; it connects when it is first used.
    pub client: Client,
}

impl Session {
    /// Prepares a client.
    ///
    /// # Errors
    /// Properties that the client refuses.
    pub(crate) fn new(common: &Common) -> Result<Session, Failure> {
        Session::with(common, false)
    }

    /// Prepares a client that may create the topics that it asks for, as librdkafka's and Java's
    /// producers do.
    ///
    /// # Errors
    /// Properties that the client refuses.
    pub(crate) fn for_producer(common: &Common) -> Result<Session, Failure> {
        Session::with(common, true)
    }

    fn with(common: &Common, creates_topics: bool) -> Result<Session, Failure> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Told(format!("starting the network: {error}")))?;
        let config = client_config(common, creates_topics)?;
        let client = {
            let _entered = runtime.enter();
            Client::new(config)
        };
        Ok(Session { runtime, client })
    }

    /// Leaves the network to a thread of its own, so that this one can read or write in large blocks
    /// while it runs ahead.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn into_background(self) -> Result<Network, Failure> {
        let handle = self.runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("network".into())
            .spawn(move || {
                // Either way it ends when the sender goes.
                let _ = self.runtime.block_on(stopped);
            })
            .map_err(|error| Failure::Told(format!("starting the network: {error}")))?;
        Ok(Network { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Runs `work` to its end on this thread.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// A runtime that goes on, on a thread of its own, until this is dropped.
#[derive(Debug)]
pub(crate) struct Network {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    /// For work on other threads.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say but that it panicked, which it has said already.
            let _ = thread.join();
        }
    }
}

fn client_config(common: &Common, creates_topics: bool) -> Result<ClientConfig, Failure> {
    let properties: &ClientProperties = &common.properties;
    let servers: Vec<String> = properties.bootstrap_servers.iter().map(ToString::to_string).collect();
    let mut builder = ClientConfig::builder().bootstrap_servers(servers.join(","));
    let mut connect = TcpConnect::default();
    connect.keepalive = properties.socket_keepalive_enable.unwrap_or(connect.keepalive);
    connect.family = match properties.address_family {
        Some(properties::AddressFamily::V4) => AddressFamily::V4,
        Some(properties::AddressFamily::V6) => AddressFamily::V6,
        Some(properties::AddressFamily::Any) | None => AddressFamily::Any,
    };
    builder = builder.connector(connect);
    macro_rules! set {
        ($($setter:ident: $value:expr;)*) => {
            $(if let Some(value) = $value { builder = builder.$setter(value); })*
        };
    }
    set! {
        client_id: properties.client_id.clone();
        client_rack: properties.client_rack.clone();
        request_timeout: properties.socket_timeout;
        connection_setup_timeout: properties.socket_connection_setup_timeout;
        operation_timeout: common.timeout;
        reconnect_backoff: properties.reconnect_backoff;
        reconnect_backoff_max: properties.reconnect_backoff_max;
        retry_backoff: properties.retry_backoff;
        retry_backoff_max: properties.retry_backoff_max;
        metadata_max_age: properties.metadata_max_age;
        receive_message_max_bytes: properties.receive_message_max_bytes;
        max_in_flight: properties.max_in_flight;
    }
    builder = builder.allow_auto_create_topics(properties.allow_auto_create_topics.unwrap_or(creates_topics));
    let mut config = builder.build()?;
    // No attempt may take longer than all that --timeout, or Java's default.api.timeout.ms, is for.
    if let Some(timeout) = common.timeout.filter(|_| common.grammar != Grammar::Kcat) {
        if properties.socket_timeout.is_none() {
            config.request_timeout = config.request_timeout.min(timeout);
        }
        if properties.socket_connection_setup_timeout.is_none() {
            config.connection_setup_timeout = config.connection_setup_timeout.min(timeout);
        }
    }
    Ok(config)
}
