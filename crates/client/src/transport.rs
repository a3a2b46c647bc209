//! Where bytes go: TCP, or whatever a test puts in its place.

use std::{future::Future, io, net::SocketAddr, pin::Pin, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::Instant,
};

/// A connection's two directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection of any kind.
pub type BoxStream = Box<dyn Stream>;

/// A future that the trait below can name.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Makes connections to brokers.
///
/// ```
/// use std::io;
/// use kcopy_client::{BoxFuture, BoxStream, Connect};
/// use tokio::{io::DuplexStream, sync::mpsc};
///
/// /// Hands the broker's end of an in-memory pipe to whoever plays the broker.
/// struct Pipes(mpsc::UnboundedSender<(String, u16, DuplexStream)>);
///
/// impl Connect for Pipes {
///     fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
///         Box::pin(async move {
///             let (ours, theirs) = tokio::io::duplex(64 * 1024);
///             let refused = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
///             self.0.send((host.to_owned(), port, theirs)).map_err(refused)?;
///             Ok(Box::new(ours) as BoxStream)
///         })
///     }
/// }
/// ```
pub trait Connect: Send + Sync + 'static {
    /// Connects. Dropping the future gives up.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>>;
}

/// Which addresses of a name are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressFamily {
    /// All of them.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// TCP. The addresses of a name race each other (RFC 8305): a refused one costs nothing, a silent one
/// a quarter of a second.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TcpConnect {
    /// Which addresses are used; default all.
    pub family: AddressFamily,
    /// Whether the kernel probes idle connections; default no.
    pub keepalive: bool,
    /// How long one address may be silent before the next one starts as well; default 250 ms.
    pub stagger: Duration,
}

impl Default for TcpConnect {
    fn default() -> TcpConnect {
        TcpConnect { family: AddressFamily::Any, keepalive: false, stagger: Duration::from_millis(250) }
    }
}

impl Connect for TcpConnect {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = match host.parse() {
                Ok(ip) => vec![SocketAddr::new(ip, port)],
                Err(_) => interleave(tokio::net::lookup_host((host, port)).await?.collect()),
            };
            let mut addresses: Vec<_> = addresses
                .into_iter()
                .filter(|address| match self.family {
                    AddressFamily::Any => true,
                    AddressFamily::V4 => address.is_ipv4(),
                    AddressFamily::V6 => address.is_ipv6(),
                })
                .collect();
            let stream = match addresses.len() {
                0 => {
                    let text = format!("{host} has no address of the wanted family");
                    return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, text));
                }
                1 => open(addresses.remove(0), self.keepalive).await?,
                _ => self.race(addresses).await?,
            };
            Ok(Box::new(stream) as BoxStream)
        })
    }
}

impl TcpConnect {
    async fn race(&self, addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
        let mut waiting = addresses.into_iter();
        let mut running = JoinSet::new();
        let mut first_error = None;
        let mut next_start = Instant::now();
        loop {
            if let Some(address) = waiting.next() {
                running.spawn(open(address, self.keepalive));
                next_start = Instant::now() + self.stagger;
            }
            let joined = if waiting.len() == 0 {
                running.join_next().await
            } else {
                match tokio::time::timeout_at(next_start, running.join_next()).await {
                    Ok(joined) => joined,
                    Err(_) => continue,
                }
            };
            match joined {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => {
                    first_error.get_or_insert(error);
                }
                Some(Err(gone)) => {
                    first_error.get_or_insert(io::Error::other(gone));
                }
                None if waiting.len() == 0 => {
                    return Err(first_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
                }
                None => {}
            }
        }
    }
}

async fn open(address: SocketAddr, keepalive: bool) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_keepalive(keepalive)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Alternates between the families, in the resolver's order otherwise.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let total = addresses.len();
    let (ours, others): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == first);
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut mixed = Vec::with_capacity(total);
    while mixed.len() < total {
        mixed.extend(ours.next());
        mixed.extend(others.next());
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        text.split(' ').map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn families_alternate() {
        let mixed = interleave(addresses("[::1]:1 [::2]:1 [::3]:1 1.0.0.1:1"));
        assert_eq!(mixed, addresses("[::1]:1 1.0.0.1:1 [::2]:1 [::3]:1"));
    }

    #[tokio::test]
    async fn a_refused_address_costs_no_pause() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let refused = {
            let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap()
        };
        // Should the pause be waited for, the test would not end.
        let connect = TcpConnect { stagger: Duration::from_secs(86_400), ..TcpConnect::default() };
        let stream = connect.race(vec![refused, refused, there]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
        let error = connect.race(vec![refused, refused]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
