//! One connection to PostgreSQL.

use std::{
    fmt, io,
    ops::{Deref, DerefMut},
    time::Duration,
};

use tokio::sync::oneshot;
use tokio_postgres::{Client, Config, config, error::SqlState};

use super::{
    settings::{CONNECT_TIMEOUT, ChannelBinding, HostSettings, Settings, SslMode},
    tls::{self, Tls},
};

/// Why there is no connection.
#[derive(Debug)]
pub struct ConnectError {
    message: String,
    /// Whether another attempt may succeed.
    pub outlook: Outlook,
}

/// Whether the same may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outlook {
    /// It stays as it is.
    Never,
    /// Somebody has to do something: a name that means no host, a server that only reads.
    OnceMended,
    /// It may pass by itself: the server is away, starting, ending, or full.
    Passing,
    /// The same, and nothing has answered.
    Silent,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectError {}

/// A connection, which ends when this is dropped.
pub struct Session {
    client: Client,
    /// Dropped behind the client.
    _open: oneshot::Sender<()>,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// How long a connection that is given up may take for what was sent on it, before it is cut.
const FAREWELL: Duration = Duration::from_secs(5);

/// Connects to the first host that takes us. The connection lives in a task of the runtime that this runs
/// on, until the client is dropped.
///
/// # Errors
/// No host takes us: what each of them said.
pub async fn connect(settings: &Settings) -> Result<Session, ConnectError> {
    let tls = match settings.ssl.mode {
        SslMode::Disable => None,
        _ if settings.hosts.iter().all(HostSettings::is_socket) => None,
        _ => match Tls::new(&settings.ssl) {
            Ok(tls) => Some(tls),
            // Who does not insist on TLS goes without, as before there was any; who names a certificate means it.
            Err(_) if settings.ssl.mode == SslMode::Allow => None,
            Err(_) if settings.ssl.mode == SslMode::Prefer && !settings.ssl.is_certificate_named => None,
            Err(message) => return Err(ConnectError { message, outlook: Outlook::Never }),
        },
    };
    let mut order: Vec<&HostSettings> = settings.hosts.iter().collect();
    if settings.is_random_order {
        // The process id is random enough to spread the connections of many; those of one process share a host.
        let turn = std::process::id() as usize % order.len();
        order.rotate_left(turn);
    }
    let limit = settings.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
    let mut failures = Vec::new();
    let mut outlooks = Vec::new();
    for host in order {
        // The library's own limit is for TCP alone: a server that is stopped takes connections and says nothing.
        match tokio::time::timeout(limit, to_host(settings, host, tls.as_ref())).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => {
                outlooks.push(outlook_of(&error));
                failures.push(format!("{}: {}", shown(host), reason(&error)));
            }
            Err(_) => {
                outlooks.push(Outlook::Silent);
                failures.push(format!("{}: no answer within {limit:?}", shown(host)));
            }
        }
    }
    let best = outlooks.iter().max().copied().unwrap_or(Outlook::Never);
    // One host that answers is no silence.
    let is_heard = outlooks.iter().any(|outlook| *outlook != Outlook::Silent);
    let outlook = if is_heard { best.min(Outlook::Passing) } else { best };
    Err(ConnectError { message: format!("PostgreSQL cannot be reached at {}", failures.join("; ")), outlook })
}

fn shown(host: &HostSettings) -> String {
    if host.is_socket() {
        format!("{}/.s.PGSQL.{}", host.host, host.port)
    } else if host.host.contains(':') {
        format!("[{}]:{}", host.host, host.port)
    } else {
        format!("{}:{}", host.host, host.port)
    }
}

/// The sslmodes in the middle try the one and then the other, as libpq does.
async fn to_host(
    settings: &Settings,
    host: &HostSettings,
    tls: Option<&Tls>,
) -> Result<Session, tokio_postgres::Error> {
    let tls = tls.filter(|_| !host.is_socket());
    match (settings.ssl.mode, tls) {
        (SslMode::Allow, Some(tls)) => match attempt(settings, host, None).await {
            Err(error) if is_refusal(&error) => attempt(settings, host, Some(tls)).await,
            result => result,
        },
        (SslMode::Prefer, Some(tls)) => match attempt(settings, host, Some(tls)).await {
            Err(error) if is_refusal(&error) || is_tls(&error) => {
                // What the secured attempt said is worth more, should this one fail as well.
                attempt(settings, host, None).await.map_err(|_| error)
            }
            result => result,
        },
        (_, tls) => attempt(settings, host, tls).await,
    }
}

async fn attempt(
    settings: &Settings,
    host: &HostSettings,
    tls: Option<&Tls>,
) -> Result<Session, tokio_postgres::Error> {
    let mut config = config(settings, host);
    config.ssl_mode(match (tls, settings.ssl.mode) {
        (None, _) => config::SslMode::Disable,
        (Some(_), SslMode::Prefer) => config::SslMode::Prefer,
        (Some(_), _) => config::SslMode::Require,
    });
    if tls.is_some() && settings.ssl.is_direct {
        config.ssl_negotiation(config::SslNegotiation::Direct);
    }
    let (client, connection) = config.connect(tls.cloned().unwrap_or_else(Tls::none)).await?;
    let (open, given_up) = oneshot::channel();
    // Its end shows in whatever is under way on the client.
    tokio::spawn(async move {
        tokio::pin!(connection);
        tokio::select! {
            _ = &mut connection => {}
            // A server that takes nothing would keep it, and all that waits in it, for ever.
            _ = given_up => {
                let _ = tokio::time::timeout(FAREWELL, connection).await;
            }
        }
    });
    Ok(Session { client, _open: open })
}

fn config(settings: &Settings, host: &HostSettings) -> Config {
    let mut config = Config::new();
    config
        .host(&host.host)
        .port(host.port)
        .user(&settings.user)
        .dbname(&settings.dbname)
        .application_name(&settings.application_name)
        .channel_binding(match settings.channel_binding {
            ChannelBinding::Disable => config::ChannelBinding::Disable,
            ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            ChannelBinding::Require => config::ChannelBinding::Require,
        })
        .keepalives(settings.keepalive.is_on);
    if let Some(address) = host.address {
        config.hostaddr(address);
    }
    if let Some(password) = &host.password {
        config.password(&password.0);
    }
    if let Some(options) = &settings.options {
        config.options(options);
    }
    if settings.needs_writable {
        config.target_session_attrs(config::TargetSessionAttrs::ReadWrite);
    }
    if let Some(idle) = settings.keepalive.idle.filter(|time| !time.is_zero()) {
        config.keepalives_idle(idle);
    }
    if let Some(interval) = settings.keepalive.interval.filter(|time| !time.is_zero()) {
        config.keepalives_interval(interval);
    }
    if let Some(count) = settings.keepalive.count.filter(|count| *count > 0) {
        config.keepalives_retries(count);
    }
    if let Some(timeout) = settings.keepalive.user_timeout.filter(|time| !time.is_zero()) {
        config.tcp_user_timeout(timeout);
    }
    config
}

/// The server answered, and does not want us like this: pg_hba.conf may have a line for the other way.
fn is_refusal(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION || *code == SqlState::INVALID_PASSWORD
    })
}

fn is_tls(error: &tokio_postgres::Error) -> bool {
    error.code().is_none() && error.to_string().starts_with("error performing TLS handshake")
}

/// Whether the system has given the other side up.
fn is_timeout(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Whether the same may succeed later.
pub fn outlook_of(error: &tokio_postgres::Error) -> Outlook {
    let Some(code) = error.code() else {
        let text = error.to_string();
        let is_lasting = tls::is_refusal(error)
            || text.starts_with("authentication error")
            || text.starts_with("invalid configuration")
            || text.starts_with("error performing TLS handshake");
        return match is_lasting {
            true => Outlook::Never,
            // The standard library's words; what kind of error it is is not told.
            false if is_timeout(error) => Outlook::Silent,
            false if reason(error).contains("failed to lookup address information") => Outlook::OnceMended,
            false => Outlook::Passing,
        };
    };
    let code = code.code();
    // 08 connections, 40 rollbacks (conflicts, deadlocks), 53 resources, 57P the operator.
    let is_passing = ["08", "40", "53", "57P"].iter().any(|class| code.starts_with(class)) || code == "55006";
    match code {
        _ if is_passing => Outlook::Passing,
        // Behind a failover the same name may mean a server that writes.
        "25006" => Outlook::OnceMended,
        _ => Outlook::Never,
    }
}

/// An error with what is behind it, in one line.
pub fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        return format!("{}{detail}{hint} [{}]", error.message(), error.code().code());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, io, net::TcpListener};

    use super::*;
    use crate::environment::Environment;

    #[tokio::test]
    async fn only_where_no_host_answers_it_is_a_silence() {
        let environment = Environment {
            variable: &|_| None::<OsString>,
            read_file: &|_| Err(io::Error::from_raw_os_error(2)),
            stdin_is_terminal: false,
            now_ms: 0,
        };
        // A server that is stopped; and one that is away.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let silent = silent.local_addr().map(|address| (address.port(), silent)).unwrap();
        for (ports, expected) in [
            (vec![silent.0], Outlook::Silent),
            (vec![silent.0, closed], Outlook::Passing),
            (vec![closed, silent.0], Outlook::Passing),
        ] {
            let hosts: Vec<&str> = ports.iter().map(|_| "127.0.0.1").collect();
            let shown: Vec<String> = ports.iter().map(u16::to_string).collect();
            let text = format!("host={} port={} user=me sslmode=disable", hosts.join(","), shown.join(","));
            let mut settings = Settings::gather(Some(&text), &environment).unwrap();
            settings.connect_timeout = Some(Duration::from_millis(100));
            let error = connect(&settings).await.err().expect("nobody is there");
            assert_eq!(error.outlook, expected, "{error}");
        }
    }
}
