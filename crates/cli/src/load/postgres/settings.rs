//! Everything that a connection needs, from all the places where libpq looks.

use std::{net::IpAddr, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use super::{
    Secret, files,
    parameters::{self, Parameters},
};
use crate::environment::Environment;
use crate::process::say;

/// How PostgreSQL is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where, in the order of trying. Never empty.
    pub hosts: Vec<HostSettings>,
    /// The role.
    pub user: String,
    /// The database.
    pub dbname: String,
    /// The session's options, as in `PGOPTIONS`.
    pub options: Option<String>,
    /// What pg_stat_activity shows.
    pub application_name: String,
    /// How long one attempt may take; None is the loader's own limit.
    pub connect_timeout: Option<Duration>,
    /// TLS.
    pub ssl: SslSettings,
    /// Whether SCRAM is bound to the TLS channel.
    pub channel_binding: ChannelBinding,
    /// Whether a server that only reads is passed over.
    pub needs_writable: bool,
    /// Whether hosts are tried in random order.
    pub is_random_order: bool,
    /// TCP keepalives.
    pub keepalive: Keepalive,
}

/// One place where a server may be.
#[derive(Debug, Clone, PartialEq)]
pub struct HostSettings {
    /// A name, an address, or the folder of a socket (it begins with `/`).
    pub host: String,
    /// The address to use instead of looking the name up.
    pub address: Option<IpAddr>,
    /// The port, also part of a socket's name.
    pub port: u16,
    /// The password there.
    pub password: Option<Secret>,
}

impl HostSettings {
    /// Whether it is a socket in the file system.
    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/') || self.host.starts_with('@')
    }
}

/// What decides about TLS.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SslSettings {
    /// Whether, and how much is checked.
    pub mode: SslMode,
    /// Whom to trust.
    pub roots: Roots,
    /// The client's certificate (PEM).
    pub certificate: Option<PathBuf>,
    /// The client's key (PEM).
    pub key: Option<PathBuf>,
    /// Whether one of these was named, and not only found in its usual place.
    pub is_certificate_named: bool,
    /// Whether TLS begins without asking first (PostgreSQL 17).
    pub is_direct: bool,
    /// The oldest and the newest version of TLS that will do.
    pub versions: (TlsVersion, TlsVersion),
}

/// A version of TLS. Older ones are not spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum TlsVersion {
    #[default]
    V1_2,
    V1_3,
}

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum SslMode {
    /// Never.
    Disable,
    /// Only where the server insists.
    Allow,
    /// Where the server can.
    #[default]
    Prefer,
    /// Always; nobody is checked.
    Require,
    /// Always; the server's certificate comes from a trusted authority.
    VerifyCa,
    /// Always; and it is that of the host.
    VerifyFull,
}

/// Whose certificates are trusted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Roots {
    /// Nobody's.
    #[default]
    None,
    /// Those in a file (PEM).
    File(PathBuf),
    /// The system's.
    System,
}

/// libpq's `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where both sides can.
    #[default]
    Prefer,
    /// Always.
    Require,
}

/// libpq's keepalive parameters. Zero is the system's own; None was left to us.
#[derive(Debug, Clone, PartialEq)]
pub struct Keepalive {
    /// Whether they are on.
    pub is_on: bool,
    /// The idle time before the first.
    pub idle: Option<Duration>,
    /// The time between two.
    pub interval: Option<Duration>,
    /// How many may stay unanswered.
    pub count: Option<u32>,
    /// How long sent data may stay unacknowledged.
    pub user_timeout: Option<Duration>,
}

impl Keepalive {
    /// Fills in what was not said: the system's own hours are of no use here.
    pub fn or_within(&mut self, limit: Duration) {
        self.idle = self.idle.or(Some(Duration::from_secs(30)));
        self.interval = self.interval.or(Some(Duration::from_secs(10)));
        self.count = self.count.or(Some(3));
        self.user_timeout = self.user_timeout.or(Some(limit));
    }
}

/// The variables of libpq, and what they set.
const VARIABLES: [(&str, &str); 26] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGSERVICE", "service"),
    ("PGOPTIONS", "options"),
    ("PGAPPNAME", "application_name"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
    // What is refused must not be overlooked here.
    ("PGREQUIREAUTH", "require_auth"),
    ("PGREQUIREPEER", "requirepeer"),
    ("PGSSLCRL", "sslcrl"),
    ("PGSSLCRLDIR", "sslcrldir"),
    ("PGGSSENCMODE", "gssencmode"),
    ("PGSSLMINPROTOCOLVERSION", "ssl_min_protocol_version"),
    ("PGSSLMAXPROTOCOLVERSION", "ssl_max_protocol_version"),
];

/// How long an attempt to connect to one host may take where nothing else is said.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Settings {
    /// No attempt to connect takes longer than `limit`.
    pub fn connect_within(&mut self, limit: Option<Duration>) {
        let own = self.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        self.connect_timeout = Some(limit.map_or(own, |limit| limit.min(own)));
    }

    /// Gathers them: `text` is a URL, a `keyword=value` string or a database's name.
    ///
    /// # Errors
    /// A parameter that is not known, makes no sense, or cannot be honoured. No error shows a password.
    pub fn gather(text: Option<&str>, environment: &Environment<'_>) -> Result<Settings, String> {
        let mut parameters = parameters::parse(text.unwrap_or(""))?;
        let variable = |name: &str| environment.non_empty(name)?.into_string().ok();
        let service = parameters.get("service").cloned().or_else(|| variable("PGSERVICE"));
        if let Some(service) = service {
            for (name, value) in find_service(&service, environment)? {
                parameters.entry(name).or_insert(value);
            }
        }
        for (name, keyword) in VARIABLES {
            if let (false, Some(value)) = (parameters.contains_key(keyword), variable(name)) {
                parameters.insert(keyword, value);
            }
        }
        refuse(&parameters)?;
        checked(&parameters, environment)
    }
}

/// What would silently weaken or change the connection is an error instead.
fn refuse(parameters: &Parameters) -> Result<(), String> {
    let value = |name: &str| parameters.get(name).map_or("", String::as_str);
    for name in ["sslcrl", "sslcrldir", "sslpassword", "require_auth", "requirepeer", "replication", "gsslib"]
    {
        if parameters.contains_key(name) {
            let variable = VARIABLES.iter().find(|(_, keyword)| *keyword == name);
            let variable = variable.map(|(name, _)| format!(" (nor is {name})")).unwrap_or_default();
            return Err(format!("the connection parameter {name} is not supported{variable}"));
        }
    }
    if value("gssencmode") == "require" {
        return Err("gssencmode=require is not supported: use TLS (sslmode=verify-full)".to_owned());
    }
    let encoding = value("client_encoding").to_ascii_lowercase();
    if !matches!(encoding.as_str(), "" | "utf8" | "utf-8" | "unicode" | "auto") {
        return Err("client_encoding is always UTF8: values go over the wire in it".to_owned());
    }
    Ok(())
}

fn find_service(service: &str, environment: &Environment<'_>) -> Result<Parameters, String> {
    let named = environment.non_empty("PGSERVICEFILE").map(PathBuf::from);
    let home = environment.non_empty("HOME").map(|home| PathBuf::from(home).join(".pg_service.conf"));
    let system =
        environment.non_empty("PGSYSCONFDIR").map(|folder| PathBuf::from(folder).join("pg_service.conf"));
    let system = system.or_else(|| Some("/etc/postgresql-common/pg_service.conf".into()));
    let mut read = Vec::new();
    for path in [named.or(home), system].into_iter().flatten() {
        let Ok(content) = (environment.read_file)(&path) else { continue };
        let found = files::service(&String::from_utf8_lossy(&content), service);
        if let Some(found) = found.map_err(|reason| format!("{}: {reason}", path.display()))? {
            return Ok(found);
        }
        read.push(path.display().to_string());
    }
    let read = if read.is_empty() { "no service file can be read".into() } else { read.join(" and ") };
    Err(format!("the service {service:?} is not defined ({read})"))
}

fn checked(parameters: &Parameters, environment: &Environment<'_>) -> Result<Settings, String> {
    let value = |name: &str| parameters.get(name).map(String::as_str);
    let user = match value("user") {
        Some(user) => user.to_owned(),
        None => system_user(environment)
            .ok_or("the role is not known: name it with PGUSER, or user= in the connection string")?,
    };
    let dbname = value("dbname").unwrap_or(&user).to_owned();
    if dbname.contains("://") {
        // The server would show it, password and all.
        return Err(format!("the database (dbname, PGDATABASE) cannot be a URL: {}", parameters::EXPECTED));
    }
    let hosts = hosts(parameters, environment, &dbname, &user)?;
    let is_random_order = choice(parameters, "load_balance_hosts", &[("disable", false), ("random", true)])?;
    if let Some(wanted @ ("standby" | "prefer-standby" | "read-only")) = value("target_session_attrs") {
        return Err(format!(
            "target_session_attrs={wanted} asks for a server that only reads, and rows are to be written: use \
             read-write, primary or any"
        ));
    }
    let needs_writable = choice(
        parameters,
        "target_session_attrs",
        &[("any", false), ("read-write", true), ("primary", true)],
    )?;
    Ok(Settings {
        needs_writable: needs_writable.unwrap_or(hosts.len() > 1),
        hosts,
        user,
        dbname,
        options: value("options").map(str::to_owned),
        application_name: value("application_name")
            .or(value("fallback_application_name"))
            .unwrap_or("kcopy load")
            .to_owned(),
        // Zero, and negative numbers, are no limit.
        connect_timeout: seconds(parameters, "connect_timeout")?.filter(|limit| !limit.is_zero()),
        ssl: ssl(parameters, environment)?,
        channel_binding: choice(
            parameters,
            "channel_binding",
            &[
                ("disable", ChannelBinding::Disable),
                ("prefer", ChannelBinding::Prefer),
                ("require", ChannelBinding::Require),
            ],
        )?
        .unwrap_or_default(),
        is_random_order: is_random_order.unwrap_or(false),
        keepalive: Keepalive {
            is_on: choice(parameters, "keepalives", &[("0", false), ("1", true)])?.unwrap_or(true),
            idle: seconds(parameters, "keepalives_idle")?,
            interval: seconds(parameters, "keepalives_interval")?,
            count: number(parameters, "keepalives_count")?,
            user_timeout: number(parameters, "tcp_user_timeout")?
                .map(|time: u32| Duration::from_millis(time.into())),
        },
    })
}

fn choice<T: Copy>(parameters: &Parameters, name: &str, words: &[(&str, T)]) -> Result<Option<T>, String> {
    let Some(value) = parameters.get(name) else { return Ok(None) };
    match words.iter().find(|(word, _)| word == value) {
        Some((_, meaning)) => Ok(Some(*meaning)),
        None => {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Err(format!("{name} cannot be {value:?} here (expected {})", words.join(", ")))
        }
    }
}

fn number<T: std::str::FromStr>(parameters: &Parameters, name: &str) -> Result<Option<T>, String> {
    let Some(value) = parameters.get(name) else { return Ok(None) };
    value.trim().parse().map(Some).map_err(|_| format!("{name} cannot be {value:?}: a number is expected"))
}

fn seconds(parameters: &Parameters, name: &str) -> Result<Option<Duration>, String> {
    let seconds: Option<i64> = number(parameters, name)?;
    Ok(seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
}

fn hosts(
    parameters: &Parameters,
    environment: &Environment<'_>,
    dbname: &str,
    user: &str,
) -> Result<Vec<HostSettings>, String> {
    let list = |name: &str| -> Vec<&str> {
        parameters.get(name).map(|text| text.split(',').map(str::trim).collect()).unwrap_or_default()
    };
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = names.len().max(addresses.len()).max(1);
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        return Err(format!("host names {} hosts, and hostaddr {} addresses", names.len(), addresses.len()));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(format!("{} ports for {count} hosts: name one port, or one for each host", ports.len()));
    }
    let passwords = PasswordFile::read(parameters, environment);
    (0..count)
        .map(|at| {
            let port = match ports.get(at).or(ports.first()).copied().unwrap_or("") {
                "" => 5432,
                port => port.parse().map_err(|_| format!("port cannot be {port:?}: 1 to 65535"))?,
            };
            let address = match addresses.get(at).copied().unwrap_or("") {
                "" => None,
                text => {
                    Some(text.parse().map_err(|_| format!("hostaddr cannot be {text:?}: an IP address"))?)
                }
            };
            let host = match names.get(at).copied().unwrap_or("") {
                "" => address.map_or_else(|| default_host(port), |address: IpAddr| address.to_string()),
                host => host.to_owned(),
            };
            let password = match parameters.get("password") {
                Some(password) => Some(Secret(password.clone())),
                None => passwords.find(&host, port, dbname, user),
            };
            Ok(HostSettings { host, address, port, password })
        })
        .collect()
}

/// The socket of a server on this machine, where there is one; else localhost.
fn default_host(port: u16) -> String {
    let folders = ["/var/run/postgresql", "/tmp"];
    let found = folders.iter().find(|folder| PathBuf::from(format!("{folder}/.s.PGSQL.{port}")).exists());
    found.map_or_else(|| "localhost".to_owned(), |folder| (*folder).to_owned())
}

struct PasswordFile(Option<String>);

impl PasswordFile {
    fn read(parameters: &Parameters, environment: &Environment<'_>) -> PasswordFile {
        let named = parameters.get("passfile").map(PathBuf::from);
        let home = environment.non_empty("HOME").map(|home| PathBuf::from(home).join(".pgpass"));
        let Some(path) = named.or(home) else { return PasswordFile(None) };
        let Ok(content) = (environment.read_file)(&path) else { return PasswordFile(None) };
        // As libpq: what others can read is no secret any more, and people should notice.
        if path.metadata().is_ok_and(|file| file.permissions().mode() & 0o077 != 0) {
            say!("% {} is ignored: others may read it (chmod 0600)", path.display());
            return PasswordFile(None);
        }
        PasswordFile(Some(String::from_utf8_lossy(&content).into_owned()))
    }

    fn find(&self, host: &str, port: u16, dbname: &str, user: &str) -> Option<Secret> {
        // A socket in its usual place is called localhost in this file.
        let host = if matches!(host, "/var/run/postgresql" | "/tmp") { "localhost" } else { host };
        files::password(self.0.as_deref()?, host, port, dbname, user)
    }
}

fn ssl(parameters: &Parameters, environment: &Environment<'_>) -> Result<SslSettings, String> {
    let home = environment.non_empty("HOME").map(|home| PathBuf::from(home).join(".postgresql"));
    let default = |name: &str| home.as_ref().map(|home| home.join(name)).filter(|path| path.exists());
    let file =
        |keyword: &str, name: &str| parameters.get(keyword).map(PathBuf::from).or_else(|| default(name));
    let roots = match file("sslrootcert", "root.crt") {
        Some(path) if path.as_os_str() == "system" => Roots::System,
        Some(path) => Roots::File(path),
        None => Roots::None,
    };
    let modes = [
        ("disable", SslMode::Disable),
        ("allow", SslMode::Allow),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ];
    let mode = choice(parameters, "sslmode", &modes)?;
    let mode = match (mode, &roots) {
        (None, Roots::System) => SslMode::VerifyFull,
        (Some(mode), Roots::System) if mode < SslMode::VerifyFull => {
            return Err("sslrootcert=system needs sslmode=verify-full: anybody can have a certificate of \
                        a public authority"
                .to_owned());
        }
        (mode, _) => mode.unwrap_or_default(),
    };
    if mode >= SslMode::VerifyCa && roots == Roots::None {
        return Err("sslmode=verify-ca and verify-full need to know whom to trust: sslrootcert=FILE, \
                    ~/.postgresql/root.crt, or sslrootcert=system"
            .to_owned());
    }
    let negotiation = [("postgres", false), ("direct", true)];
    let is_direct = choice(parameters, "sslnegotiation", &negotiation)?.unwrap_or(false);
    if is_direct && mode < SslMode::Require {
        return Err("sslnegotiation=direct needs sslmode=require, verify-ca or verify-full".to_owned());
    }
    let versions = tls_versions(parameters)?;
    let certificate = file("sslcert", "postgresql.crt");
    let key = file("sslkey", "postgresql.key").filter(|_| certificate.is_some());
    let is_certificate_named = parameters.get("sslcert").or(parameters.get("sslkey")).is_some();
    Ok(SslSettings { mode, roots, certificate, key, is_certificate_named, is_direct, versions })
}

fn tls_versions(parameters: &Parameters) -> Result<(TlsVersion, TlsVersion), String> {
    use TlsVersion::{V1_2, V1_3};
    let bound = |name: &str, words: &[(&str, TlsVersion)]| match parameters.get(name).map(String::as_str) {
        Some("") => Ok(None),
        _ => choice(parameters, name, words),
    };
    let min = [("TLSv1.3", V1_3), ("TLSv1.2", V1_2), ("TLSv1.1", V1_2), ("TLSv1", V1_2)];
    let min = bound("ssl_min_protocol_version", &min)?.unwrap_or(V1_2);
    let max = bound("ssl_max_protocol_version", &[("TLSv1.3", V1_3), ("TLSv1.2", V1_2)])?.unwrap_or(V1_3);
    if min > max {
        return Err("ssl_min_protocol_version is above ssl_max_protocol_version".to_owned());
    }
    Ok((min, max))
}

/// The name of the user that runs the program.
fn system_user(environment: &Environment<'_>) -> Option<String> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let users = (environment.read_file)("/etc/passwd".as_ref()).ok();
    let found = users.and_then(|users| {
        String::from_utf8_lossy(&users).lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            (fields.nth(1) == Some(uid.as_str())).then_some(name)
        })
    });
    found.or_else(|| environment.non_empty("USER")?.into_string().ok())
}

#[cfg(test)]
mod tests;
