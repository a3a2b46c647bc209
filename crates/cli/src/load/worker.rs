//! A worker: one connection, a share of the partitions.
//!
//! ```text
//!            ┌───── the position is read again <── trouble that may pass, a table that changed
//!            v                                          ^
//! connect ── establish ──> read and encode ──> batch ──>├── transact ── commit
//!                          (a thread)         (one waits) (a task)
//! ```
//! While a batch is written the next one is encoded. Whatever goes wrong, nothing of this is kept: what
//! counts is the position in the database.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use kcopy_client::{Backoff, Consumer, ConsumerConfig, Event, FetchedBatch, TryNext, wire::ErrorCode};
use kcopy_format::write::RecordContext;
use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    batch::{Batch, Content, Move, Origin, Rejected, TableRows},
    catalog,
    encode::{Layout, RowEncoder},
    positions::{Assigned, Placed, Survey},
    postgres::connect,
    rejects::{DeadLetters, Reread},
    shared::{Command, Shared, Stats, now_ms},
    transact::Loader,
    trouble::Trouble,
};
use crate::plan::{End, OnError};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A topic full of them should not fill a log as well.
const REJECTED_SHOWN: u64 = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One worker's work.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) assigned: Vec<Assigned>,
    pub(super) config: ConsumerConfig,
    /// The server's process for the last connection, and when it began: it is ended before the next one works.
    backend: Option<(i32, String)>,
}

/// How long what may pass is waited for: --timeout from the first failure on, and in a run without end for
/// ever.
pub(super) struct Patience {
    shared: Arc<Shared>,
    backoff: Backoff,
    failing_since: Option<Instant>,
    attempt_since: Instant,
    /// What was wrong last.
    last: Option<String>,
    commits: u64,
}

impl Patience {
    pub(super) fn new(shared: &Arc<Shared>) -> Patience {
        Patience {
            shared: Arc::clone(shared),
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            failing_since: None,
            attempt_since: Instant::now(),
            last: None,
            commits: Stats::of(&shared.stats.commits),
        }
    }

    /// Waits for a while, for the next attempt.
    ///
    /// # Errors
    /// Waiting does not help, or has not helped for too long.
    pub(super) fn take(&mut self, trouble: Trouble) -> Result<(), String> {
        let shared = &self.shared;
        let limit = shared.plan.common.timeout.unwrap_or(Duration::MAX);
        let commits = Stats::of(&shared.stats.commits);
        // An attempt that came to something, or went well for long, ends a row of failures.
        if commits > self.commits || self.attempt_since.elapsed() > limit {
            self.failing_since = None;
            self.last = None;
            self.backoff.reset();
        }
        let since = if commits > self.commits { Instant::now() } else { self.attempt_since };
        self.commits = commits;
        let since = *self.failing_since.get_or_insert(since);
        match trouble {
            Trouble::Final(text) => return Err(text),
            Trouble::Unmended(text) if shared.plan.end != End::Follow => return Err(text),
            Trouble::TableChanged(text) => shared.reporter.tell("table_changed", &text),
            Trouble::Passing(text) | Trouble::Unmended(text) => {
                Stats::add(&shared.stats.failures, 1);
                if shared.plan.end != End::Follow && since.elapsed() >= limit {
                    return Err(format!("{text} (for {:.0?}: --timeout)", since.elapsed()));
                }
                let pause = self.backoff.next_pause();
                shared.reporter.tell("retry", &format!("{text}; trying again in {pause:.0?}"));
                self.pause(pause);
                self.last = Some(text);
            }
        }
        self.attempt_since = Instant::now();
        Ok(())
    }

    /// Makes ready for work: not for longer than there is patience, and not when it shall stop.
    ///
    /// # Errors
    /// Those of `work`, and that it takes too long.
    pub(super) async fn limit<T>(
        &mut self,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Option<Result<T, Trouble>> {
        let is_bounded = self.shared.plan.end != End::Follow;
        let limit = self.shared.plan.common.timeout.filter(|_| is_bounded);
        // What is under way has the same limit and says more: it goes first.
        let deadline = limit.and_then(|limit| {
            let since = self.failing_since.unwrap_or(self.attempt_since);
            since.checked_add(limit + Duration::from_millis(500))
        });
        let last = self.last.clone();
        let limited = async {
            let Some(deadline) = deadline else { return work.await };
            tokio::time::timeout_at(deadline, work).await.unwrap_or_else(|_| {
                let unknown = || "PostgreSQL or the cluster has stopped answering".to_owned();
                Err(Trouble::Passing(last.unwrap_or_else(unknown)))
            })
        };
        let done = self.shared.unless_told(limited).await;
        if let Some(Ok(_)) = done {
            self.attempt_since = Instant::now();
        }
        done
    }

    fn pause(&self, pause: Duration) {
        let mut command = self.shared.command.clone();
        self.shared.handle.block_on(async {
            // Whichever it was is asked afterwards.
            let _ = tokio::time::timeout(pause, command.wait_for(|command| *command != Command::Run)).await;
        });
    }
}

/// How reading ended.
enum Read {
    /// All pinned ends are reached.
    AllRead,
    /// It shall stop.
    Stopped,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, assigned: Vec<Assigned>, config: ConsumerConfig) -> Worker {
        Worker { shared, assigned, config, backend: None }
    }

    /// Works until the ends are reached, or it shall stop.
    ///
    /// # Errors
    /// What waiting does not mend, or has not mended within --timeout.
    pub(super) fn run(mut self) -> Result<(), String> {
        let mut patience = Patience::new(&self.shared);
        loop {
            match self.attempt(&mut patience) {
                Ok(()) => return Ok(()),
                Err(trouble) => patience.take(trouble)?,
            }
            if *self.shared.command.borrow() != Command::Run {
                return Ok(());
            }
        }
    }

    /// From a new connection to the end of what there is to do, or to the first trouble.
    fn attempt(&mut self, patience: &mut Patience) -> Result<(), Trouble> {
        let handle = self.shared.handle.clone();
        let Some(established) = handle.block_on(patience.limit(self.establish())) else { return Ok(()) };
        let (loader, tables, placed, letters) = established?;
        let placed = Arc::new(placed);
        for it in placed.iter() {
            self.shared.stats.progress(&it.assigned.topic, it.assigned.partition, |progress| {
                (progress.position, progress.end) = (it.range.start, it.range.last_stable_offset);
            });
        }
        let is_done = |it: &Placed| it.range.end.is_some_and(|end| it.range.start >= end);
        if placed.iter().all(is_done) {
            return Ok(());
        }
        let consumer = {
            let _entered = handle.enter();
            let ranges = placed.iter().map(|placed| placed.range.clone()).collect();
            self.shared.client.consume(ranges, self.config.clone()).map_err(|error| Trouble::kafka(&error))?
        };
        let (sender, receiver) = mpsc::channel(1);
        let writing =
            handle.spawn(write_all(Arc::clone(&self.shared), loader, Arc::clone(&placed), letters, receiver));
        let mut reader = Reader::new(&self.shared, consumer, &placed, &tables, sender)?;
        let read = reader.read();
        // The writer ends with what it has.
        drop(reader);
        let written =
            handle.block_on(writing).map_err(|error| Trouble::Final(format!("a task failed: {error}")))?;
        written?;
        match read? {
            Read::AllRead | Read::Stopped => Ok(()),
        }
    }

    async fn establish(&mut self) -> Result<Established, Trouble> {
        let plan = Arc::clone(&self.shared.plan);
        let plan = &plan;
        let mut postgres = connect::connect(&plan.server).await?;
        self.take_over(&postgres).await?;
        let mut tables = Vec::new();
        for name in table_names(plan) {
            let table = catalog::find(&postgres, &name).await?;
            let table = table.ok_or_else(|| Trouble::Final(format!("there is no table {name}")))?;
            tables.push(table);
        }
        let mut notices = Vec::new();
        let survey = Survey { plan, client: &self.shared.client, config: &self.config, tables: &tables };
        let placed = survey.establish(&mut postgres, &self.assigned, &mut notices).await?;
        for notice in notices {
            self.shared.reporter.tell("loss_accepted", &notice);
        }
        let mut laid_out = Vec::with_capacity(tables.len());
        for table in &tables {
            laid_out.push((table.clone(), Layout::new(plan, table).map_err(Trouble::Final)?));
        }
        let layouts: Vec<Layout> = laid_out.iter().map(|(_, layout)| layout.clone()).collect();
        let reread = Reread { client: self.shared.client.clone(), config: self.config.clone() };
        let loader = Loader::new(postgres, Arc::clone(plan), laid_out, reread).await?;
        let letters = match &plan.on_error {
            OnError::DeadLetter(topic) => Some(DeadLetters::new(&self.shared.client, topic).await?),
            _ => None,
        };
        Ok((loader, layouts, placed, letters))
    }

    /// Prepares a session, and ends the server's side of the one before: where the line was cut it may still
    /// hold its positions.
    async fn take_over(&mut self, postgres: &tokio_postgres::Client) -> Result<(), Trouble> {
        let failed = |error: tokio_postgres::Error| Trouble::postgres("preparing a session", &error);
        postgres
            .batch_execute(
                "set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3; \
                 set idle_in_transaction_session_timeout = '5min'; set client_min_messages = warning",
            )
            .await
            .map_err(failed)?;
        if let Some((process, since)) = self.backend.take() {
            let end = "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity \
                       where pid = $1 and backend_start::text = $2";
            // One that is of another server, or may not be ended, ends by itself.
            let _ = postgres.query(end, &[&process, &since]).await;
        }
        let own = "select pid, backend_start::text from pg_catalog.pg_stat_activity \
                   where pid = pg_catalog.pg_backend_pid()";
        let row = postgres.query_opt(own, &[]).await.map_err(failed)?;
        self.backend = row.map(|row| (row.get(0), row.get(1)));
        Ok(())
    }
}

type Established = (Loader, Vec<Layout>, Vec<Placed>, Option<DeadLetters>);

/// The tables of the routes, each once.
pub(super) fn table_names(plan: &crate::plan::Load) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for route in &plan.routes {
        if !names.contains(&route.table) {
            names.push(route.table.clone());
        }
    }
    names
}

/// Writes batch after batch until there are no more.
async fn write_all(
    shared: Arc<Shared>,
    mut loader: Loader,
    placed: Arc<Vec<Placed>>,
    letters: Option<DeadLetters>,
    mut batches: mpsc::Receiver<Batch>,
) -> Result<(), Trouble> {
    while let Some(batch) = batches.recv().await {
        let done = loader.write(&batch, &placed).await?;
        if let Some(letters) = &letters {
            letters.send(&done.rejected, &placed).await?;
        }
        loader.commit(&batch, &placed).await?;
        account(&shared, &batch, &placed, done.rows, &done.rejected);
    }
    Ok(())
}

/// Counts and tells what has been committed.
fn account(shared: &Shared, batch: &Batch, placed: &[Placed], rows: u64, rejected: &[Rejected]) {
    let stats = &shared.stats;
    Stats::add(&stats.records, batch.records);
    Stats::add(&stats.rows, rows);
    Stats::add(&stats.bytes, batch.bytes as u64);
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
            json!({ "rows": rows, "records": batch.records, "rejected": rejected.len(), "bytes": batch.bytes,
                    "positions": positions }),
        );
    }
}

/// Reads records and makes batches of them.
struct Reader<'a> {
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
    fn new(
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

    fn read(&mut self) -> Result<Read, Trouble> {
        let limits = self.shared.plan.batch;
        loop {
            if *self.command.borrow() != Command::Run {
                self.seal()?;
                return Ok(Read::Stopped);
            }
            let event = match self.consumer.try_next() {
                Ok(TryNext::Event(event)) => Some(event),
                Ok(TryNext::Ended) => {
                    self.seal()?;
                    return Ok(Read::AllRead);
                }
                Ok(TryNext::Waiting) => self.wait()?,
                Err(error) => return Err(self.broken(&error)),
            };
            match event {
                Some(Event::Batch(batch)) => self.take(&batch)?,
                Some(Event::EndOfPartition { topic, partition, offset }) => {
                    if let Some(at) = self.place_of(&topic, partition) {
                        let cursor = &mut self.cursors[at];
                        cursor.next = cursor.next.max(offset);
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
        let epoch = fetched.batch().batch().partition_leader_epoch();
        self.cursors[at].leader_epoch = (epoch >= 0).then_some(epoch);
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
                    origins.push(Origin { end, partition: at as u32, offset: record.offset });
                    self.batch.bytes += bytes.len() - before;
                    self.cursors[at].rows += 1;
                }
                Err(reason) if self.shared.plan.on_error == OnError::Fail => {
                    // What comes before it is good.
                    self.seal()?;
                    return Err(Trouble::Final(format!(
                        "{reason}; --on-error skip, reject-table or dead-letter=TOPIC loads what comes behind it"
                    )));
                }
                Err(reason) => {
                    let content = Content::of(&record);
                    self.batch.bytes += content.len() + reason.len();
                    self.batch.rejected.push(Rejected {
                        partition: at,
                        offset: record.offset,
                        content: Some(content),
                        reason,
                    });
                }
            }
            self.batch.records += 1;
            if record.timestamp >= 0 {
                self.batch.newest_ms = self.batch.newest_ms.max(Some(record.timestamp));
            }
            self.cursors[at].next = record.offset + 1;
            if self.batch.records as usize >= limits.rows || self.batch.bytes >= limits.bytes {
                self.seal()?;
                self.batch.since = Some(Instant::now());
            }
        }
        let cursor = &mut self.cursors[at];
        cursor.next = cursor.next.max(fetched.next_offset());
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
        for (bytes, origins) in &mut self.rows {
            let (size, count) = (bytes.len(), origins.len());
            batch.tables.push(TableRows {
                bytes: std::mem::replace(bytes, Vec::with_capacity(size + (size >> 3))).into(),
                origins: std::mem::replace(origins, Vec::with_capacity(count)),
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
