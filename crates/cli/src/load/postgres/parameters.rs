//! Connection strings as libpq reads them.

use std::collections::BTreeMap;

/// libpq's parameters by their names. Values may be secrets: never show them.
pub type Parameters = BTreeMap<&'static str, String>;

/// What libpq knows. A parameter that cannot be honoured is refused where it is read.
const KEYWORDS: [&str; 38] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "options",
    "passfile",
    "password",
    "port",
    "replication",
    "require_auth",
    "requirepeer",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
];
/// Those that libpq knows beside them, in no order.
const MORE: [&str; 2] = ["tcp_user_timeout", "user"];

/// The name of a parameter, if there is one.
pub(super) fn keyword(name: &str) -> Option<&'static str> {
    KEYWORDS.iter().chain(&MORE).copied().find(|known| *known == name)
}

/// Reads a URL (`postgres://`, `postgresql://`), a `keyword=value` string, or the name of a database.
///
/// # Errors
/// It is none of these, or names a parameter that is not known. The text never holds a value.
pub fn parse(text: &str) -> Result<Parameters, String> {
    for scheme in ["postgres://", "postgresql://"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return parse_url(rest);
        }
    }
    let word = text.split('=').next().unwrap_or("");
    if is_mistaken(word) {
        return Err(EXPECTED.to_owned());
    }
    if !text.contains('=') {
        let name = text.trim();
        return Ok(if name.is_empty() {
            Parameters::new()
        } else {
            Parameters::from([("dbname", name.to_owned())])
        });
    }
    parse_keywords(text)
}

/// What is meant where something else was written, which is not shown: there may be a password in it.
pub(super) const EXPECTED: &str =
    "expected postgresql://USER@HOST/DATABASE, words KEYWORD=VALUE, or the name of a database";

/// Whether it looks like a URL, or like the middle of one, and is none of PostgreSQL's.
fn is_mistaken(word: &str) -> bool {
    let before = word.rsplit_once('@').map(|(before, _)| before);
    word.contains("://") || before.is_some_and(|before| before.contains(':'))
}

fn set(parameters: &mut Parameters, name: &str, value: String) -> Result<(), String> {
    let known = keyword(name).ok_or_else(|| {
        // Behind a quote that is missing, or a letter that should have been encoded, may be a piece of a password.
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return format!("what stands before a = is no connection parameter of PostgreSQL; {EXPECTED}");
        }
        let near = crate::plan::nearest(name, KEYWORDS.iter().chain(&MORE).copied());
        let hint = near.map(|near| format!("; nearest: {near}")).unwrap_or_default();
        format!("{name:?} is no connection parameter of PostgreSQL{hint}")
    })?;
    // As in libpq an empty value is none.
    if value.is_empty() {
        parameters.remove(known);
    } else {
        parameters.insert(known, value);
    }
    Ok(())
}

fn parse_keywords(text: &str) -> Result<Parameters, String> {
    let mut parameters = Parameters::new();
    let mut letters = text.chars().peekable();
    loop {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        let mut name = String::new();
        while let Some(letter) = letters.next_if(|letter| *letter != '=' && !letter.is_whitespace()) {
            name.push(letter);
        }
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        if name.is_empty() && letters.peek().is_none() {
            return Ok(parameters);
        }
        if letters.next() != Some('=') || name.is_empty() {
            // The word may be a piece of a password with spaces: it is not shown.
            return Err("a connection string is a URL, or words keyword=value; values with spaces stand in \
                        single quotes"
                .to_owned());
        }
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        let mut value = String::new();
        if letters.next_if_eq(&'\'').is_some() {
            loop {
                match letters.next() {
                    Some('\'') => break,
                    Some('\\') => value.extend(letters.next()),
                    Some(letter) => value.push(letter),
                    None => return Err(format!("the quote around the value of {name} is not closed")),
                }
            }
        } else {
            while let Some(letter) = letters.next_if(|letter| !letter.is_whitespace()) {
                match letter {
                    '\\' => value.extend(letters.next()),
                    letter => value.push(letter),
                }
            }
        }
        set(&mut parameters, &name, value)?;
    }
}

/// `[user[:password]@][host[:port],...][/dbname][?name=value&...]`
fn parse_url(text: &str) -> Result<Parameters, String> {
    let mut parameters = Parameters::new();
    let whole = text;
    let (text, query) = text.split_once('?').map_or((text, None), |(text, query)| (text, Some(query)));
    let (authority, dbname) = text.split_once('/').unwrap_or((text, ""));
    let (user_info, hosts) = match authority.rsplit_once('@') {
        Some((user_info, hosts)) => (Some(user_info), hosts),
        None => (None, authority),
    };
    let is_port = |host: &str| {
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        port.is_empty() || host.starts_with('[') || port.parse::<u16>().is_ok()
    };
    if user_info.is_none() && !authority.split(',').all(is_port) && whole.contains('@') {
        return Err("a / or ? in the user's name or password of a URL is written %2F or %3F".to_owned());
    }
    if let Some(user_info) = user_info {
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        set(&mut parameters, "user", decode(user)?)?;
        set(&mut parameters, "password", decode(password)?)?;
    }
    let mut names = Vec::new();
    let mut ports = Vec::new();
    for host in hosts.split(',').filter(|_| !hosts.is_empty()) {
        let (name, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (name, rest) =
                    rest.split_once(']').ok_or("a host of the URL begins with [ and has no ]")?;
                (name, rest.strip_prefix(':').unwrap_or(""))
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(decode(name)?);
        ports.push(port.to_owned());
    }
    if ports.iter().any(|port| !port.is_empty()) {
        parameters.insert("port", ports.join(","));
    }
    set(&mut parameters, "host", names.join(","))?;
    set(&mut parameters, "dbname", decode(dbname)?)?;
    for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or("a parameter of the URL is NAME=VALUE, several separated by &")?;
        match (decode(name)?.as_str(), decode(value)?.as_str()) {
            // JDBC's word for it, which libpq takes too.
            ("ssl", "true") => set(&mut parameters, "sslmode", "require".into())?,
            (name, value) => set(&mut parameters, name, value.to_owned())?,
        }
    }
    Ok(parameters)
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.filter(|byte| *byte != 0).ok_or("a % in the URL is followed by two hex digits")?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| "a part of the URL is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        match parse(text) {
            Ok(parameters) => {
                let pairs: Vec<String> =
                    parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
                pairs.join(" ")
            }
            Err(reason) => format!("error: {reason}"),
        }
    }

    #[test]
    fn urls_and_keywords() {
        for (text, expected) in [
            ("", ""),
            ("shop", "dbname=shop"),
            ("postgres://", ""),
            ("postgresql://h", "host=h"),
            (
                "postgres://me:p%40ss%3Aword@h:5433/shop?sslmode=verify-full&application_name=a%20b",
                "application_name=a b dbname=shop host=h password=p@ss:word port=5433 sslmode=verify-full user=me",
            ),
            ("postgres://h1:1,h2,[::1]:3/d", "dbname=d host=h1,h2,::1 port=1,,3"),
            ("postgres://%2Frun%2Fpg/d", "dbname=d host=/run/pg"),
            ("postgres://[::1]/d?user=a@b", "dbname=d host=::1 user=a@b"),
            ("postgres:///d?host=/tmp&ssl=true", "dbname=d host=/tmp sslmode=require"),
            ("host = h port=5433  dbname='my db' user=it\\'s", "dbname=my db host=h port=5433 user=it's"),
            ("password='a\\'b\\\\c'", "password=a'b\\c"),
            ("host=", ""),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn errors_never_show_a_password() {
        for text in [
            "password=hunter2 secret word",
            "password='hunter2",
            "postgres://u:hunter2@h?x",
            "postgres://u:hunter2%zz@h",
            "password=hunter2 hsot=h",
            "password=hunter2 'secret=h",
            "postgres://u:hunter2/secret@h/db",
            "postgres://u:hunter2?secret@h/db",
            "postgres://u:hunter2?secret@h/db?sslmode=require",
            "postgres://u@h/db?hunter2@secret=x",
        ] {
            let reason = parse(text).unwrap_err();
            assert!(!reason.contains("hunter2") && !reason.contains("secret"), "{reason}");
        }
        assert!(parse("hsot=h").unwrap_err().ends_with("nearest: host"));
    }

    #[test]
    fn what_is_nearly_a_url_is_no_database() {
        for text in [
            "postgre://u:hunter2@127.0.0.1/db",
            "POSTGRESQL://u:hunter2@h/db",
            "postgresql:/u:hunter2@h/db",
            "postgresql:u:hunter2@h/db?sslmode=require",
            "mysql://u:hunter2@h/db?a=b",
            "jdbc:postgresql://h/db?password=hunter2",
            "u:hunter2@host:1/db",
            " u:hunter2@h",
        ] {
            assert_eq!(parse(text).unwrap_err(), EXPECTED, "{text}");
        }
        for name in ["shop", "shop:2", "me@shop", "a/b", "sh op"] {
            assert_eq!(shown(name), format!("dbname={name}"));
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(postgres://)?[a-z:@/?=&%,\\[\\]'\\\\ é]{0,40}") {
            let _ = parse(&text);
        }
    }
}
