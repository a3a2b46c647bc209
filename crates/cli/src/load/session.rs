//! How a session with PostgreSQL is set up.

use tokio_postgres::Client;

use super::{
    locks,
    postgres::connect::{self, Session},
    pulse::Pulse,
    trouble::Trouble,
};
use crate::plan::Load;

/// What would give the text forms of values another meaning (a role, a database or the server may have set it), our own
/// literals, and what the catalog says. Binary forms know none of it. The time zone stays: defaults and triggers go by it.
const SETTINGS: &str = "\
set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3;
set client_min_messages = warning; set standard_conforming_strings = on; set array_nulls = on;
set \"DateStyle\" = 'ISO, YMD'; set \"IntervalStyle\" = 'postgres'; set xmloption = content; set lc_monetary = 'C';
set quote_all_identifiers = off";

/// Limits that are about other sessions than one that waits for records, or for a cluster; what the connection string
/// says of them holds. Since PostgreSQL 14 there is one for idle sessions, and a backend that is busy can notice that
/// nobody waits for it any more.
const LIMITS: &str = "\
select pg_catalog.set_config(s.name, w.value, false) from pg_catalog.pg_settings s
join (values ('idle_session_timeout', '0'), ('idle_in_transaction_session_timeout', '5min'),
             ('client_connection_check_interval', '10s')) w(name, value) on w.name = s.name
where s.source <> 'client' and (s.name <> 'client_connection_check_interval' or s.setting = '0')";

/// The server's process for a session, and when it began.
pub(super) type Backend = (i32, String);

/// Opens a session, and ends the backend of the one before: where the line was cut it may still hold its positions.
/// `backend` is that of the new one then.
///
/// # Errors
/// No server takes us, or the connection's.
pub(super) async fn open(
    plan: &Load,
    pulse: &Pulse,
    backend: &mut Option<Backend>,
) -> Result<Session, Trouble> {
    let failed = |error: tokio_postgres::Error| Trouble::postgres("preparing a session", &error);
    pulse.dial();
    let postgres = connect::connect(&plan.server).await?;
    pulse.beat();
    postgres.batch_execute(SETTINGS).await.map_err(failed)?;
    postgres.query(LIMITS, &[]).await.map_err(failed)?;
    check_idle(&postgres, plan).await?;
    if let Some((process, since)) = backend {
        let end = "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity \
                   where pid = $1 and backend_start::text = $2";
        // One that is of another server, or may not be ended, ends by itself.
        let _ = postgres.query(end, &[process, since]).await;
    }
    // A role that was set after the login may not see when it began.
    let own = "select pid, backend_start::text from pg_catalog.pg_stat_activity \
               where pid = pg_catalog.pg_backend_pid() and backend_start is not null";
    let row = postgres.query_opt(own, &[]).await.map_err(failed)?;
    *backend = row.map(|row| (row.get(0), row.get(1)));
    locks::wait_within(&postgres, locks::first_wait(plan)).await?;
    pulse.beat();
    Ok(postgres)
}

/// While a batch fills nothing is said to PostgreSQL: a session that ends meanwhile never loads it.
async fn check_idle(postgres: &Client, plan: &Load) -> Result<(), Trouble> {
    let limit = "select setting::int8 from pg_catalog.pg_settings where name = 'idle_session_timeout'";
    let limit = postgres.query_opt(limit, &[]).await;
    let limit = limit.map_err(|error| Trouble::postgres("preparing a session", &error))?;
    let limit = limit.map_or(0, |row| row.get::<_, i64>(0)).unsigned_abs();
    let time = plan.batch.time;
    if limit > 0 && u128::from(limit) <= time.as_millis() {
        return Err(Trouble::Final(format!(
            "idle_session_timeout, which the connection string or PGOPTIONS set to {limit} ms, ends a session before \
             its batch is full: it must be longer than --batch-time ({time:?})"
        )));
    }
    Ok(())
}

/// Which characters a database can hold. The tables of most encodings are PostgreSQL's own: of them only ASCII is sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Charset {
    /// The last one.
    last: char,
}

impl Charset {
    /// That of the database.
    ///
    /// # Errors
    /// The connection's.
    pub(super) async fn of(postgres: &Client) -> Result<Charset, Trouble> {
        let encoding = postgres.query_one("select pg_catalog.getdatabaseencoding()::text", &[]).await;
        let encoding = encoding.map_err(|error| Trouble::postgres("preparing a session", &error))?;
        Ok(Charset::named(encoding.get(0)))
    }

    fn named(encoding: &str) -> Charset {
        let last = match encoding {
            "UTF8" | "SQL_ASCII" => char::MAX,
            "LATIN1" => '\u{ff}',
            _ => '\u{7f}',
        };
        Charset { last }
    }

    /// The text, and what the database cannot hold of it as JSON would escape it. No text there holds NUL.
    pub(super) fn fit(self, text: &str) -> String {
        let mut fitting = String::with_capacity(text.len());
        for character in text.chars() {
            if character == '\0' {
                fitting.push_str(if self.last == char::MAX { "\u{fffd}" } else { "\\u0000" });
            } else if character <= self.last {
                fitting.push(character);
            } else {
                let mut units = [0; 2];
                let units = character.encode_utf16(&mut units);
                fitting.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
            }
        }
        fitting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_fits_into_every_encoding() {
        let text = "a\0é€😀";
        for (encoding, expected) in [
            ("UTF8", "a\u{fffd}é€😀"),
            ("LATIN1", "a\\u0000é\\u20ac\\ud83d\\ude00"),
            ("EUC_JP", "a\\u0000\\u00e9\\u20ac\\ud83d\\ude00"),
        ] {
            assert_eq!(Charset::named(encoding).fit(text), expected, "{encoding}");
        }
    }
}
