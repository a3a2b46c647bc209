use std::{collections::HashMap, ffi::OsString, io, path::Path};

use super::*;

fn gather(text: &str, variables: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Settings, String> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    let files: HashMap<&str, &str> = files.iter().copied().collect();
    let environment = Environment {
        variable: &|name| variables.get(name).map(OsString::from),
        read_file: &|path: &Path| match path.to_str().and_then(|path| files.get(path)) {
            Some(content) => Ok(content.as_bytes().to_vec()),
            None => Err(io::Error::from_raw_os_error(2)),
        },
        stdin_is_terminal: false,
        now_ms: 0,
    };
    Settings::gather(Some(text), &environment)
}

const ME: (&str, &str) = ("PGUSER", "me");

#[test]
fn the_string_wins_over_the_service_and_the_service_over_variables() {
    let files = [("/home/.pg_service.conf", "[shop]\nhost=from-service\nport=1111\ndbname=from-service\n")];
    let variables = [ME, ("HOME", "/home"), ("PGHOST", "from-variable"), ("PGOPTIONS", "-c a=b")];
    let found = gather("service=shop dbname=from-string", &variables, &files).unwrap();
    assert_eq!((found.hosts[0].host.as_str(), found.hosts[0].port), ("from-service", 1111));
    assert_eq!((found.dbname.as_str(), found.user.as_str()), ("from-string", "me"));
    assert_eq!(found.options.as_deref(), Some("-c a=b"));
    let error = gather("service=other", &variables, &files).unwrap_err();
    assert!(error.contains("\"other\" is not defined (/home/.pg_service.conf)"), "{error}");
}

#[test]
fn each_host_has_its_port_and_its_password() {
    let files = [("/home/.pgpass", "a:1:*:me:one\nb:2:shop:me:two\n")];
    let found = gather("host=a,b port=1,2 dbname=shop", &[ME, ("HOME", "/home")], &files).unwrap();
    let passwords: Vec<_> = found.hosts.iter().map(|host| host.password.clone().map(|it| it.0)).collect();
    assert_eq!(passwords, [Some("one".to_owned()), Some("two".to_owned())]);
    assert!(found.needs_writable, "one of several may be a standby");
    assert!(!format!("{found:?}").contains("two"), "a password shows");
    assert!(gather("host=a,b port=1,2,3", &[ME], &[]).unwrap_err().contains("3 ports for 2 hosts"));
}

#[test]
fn a_url_is_no_database_wherever_it_stands() {
    let url = "postgres://u:hunter2@h/shop";
    for error in [
        gather(&format!("dbname={url}"), &[ME], &[]).unwrap_err(),
        gather("", &[ME, ("PGDATABASE", url)], &[]).unwrap_err(),
    ] {
        assert!(error.contains("PGDATABASE") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn sslmodes_need_what_they_check_against() {
    let mode = |text: &str| gather(text, &[ME], &[]).map(|found| found.ssl.mode);
    assert_eq!(mode("host=h"), Ok(SslMode::Prefer));
    assert_eq!(mode("host=h sslrootcert=system"), Ok(SslMode::VerifyFull));
    assert_eq!(mode("host=h sslmode=verify-ca sslrootcert=/ca"), Ok(SslMode::VerifyCa));
    for (text, reason) in [
        ("sslmode=verify-full", "whom to trust"),
        ("sslmode=require sslrootcert=system", "needs sslmode=verify-full"),
        ("sslmode=always", "sslmode cannot be \"always\""),
        ("sslnegotiation=direct", "needs sslmode=require"),
        ("sslcrl=/crl", "sslcrl is not supported"),
        ("ssl_max_protocol_version=TLSv1.1", "expected TLSv1.3, TLSv1.2"),
        ("ssl_min_protocol_version=1.3", "expected TLSv1.3, TLSv1.2"),
        ("ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2", "is above"),
        ("gssencmode=require", "is not supported"),
        ("client_encoding=LATIN1", "always UTF8"),
        ("target_session_attrs=standby", "asks for a server that only reads"),
    ] {
        let error = gather(text, &[ME], &[]).unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn a_line_that_is_dead_is_noticed_before_hours_have_passed_unless_somebody_wants_that() {
    let seconds = |count| Some(Duration::from_secs(count));
    let keepalive = |text: &str| {
        let mut keepalive = gather(text, &[ME], &[]).unwrap().keepalive;
        keepalive.or_within(Duration::from_secs(300));
        (keepalive.idle, keepalive.interval, keepalive.count, keepalive.user_timeout)
    };
    assert_eq!(keepalive(""), (seconds(30), seconds(10), Some(3), seconds(300)));
    let own = "keepalives_idle=60 keepalives_interval=0 keepalives_count=9 tcp_user_timeout=0";
    assert_eq!(keepalive(own), (seconds(60), seconds(0), Some(9), seconds(0)));
}
