//! Which record each row of the output was, for a reader that refuses one of them by its number.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use kcopy_client::wire::Str;
use serde_json::{Value, json};

/// Runs that are kept at most. More are only needed where every row is of another partition than the one before.
const MAX_RUNS: usize = 20_000;

/// The rows of the output; where they are of too many runs, its last ones.
#[derive(Debug, Default)]
pub(super) struct Written {
    rows: u64,
    runs: VecDeque<Run>,
}

/// Rows that follow each other, as their offsets do.
#[derive(Debug)]
struct Run {
    topic: Str,
    partition: i32,
    offset: i64,
    count: i64,
    /// The rows before it.
    row: u64,
}

impl Written {
    /// Takes a row in.
    #[inline]
    pub(super) fn add(&mut self, topic: &Str, partition: i32, offset: i64) {
        match self.runs.back_mut() {
            Some(run)
                if run.partition == partition && run.offset + run.count == offset && run.topic == *topic =>
            {
                run.count += 1;
            }
            _ => self.begin_run(topic, partition, offset),
        }
        self.rows += 1;
    }

    fn begin_run(&mut self, topic: &Str, partition: i32, offset: i64) {
        let row = self.rows;
        self.runs.push_back(Run { topic: topic.clone(), partition, offset, count: 1, row });
        if self.runs.len() > MAX_RUNS {
            self.runs.pop_front();
        }
    }

    /// `[[first row, topic, partition, first offset, count], ..]`; rows are counted from 1.
    pub(super) fn json(&self) -> Value {
        let one = |run: &Run| json!([run.row + 1, &*run.topic, run.partition, run.offset, run.count]);
        self.runs.iter().map(one).collect()
    }
}

/// What was written, until somebody takes it to report it: the run at its end, or who notices that the reader has gone
/// while the run waits for something else. The other leaves the report to him.
#[derive(Debug, Clone)]
pub(super) struct SharedWritten(Arc<Mutex<Option<Written>>>);

impl Default for SharedWritten {
    fn default() -> SharedWritten {
        SharedWritten(Arc::new(Mutex::new(Some(Written::default()))))
    }
}

impl SharedWritten {
    /// Takes it, unless it is taken. Waits for [`SharedWritten::during`].
    pub(super) fn take(&self) -> Option<Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// For the run itself, which goes no further once the other has taken it: the process is about to end.
    pub(super) fn take_or_stop(&self) -> Written {
        self.take().unwrap_or_else(|| stop())
    }

    /// Writes rows while nobody takes it.
    pub(super) fn during<T>(&self, write: impl FnOnce(&mut Written) -> T) -> T {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(written) => write(written),
            None => stop(),
        }
    }
}

fn stop() -> ! {
    loop {
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_numbers() {
        let mut written = Written::default();
        let (a, b) = (Str::from("a"), Str::from("b"));
        for (topic, partition, offset) in
            [(&a, 0, 5), (&a, 0, 6), (&a, 0, 8), (&a, 1, 9), (&b, 1, 10), (&b, 1, 11), (&a, 0, 9)]
        {
            written.add(topic, partition, offset);
        }
        assert_eq!(
            written.json(),
            json!([
                [1, "a", 0, 5, 2],
                [3, "a", 0, 8, 1],
                [4, "a", 1, 9, 1],
                [5, "b", 1, 10, 2],
                [7, "a", 0, 9, 1]
            ])
        );
    }

    #[test]
    fn the_last_runs_are_kept() {
        let mut written = Written::default();
        let topic = Str::from("t");
        for n in 0..30_000 {
            written.add(&topic, n % 2, i64::from(n));
        }
        let json = written.json();
        assert_eq!(json.as_array().map(Vec::len), Some(MAX_RUNS));
        assert_eq!(json[0], json!([10_001, "t", 0, 10_000, 1]));
    }
}
