//! Writes batches one after the other, and tells what has been committed.

use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};

use serde_json::json;
use tokio::sync::mpsc;

use super::{
    batch::{Batch, Move, Rejected},
    positions::Placed,
    pulse::Pulse,
    rejects::DeadLetters,
    shared::{Shared, Stats, now_ms},
    transact::{Done, Loader},
    trouble::Trouble,
};

/// A topic full of them should not fill a log as well.
const REJECTED_SHOWN: u64 = 10;

/// A commit that nobody knows of: the answer did not come. The positions say what became of it.
#[derive(Default)]
pub(super) struct Unanswered(Mutex<Option<Written>>);

struct Written {
    batch: Batch,
    placed: Arc<Vec<Placed>>,
    done: Done,
}

impl Unanswered {
    fn put(&self, batch: Batch, placed: Arc<Vec<Placed>>, done: Done) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Written { batch, placed, done });
    }

    /// Counts it, if all of its positions are where it has moved them.
    pub(super) fn settle(&self, shared: &Shared, now: &[Placed]) {
        let unanswered = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Written { batch, placed, done }) = unanswered else { return };
        let has_moved = |moved: &Move| {
            let before = &placed[moved.partition].assigned;
            let is_same =
                |it: &&Placed| it.assigned.topic == before.topic && it.assigned.partition == before.partition;
            now.iter().find(is_same).is_some_and(|it| it.range.start == moved.to)
        };
        if batch.moves.iter().all(has_moved) {
            account(shared, &batch, &placed, &done.rows, &done.rejected);
        }
    }
}

/// Writes batch after batch until there are no more.
pub(super) async fn write_all(
    shared: Arc<Shared>,
    pulse: Arc<Pulse>,
    mut loader: Loader,
    placed: Arc<Vec<Placed>>,
    letters: Option<DeadLetters>,
    unanswered: Arc<Unanswered>,
    mut batches: mpsc::Receiver<Batch>,
) -> Result<(), Trouble> {
    while let Some(batch) = batches.recv().await {
        let done = pulse.guard(loader.write(&batch, &placed)).await?;
        if let Some(letters) = &letters {
            letters.send(&done.rejected, &placed).await?;
        }
        if let Err(trouble) = pulse.guard(loader.commit(&batch, &placed)).await {
            unanswered.put(batch, placed, done);
            return Err(trouble);
        }
        pulse.committed();
        account(&shared, &batch, &placed, &done.rows, &done.rejected);
    }
    Ok(())
}

/// Counts and tells what has been committed.
fn account(shared: &Shared, batch: &Batch, placed: &[Placed], rows: &[u64], rejected: &[Rejected]) {
    let stats = &shared.stats;
    Stats::add(&stats.records, batch.records);
    for (at, table) in stats.tables.iter().enumerate() {
        let of_table = |rejected: &[Rejected]| {
            rejected.iter().filter(|it| placed[it.partition].assigned.table == at).count() as u64
        };
        let encoded = &batch.tables[at];
        Stats::add(&table.records, encoded.origins.len() as u64 + of_table(&batch.rejected));
        Stats::add(&table.rows, rows[at]);
        Stats::add(&table.bytes, encoded.bytes.len() as u64);
        Stats::add(&table.rejected, of_table(rejected));
    }
    Stats::add(&stats.commits, 1);
    let rejected_before = Stats::add(&stats.rejected, rejected.len() as u64);
    let now = now_ms();
    stats.last_commit_ms.store(now, Ordering::Relaxed);
    if let Some(newest) = batch.newest_ms {
        stats.latency_ms.store((now - newest).max(0), Ordering::Relaxed);
    }
    for moved in &batch.moves {
        let assigned = &placed[moved.partition].assigned;
        stats.progress(&assigned.topic, assigned.partition, |progress| {
            progress.position = moved.to;
            progress.end = progress.end.max(moved.to);
        });
    }
    for (number, rejected) in (rejected_before..).zip(rejected) {
        if number < REJECTED_SHOWN {
            shared.reporter.tell("rejected", &rejected.reason);
            continue;
        }
        if number == REJECTED_SHOWN {
            shared.reporter.tell("rejected_more", "records that are rejected from here on are only counted");
        }
        shared.reporter.event("rejected", json!({ "message": rejected.reason }));
    }
    if shared.reporter.json {
        let positions = batch.moves.iter().map(|moved| {
            let assigned = &placed[moved.partition].assigned;
            json!({ "topic": &*assigned.topic, "partition": assigned.partition, "next_offset": moved.to })
        });
        let positions: Vec<_> = positions.collect();
        shared.reporter.event(
            "commit",
            json!({ "rows": rows.iter().sum::<u64>(), "records": batch.records, "rejected": rejected.len(), "bytes": batch.bytes,
                    "positions": positions }),
        );
    }
}
