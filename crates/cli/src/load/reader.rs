//! Reads records, encodes them, and makes batches of them.

use std::sync::Arc;

use kcopy_client::{Consumer, Event, FetchedBatch, TryNext, wire::ErrorCode};
use kcopy_format::write::RecordContext;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    batch::{Batch, Content, Move, Origin, Rejected, TableRows},
    encode::{Layout, RowEncoder},
    positions::Placed,
    shared::{Command, Shared},
    trouble::Trouble,
};
use crate::plan::OnError;

/// Reads records and makes batches of them.
pub(super) struct Reader<'a> {
    shared: &'a Shared,
    consumer: Consumer,
    placed: &'a [Placed],
    encoders: Vec<RowEncoder>,
    sender: mpsc::Sender<Batch>,
    command: watch::Receiver<Command>,
    /// By the place of the partition: sealed, reached, and the leader epoch there.
    cursors: Vec<Cursor>,
    batch: Batch,
    rows: Vec<(Vec<u8>, Vec<Origin>)>,
}

#[derive(Debug, Clone, Copy)]
struct Cursor {
    sealed: i64,
    next: i64,
    leader_epoch: Option<i32>,
    rows: i64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        consumer: Consumer,
        placed: &'a [Placed],
        layouts: &[Layout],
        sender: mpsc::Sender<Batch>,
    ) -> Result<Reader<'a>, Trouble> {
        let encoders: Result<Vec<RowEncoder>, String> = layouts.iter().map(Layout::encoder).collect();
        let encoders = encoders.map_err(Trouble::Final)?;
        let cursor = |placed: &Placed| Cursor {
            sealed: placed.range.start,
            next: placed.range.start,
            leader_epoch: None,
            rows: 0,
        };
        Ok(Reader {
            shared,
            consumer,
            placed,
            rows: encoders.iter().map(|_| (Vec::new(), Vec::new())).collect(),
            encoders,
            sender,
            command: shared.command.clone(),
            cursors: placed.iter().map(cursor).collect(),
            batch: Batch::default(),
        })
    }

    /// Reads until all pinned ends are reached, or it shall stop.
    ///
    /// # Errors
    /// What cannot be read, and what a table cannot take. The writer has what comes before it.
    pub(super) fn read(&mut self) -> Result<(), Trouble> {
        let limits = self.shared.plan.batch;
        loop {
            if *self.command.borrow() != Command::Run {
                return self.seal();
            }
            let event = match self.consumer.try_next() {
                Ok(TryNext::Event(event)) => Some(event),
                Ok(TryNext::Ended) => return self.seal(),
                Ok(TryNext::Waiting) => self.wait()?,
                Err(error) => return Err(self.broken(&error)),
            };
            match event {
                Some(Event::Batch(batch)) => self.take(&batch)?,
                Some(Event::EndOfPartition { topic, partition, offset, leader_epoch }) => {
                    if let Some(at) = self.place_of(&topic, partition) {
                        let cursor = &mut self.cursors[at];
                        cursor.next = cursor.next.max(offset);
                        // Control records may be of a later leader than the last record.
                        cursor.leader_epoch = leader_epoch.or(cursor.leader_epoch);
                        // A position that only control records have moved is worth a transaction, but not
                        // an urgent one.
                        self.batch.since.get_or_insert_with(Instant::now);
                        self.shared.stats.progress(&topic, partition, |progress| {
                            progress.end = progress.end.max(offset);
                        });
                    }
                }
                _ => {}
            }
            if self.batch.since.is_some_and(|since| since.elapsed() >= limits.time) {
                self.seal()?;
            }
        }
    }

    /// Waits for an event, for the end of the batch's time, or for a command.
    fn wait(&mut self) -> Result<Option<Event>, Trouble> {
        let deadline = self.batch.since.map(|since| since + self.shared.plan.batch.time);
        let (consumer, command, sender) = (&mut self.consumer, &mut self.command, &self.sender);
        let waited = self.shared.handle.block_on(async {
            let time_is_up = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = consumer.next() => event,
                () = time_is_up => Ok(None),
                // Its sender lives as long as the run.
                _ = command.wait_for(|command| *command != Command::Run) => Ok(None),
                // The writer is in trouble: it says so itself.
                () = sender.closed() => Ok(None),
            }
        });
        if self.sender.is_closed() {
            return Err(writer_gone());
        }
        match waited {
            Ok(event) => Ok(event),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// What was read before the error is good.
    fn broken(&mut self, error: &kcopy_client::Error) -> Trouble {
        match self.seal() {
            // The position is looked at again, which says what is gone, and what would be right.
            Ok(()) if error.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                Trouble::Passing(error.to_string())
            }
            Ok(()) => Trouble::kafka(error),
            Err(trouble) => trouble,
        }
    }

    fn place_of(&self, topic: &str, partition: i32) -> Option<usize> {
        self.placed.iter().position(|it| it.assigned.partition == partition && &*it.assigned.topic == topic)
    }

    fn take(&mut self, fetched: &FetchedBatch) -> Result<(), Trouble> {
        let Some(at) = self.place_of(fetched.topic(), fetched.partition()) else { return Ok(()) };
        let limits = self.shared.plan.batch;
        let context = RecordContext {
            topic: fetched.topic(),
            partition: fetched.partition(),
            broker: fetched.broker_id(),
            timestamp_type: fetched.timestamp_type(),
        };
        let epoch = Some(fetched.batch().batch().partition_leader_epoch()).filter(|epoch| *epoch >= 0);
        self.shared.stats.progress(fetched.topic(), fetched.partition(), |progress| {
            progress.end = progress.end.max(fetched.high_watermark());
        });
        let table = self.placed[at].assigned.table;
        self.batch.since.get_or_insert_with(Instant::now);
        for record in fetched.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => return Err(self.broken(&error)),
            };
            let (bytes, origins) = &mut self.rows[table];
            let before = bytes.len();
            match self.encoders[table].write(&context, &record, bytes) {
                Ok(()) => {
                    let end = u32::try_from(bytes.len()).map_err(|_| {
                        Trouble::Final("a batch of more than 4 GiB: lower --batch-bytes".to_owned())
                    })?;
                    let (partition, epoch) = (at as u32, epoch.unwrap_or(-1));
                    origins.push(Origin { end, partition, offset: record.offset, epoch });
                    self.batch.bytes += bytes.len() - before;
                    self.cursors[at].rows += 1;
                }
                Err(reason) if self.shared.plan.on_error == OnError::Fail => {
                    // What comes before it is good.
                    self.seal()?;
                    return Err(Trouble::Refused(format!(
                        "{reason}; --on-error skip, reject-table or dead-letter=TOPIC loads what comes behind it"
                    )));
                }
                Err(reason) => {
                    let is_kept = self.shared.plan.on_error != OnError::Skip;
                    let content = is_kept.then(|| Arc::new(Content::of(&record)));
                    self.batch.bytes += content.as_ref().map_or(0, |it| it.size()) + reason.len();
                    self.batch.rejected.push(Rejected {
                        partition: at,
                        offset: record.offset,
                        epoch: epoch.unwrap_or(-1),
                        content,
                        reason,
                    });
                }
            }
            self.batch.records += 1;
            if record.timestamp >= 0 {
                self.batch.newest_ms = self.batch.newest_ms.max(Some(record.timestamp));
            }
            let cursor = &mut self.cursors[at];
            (cursor.next, cursor.leader_epoch) = (record.offset + 1, epoch);
            if self.batch.records as usize >= limits.rows || self.batch.bytes >= limits.bytes {
                self.seal()?;
                self.batch.since = Some(Instant::now());
            }
        }
        let cursor = &mut self.cursors[at];
        (cursor.next, cursor.leader_epoch) = (cursor.next.max(fetched.next_offset()), epoch);
        Ok(())
    }

    /// Hands the batch to the writer, and waits while that has another one waiting.
    fn seal(&mut self) -> Result<(), Trouble> {
        let mut batch = std::mem::take(&mut self.batch);
        for (at, cursor) in
            self.cursors.iter_mut().enumerate().filter(|(_, cursor)| cursor.next > cursor.sealed)
        {
            let leader_epoch = cursor.leader_epoch;
            batch.moves.push(Move {
                partition: at,
                from: cursor.sealed,
                to: cursor.next,
                leader_epoch,
                rows: std::mem::take(&mut cursor.rows),
            });
            cursor.sealed = cursor.next;
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.check_topics(&batch)?;
        for ((bytes, origins), encoder) in self.rows.iter_mut().zip(&mut self.encoders) {
            let (size, count) = (bytes.len(), origins.len());
            batch.tables.push(TableRows {
                bytes: std::mem::replace(bytes, Vec::with_capacity(size + (size >> 3))).into(),
                origins: std::mem::replace(origins, Vec::with_capacity(count)),
                turns: encoder.end_batch(),
            });
        }
        self.sender.blocking_send(batch).map_err(|_| writer_gone())
    }

    /// A topic that was made anew under the same name has other records at the same offsets. The client
    /// learns of a new id before it fetches anything by it.
    fn check_topics(&self, batch: &Batch) -> Result<(), Trouble> {
        let metadata = self.shared.client.metadata();
        for moved in &batch.moves {
            let placed = &self.placed[moved.partition];
            let topic = &placed.assigned.topic;
            let now = metadata.topic(topic).and_then(|topic| topic.id).map(|id| id.to_string());
            if let (Some(before), Some(now)) = (&placed.topic_id, &now)
                && before != now
            {
                return Err(Trouble::Passing(format!(
                    "topic {topic} was deleted and made anew while it was loaded (id {before} is {now} now)"
                )));
            }
        }
        Ok(())
    }
}

/// Its own words come from the writer.
fn writer_gone() -> Trouble {
    Trouble::Passing("the writer has stopped".to_owned())
}
