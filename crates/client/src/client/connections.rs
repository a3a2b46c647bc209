//! The connections of a client: at most one per broker and lane, made when first needed, made again
//! after a pause when they fail.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    backoff::Backoff,
    config::{ClientConfig, HostPort},
    connection::{Connection, ConnectionOptions},
    context::BROKER,
    error::{Error, ErrorKind, Result},
    pool::BufferPool,
};

/// How much the buffers of large answers may hold, those that wait for the next one included.
const POOL_BYTES: usize = 48 << 20;
/// When several brokers would do, the next one is tried as well after this time without an answer.
const BROKER_STAGGER: Duration = Duration::from_secs(1);

/// What a connection is for. A broker answers in order: behind a fetch that waits for data, everything
/// else would wait too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lane {
    /// Requests that the broker answers at once.
    #[default]
    Shared,
    /// Fetches that may wait for data.
    LongPoll,
}

#[derive(Debug)]
pub(super) struct Connections {
    config: Arc<ClientConfig>,
    pool: Arc<BufferPool>,
    slots: Mutex<HashMap<(HostPort, Lane), Slot>>,
}

#[derive(Debug)]
struct Slot {
    outcome: watch::Receiver<Outcome>,
    backoff: Backoff,
}

#[derive(Clone, Debug)]
enum Outcome {
    Pending,
    Open(Connection),
    Failed(Error, Instant),
}

impl Connections {
    pub(super) fn new(config: Arc<ClientConfig>) -> Connections {
        Connections { config, pool: BufferPool::new(POOL_BYTES), slots: Mutex::default() }
    }

    /// An open connection. Several callers share one attempt; dropping the future leaves it running.
    pub(super) async fn get(&self, address: &HostPort, lane: Lane) -> Result<Connection> {
        let outcome = self.attempt(address, lane);
        settled(outcome).await
    }

    /// A connection to whichever of `addresses` is there first. An open one is taken at once, the others
    /// race: the next one starts when one fails, or is silent.
    pub(super) async fn any(&self, addresses: &[HostPort]) -> Result<Connection> {
        if let Some(open) = addresses.iter().find_map(|address| self.open(address, Lane::Shared)) {
            return Ok(open);
        }
        let mut waiting = addresses.iter();
        let mut running = JoinSet::new();
        let mut last_error = None;
        loop {
            if let Some(address) = waiting.next() {
                running.spawn(settled(self.attempt(address, Lane::Shared)));
            }
            let joined = if waiting.len() == 0 {
                running.join_next().await
            } else {
                match timeout(BROKER_STAGGER, running.join_next()).await {
                    Ok(joined) => joined,
                    Err(_) => continue,
                }
            };
            match joined {
                Some(Ok(Ok(connection))) => return Ok(connection),
                Some(Ok(Err(error))) => last_error = Some(error),
                Some(Err(_)) => last_error = Some(Error::closed("runtime")),
                None if waiting.len() == 0 => break,
                None => {}
            }
        }
        let last_error = last_error.unwrap_or_else(|| Error::invalid("there is no broker to connect to"));
        Err(if addresses.len() > 1 {
            last_error
                .prefixed(&format!("none of {} brokers could be reached; the last one", addresses.len()))
        } else {
            last_error
        })
    }

    /// How far away the nearest broker is that there is a connection to; zero if there is none.
    pub(super) fn round_trip(&self) -> Duration {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let open = slots.values().filter_map(|slot| match &*slot.outcome.borrow() {
            Outcome::Open(connection) if !connection.is_closed() => Some(connection.round_trip()),
            _ => None,
        });
        open.min().unwrap_or_default()
    }

    fn open(&self, address: &HostPort, lane: Lane) -> Option<Connection> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slots.get(&(address.clone(), lane))?.outcome.borrow() {
            Outcome::Open(connection) if !connection.is_closed() => Some(connection.clone()),
            _ => None,
        }
    }

    /// The present attempt or connection; begins a new one where there is none.
    fn attempt(&self, address: &HostPort, lane: Lane) -> watch::Receiver<Outcome> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (address.clone(), lane);
        let fresh = || Backoff::new(self.config.reconnect_backoff, self.config.reconnect_backoff_max);
        let (backoff, not_before) = match slots.get_mut(&key) {
            None => (fresh(), None),
            Some(slot) => {
                let mut backoff = slot.backoff.clone();
                match &*slot.outcome.borrow() {
                    Outcome::Open(connection) if connection.is_closed() => (fresh(), None),
                    Outcome::Failed(_, at) => {
                        let pause = backoff.next_pause();
                        (backoff, Some(*at + pause))
                    }
                    // Without a sender the attempt died with its runtime.
                    Outcome::Pending if slot.outcome.has_changed().is_err() => (fresh(), None),
                    Outcome::Pending | Outcome::Open(_) => return slot.outcome.clone(),
                }
            }
        };
        let (sender, outcome) = watch::channel(Outcome::Pending);
        // The other lane may have told it already.
        let is_told = slots.iter().any(|((other, of), slot)| {
            other == address
                && *of != lane
                && slot.backoff.attempts() > 0
                && !matches!(&*slot.outcome.borrow(), Outcome::Open(_))
        });
        let tells = backoff.attempts() == 1 && !is_told;
        let tried = address.clone();
        let establish = establish(Arc::clone(&self.config), Arc::clone(&self.pool), address.clone());
        tokio::spawn(async move {
            if let Some(not_before) = not_before {
                sleep_until(not_before).await;
            }
            sender.send_replace(match establish.await {
                Ok(connection) => Outcome::Open(connection),
                Err(error) => {
                    // Once, and not where the first error is the caller's last: what follows may be tried for as
                    // long as the caller's time lasts.
                    if tells {
                        tracing::warn!(%error, "a broker cannot be reached and is tried again");
                    } else {
                        tracing::debug!(target: BROKER, broker = %tried, %error, "connecting failed");
                    }
                    Outcome::Failed(error, Instant::now())
                }
            });
        });
        slots.insert(key, Slot { outcome: outcome.clone(), backoff });
        outcome
    }
}

async fn settled(mut outcome: watch::Receiver<Outcome>) -> Result<Connection> {
    match outcome.wait_for(|outcome| !matches!(outcome, Outcome::Pending)).await.as_deref() {
        Ok(Outcome::Open(connection)) => Ok(connection.clone()),
        Ok(Outcome::Failed(error, _)) => Err(error.clone()),
        Ok(Outcome::Pending) | Err(_) => Err(Error::closed("runtime of the client")),
    }
}

async fn establish(
    config: Arc<ClientConfig>,
    pool: Arc<BufferPool>,
    address: HostPort,
) -> Result<Connection> {
    let name = format!("broker {address}");
    let limit = config.connection_setup_timeout;
    let options = ConnectionOptions {
        client_id: config.client_id.clone(),
        request_timeout: config.request_timeout,
        max_frame_bytes: config.receive_message_max_bytes,
        max_in_flight: config.max_in_flight,
    };
    tracing::debug!(target: BROKER, broker = %address, "connecting");
    let mut is_connected = false;
    let connected = timeout(limit, async {
        let stream = config.connector.connect(&address.host, address.port).await.map_err(|error| {
            Error::new(ErrorKind::Connect, format!("connecting failed: {error}")).with_source(error)
        })?;
        is_connected = true;
        Connection::start(stream, address.clone(), &options, pool).await
    });
    let result = match connected.await {
        Ok(result) => result,
        Err(_) => {
            let limit = limit.as_millis();
            let message = match is_connected {
                true => format!("it takes connections, and has not answered within {limit} ms"),
                false => format!("connecting took longer than {limit} ms"),
            };
            Err(Error::new(ErrorKind::Timeout, message))
        }
    };
    if result.is_ok() {
        tracing::debug!(target: BROKER, broker = %address, "connected");
    }
    result.map_err(|error| error.with_broker(&name))
}
