//! Kafka to standard output.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use kcopy_client::{
    Client, CommittedOffset, Consumer, ConsumerConfig, Error, ErrorKind, Event, FetchedBatch, IsolationLevel,
    PartitionRange, Persisted, TryNext, wire::records::Record,
};
use kcopy_format::{
    FormatError,
    write::{RecordContext, RecordWriter},
};
use tokio::time::Instant;

use super::{
    failure::Failure,
    partitions::{Partitions, TimedStop},
    positions,
    progress::Progress,
    report::Report,
    session::{Network, Session},
    written::Written,
};
use crate::{
    plan::{CommitPolicy, Consume, End, Grammar, Stop},
    process::{self, Stdout, say},
    properties::{self, ClientProperties},
};

/// How often a run without end commits, unless `auto.commit.interval.ms` says otherwise.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// Reads what the plan says and writes it to standard output.
///
/// # Errors
/// Anything that was asked for and not delivered. Nothing is committed then, unless the error says that it may be.
pub(super) fn run(plan: &Consume) -> Result<(), Failure> {
    let mut report = Report::new(plan);
    let ended = run_reporting(plan, &mut report);
    let Some(path) = &plan.exact.report else { return ended };
    match (report.write(path, &ended), ended) {
        (Err(unwritten), Ok(())) => Err(unwritten),
        (Err(unwritten), Err(failure)) => {
            say!("kcopy: {unwritten}");
            Err(failure)
        }
        (Ok(()), ended) => ended,
    }
}

fn run_reporting(plan: &Consume, report: &mut Report) -> Result<(), Failure> {
    let mut writer = plan.output.writer().map_err(|error| Failure::Told(error.to_string()))?;
    let session = Session::new(&plan.common)?;
    let config = consumer_config(plan);
    // What comes before the first record is part of the run.
    let deadline = plan.limits.max_time.map(|time| Instant::now() + time);
    let positions = session.block_on(async {
        let found = positions::find(plan, &session.client, &config, report);
        match deadline {
            None => found.await,
            Some(deadline) => tokio::time::timeout_at(deadline, found).await.unwrap_or_else(|_| {
                Err(out_of_time(
                    plan,
                    "the brokers had told the topics, the group's positions and the offsets",
                ))
            }),
        }
    })?;
    tell_what_is_held_back(plan, &positions.ranges);
    if plan.exact.dry_run {
        report.partitions = Partitions::new(positions, false).into_reports();
        return Ok(());
    }
    let consumer = {
        let _entered = session.runtime.enter();
        session.client.consume(positions.ranges.clone(), config)?
    };
    if let Some(path) = &plan.exact.report {
        process::set_last_words(report.last_words(path));
    }
    let client = session.client.clone();
    let mut run = Run {
        plan,
        client,
        consumer,
        network: session.into_background()?,
        stdout: Stdout::new(),
        progress: Progress::new(&plan.common, &positions.ranges),
        partitions: Partitions::new(positions, matches!(plan.stop, Some(Stop::Timestamp(_)))),
        records_left: plan.limits.max_messages.unwrap_or(u64::MAX),
        bytes_left: plan.limits.max_bytes,
        deadline,
        report,
        scratch: Vec::new(),
    };
    writer.begin(run.stdout.buffer());
    let ended = run.copy(&mut writer);
    // What was read before an error is good data; the exit code says that it is not all.
    let finished = match &ended {
        Ok(()) => {
            writer.finish(run.stdout.buffer());
            run.stdout.flush().map_err(Failure::writing)
        }
        Err(Failure::ReaderGone) => Ok(()),
        Err(_) => run.stdout.flush().map_err(Failure::writing),
    };
    run.progress.finish();
    ended.and(finished)?;
    run.commit()?;
    let partitions = std::mem::take(&mut run.partitions);
    run.report.partitions = partitions.into_reports();
    Ok(())
}

fn consumer_config(plan: &Consume) -> ConsumerConfig {
    let properties: &ClientProperties = &plan.common.properties;
    let mut config = ConsumerConfig::default();
    config.isolation_level = match plan.isolation {
        properties::IsolationLevel::ReadCommitted => IsolationLevel::ReadCommitted,
        properties::IsolationLevel::ReadUncommitted => IsolationLevel::ReadUncommitted,
    };
    config.fetch_max_bytes = properties.fetch_max_bytes.unwrap_or(config.fetch_max_bytes);
    config.partition_max_bytes = properties.max_partition_fetch_bytes.unwrap_or(config.partition_max_bytes);
    config.min_bytes = properties.fetch_min_bytes.unwrap_or(config.min_bytes);
    config.max_wait = properties.fetch_wait_max.unwrap_or(config.max_wait);
    config.prefetch_bytes = properties.queued_max_bytes.unwrap_or(config.prefetch_bytes);
    config.check_crcs = properties.check_crcs.unwrap_or(config.check_crcs);
    // A COPY should not wait for a lost broker for longer than it is told; kcat's -m is about metadata only.
    let patience = match plan.common.grammar {
        Grammar::Kcat => properties.socket_timeout,
        Grammar::Kcopy | Grammar::KafkaTopics => plan.common.timeout,
    };
    config.unreachable_timeout = patience.unwrap_or(config.unreachable_timeout);
    config
}

fn out_of_time(plan: &Consume, before: &str) -> Failure {
    let seconds = plan.limits.max_time.unwrap_or_default().as_secs_f64();
    Failure::Told(format!("the {seconds} s that the run may take were over before {before}"))
}

/// A transaction that nobody ends makes a topic look shorter than it is.
fn tell_what_is_held_back(plan: &Consume, ranges: &[PartitionRange]) {
    if plan.common.quiet() || plan.isolation == properties::IsolationLevel::ReadUncommitted {
        return;
    }
    let is_held_back = |range: &&PartitionRange| {
        let is_wanted = match plan.stop {
            Some(Stop::Offset(offset)) => offset > range.last_stable_offset,
            _ => range.end.is_none_or(|end| end >= range.last_stable_offset),
        };
        is_wanted && range.last_stable_offset < range.high_watermark
    };
    for range in ranges.iter().filter(is_held_back) {
        say!(
            "% {} [{}]: an open transaction holds back what follows offset {}: the log goes on to {}",
            range.topic,
            range.partition,
            range.last_stable_offset,
            range.high_watermark
        );
    }
}

struct Run<'a> {
    plan: &'a Consume,
    client: Client,
    consumer: Consumer,
    network: Network,
    stdout: Stdout,
    progress: Progress,
    partitions: Partitions,
    records_left: u64,
    bytes_left: Option<u64>,
    deadline: Option<Instant>,
    report: &'a mut Report,
    /// A row that is being escaped.
    scratch: Vec<u8>,
}

/// Whether a run goes on.
#[derive(PartialEq)]
enum Flow {
    GoOn,
    LimitReached,
}

impl Run<'_> {
    fn copy(&mut self, writer: &mut RecordWriter) -> Result<(), Failure> {
        let follows = self.plan.end == End::Follow;
        // Somebody is looking: what has come is shown before more is waited for.
        let is_prompt = follows || std::io::stdout().is_terminal();
        let interval = self.plan.common.properties.auto_commit_interval.unwrap_or(COMMIT_INTERVAL);
        let mut next_commit = (follows && self.commits()).then(|| Instant::now() + interval);
        if self.records_left == 0 {
            return Ok(());
        }
        loop {
            let event = match self.consumer.try_next()? {
                TryNext::Event(event) => event,
                TryNext::Ended => return Ok(()),
                TryNext::Waiting => {
                    if is_prompt {
                        self.stdout.flush().map_err(Failure::writing)?;
                    }
                    if follows && self.plan.partitions.is_none() {
                        self.tell_growth();
                    }
                    match self.wait(next_commit)? {
                        Waited::Event(event) => event,
                        Waited::Ended => return Ok(()),
                        Waited::Woken => {
                            if self.is_over() {
                                return self.end_by_time();
                            }
                            self.commit_meanwhile()?;
                            next_commit = Some(Instant::now() + interval);
                            continue;
                        }
                    }
                }
            };
            match event {
                Event::Batch(batch)
                    if (self.write_batch(writer, &batch)? == Flow::LimitReached || self.is_over()) =>
                {
                    return Ok(());
                }
                Event::EndOfPartition { topic, partition, offset, leader_epoch } => {
                    match self.partitions.stop_of(&topic, partition) {
                        // What is behind its time is not wanted.
                        Some(TimedStop::Reached) => continue,
                        Some(stop @ TimedStop::Known) => *stop = TimedStop::Reached,
                        _ => {}
                    }
                    self.partitions.advance(&topic, partition, offset, 0, leader_epoch);
                    self.tell_end(&topic, partition, offset);
                    if self.partitions.have_stopped() {
                        return Ok(());
                    }
                }
                _ => {}
            }
            if next_commit.is_some_and(|at| at <= Instant::now()) {
                self.commit_meanwhile()?;
                next_commit = Some(Instant::now() + interval);
            }
        }
    }

    /// Less than there is to read is what a limit is for, but nothing at all is a failure.
    fn end_by_time(&self) -> Result<(), Failure> {
        match self.plan.end {
            End::Pinned if self.partitions.are_untouched() => {
                Err(out_of_time(self.plan, "any of the records had come that are there to be read"))
            }
            _ => Ok(()),
        }
    }

    fn tell_growth(&mut self) {
        if self.plan.common.quiet() {
            return;
        }
        for (topic, known, count) in self.partitions.take_growth(&self.client.metadata()) {
            say!(
                "% topic {topic} has {count} partitions by now: those from {known} on are left to the next run"
            );
        }
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    fn wait(&mut self, next_commit: Option<Instant>) -> Result<Waited, Failure> {
        let wake = self.deadline.into_iter().chain(next_commit).min();
        let event = match wake {
            None => self.consumer.next_blocking()?,
            Some(wake) => {
                // The timer must be made on the runtime, too.
                let consumer = &mut self.consumer;
                let next = async { tokio::time::timeout_at(wake, consumer.next()).await };
                match self.network.handle().block_on(next) {
                    Ok(event) => event?,
                    Err(_) => return Ok(Waited::Woken),
                }
            }
        };
        Ok(event.map_or(Waited::Ended, Waited::Event))
    }

    fn write_batch(&mut self, writer: &mut RecordWriter, batch: &FetchedBatch) -> Result<Flow, Failure> {
        if self.plan.exact.report.is_none() {
            return self.write_records(writer, batch, None);
        }
        let shared = self.report.written.clone();
        shared.during(|rows| self.write_records(writer, batch, Some(rows)))
    }

    fn write_records(
        &mut self,
        writer: &mut RecordWriter,
        batch: &FetchedBatch,
        mut rows: Option<&mut Written>,
    ) -> Result<Flow, Failure> {
        let topic = batch.topic();
        let context = RecordContext {
            topic,
            partition: batch.partition(),
            broker: batch.broker_id(),
            timestamp_type: batch.timestamp_type(),
        };
        // Timestamps need not grow: the first one of the time, or of a later one, counts.
        let stop = match (self.plan.stop, self.partitions.stop_of(topic, context.partition)) {
            (_, Some(TimedStop::Reached)) => return Ok(Flow::GoOn),
            (Some(Stop::Timestamp(at)), Some(TimedStop::Awaited)) => Some(at),
            _ => None,
        };
        let mut written = 0;
        let mut is_first = true;
        let epoch = Some(batch.batch().batch().partition_leader_epoch()).filter(|epoch| *epoch >= 0);
        for record in batch.records() {
            let record = record?;
            if stop.is_some_and(|at| record.timestamp >= at) {
                // As below.
                let epoch = epoch.filter(|_| !is_first);
                self.partitions.advance(topic, context.partition, record.offset, written, epoch);
                self.progress.add(written);
                if let Some(stop) = self.partitions.stop_of(topic, context.partition) {
                    *stop = TimedStop::Reached;
                }
                self.tell_end(topic, context.partition, record.offset);
                let have_stopped = self.partitions.have_stopped();
                return Ok(if have_stopped { Flow::LimitReached } else { Flow::GoOn });
            }
            let begun = self.stdout.buffer().len();
            match writer.write(&context, &record, self.stdout.buffer()) {
                Err(error) => {
                    if self.take_unwritable(&error, &record)? == Flow::LimitReached {
                        // It is what the next run begins with. Where it is the first, what is before it was written in
                        // an epoch that may be another.
                        let epoch = epoch.filter(|_| !is_first);
                        self.partitions.advance(topic, context.partition, record.offset, written, epoch);
                        self.progress.add(written);
                        return Ok(Flow::LimitReached);
                    }
                }
                Ok(()) => {
                    written += 1;
                    if self.plan.exact.escapes_bytes {
                        escape_bytes(self.stdout.buffer(), begun, &mut self.scratch);
                    }
                    if let Some(rows) = &mut rows {
                        rows.add(topic, context.partition, record.offset);
                    }
                    if self.plan.unbuffered {
                        self.stdout.flush().map_err(Failure::writing)?;
                    } else {
                        self.stdout.write_if_full().map_err(Failure::writing)?;
                    }
                }
            }
            is_first = false;
            // What is skipped counts as well: a limit bounds the work of a run.
            self.records_left -= 1;
            let size = || (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
            let is_full = match &mut self.bytes_left {
                Some(left) => {
                    *left = left.saturating_sub(size());
                    *left == 0
                }
                None => false,
            };
            if self.records_left == 0 || is_full {
                self.partitions.advance(topic, context.partition, record.offset + 1, written, epoch);
                self.progress.add(written);
                return Ok(Flow::LimitReached);
            }
        }
        self.partitions.advance(topic, context.partition, batch.next_offset(), written, epoch);
        self.progress.add(written);
        Ok(Flow::GoOn)
    }

    /// A record that the output cannot hold ends the run, or is reported in its place. A report that is full ends it
    /// as a limit does, before the record.
    #[cold]
    fn take_unwritable(&mut self, error: &FormatError, record: &Record<'_>) -> Result<Flow, Failure> {
        if !self.plan.exact.skips_errors {
            let error = error.clone();
            let for_report = self.plan.exact.report.is_some();
            return Err(Failure::Told(if for_report { error.without_advice() } else { error }.to_string()));
        }
        if self.plan.exact.report.is_none() {
            say!("% skipped: {error}");
            return Ok(Flow::GoOn);
        }
        if !self.report.has_room(record) {
            return Ok(Flow::LimitReached);
        }
        // Who reads it named no options.
        self.report.reject(&error.clone().without_advice(), record);
        Ok(Flow::GoOn)
    }

    /// kcat's words, which scripts look for.
    fn tell_end(&mut self, topic: &str, partition: i32, offset: i64) {
        self.partitions.open = self.partitions.open.saturating_sub(1);
        if self.plan.common.quiet() || self.plan.common.grammar != Grammar::Kcat {
            return;
        }
        let is_timed = |stop: &TimedStop| matches!(stop, TimedStop::Known | TimedStop::Reached);
        let all_timed = self.partitions.stops.iter().all(is_timed);
        let exits = self.partitions.open == 0 && (self.plan.end == End::Pinned || all_timed);
        let exiting = if exits { ": exiting" } else { "" };
        let is_timed = self.partitions.stop_of(&topic.into(), partition).is_some_and(|stop| is_timed(stop));
        let end = if is_timed { "stop timestamp for" } else { "end of" };
        say!("% Reached {end} topic {topic} [{partition}] at offset {offset}{exiting}");
    }

    fn commits(&self) -> bool {
        self.plan.group.as_ref().is_some_and(|group| group.commit != CommitPolicy::Never)
    }

    /// Commits where each partition is, once all before it is written and taken by the reader.
    fn commit(&mut self) -> Result<(), Failure> {
        let Err(error) = self.try_commit()? else { return Ok(()) };
        Err(match (&self.plan.group, error.persisted()) {
            (Some(group), Persisted::Maybe) => Failure::Told(format!(
                "{error}; the offsets may have been committed all the same: see what group {} has before the next run, \
                 which begins there",
                group.id
            )),
            _ => error.into(),
        })
    }

    /// As [`Run::commit`], but another one follows: what a lost broker did not take now, it takes then. How long it may
    /// be lost is for the fetching to say.
    fn commit_meanwhile(&mut self) -> Result<(), Failure> {
        match self.try_commit()? {
            Err(error) if error.is_retriable() || error.kind() == ErrorKind::Timeout => {
                tracing::warn!(%error, "the commit is tried again");
                Ok(())
            }
            ended => Ok(ended?),
        }
    }

    /// An error of the commit alone is the inner one.
    fn try_commit(&mut self) -> Result<Result<(), Error>, Failure> {
        self.stdout.wait_until_taken().map_err(Failure::writing)?;
        let Some(group) = self.plan.group.as_ref().filter(|_| self.commits()) else { return Ok(Ok(())) };
        let Partitions { next, committed, .. } = &self.partitions;
        let is_new = |offset: &&CommittedOffset| {
            group.commit == CommitPolicy::Always
                || !committed.contains_key(&(offset.topic.clone(), offset.partition))
        };
        // An empty run commits its position again, so that it does not expire.
        let offsets: Vec<CommittedOffset> = next.iter().filter(is_new).cloned().collect();
        let committing = self.client.commit_offsets(&group.id, &offsets);
        Ok(self.network.handle().block_on(committing))
    }
}

/// `%OOO` for each byte that is not ASCII, and for `%` itself. Nothing that COPY text is made of is one of these.
fn escape_bytes(buffer: &mut Vec<u8>, begun: usize, scratch: &mut Vec<u8>) {
    let is_escaped = |byte: &u8| matches!(byte, b'%' | 0x80..);
    let Some(first) = buffer[begun..].iter().position(is_escaped) else { return };
    scratch.clear();
    scratch.extend_from_slice(&buffer[begun + first..]);
    buffer.truncate(begun + first);
    for byte in &*scratch {
        if is_escaped(byte) {
            buffer.extend([b'%', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]);
        } else {
            buffer.push(*byte);
        }
    }
}

enum Waited {
    Event(Event),
    Ended,
    Woken,
}

#[cfg(test)]
mod tests {
    use super::escape_bytes;

    #[test]
    fn bytes_beyond_ascii_are_escaped_from_where_the_row_begins() {
        let mut scratch = Vec::new();
        for (row, escaped) in [
            ("plain\t1\n", "plain\t1\n"),
            ("100%\n", "100%045\n"),
            ("\u{e9}a\u{ff}\n", "%303%251a%303%277\n"),
            ("", ""),
        ] {
            let mut buffer = b"%before\n".to_vec();
            let begun = buffer.len();
            buffer.extend_from_slice(row.as_bytes());
            escape_bytes(&mut buffer, begun, &mut scratch);
            assert_eq!(buffer, format!("%before\n{escaped}").as_bytes());
        }
    }
}
