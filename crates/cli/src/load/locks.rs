//! Locks that somebody else holds: how long they are waited for, and who it is.

use std::time::Duration;

use tokio_postgres::{Client, types::ToSql};

use super::{pulse::Pulse, trouble::Trouble, worker::table_names};
use crate::plan::Load;

/// How long a lock is waited for within a batch: PostgreSQL's own words come before it counts as silent.
pub(super) fn wait(plan: &Load) -> Duration {
    plan.write_timeout * 3 / 4
}

/// The same while a loader begins: no longer than --timeout, with --follow as well, so that who is in the way is named
/// before whoever has started us loses patience.
pub(super) fn first_wait(plan: &Load) -> Duration {
    plan.common.timeout.map_or(plan.write_timeout, |timeout| timeout.min(plan.write_timeout)) * 3 / 4
}

/// Limits how long a session waits for locks, unless the user has set a limit himself.
///
/// # Errors
/// The connection's.
pub(super) async fn wait_within(postgres: &Client, limit: Duration) -> Result<(), Trouble> {
    let limit = limit.as_millis().clamp(1, i32::MAX as u128).to_string();
    // That of a session is the one before.
    let set = "select pg_catalog.set_config('lock_timeout', $1, false) from pg_catalog.pg_settings \
               where name = 'lock_timeout' and (setting = '0' or source = 'session')";
    let set = postgres.query(set, &[&limit]).await;
    set.map(|_| ()).map_err(|error| Trouble::postgres("preparing a session", &error))
}

/// Adds who holds the lock, where it is a lock that did not come. The transaction must have ended.
pub(super) async fn explained(postgres: &Client, plan: &Load, pulse: &Pulse, trouble: Trouble) -> Trouble {
    let Trouble::Locked(mut text) = trouble else { return trouble };
    let topics: Vec<&str> = plan.routes.iter().map(|route| route.topic.as_str()).collect();
    let (positions, tables) = (vec!["kcopy.offsets".to_owned()], table_names(plan));
    let questions: [(&str, &(dyn ToSql + Sync)); 3] =
        [(LOCKS_OF_TABLES, &positions), (LOCKS_OF_TABLES, &tables), (LOCKS_OF_ROWS, &topics)];
    for (at, (locks, of)) in questions.into_iter().enumerate() {
        pulse.beat();
        // What cannot be found out does not hide what is known.
        let found = postgres.query(&HOLDERS.replace("{locks}", locks), &[of]).await.unwrap_or_default();
        for row in &found {
            let (process, name, state): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
            // Not everybody may see since when.
            let seconds: Option<i64> = row.get(3);
            let time = seconds.map(|seconds| format!(", in its transaction for {seconds} s"));
            text += &format!(
                "; process {process} ({name}: {state}{}) is in the way, and select pg_terminate_backend({process}) ends it",
                time.unwrap_or_default()
            );
        }
        if at == 0 && !found.is_empty() {
            // It keeps us from looking at the rows as well.
            break;
        }
    }
    Trouble::Locked(text)
}

const HOLDERS: &str = "\
select a.pid, coalesce(a.application_name, ''), coalesce(a.state, 'state unknown'),
       extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::int8
from pg_catalog.pg_stat_activity a where a.pid <> pg_catalog.pg_backend_pid()
and a.pid in (select l.pid from pg_catalog.pg_locks l where l.granted and {locks})
order by a.xact_start limit 3";

const LOCKS_OF_TABLES: &str = "\
l.locktype = 'relation'
and l.relation = any(array(select pg_catalog.to_regclass(n)::oid from pg_catalog.unnest($1::text[]) n))
and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')";

/// Who holds a row is named by its xmax.
const LOCKS_OF_ROWS: &str = "\
l.locktype = 'transactionid'
and l.transactionid = any(array(select o.xmax from kcopy.offsets o where o.topic = any($1::text[])))";
