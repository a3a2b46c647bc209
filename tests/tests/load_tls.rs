//! `kcopy load` over TLS: every sslmode against a server with a certificate of its own, certificates of clients, the
//! system's authorities, and SCRAM bound to the channel.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use kcopy_tests::{Broker, Database, Output, program, run, skipped, sql_quoted};

/// Whose certificates there are: each its own authority, with the name that it says.
const CERTIFICATES: [(&str, &str); 3] =
    [("server", "localhost"), ("client", "certified"), ("other", "localhost")];

/// Who gets in how.
const HBA: &str = "hostssl all scrammer 127.0.0.1/32 scram-sha-256\n\
                   hostssl all certified 127.0.0.1/32 cert\n\
                   hostnossl all insecure,certified 127.0.0.1/32 reject\n\
                   host all all all trust";

struct Setting {
    broker: Broker,
    database: Database,
    topic: String,
    /// With a `.crt` and a `.key` for each of them.
    certificates: &'static Path,
}

impl Setting {
    /// None where there is nothing to make certificates with.
    fn new(test: &str) -> Option<Self> {
        static CERTIFICATES: OnceLock<PathBuf> = OnceLock::new();
        if !Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success()) {
            skipped(test, "there is no openssl to make certificates with");
            return None;
        }
        let (broker, mut database) = (Broker::start(), Database::create());
        // One server serves all tests of this program.
        let certificates = CERTIFICATES.get_or_init(|| secure_the_server(&mut database));
        let topic = broker.create(&format!("tls-{test}"), 1);
        database.execute(
            "create function uses_tls() returns bool language sql as
               'select ssl from pg_stat_ssl where pid = pg_backend_pid()';
             create function tls_version() returns text language sql as
               'select version from pg_stat_ssl where pid = pg_backend_pid()';
             create table secured(id int8 generated always as identity, n int4, tls bool default uses_tls(),
                                  version text default tls_version())",
        );
        Some(Self { broker, database, topic, certificates })
    }

    fn file(&self, name: &str) -> String {
        self.certificates.join(name).display().to_string()
    }

    fn load(&self, parameters: &str, authorities: Option<&str>) -> Output {
        let port = self.database.port();
        let url = self.database.url();
        let name = url.rsplit_once('/').expect("a name").1;
        let words = format!("host=127.0.0.1 port={port} dbname={name} connect_timeout=5 {parameters}");
        let mut command = program("kcopy");
        command.args(["load", &self.topic, "--into", "secured", "--columns", "n", "-d", &words]);
        command.args(["-b", self.broker.bootstrap()]);
        if let Some(file) = authorities {
            command.env("SSL_CERT_FILE", file).env_remove("SSL_CERT_DIR");
        }
        run(&mut command)
    }

    /// Whether the rows of a load came over TLS.
    fn used_tls(&mut self, parameters: &str, authorities: Option<&str>) -> String {
        self.broker.kcat(&["-P", "-t", &self.topic], b"{\"n\":1}\n").expect_success();
        self.load(parameters, authorities).expect_success();
        self.database.value("select tls from secured order by id desc limit 1")
    }

    fn expect_refusal(&self, parameters: &str, authorities: Option<&str>, reason: &str) {
        let refused = self.load(parameters, authorities).expect_code(1);
        assert!(!refused.stderr.contains("trying again"), "{parameters}: {refused:?}");
        assert!(refused.stderr.contains(reason), "{parameters}: {refused:?}");
        assert!(!refused.stderr.contains("pencil") && !refused.stderr.contains("wrong"), "{refused:?}");
    }
}

/// Gives the server its certificate and rules; returns the folder with all certificates.
fn secure_the_server(database: &mut Database) -> PathBuf {
    let data = database.value("show data_directory");
    // The server's user makes them: a key must be his own.
    for (name, common_name) in CERTIFICATES {
        let make = format!(
            "cd {data} && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={common_name} \
             -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout {name}.key -out {name}.crt 2>&1 && chmod 600 {name}.key"
        );
        database.execute(&format!("copy (select 1) to program {}", sql_quoted(&make)));
    }
    // Another hba_file needs a restart: it is written over instead.
    let file = database.value("show hba_file");
    database.execute(&format!(
        "copy (select unnest(string_to_array({}, e'\\n'))) to {}",
        sql_quoted(HBA),
        sql_quoted(&file)
    ));
    for sql in [
        "alter system set ssl_cert_file = 'server.crt'",
        "alter system set ssl_key_file = 'server.key'",
        "alter system set ssl_ca_file = 'client.crt'",
        "alter system set ssl = on",
        "create role scrammer superuser login password 'pencil'; create role insecure superuser login;
         create role certified superuser login",
        "select pg_reload_conf()",
    ] {
        database.execute(sql);
    }
    let folder = database.folder();
    for name in CERTIFICATES.iter().flat_map(|(name, _)| [format!("{name}.crt"), format!("{name}.key")]) {
        let pem = database.value(&format!("select pg_read_file('{name}')"));
        fs::write(folder.join(&name), pem).expect("a file");
        fs::set_permissions(folder.join(name), Permissions::from_mode(0o600)).expect("a file of its own");
    }
    // The postmaster tells its children while it reloads, and takes no connection before it has done so.
    database.wait_for("show ssl", "on");
    folder
}

#[test]
fn every_sslmode_does_what_it_says() {
    let Some(mut setting) = Setting::new("every_sslmode_does_what_it_says") else { return };
    let (root, other) = (setting.file("server.crt"), setting.file("other.crt"));
    for (parameters, tls) in [
        ("user=postgres sslmode=disable".to_owned(), "f"),
        ("user=postgres sslmode=allow".to_owned(), "f"),
        ("user=insecure sslmode=allow".to_owned(), "t"),
        ("user=postgres".to_owned(), "t"),
        ("user=postgres sslmode=require".to_owned(), "t"),
        (format!("user=postgres sslmode=verify-ca sslrootcert={root}"), "t"),
        (format!("user=postgres sslmode=verify-full sslrootcert={root}"), "t"),
        ("user=scrammer password=pencil sslmode=require channel_binding=require".to_owned(), "t"),
    ] {
        assert_eq!(setting.used_tls(&parameters, None), tls, "{parameters}");
    }
    for (parameters, reason) in [
        ("user=insecure sslmode=disable".to_owned(), "rejects connection"),
        (format!("user=postgres sslmode=verify-ca sslrootcert={other}"), "certificate"),
        (
            format!(
                "user=postgres sslmode=verify-full sslrootcert={root} host=localhost.invalid hostaddr=127.0.0.1"
            ),
            "certificate",
        ),
        ("user=scrammer password=wrong sslmode=require".to_owned(), "password authentication failed"),
        ("user=postgres sslmode=require channel_binding=require".to_owned(), "channel binding"),
    ] {
        setting.expect_refusal(&parameters, None, reason);
    }
}

#[test]
fn the_version_of_tls_can_be_bounded() {
    let Some(mut setting) = Setting::new("the_version_of_tls_can_be_bounded") else { return };
    for (parameters, version) in [
        ("sslmode=require ssl_min_protocol_version=TLSv1.3", "TLSv1.3"),
        ("sslmode=require ssl_min_protocol_version=TLSv1.1 ssl_max_protocol_version=TLSv1.2", "TLSv1.2"),
        ("sslmode=require", "TLSv1.3"),
    ] {
        assert_eq!(setting.used_tls(&format!("user=postgres {parameters}"), None), "t", "{parameters}");
        let used = setting.database.value("select version from secured order by id desc limit 1");
        assert_eq!(used, version, "{parameters}");
    }
}

#[test]
fn a_client_shows_its_certificate() {
    let Some(mut setting) = Setting::new("a_client_shows_its_certificate") else { return };
    let with = |name: &str, key: &str| {
        let (certificate, key) = (setting.file(&format!("{name}.crt")), setting.file(&format!("{key}.key")));
        format!("user=certified sslmode=require sslcert={certificate} sslkey={key}")
    };
    let (right, strange, mixed) = (with("client", "client"), with("other", "other"), with("client", "other"));
    let keyless = format!("user=certified sslmode=require sslcert={}", setting.file("client.crt"));
    let missing = right.replace("client.key", "nowhere.key");
    assert_eq!(setting.used_tls(&right, None), "t");
    setting.expect_refusal("user=certified sslmode=require", None, "requires a valid client certificate");
    // A certificate counts only for the role that it names.
    setting.expect_refusal(&right.replace("user=certified", "user=nobody"), None, "nobody");
    // With TLS 1.3 the server says so after the handshake: it is no lost connection, and not tried again.
    setting.expect_refusal(&strange, None, "UnknownCA");
    setting.expect_refusal(&mixed, None, "the client's certificate");
    setting.expect_refusal(&keyless, None, "needs its key: sslkey");
    setting.expect_refusal(&missing, None, "nowhere.key");
    // Who names one means it, also where a connection without TLS would do.
    let prefer = missing.replace("user=certified sslmode=require", "user=postgres sslmode=prefer");
    setting.expect_refusal(&prefer, None, "nowhere.key");
    assert_eq!(setting.used_tls(&prefer.replace("sslmode=prefer", "sslmode=allow"), None), "f");
}

#[test]
fn the_systems_authorities_can_be_trusted() {
    let Some(mut setting) = Setting::new("the_systems_authorities_can_be_trusted") else { return };
    let system = "user=postgres sslrootcert=system";
    let (root, other) = (setting.file("server.crt"), setting.file("other.crt"));
    assert_eq!(setting.used_tls(system, Some(&root)), "t");
    assert_eq!(setting.used_tls(&format!("{system} sslmode=verify-full"), Some(&root)), "t");
    setting.expect_refusal(system, Some(&other), "certificate");
    // What is not said is verify-full: the name counts.
    setting.expect_refusal(
        &format!("{system} host=localhost.invalid hostaddr=127.0.0.1"),
        Some(&root),
        "certificate",
    );
    setting.expect_refusal(system, Some(&setting.file("nowhere.crt")), "the system trusts no authority");
    let weak = setting.load(&format!("{system} sslmode=verify-ca"), Some(&root));
    assert!(weak.code() != 0 && weak.stderr.contains("needs sslmode=verify-full"), "{weak:?}");
}

#[test]
fn a_client_key_is_a_secret_without_a_password() {
    let Some(mut setting) = Setting::new("a_client_key_is_a_secret_without_a_password") else { return };
    let key = setting.file("client.key");
    let made = |name: &str, how: &[&str], mode: u32| {
        let path = setting.file(name);
        let openssl = Command::new("openssl").args(["pkey", "-in", &key, "-out", &path]).args(how).output();
        assert!(openssl.expect("openssl").status.success());
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode");
        path
    };
    let der = made("raw.key", &["-outform", "der"], 0o600);
    for (path, reason) in [
        (made("open.key", &[], 0o644), "others may read it (chmod 0600"),
        (
            made("locked.key", &["-aes256", "-passout", "pass:wrong"], 0o600),
            "it is encrypted; what can be read is a PEM file without a password; to make one: (umask 077; openssl pkey -in '",
        ),
        (der.clone(), "openssl pkey -inform der -in '"),
    ] {
        let certificate = setting.file("client.crt");
        let words = format!("user=certified sslmode=require sslcert={certificate} sslkey={path}");
        setting.expect_refusal(&words, None, reason);
    }
    // What it says helps.
    let words = format!("user=certified sslmode=require sslcert={} sslkey=", setting.file("client.crt"));
    let refused = setting.load(&format!("{words}{der}"), None);
    let (_, command) = refused.stderr.split_once("to make one: ").expect("a command");
    run(Command::new("sh").args(["-c", command])).expect_success();
    assert_eq!(setting.used_tls(&format!("{words}{der}.pem"), None), "t");
}
