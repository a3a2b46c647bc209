//! Incremental fetch sessions (KIP-227): what each session fetches, and what its client already knows.
//!
//! ```text
//! full fetch, epoch 0 --> session (id, epoch 1) -- fetch with epoch n --> epoch n+1 -- ... -- epoch -1 --> closed
//! ```

use std::collections::{BTreeMap, HashMap};

use kcopy_wire::{ErrorCode, Str, Uuid};

/// A session that was silent this long makes room for another.
const EVICTION_MS: i64 = 120_000;
/// A full fetch that asks for a session.
const INITIAL_EPOCH: i32 = 0;
/// A full fetch that wants none, or closes the one it names.
const FINAL_EPOCH: i32 = -1;

/// A partition as a fetch names it: by name before version 13, by topic id from then on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FetchKey {
    pub(crate) topic: Str,
    pub(crate) topic_id: Uuid,
    pub(crate) partition: i32,
}

/// What a fetch wants of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FetchTarget {
    pub(crate) key: FetchKey,
    /// The name behind a topic id, once there was one.
    pub(crate) resolved: Option<Str>,
    pub(crate) fetch_offset: i64,
    pub(crate) max_bytes: i32,
    pub(crate) current_leader_epoch: Option<i32>,
    pub(crate) last_fetched_epoch: Option<i32>,
}

/// What a fetch found in a partition, as far as sessions care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) failed: bool,
    pub(crate) has_records: bool,
    pub(crate) diverges: bool,
    pub(crate) high_watermark: i64,
    pub(crate) log_start_offset: i64,
}

/// How a fetch relates to sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchMode {
    /// No session, and none wanted.
    Sessionless,
    /// All partitions are named; a session is wanted.
    Full { uses_topic_ids: bool },
    /// The partitions are the session's.
    Incremental { session_id: i32, next_epoch: i32 },
}

#[derive(Debug)]
struct Cached {
    target: FetchTarget,
    high_watermark: i64,
    log_start_offset: i64,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    uses_topic_ids: bool,
    created_ms: i64,
    used_ms: i64,
    next_place: u64,
    places: HashMap<FetchKey, u64>,
    /// In the order of reading: who got records goes to the end, so that nobody starves.
    partitions: BTreeMap<u64, Cached>,
}

impl Session {
    fn put(&mut self, cached: Cached) {
        self.places.insert(cached.target.key.clone(), self.next_place);
        self.partitions.insert(self.next_place, cached);
        self.next_place += 1;
    }

    fn remove(&mut self, key: &FetchKey) -> Option<Cached> {
        let place = self.places.remove(key)?;
        self.partitions.remove(&place)
    }

    fn get_mut(&mut self, key: &FetchKey) -> Option<&mut Cached> {
        self.partitions.get_mut(self.places.get(key)?)
    }

    fn update(&mut self, targets: Vec<FetchTarget>, forgotten: &[FetchKey]) {
        for target in targets {
            match self.get_mut(&target.key) {
                Some(cached) => {
                    let resolved = cached.target.resolved.take().or_else(|| target.resolved.clone());
                    cached.target = FetchTarget { resolved, ..target };
                }
                None => self.put(Cached::new(target)),
            }
        }
        for key in forgotten {
            self.remove(key);
        }
    }

    fn targets(&self) -> Vec<FetchTarget> {
        self.partitions.values().map(|cached| cached.target.clone()).collect()
    }
}

impl Cached {
    /// Nothing is known to the client yet, so the first answer names the partition.
    fn new(mut target: FetchTarget) -> Self {
        // The session outlives the request's frame.
        target.key.topic = target.key.topic.detach();
        Self { target, high_watermark: -1, log_start_offset: -1 }
    }

    /// Takes in what was found; true if the client must hear of it.
    fn learn(&mut self, found: &Found) -> bool {
        let news = found.has_records
            || found.failed
            || found.diverges
            || found.high_watermark != self.high_watermark
            || found.log_start_offset != self.log_start_offset;
        self.log_start_offset = found.log_start_offset;
        // After an error the next answer is news whatever it says.
        self.high_watermark = if found.failed { -1 } else { found.high_watermark };
        news
    }
}

/// The fetch sessions of one broker.
#[derive(Debug, Default)]
pub(crate) struct FetchSessions {
    sessions: BTreeMap<i32, Session>,
}

impl FetchSessions {
    /// Opens, continues or closes a session; says how to fetch and what.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH or FETCH_SESSION_TOPIC_ID_ERROR.
    pub(crate) fn begin(
        &mut self,
        now_ms: i64,
        uses_topic_ids: bool,
        (session_id, epoch): (i32, i32),
        targets: Vec<FetchTarget>,
        forgotten: &[FetchKey],
    ) -> Result<(FetchMode, Vec<FetchTarget>), ErrorCode> {
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            self.sessions.remove(&session_id);
            let mode = if epoch == FINAL_EPOCH {
                FetchMode::Sessionless
            } else {
                FetchMode::Full { uses_topic_ids }
            };
            return Ok((mode, without_duplicates(targets)));
        }
        let session = self.sessions.get_mut(&session_id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.uses_topic_ids != uses_topic_ids {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        session.update(targets, forgotten);
        if session.partitions.is_empty() {
            self.sessions.remove(&session_id);
            return Ok((FetchMode::Sessionless, Vec::new()));
        }
        session.used_ms = now_ms;
        session.epoch = next_epoch(session.epoch);
        let mode = FetchMode::Incremental { session_id, next_epoch: session.epoch };
        Ok((mode, session.targets()))
    }

    /// Ends a fetch: the session id to answer with, and which partitions belong into the answer.
    ///
    /// # Errors
    /// INVALID_FETCH_SESSION_EPOCH if the session went on meanwhile.
    pub(crate) fn finish(
        &mut self,
        now_ms: i64,
        mode: FetchMode,
        max_sessions: usize,
        new_id: impl FnMut() -> i32,
        found: &[(&FetchTarget, Found)],
    ) -> Result<(i32, Vec<bool>), ErrorCode> {
        match mode {
            FetchMode::Sessionless => Ok((0, vec![true; found.len()])),
            FetchMode::Full { uses_topic_ids } => {
                let id = self.create(now_ms, uses_topic_ids, max_sessions, new_id, found);
                Ok((id, vec![true; found.len()]))
            }
            FetchMode::Incremental { session_id, next_epoch } => {
                let session = self
                    .sessions
                    .get_mut(&session_id)
                    .filter(|session| session.epoch == next_epoch)
                    .ok_or(ErrorCode::INVALID_FETCH_SESSION_EPOCH)?;
                let news = found.iter().map(|(target, found)| session.learn(&target.key, found));
                Ok((session_id, news.collect()))
            }
        }
    }

    fn create(
        &mut self,
        now_ms: i64,
        uses_topic_ids: bool,
        max_sessions: usize,
        mut new_id: impl FnMut() -> i32,
        found: &[(&FetchTarget, Found)],
    ) -> i32 {
        if !self.make_room(now_ms, max_sessions, found.len()) {
            return 0;
        }
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            uses_topic_ids,
            created_ms: now_ms,
            used_ms: now_ms,
            next_place: 0,
            places: HashMap::new(),
            partitions: BTreeMap::new(),
        };
        for (target, found) in found {
            let mut cached = Cached::new((*target).clone());
            cached.learn(found);
            session.put(cached);
        }
        let mut id = new_id();
        while id <= 0 || self.sessions.contains_key(&id) {
            id = new_id();
        }
        self.sessions.insert(id, session);
        id
    }

    /// A new session may displace one that is silent, or one that is not young and smaller.
    fn make_room(&mut self, now_ms: i64, max_sessions: usize, size: usize) -> bool {
        if self.sessions.len() < max_sessions {
            return true;
        }
        let idlest = self.sessions.iter().min_by_key(|(id, session)| (session.used_ms, **id));
        let victim = match idlest {
            None => return false,
            Some((id, session)) if now_ms - session.used_ms > EVICTION_MS => Some(*id),
            Some(_) => self
                .sessions
                .iter()
                .filter(|(_, session)| now_ms - session.created_ms > EVICTION_MS)
                .map(|(id, session)| (session.partitions.len(), *id))
                .min()
                .filter(|(smallest, _)| size > *smallest)
                .map(|(_, id)| id),
        };
        victim.is_some_and(|id| self.sessions.remove(&id).is_some())
    }
}

impl Session {
    fn learn(&mut self, key: &FetchKey, found: &Found) -> bool {
        let Some(cached) = self.get_mut(key) else { return false };
        let news = cached.learn(found);
        if found.has_records
            && let Some(cached) = self.remove(key)
        {
            self.put(cached);
        }
        news
    }
}

/// Epochs skip the numbers with a meaning of their own.
fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        ..0 => FINAL_EPOCH,
        i32::MAX => 1,
        _ => epoch + 1,
    }
}

/// The last mention of a partition counts, at the place of the first, as in a linked hash map.
fn without_duplicates(targets: Vec<FetchTarget>) -> Vec<FetchTarget> {
    let mut places: HashMap<FetchKey, usize> = HashMap::with_capacity(targets.len());
    let mut unique: Vec<FetchTarget> = Vec::with_capacity(targets.len());
    for target in targets {
        match places.get(&target.key) {
            Some(place) => unique[*place] = target,
            None => {
                places.insert(target.key.clone(), unique.len());
                unique.push(target);
            }
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(partition: i32) -> FetchTarget {
        FetchTarget {
            key: FetchKey { topic: "t".into(), topic_id: Uuid::ZERO, partition },
            resolved: None,
            fetch_offset: 0,
            max_bytes: 100,
            current_leader_epoch: None,
            last_fetched_epoch: None,
        }
    }

    fn found(has_records: bool, high_watermark: i64) -> Found {
        Found { failed: false, has_records, diverges: false, high_watermark, log_start_offset: 0 }
    }

    /// Opens a session over partitions 0 and 1, both empty.
    fn open(sessions: &mut FetchSessions, now_ms: i64, id: i32, max_sessions: usize) -> i32 {
        let (mode, targets) = sessions.begin(now_ms, false, (0, 0), vec![target(0), target(1)], &[]).unwrap();
        let found: Vec<_> = targets.iter().map(|target| (target, found(false, 0))).collect();
        sessions.finish(now_ms, mode, max_sessions, || id, &found).unwrap().0
    }

    fn partitions(targets: &[FetchTarget]) -> Vec<i32> {
        targets.iter().map(|target| target.key.partition).collect()
    }

    #[test]
    fn only_news_is_sent_and_whoever_got_records_goes_last() {
        let mut sessions = FetchSessions::default();
        let id = open(&mut sessions, 0, 5, 10);
        assert_eq!(id, 5);
        let (mode, targets) = sessions.begin(1, false, (id, 1), vec![], &[]).unwrap();
        assert_eq!(partitions(&targets), [0, 1]);
        let results = [(&targets[0], found(true, 3)), (&targets[1], found(false, 0))];
        assert_eq!(sessions.finish(1, mode, 10, || 9, &results), Ok((5, vec![true, false])));
        let (_, targets) = sessions.begin(2, false, (id, 2), vec![], &[]).unwrap();
        assert_eq!(partitions(&targets), [1, 0]);
    }

    #[test]
    fn partitions_come_and_go() {
        let mut sessions = FetchSessions::default();
        let id = open(&mut sessions, 0, 5, 10);
        let (_, targets) = sessions.begin(1, false, (id, 1), vec![target(2)], &[target(0).key]).unwrap();
        assert_eq!(partitions(&targets), [1, 2]);
        let forgotten = [target(1).key, target(2).key];
        let (mode, targets) = sessions.begin(1, false, (id, 2), vec![], &forgotten).unwrap();
        assert_eq!((mode, targets.len()), (FetchMode::Sessionless, 0));
        let gone = sessions.begin(1, false, (id, 3), vec![], &[]);
        assert_eq!(gone.unwrap_err(), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    }

    #[test]
    fn errors_are_news_and_so_is_what_follows_them() {
        let mut sessions = FetchSessions::default();
        let id = open(&mut sessions, 0, 5, 10);
        let failed = Found { failed: true, ..found(false, -1) };
        for (epoch, result) in [(1, failed), (2, found(false, 0))] {
            let (mode, targets) = sessions.begin(1, false, (id, epoch), vec![], &[]).unwrap();
            let answer = sessions.finish(1, mode, 10, || 9, &[(&targets[0], result)]);
            assert_eq!(answer, Ok((5, vec![true])), "epoch {epoch}");
        }
    }

    #[test]
    fn wrong_epochs_and_forms_are_refused() {
        let mut sessions = FetchSessions::default();
        let id = open(&mut sessions, 0, 5, 10);
        let wrong_epoch = sessions.begin(1, false, (id, 7), vec![], &[]);
        assert_eq!(wrong_epoch.unwrap_err(), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        let with_ids = sessions.begin(1, true, (id, 1), vec![], &[]);
        assert_eq!(with_ids.unwrap_err(), ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        let (mode, _) = sessions.begin(1, false, (id, -1), vec![target(0)], &[]).unwrap();
        assert_eq!(mode, FetchMode::Sessionless);
        let closed = sessions.begin(1, false, (id, 1), vec![], &[]);
        assert_eq!(closed.unwrap_err(), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    }

    #[test]
    fn a_full_cache_gives_no_session_until_one_is_silent() {
        let mut sessions = FetchSessions::default();
        assert_eq!(open(&mut sessions, 0, 5, 1), 5);
        assert_eq!(open(&mut sessions, EVICTION_MS, 6, 1), 0);
        assert_eq!(open(&mut sessions, EVICTION_MS + 1, 6, 1), 6);
    }
}
