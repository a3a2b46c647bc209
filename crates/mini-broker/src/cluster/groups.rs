//! Committed offsets of groups without members.

use std::collections::{BTreeMap, BTreeSet};

use kcopy_wire::Str;

/// A committed position: the next offset to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: Option<i32>,
    pub(crate) metadata: Str,
}

/// A group that only stores offsets.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) offsets: BTreeMap<(Str, i32), Committed>,
}

impl Group {
    /// The topics with committed offsets, and their partitions.
    pub(crate) fn by_topic(&self) -> BTreeMap<&Str, Vec<(i32, &Committed)>> {
        let mut topics: BTreeMap<&Str, Vec<(i32, &Committed)>> = BTreeMap::new();
        for ((topic, partition), committed) in &self.offsets {
            topics.entry(topic).or_default().push((*partition, committed));
        }
        topics
    }
}

/// All groups, by id.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    pub(crate) by_id: BTreeMap<Str, Group>,
}

impl Groups {
    pub(crate) fn get(&self, id: &str) -> Option<&Group> {
        self.by_id.get(id.as_bytes())
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Group> {
        self.by_id.get_mut(id.as_bytes())
    }

    /// Forgets the offsets of a topic that was deleted.
    pub(crate) fn forget_topic(&mut self, name: &str) {
        let mut emptied = BTreeSet::new();
        for (id, group) in &mut self.by_id {
            let before = group.offsets.len();
            group.offsets.retain(|(topic, _), _| topic != name);
            if group.offsets.is_empty() && before > 0 {
                emptied.insert(id.clone());
            }
        }
        for id in emptied {
            self.by_id.remove(&id);
        }
    }
}
