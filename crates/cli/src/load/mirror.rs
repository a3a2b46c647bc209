//! `--group`: the positions in a Kafka group as well, so that lag tools see them.
//!
//! Nobody reads them back: what counts is the position in the database, which is never behind.

use std::{sync::Arc, sync::PoisonError, time::Duration};

use kcopy_client::{CommittedOffset, wire::Str};

use super::shared::{Progress, Shared};

/// How often positions are committed.
const INTERVAL: Duration = Duration::from_secs(5);
const LAST_WORD: Duration = Duration::from_secs(3);

/// Commits positions that have moved, for as long as the run lasts.
pub(super) async fn run(shared: Arc<Shared>, group: String) {
    let mut told = Vec::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let offsets = positions(&shared);
        if offsets != told {
            commit(&shared, &group, &offsets).await;
            told = offsets;
        }
    }
}

/// The last word, at the end of a run. It is worth a moment, and no more.
pub(super) async fn finish(shared: &Shared, group: &str) {
    let offsets = positions(shared);
    if tokio::time::timeout(LAST_WORD, commit(shared, group, &offsets)).await.is_err() {
        let text = format!("group {group} could not be told the positions within {LAST_WORD:?}");
        shared.reporter.tell("group_not_told", &text);
    }
}

fn positions(shared: &Shared) -> Vec<CommittedOffset> {
    let partitions = shared.stats.partitions.lock().unwrap_or_else(PoisonError::into_inner);
    let offset = |((topic, partition), progress): (&(Str, i32), &Progress)| {
        CommittedOffset::new(topic.clone(), *partition, progress.position)
    };
    partitions.iter().map(offset).collect()
}

/// A group that cannot be told is no reason to stop loading.
async fn commit(shared: &Shared, group: &str, offsets: &[CommittedOffset]) {
    if offsets.is_empty() {
        return;
    }
    if let Err(error) = shared.client.commit_offsets(group, offsets).await {
        shared
            .reporter
            .tell("group_not_told", &format!("group {group} could not be told the positions: {error}"));
    }
}
