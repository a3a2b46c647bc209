//! Where connections come from: TCP, or pipes in memory.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::sleep,
};

use super::connection::{Settings, serve};
use crate::actor::Handle;

/// A pause after a failed accept: too few file descriptors do not come back at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A source of connections.
pub(crate) trait Listener: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next connection; `None` when there can be no more.
    fn accept(&mut self) -> impl Future<Output = io::Result<Option<Self::Stream>>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<Option<TcpStream>> {
        let (stream, _) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(Some(stream))
    }
}

/// Connections through memory, for simulated time.
pub(crate) type MemoryListener = mpsc::Receiver<DuplexStream>;

impl Listener for MemoryListener {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<Option<DuplexStream>> {
        Ok(self.recv().await)
    }
}

/// Binds a TCP listener.
///
/// # Errors
/// The address is taken or not ours.
pub(crate) async fn bind(host: &str, port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((host, port)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Accepts and serves connections until it is dropped, which closes them all.
pub(crate) async fn run<L: Listener>(mut listener: L, settings: Settings, actor: Handle) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok(Some(stream)) => {
                    connections.spawn(serve(stream, settings.clone(), actor.clone()));
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(node_id = settings.node_id, %error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    while connections.join_next().await.is_some() {}
}
