//! Whether a position still means what it meant.

use kcopy_client::PartitionRange;

/// A row of kcopy.offsets.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) next_offset: i64,
    pub(super) log: Log,
    pub(super) leader_epoch: Option<i32>,
}

/// What tells logs of one name from each other, as far as brokers have told it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) cluster_id: Option<String>,
    pub(super) topic_id: Option<String>,
}

impl Log {
    /// What this one is and the present one is not, if they are not the same.
    pub(super) fn unlike(&self, now: &Log) -> Option<String> {
        fn differ<'a>(before: &'a Option<String>, now: &'a Option<String>) -> Option<(&'a str, &'a str)> {
            let both = (before.as_deref()?, now.as_deref()?);
            (both.0 != both.1).then_some(both)
        }
        if let Some((before, now)) = differ(&self.cluster_id, &now.cluster_id) {
            return Some(format!("cluster {before}, while this is cluster {now}"));
        }
        let (before, now) = differ(&self.topic_id, &now.topic_id)?;
        Some(format!("the topic before it was deleted and made anew (id {before} is {now} now)"))
    }
}

/// What the cluster says of one partition.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) range: PartitionRange,
    pub(super) log: Log,
    /// Where the leader epoch ends that is stored with the position, where one is; None within for one that the
    /// leader knows nothing of.
    pub(super) epoch_end: Option<Option<i64>>,
    /// Where the leader knows only an earlier epoch than that: the epoch of what its log has at the offset before the
    /// position.
    pub(super) epoch_instead: Option<i32>,
}

/// What was there and is gone.
#[derive(Debug)]
pub(super) struct Loss {
    pub(super) what: String,
    pub(super) go_on_at: i64,
}

/// What follows for a position.
#[derive(Debug)]
pub(super) enum Verdict {
    Fine,
    /// The leader that answers does not see yet what was read from another one.
    NotYet(String),
    Lost(Loss),
}

/// Judges a position by what the cluster has said after it was read.
pub(super) fn judge(stored: &Stored, seen: &Seen) -> Verdict {
    let next = stored.next_offset;
    let first = seen.range.log_start_offset;
    let end = seen.range.high_watermark;
    let lost = |what: String, go_on_at| Verdict::Lost(Loss { what, go_on_at });
    if let Some(what) = stored.log.unlike(&seen.log) {
        return lost(format!("its position {next} is one of {what}: offsets mean nothing here"), first);
    }
    if next < first {
        return lost(
            format!(
                "offsets {next} to {} are gone before they were loaded: the log begins at {first} now",
                first - 1
            ),
            first,
        );
    }
    // Within one topic epochs only grow.
    if let (Some(read), Some(now)) = (stored.leader_epoch, seen.range.leader_epoch)
        && now < read
        && stored.log.topic_id.is_some()
        && seen.log.topic_id.is_some()
    {
        return Verdict::NotYet(format!(
            "offset {} was read from a leader of epoch {read}, and the one that answers is of epoch {now}",
            next - 1
        ));
    }
    // KIP-320: the log may have grown again behind the cut, to the position or not.
    match seen.epoch_end {
        Some(Some(epoch_end)) if next > end && epoch_end > end => Verdict::NotYet(format!(
            "{next} is the next offset to load, and the leader, which has what is before {epoch_end}, shows offsets up \
             to {end} only for now"
        )),
        Some(None) => lost(
            format!("the log was cut short: its leader knows nothing of the epoch of offset {}", next - 1),
            first,
        ),
        Some(Some(epoch_end)) if epoch_end < next && epoch_end < end => lost(
            format!(
                "the log was cut short at {epoch_end} and written anew from there: offsets {epoch_end} to {} were \
                 loaded or passed and are others now",
                next - 1
            ),
            epoch_end.max(first),
        ),
        _ if next > end => lost(
            format!("the log was cut short: {next} is the next offset to load, and the log ends at {end}"),
            end,
        ),
        _ => judge_epoch(stored, seen),
    }
}

/// A log that reaches far enough, and does not know the epoch: two leaders may have written at the same offsets. But a
/// replica that was made anew from a compacted log does not know an epoch of which nothing is left, either.
fn judge_epoch(stored: &Stored, seen: &Seen) -> Verdict {
    match (stored.leader_epoch, seen.epoch_instead) {
        (Some(read), Some(instead)) if instead < read => Verdict::Lost(Loss {
            what: format!(
                "the log is another one: offset {} was loaded or passed under leader epoch {read}, of which it has \
                 nothing, and what it has there is of epoch {instead}",
                stored.next_offset - 1
            ),
            // Where the two parted is not known, and nothing shall be loaded twice.
            go_on_at: stored.next_offset,
        }),
        _ => Verdict::Fine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Position 10, read under epoch 3, of a log that shows offsets up to `end`.
    fn judged(end: i64, leader_epoch: i32, epoch_end: Option<i64>, id: Option<&str>) -> Verdict {
        judged_with(end, leader_epoch, epoch_end, None, id)
    }

    fn judged_with(
        end: i64,
        leader_epoch: i32,
        epoch_end: Option<i64>,
        epoch_instead: Option<i32>,
        id: Option<&str>,
    ) -> Verdict {
        let log = || Log { topic_id: id.map(str::to_owned), ..Log::default() };
        let stored = Stored { next_offset: 10, log: log(), leader_epoch: Some(3) };
        let range = PartitionRange {
            topic: "t".into(),
            partition: 0,
            start: 0,
            end: None,
            log_start_offset: 0,
            high_watermark: end,
            last_stable_offset: end,
            leader_epoch: Some(leader_epoch),
            last_epoch: None,
        };
        judge(&stored, &Seen { range, log: log(), epoch_end: Some(epoch_end), epoch_instead })
    }

    #[test]
    fn what_a_leader_does_not_show_yet_is_not_lost() {
        let id = Some("id");
        assert!(matches!(judged(10, 3, Some(10), id), Verdict::Fine));
        assert!(matches!(judged(12, 4, Some(11), id), Verdict::Fine));
        // A new leader that has the records, and does not know yet that the others have them.
        assert!(matches!(judged(8, 4, Some(10), id), Verdict::NotYet(_)));
        // A former one.
        assert!(matches!(judged(8, 2, None, id), Verdict::NotYet(_)));
        assert!(matches!(judged(12, 2, None, id), Verdict::NotYet(_)));
        // Where ids cannot tell it may be another topic.
        assert!(matches!(judged(12, 2, None, None), Verdict::Lost(Loss { go_on_at: 0, .. })));
        assert!(matches!(judged(8, 4, Some(8), id), Verdict::Lost(Loss { go_on_at: 8, .. })));
        assert!(matches!(judged(12, 4, Some(8), id), Verdict::Lost(Loss { go_on_at: 8, .. })));
        // It has grown again, and not yet to the position: what is new begins at the cut.
        assert!(matches!(judged(9, 4, Some(6), id), Verdict::Lost(Loss { go_on_at: 6, .. })));
        assert!(matches!(judged(9, 4, None, id), Verdict::Lost(Loss { go_on_at: 0, .. })));
        // A leader that has lost some does not show yet all that it has.
        assert!(matches!(judged(7, 4, Some(8), id), Verdict::NotYet(_)));
    }

    #[test]
    fn logs_are_told_apart_as_far_as_both_are_known() {
        let log = |cluster: Option<&str>, topic: Option<&str>| Log {
            cluster_id: cluster.map(str::to_owned),
            topic_id: topic.map(str::to_owned),
        };
        let unlike = |before: Log, now: Log| before.unlike(&now);
        assert_eq!(unlike(log(Some("a"), Some("1")), log(Some("a"), Some("1"))), None);
        assert_eq!(unlike(log(None, Some("1")), log(Some("a"), None)), None);
        let other = unlike(log(Some("a"), Some("1")), log(Some("b"), Some("2"))).unwrap();
        assert_eq!(other, "cluster a, while this is cluster b");
        let anew = unlike(log(Some("a"), Some("1")), log(Some("a"), Some("2"))).unwrap();
        assert!(anew.contains("deleted and made anew (id 1 is 2 now)"), "{anew}");
    }

    #[test]
    fn a_log_that_is_long_enough_may_be_another_one() {
        let instead = |epoch| judged_with(14, 5, Some(12), epoch, Some("id"));
        assert!(matches!(instead(Some(2)), Verdict::Lost(Loss { go_on_at: 10, .. })));
        // Compaction may have left nothing of the epoch, and nothing at that offset.
        assert!(matches!(instead(Some(4)), Verdict::Fine));
        assert!(matches!(instead(None), Verdict::Fine));
    }
}
