//! `kcopy load` over TLS: every sslmode against a server with a certificate of its own, and SCRAM bound to the channel.

use std::{path::PathBuf, process::Command};

use kcopy_tests::{Broker, Database, Output, skipped, sql_quoted};

struct Setting {
    broker: Broker,
    database: Database,
    topic: String,
    folder: PathBuf,
}

impl Setting {
    fn load(&self, parameters: &str) -> Output {
        let url = self.database.url();
        let port = url.rsplit_once(':').and_then(|(_, rest)| rest.split_once('/')).expect("a port").0;
        let name = url.rsplit_once('/').expect("a name").1;
        let words = format!("host=127.0.0.1 port={port} dbname={name} {parameters}");
        self.broker.kcopy("load", &[&self.topic, "--into", "secured", "--columns", "n", "-d", &words], b"")
    }

    /// Whether the rows of the last load came over TLS.
    fn used_tls(&mut self, parameters: &str) -> String {
        self.broker.kcat(&["-P", "-t", &self.topic], b"{\"n\":1}\n").expect_success();
        self.load(parameters).expect_success();
        let last = "select tls from secured order by id desc limit 1";
        self.database.value(last)
    }
}

#[test]
fn every_sslmode_does_what_it_says() {
    if !Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success()) {
        skipped("every_sslmode_does_what_it_says", "there is no openssl to make certificates with");
        return;
    }
    let (broker, database) = (Broker::start(), Database::create());
    let topic = broker.create("tls", 1);
    let mut setting = Setting { folder: database.folder(), broker, database, topic };
    let folder = PathBuf::from(setting.database.value("show data_directory"));
    let shown = folder.display().to_string();
    // The server's user makes them: a key must be his own.
    let make = |name: &str| {
        format!(
            "cd {shown} && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
             -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout {name}.key -out {name}.crt 2>&1 && chmod 600 {name}.key"
        )
    };
    for name in ["server", "other"] {
        setting.database.execute(&format!("copy (select 1) to program {}", sql_quoted(&make(name))));
    }
    let hba = "hostssl all scrammer 127.0.0.1/32 scram-sha-256\nhostnossl all insecure 127.0.0.1/32 reject\nhost all all all trust";
    let copy =
        format!("copy (select unnest(string_to_array({}, e'\\n'))) to '{shown}/hba.conf'", sql_quoted(hba));
    setting.database.execute(&copy);
    for sql in [
        "alter system set ssl_cert_file = 'server.crt'".to_owned(),
        "alter system set ssl_key_file = 'server.key'".to_owned(),
        "alter system set ssl = on".to_owned(),
        format!("alter system set hba_file = '{shown}/hba.conf'"),
        "create role scrammer superuser login password 'pencil'; create role insecure superuser login"
            .to_owned(),
        "create function uses_tls() returns bool language sql as
           'select ssl from pg_stat_ssl where pid = pg_backend_pid()'"
            .to_owned(),
        "create table secured(id int8 generated always as identity, n int4, tls bool default uses_tls())"
            .to_owned(),
    ] {
        setting.database.execute(&sql);
    }
    let other = setting.folder.join("other.crt");
    let root = setting.folder.join("server.crt");
    for (name, path) in [("other", &other), ("server", &root)] {
        let pem = setting.database.value(&format!("select pg_read_file('{name}.crt')"));
        std::fs::write(path, pem).expect("a certificate");
    }
    // hba_file needs a restart: it is written over instead.
    let file = setting.database.value("show hba_file");
    setting.database.execute(&copy.replace(&format!("{shown}/hba.conf"), &file));
    setting.database.execute("select pg_reload_conf()");
    while setting.database.connect().query_one("show ssl", &[]).expect("ssl").get::<_, String>(0) != "on" {}

    let root = root.display().to_string();
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
        assert_eq!(setting.used_tls(&parameters), tls, "{parameters}");
    }
    for (parameters, reason) in [
        ("user=insecure sslmode=disable".to_owned(), "rejects connection"),
        (format!("user=postgres sslmode=verify-ca sslrootcert={}", other.display()), "certificate"),
        (
            format!(
                "user=postgres sslmode=verify-full sslrootcert={root} host=localhost.invalid hostaddr=127.0.0.1"
            ),
            "certificate",
        ),
        ("user=scrammer password=wrong sslmode=require".to_owned(), "password authentication failed"),
        ("user=postgres sslmode=require channel_binding=require".to_owned(), "channel binding"),
    ] {
        let refused = setting.load(&format!("{parameters} connect_timeout=5")).expect_code(1);
        assert!(refused.stderr.contains(reason), "{parameters}: {refused:?}");
        assert!(!refused.stderr.contains("pencil") && !refused.stderr.contains("wrong"), "{refused:?}");
    }
}
