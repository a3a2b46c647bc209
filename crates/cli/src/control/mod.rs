//! The control port of `kcopy broker`: HTTP/1.1 with JSON bodies, so that a test in any language can disturb and watch
//! the cluster. `api` says what can be asked.

mod api;
mod http;
mod members;

#[cfg(test)]
mod tests;

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use kcopy_mini_broker::MiniCluster;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use self::http::{Connection, Request, Response};
use crate::process::say;

/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS: usize = 64;
/// How long a connection may be idle, or take to send a request.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait when the system cannot accept a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// What a connection asks of the cluster's owner.
type Asked = (Request, oneshot::Sender<Response>);

/// A control port that listens.
#[derive(Debug)]
pub struct Control {
    listener: TcpListener,
}

impl Control {
    /// Listens; port 0 is any free one.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn bind(host: &str, port: u16) -> io::Result<Control> {
        Ok(Control { listener: TcpListener::bind((host, port)).await? })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves the control port of `cluster`. Dropping the future closes all its connections.
    pub async fn serve(&self, cluster: &mut MiniCluster) -> Infallible {
        let (ask, mut asked) = mpsc::channel::<Asked>(CONNECTIONS);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some((request, reply)) = asked.recv() => {
                    // Whoever asked may be gone; what was asked for is done all the same.
                    let _ = reply.send(api::answer(cluster, &request).await);
                }
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(talk(stream, ask.clone()));
                    }
                    // Such as too many open files: what is open goes on.
                    Err(error) => {
                        say!("kcopy broker: accepting a connection to the control port: {error}");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// Serves one connection until it ends.
async fn talk(stream: TcpStream, ask: mpsc::Sender<Asked>) {
    let mut connection = Connection::new(stream);
    loop {
        let request = match tokio::time::timeout(PATIENCE, connection.read()).await {
            Ok(Ok(Some(request))) => request,
            Ok(Err(refused)) => {
                // The connection ends anyway.
                let _ = connection.write(&refused, false).await;
                return;
            }
            Ok(Ok(None)) | Err(_) => return,
        };
        let keep = request.keep;
        let (reply, answered) = oneshot::channel();
        if ask.send((request, reply)).await.is_err() {
            return;
        }
        let Ok(response) = answered.await else { return };
        if connection.write(&response, keep).await.is_err() || !keep {
            return;
        }
    }
}
