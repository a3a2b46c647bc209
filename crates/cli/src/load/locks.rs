//! Locks that somebody else holds: how long they are waited for, and who it is.

use std::time::Duration;

use tokio_postgres::Client;

use super::{trouble::Trouble, worker::table_names};
use crate::plan::Load;

/// How long a lock is waited for within a batch: PostgreSQL's own words come before it counts as silent.
pub(super) fn wait(plan: &Load) -> Duration {
    plan.write_timeout * 3 / 4
}

/// The same for the first look at the positions, which is limited by --timeout as well.
pub(super) fn first_wait(plan: &Load) -> Duration {
    plan.common.timeout.map_or(plan.write_timeout, |timeout| timeout.min(plan.write_timeout)) * 3 / 4
}

/// Limits how long a session waits for locks, unless the user has set a limit himself; whether it did.
///
/// # Errors
/// The connection's.
pub(super) async fn wait_within(postgres: &Client, limit: Duration) -> Result<bool, Trouble> {
    let limit = limit.as_millis().clamp(1, i32::MAX as u128).to_string();
    let set = "select pg_catalog.set_config('lock_timeout', $1, false) from pg_catalog.pg_settings \
               where name = 'lock_timeout' and (setting = '0' or source = 'session')";
    let set = postgres.query(set, &[&limit]).await;
    Ok(!set.map_err(|error| Trouble::postgres("preparing a session", &error))?.is_empty())
}

/// Adds who holds the lock, where it is a lock that did not come. The transaction must have ended.
pub(super) async fn explained(postgres: &Client, plan: &Load, trouble: Trouble) -> Trouble {
    let Trouble::Locked(text) = trouble else { return trouble };
    // Who holds a row is named by its xmax.
    let holders = "select a.pid, coalesce(a.application_name, ''), coalesce(a.state, 'state unknown'), \
                   coalesce(extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::int8, 0) \
                   from pg_catalog.pg_stat_activity a where a.pid <> pg_catalog.pg_backend_pid() and a.pid in ( \
                   select l.pid from pg_catalog.pg_locks l where l.granted and ( \
                   l.locktype = 'relation' and l.relation = any(array(select pg_catalog.to_regclass(n)::oid \
                   from unnest($1::text[]) n)) and l.database = (select oid from pg_catalog.pg_database \
                   where datname = pg_catalog.current_database()) and l.mode in \
                   ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') \
                   or l.locktype = 'transactionid' and l.transactionid = any(array(select o.xmax \
                   from kcopy.offsets o where o.topic = any($2::text[]))))) order by a.xact_start limit 3";
    let topics: Vec<&str> = plan.routes.iter().map(|route| route.topic.as_str()).collect();
    // What cannot be found out does not hide what is known.
    let Ok(found) = postgres.query(holders, &[&table_names(plan), &topics]).await else {
        return Trouble::Locked(text);
    };
    let holders = found.iter().map(|row| {
        let (process, name, state, seconds): (i32, String, String, i64) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        format!(
            "; process {process} ({name}: {state}, in its transaction for {seconds} s) is in the way, and select \
             pg_terminate_backend({process}) ends it"
        )
    });
    Trouble::Locked(text + &holders.collect::<String>())
}
