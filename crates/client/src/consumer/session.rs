//! Fetch sessions (KIP-227): a broker remembers what is fetched from it, so that a request names only
//! what has changed.
//!
//! ```text
//!           request with epoch 0,          answer with
//!           all partitions                 a session id        requests with epochs 1, 2, .. name
//!  no session ───────────────────> asked ─────────────> session  only what is new or changed
//!      ^                             │                     │
//!      └── answer without an id ─────┴── any failure ──────┘
//! ```

use std::collections::HashMap;

use kcopy_wire::{
    Str, Uuid,
    messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
};

/// What is fetched of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) offset: i64,
    pub(super) leader_epoch: Option<i32>,
    /// The leader epoch of the batch before the offset, for brokers that compare it.
    pub(super) last_fetched_epoch: Option<i32>,
    pub(super) max_bytes: i32,
}

/// A partition's name, in both forms.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) topic: Str,
    pub(super) topic_id: Option<Uuid>,
    pub(super) partition: i32,
}

/// The session with one broker.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    /// What the broker has been told, by the place of the partition.
    told: HashMap<usize, (Name, Want)>,
    /// Whether topics are named by their ids; that cannot change within a session.
    by_id: bool,
    /// Without sessions the partitions that a request names first get the most: they take turns.
    turn: usize,
}

/// The part of a request that belongs to the session.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SessionRequest {
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    pub(super) topics: Vec<FetchTopic>,
    pub(super) forgotten: Vec<ForgottenTopic>,
}

impl Session {
    /// The next request. `wanted` are all partitions that shall be fetched.
    pub(super) fn request(&mut self, wanted: &[(usize, Name, Want)], by_id: bool) -> SessionRequest {
        if self.by_id != by_id {
            self.reset();
            self.by_id = by_id;
        }
        if self.epoch == 0 {
            return self.full_request(wanted);
        }
        let mut request =
            SessionRequest { session_id: self.id, session_epoch: self.epoch, ..Default::default() };
        let present: HashMap<usize, &Name> = wanted.iter().map(|(at, name, _)| (*at, name)).collect();
        self.told.retain(|at, (told, _)| {
            let keep = present.get(at).is_some_and(|name| *name == told);
            if !keep {
                forget(&mut request.forgotten, told);
            }
            keep
        });
        for (at, name, want) in wanted {
            if self.told.get(at).is_none_or(|(_, told)| told != want) {
                add(&mut request.topics, name, want);
                self.told.insert(*at, (name.clone(), *want));
            }
        }
        request
    }

    fn full_request(&mut self, wanted: &[(usize, Name, Want)]) -> SessionRequest {
        // With the id of a session that went wrong the broker closes that one.
        let mut request = SessionRequest { session_id: self.id, ..Default::default() };
        self.told = wanted.iter().map(|(at, name, want)| (*at, (name.clone(), *want))).collect();
        self.turn = self.turn.wrapping_add(1);
        let (late, early) = wanted.split_at(self.turn % wanted.len().max(1));
        for (_, name, want) in early.iter().chain(late) {
            add(&mut request.topics, name, want);
        }
        request
    }

    /// Takes the session id of an answer without a session error.
    pub(super) fn accept(&mut self, session_id: i32) {
        if self.epoch == 0 && session_id != 0 && session_id == self.id {
            // The very session that was to be closed: whoever answered has not done what was asked, and
            // remembers other offsets.
            self.reset();
            return;
        }
        self.id = session_id;
        self.epoch = match (session_id, self.epoch) {
            (0, _) => 0,
            (_, i32::MAX) => 1,
            (_, epoch) => epoch + 1,
        };
    }

    /// Something went wrong: what the broker remembers is uncertain.
    pub(super) fn reset(&mut self) {
        self.epoch = 0;
        self.told.clear();
    }

    /// The broker does not know the session: there is none to close.
    pub(super) fn lose(&mut self) {
        self.reset();
        self.id = 0;
    }

    /// A request that closes the session, if there is one.
    pub(super) fn close(&mut self) -> Option<SessionRequest> {
        let id = std::mem::take(&mut self.id);
        let open = self.epoch != 0;
        self.reset();
        (open && id != 0).then(|| SessionRequest { session_id: id, session_epoch: -1, ..Default::default() })
    }

    /// Whether the last request asked for the partition, by name or by what the broker remembers.
    pub(super) fn holds(&self, at: usize) -> bool {
        self.told.contains_key(&at)
    }

    /// Whether topics are named by their ids.
    pub(super) fn names_by_id(&self) -> bool {
        self.by_id
    }
}

fn add(topics: &mut Vec<FetchTopic>, name: &Name, want: &Want) {
    let partition = FetchPartition {
        partition: name.partition,
        current_leader_epoch: want.leader_epoch.unwrap_or(-1),
        fetch_offset: want.offset,
        last_fetched_epoch: want.last_fetched_epoch.unwrap_or(-1),
        partition_max_bytes: want.max_bytes,
        ..Default::default()
    };
    // Neighbours only: a topic that is named twice is no error.
    match topics.last_mut() {
        Some(topic) if topic.topic == name.topic => topic.partitions.push(partition),
        _ => topics.push(FetchTopic {
            topic: name.topic.clone(),
            topic_id: name.topic_id.unwrap_or_default(),
            partitions: vec![partition],
            ..Default::default()
        }),
    }
}

fn forget(topics: &mut Vec<ForgottenTopic>, name: &Name) {
    match topics.iter_mut().find(|topic| topic.topic == name.topic) {
        Some(topic) => topic.partitions.push(name.partition),
        None => topics.push(ForgottenTopic {
            topic: name.topic.clone(),
            topic_id: name.topic_id.unwrap_or_default(),
            partitions: vec![name.partition],
            ..Default::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(partitions: &[(usize, i64)]) -> Vec<(usize, Name, Want)> {
        let name = |at: usize| Name { topic: "t".into(), topic_id: None, partition: at as i32 };
        let want = |offset| Want { offset, leader_epoch: Some(3), last_fetched_epoch: None, max_bytes: 100 };
        partitions.iter().map(|(at, offset)| (*at, name(*at), want(*offset))).collect()
    }

    fn check(request: &SessionRequest, id: i32, epoch: i32, named: &[(i32, i64)], forgotten: &[i32]) {
        assert_eq!((request.session_id, request.session_epoch), (id, epoch));
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
        let mut partitions: Vec<_> = partitions.map(|p| (p.partition, p.fetch_offset)).collect();
        partitions.sort_unstable();
        assert_eq!(partitions, named);
        let mut gone: Vec<_> = request.forgotten.iter().flat_map(|t| t.partitions.clone()).collect();
        gone.sort_unstable();
        assert_eq!(gone, forgotten);
    }

    #[test]
    fn a_session_is_told_only_what_changes() {
        let mut session = Session::default();
        check(&session.request(&wanted(&[(0, 0), (1, 5)]), false), 0, 0, &[(0, 0), (1, 5)], &[]);
        session.accept(77);
        check(&session.request(&wanted(&[(0, 9), (1, 5)]), false), 77, 1, &[(0, 9)], &[]);
        session.accept(77);
        check(&session.request(&wanted(&[(1, 5), (2, 0)]), false), 77, 2, &[(2, 0)], &[0]);
        session.accept(77);
        check(&session.request(&wanted(&[(1, 5), (2, 0)]), false), 77, 3, &[], &[]);
        session.accept(77);
        assert_eq!(session.close().map(|request| request.session_epoch), Some(-1));
        assert!(session.close().is_none());
    }

    #[test]
    fn a_broken_session_is_closed_by_the_next_one() {
        let mut session = Session::default();
        session.request(&wanted(&[(0, 0)]), false);
        session.accept(77);
        session.request(&wanted(&[(0, 9)]), false);
        session.reset();
        check(&session.request(&wanted(&[(0, 0)]), false), 77, 0, &[(0, 0)], &[]);
        // An answer that knows nothing of the end of the old session.
        session.accept(77);
        check(&session.request(&wanted(&[(0, 0)]), false), 77, 0, &[(0, 0)], &[]);
        session.lose();
        check(&session.request(&wanted(&[(0, 0)]), false), 0, 0, &[(0, 0)], &[]);
        session.accept(78);
        // Names by id and by name do not mix.
        check(&session.request(&wanted(&[(0, 0)]), true), 78, 0, &[(0, 0)], &[]);
    }

    #[test]
    fn a_broker_without_sessions_is_told_everything_in_turns() {
        let mut session = Session::default();
        let first: Vec<i32> = (0..3)
            .map(|_| {
                let request = session.request(&wanted(&[(0, 0), (1, 0)]), false);
                check(&request, 0, 0, &[(0, 0), (1, 0)], &[]);
                session.accept(0);
                request.topics[0].partitions[0].partition
            })
            .collect();
        assert!(first.contains(&0) && first.contains(&1));
    }
}
