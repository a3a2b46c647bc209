//! Standard input or files to Kafka.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kcopy_client::producer::{
    Acks, AppendError, Appender, Position, Producer, ProducerConfig, Receipt, Record, Topic,
};
use kcopy_format::read::{InputRecord, RecordReader};
use kcopy_wire::{
    partitioner::Partitioner,
    records::{Compression, Headers, HeadersBuf},
};
use tokio::runtime::Handle;

use super::{failure::Failure, progress::Progress, session::Session};
use crate::{
    plan::{Grammar, Input, Produce},
    process::{Stdin, Stdout, say},
    properties::{self, ClientProperties},
};

/// So many `-v` show each delivery.
const DELIVERY_REPORTS: u8 = 3;

/// Reads what the plan says and produces it.
///
/// # Errors
/// Anything that was read and not delivered, and input that could not be read to its end. What comes
/// before a faulty row is delivered all the same.
pub(super) fn run(plan: &Produce) -> Result<(), Failure> {
    let session = Session::for_producer(&plan.common)?;
    let config = producer_config(plan)?;
    let producer = {
        let _entered = session.runtime.enter();
        Producer::new(&session.client, config)
    };
    let topic = session.block_on(producer.topic(&plan.topic))?;
    let network = session.into_background()?;
    let watch = Watch::start(plan.common.grammar, producer.clone(), network.handle());
    let mut run = Run {
        plan,
        producer: &producer,
        watch: &watch,
        handle: network.handle().clone(),
        topics: Topics { default: topic, others: HashMap::new() },
        fixed_headers: fixed_headers(plan),
        headers: HeadersBuf::new(),
        tee: plan.tee.then(Stdout::new),
        receipts: (plan.common.verbosity >= DELIVERY_REPORTS).then(Vec::new),
        records_left: plan.max_messages.unwrap_or(u64::MAX),
        refused: 0,
        progress: Progress::start(&plan.common, None),
    };
    let read = run.read_input();
    watch.hand_over();
    run.progress.finish();
    let told = match &mut run.tee {
        Some(tee) => tee.flush().map_err(Failure::writing),
        None => Ok(()),
    };
    let read = if run.refused > 0 { read.and(Err(Failure::AlreadyTold)) } else { read };
    let receipts = run.receipts.take();
    let delivered = deliver(plan, producer, &watch);
    report(receipts.unwrap_or_default());
    read.and(told).and(delivered)
}

fn deliver(plan: &Produce, producer: Producer, watch: &Watch) -> Result<(), Failure> {
    let flushed = producer.flush_blocking();
    let has_told = tell(plan.common.grammar, &producer);
    let closed = producer.close_blocking();
    if has_told || watch.has_told.load(Ordering::Acquire) {
        return Err(Failure::AlreadyTold);
    }
    flushed.and(closed).map_err(Failure::from)
}

/// Tells what has not been delivered; whether there was anything.
fn tell(grammar: Grammar, producer: &Producer) -> bool {
    let failures = producer.take_failures();
    for failure in &failures {
        match grammar {
            Grammar::Kcat => say!("% Delivery failed for message: {failure}"),
            _ => say!("kcopy: error: not delivered: {failure}"),
        }
    }
    let unlisted = producer.take_unlisted_failures();
    if unlisted > 0 {
        match grammar {
            Grammar::Kcat => say!("% Delivery failed for {unlisted} more messages"),
            _ => say!("kcopy: error: not delivered: {unlisted} more records"),
        }
    }
    !failures.is_empty() || unlisted > 0
}

/// Tells what could not be delivered while more input is waited for, which may take days. In kcopy's own grammar the
/// run ends then; kcat goes on.
struct Watch {
    /// Whoever sets this ends the run.
    is_ending: Arc<AtomicBool>,
    has_told: Arc<AtomicBool>,
}

impl Watch {
    fn start(grammar: Grammar, producer: Producer, network: &Handle) -> Watch {
        let watch = Watch { is_ending: Arc::default(), has_told: Arc::default() };
        let (is_ending, has_told) = (watch.is_ending.clone(), watch.has_told.clone());
        network.spawn(async move {
            loop {
                producer.failed().await;
                if grammar == Grammar::Kcopy {
                    if is_ending.swap(true, Ordering::AcqRel) {
                        return;
                    }
                    tell(grammar, &producer);
                    // The rest of what was appended is settled as well, which may take as long as the longest delivery.
                    // Its error is about what has been told, or is told here.
                    let _ = producer.flush().await;
                    tell(grammar, &producer);
                    say!("kcopy: error: the run ends here: what is left of the input is not sent");
                    std::process::exit(1);
                }
                // Before the failures are taken: whoever finds none must know.
                has_told.store(true, Ordering::Release);
                tell(grammar, &producer);
            }
        });
        watch
    }

    /// From here on the caller ends the run; does not return where the watch does.
    fn hand_over(&self) {
        if self.is_ending.swap(true, Ordering::AcqRel) {
            self.wait_for_the_end();
        }
    }

    /// Does not return once the run is ending.
    fn check(&self) {
        if self.is_ending.load(Ordering::Acquire) {
            self.wait_for_the_end();
        }
    }

    fn wait_for_the_end(&self) -> ! {
        loop {
            std::thread::park();
        }
    }
}

/// What `-vv` shows of each record.
fn report(receipts: Vec<(Position, Receipt)>) {
    for (Position { partition, .. }, receipt) in receipts {
        if let Some(Ok(placed)) = receipt.peek() {
            match placed.offset {
                Some(offset) => say!("% Message delivered to partition {partition} (offset {offset})"),
                None => say!("% Message delivered to partition {partition}"),
            }
        }
    }
}

fn fixed_headers(plan: &Produce) -> HeadersBuf {
    let mut headers = HeadersBuf::new();
    for (name, value) in &plan.headers {
        headers.push(name, value.as_deref());
    }
    headers
}

struct Topics {
    default: Topic,
    others: HashMap<String, Topic>,
}

struct Run<'a> {
    plan: &'a Produce,
    producer: &'a Producer,
    watch: &'a Watch,
    handle: Handle,
    topics: Topics,
    fixed_headers: HeadersBuf,
    headers: HeadersBuf,
    tee: Option<Stdout>,
    receipts: Option<Vec<(Position, Receipt)>>,
    records_left: u64,
    /// Records that the producer did not take, which the user has been told.
    refused: u64,
    progress: Progress,
}

impl Run<'_> {
    fn read_input(&mut self) -> Result<(), Failure> {
        match &self.plan.input {
            Input::Stdin => self.read_records(&mut Stdin::new(), "standard input"),
            Input::File(path) => {
                let mut file = File::open(path).map_err(|error| in_file(path, &error))?;
                self.read_records(&mut file, &path.display().to_string())
            }
            Input::WholeFiles(paths) => self.read_whole_files(paths),
        }
    }

    fn read_records(&mut self, input: &mut dyn Read, name: &str) -> Result<(), Failure> {
        let reader = self.plan.format.reader(max_row_bytes(self.producer.config()));
        let mut reader: RecordReader = reader.map_err(|error| Failure::Told(error.to_string()))?;
        while !reader.is_finished() && self.records_left > 0 {
            let length =
                input.read(reader.space()).map_err(|error| Failure::Told(format!("{name}: {error}")))?;
            reader.filled(length);
            self.watch.check();
            self.append_all(&mut reader)?;
        }
        // A server whose pipe breaks while it writes fails the whole COPY.
        if reader.is_finished() && self.plan.common.grammar == Grammar::Kcopy {
            drain(input, &mut reader).map_err(|error| Failure::Told(format!("{name}: {error}")))?;
        }
        Ok(())
    }

    /// Appends what one block of input holds, under one lock.
    fn append_all(&mut self, reader: &mut RecordReader) -> Result<(), Failure> {
        let before = self.records_left;
        let mut appender = self.producer.appender();
        if self.tee.is_none() && self.receipts.is_none() && self.fixed_headers.is_empty() {
            self.append_values(&mut appender, reader)?;
        }
        while self.records_left > 0
            && let Some(record) = reader.read_record().map_err(|error| Failure::Told(error.to_string()))?
        {
            let topic = match record.topic {
                None => self.topics.default,
                Some(name) => match self.topics.others.get(name) {
                    Some(topic) => *topic,
                    None => {
                        drop(appender);
                        let topic = self.handle.block_on(self.producer.topic(name))?;
                        self.topics.others.insert(name.to_owned(), topic);
                        appender = self.producer.appender();
                        topic
                    }
                },
            };
            let headers = join_headers(&self.fixed_headers, &mut self.headers, &record);
            let out = Record {
                partition: record.partition.or(self.plan.partition),
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers,
            };
            match append(&mut appender, topic, &out, &mut self.receipts) {
                Ok(()) => {}
                Err(error) if self.goes_on_after(&error) => {
                    say!("% Delivery failed for message: {}: {error}", reader.place());
                    self.refused += 1;
                    self.records_left -= 1;
                    continue;
                }
                Err(error) => return Err(self.explain(&error, reader)),
            }
            if let Some(tee) = &mut self.tee {
                tee.write_all(record.raw).map_err(Failure::writing)?;
            }
            self.records_left -= 1;
        }
        self.progress.add(before - self.records_left);
        Ok(())
    }

    /// The short way for input that is nothing but values.
    fn append_values(
        &mut self,
        appender: &mut Appender<'_>,
        reader: &mut RecordReader,
    ) -> Result<(), Failure> {
        loop {
            let Some(values) = reader.values() else { return Ok(()) };
            let mut appended = 0;
            let limit = usize::try_from(self.records_left).unwrap_or(usize::MAX);
            let outcome = appender.append_values_blocking(
                self.topics.default,
                self.plan.partition,
                values.take(limit),
                &mut appended,
            );
            self.records_left -= appended;
            match outcome {
                Ok(()) => return Ok(()),
                Err(error) if self.goes_on_after(&error) => {
                    say!("% Delivery failed for message: {}: {error}", reader.place());
                    self.refused += 1;
                    self.records_left -= 1;
                }
                Err(error) => return Err(self.explain(&error, reader)),
            }
        }
    }

    fn read_whole_files(&mut self, paths: &[PathBuf]) -> Result<(), Failure> {
        for path in paths {
            if self.records_left == 0 {
                return Ok(());
            }
            let value = match std::fs::read(path) {
                Ok(value) => value,
                // As kcat does.
                Err(error) if self.plan.common.grammar == Grammar::Kcat => {
                    say!("% Failed to open {}: {error}", path.display());
                    self.refused += 1;
                    continue;
                }
                Err(error) => return Err(in_file(path, &error)),
            };
            if value.is_empty() {
                // As kcat does; with -Z as well, so that no tombstone comes of a file that is still to be written.
                if !self.plan.common.quiet() {
                    say!("% Skipping empty file {}", path.display());
                }
                continue;
            }
            let record = Record {
                partition: self.plan.partition,
                key: self.plan.format.fixed_key(),
                value: Some(&value),
                headers: self.fixed_headers.as_headers(),
                ..Record::default()
            };
            let mut appender = self.producer.appender();
            match append(&mut appender, self.topics.default, &record, &mut self.receipts) {
                Ok(()) => {}
                Err(error) if self.goes_on_after(&error) => {
                    say!("% Delivery failed for message: {}: {error}", path.display());
                    self.refused += 1;
                }
                Err(error) => {
                    return Err(Failure::Told(format!("{}: {}", path.display(), self.of_topic(&error))));
                }
            }
            if let Some(tee) = &mut self.tee {
                tee.write_all(&value).map_err(Failure::writing)?;
            }
            self.records_left -= 1;
        }
        Ok(())
    }

    /// kcat goes on after a record for a partition that is not there, and with `-E` after any.
    fn goes_on_after(&self, error: &AppendError) -> bool {
        match error {
            AppendError::UnknownPartition { .. } => self.plan.common.grammar == Grammar::Kcat,
            AppendError::TooLarge { .. } => self.plan.keep_going,
            _ => false,
        }
    }

    #[cold]
    fn explain(&self, error: &AppendError, reader: &RecordReader) -> Failure {
        Failure::Told(match error {
            AppendError::Closed(_) => self.of_topic(error),
            _ => format!("{}: {}", reader.place(), self.of_topic(error)),
        })
    }

    fn of_topic(&self, error: &AppendError) -> String {
        match error {
            AppendError::Closed(error) => error.to_string(),
            error => format!("topic {}: {error}", self.plan.topic),
        }
    }
}

#[inline]
fn append(
    appender: &mut Appender<'_>,
    topic: Topic,
    record: &Record<'_>,
    receipts: &mut Option<Vec<(Position, Receipt)>>,
) -> Result<(), AppendError> {
    match receipts {
        None => appender.append_blocking(topic, record).map(|_| ()),
        Some(receipts) => {
            receipts.push(appender.append_tracked_blocking(topic, record)?);
            Ok(())
        }
    }
}

/// Those of `-H` come before the record's own.
#[inline]
fn join_headers<'a>(
    fixed: &'a HeadersBuf,
    scratch: &'a mut HeadersBuf,
    record: &InputRecord<'a>,
) -> Headers<'a> {
    if fixed.is_empty() {
        return record.headers;
    }
    if record.headers.is_empty() {
        return fixed.as_headers();
    }
    scratch.clear();
    for (name, value) in fixed.as_headers().iter().chain(record.headers.iter()) {
        scratch.push(name, value);
    }
    scratch.as_headers()
}

/// Waits for the end of the input behind an end marker: nothing may follow.
fn drain(input: &mut dyn Read, reader: &mut RecordReader) -> Result<(), String> {
    loop {
        let length = input.read(reader.space()).map_err(|error| error.to_string())?;
        if length == 0 {
            return Ok(());
        }
        reader.filled(length);
        reader.read_record().map_err(|error| error.to_string())?;
    }
}

/// What a row may take: COPY's text spells a byte in up to four.
fn max_row_bytes(config: &ProducerConfig) -> usize {
    config.max_message_bytes.saturating_mul(4)
}

fn in_file(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Told(format!("{}: {error}", path.display()))
}

fn producer_config(plan: &Produce) -> Result<ProducerConfig, Failure> {
    let properties: &ClientProperties = &plan.common.properties;
    let mut builder = ProducerConfig::builder();
    macro_rules! set {
        ($($setter:ident: $value:expr;)*) => {
            $(if let Some(value) = $value { builder = builder.$setter(value); })*
        };
    }
    let delivery_timeout = match properties.message_timeout {
        // For ever: longer than anything lives.
        Some(None) => Some(Duration::from_secs(u64::from(u32::MAX))),
        Some(timeout) => timeout,
        None => None,
    };
    set! {
        acks: properties.acks.map(|acks| match acks {
            properties::Acks::None => Acks::None,
            properties::Acks::Leader => Acks::Leader,
            properties::Acks::All => Acks::All,
        });
        idempotence: properties.enable_idempotence;
        compression: properties.compression_type.map(compression);
        linger: properties.linger;
        batch_size: properties.batch_size;
        batch_records: properties.batch_num_messages.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        max_message_bytes: properties.message_max_bytes;
        max_request_bytes: properties.message_max_bytes;
        max_in_flight: properties.max_in_flight;
        retries: properties.retries;
        request_timeout: properties.request_timeout.or(properties.socket_timeout);
        delivery_timeout: delivery_timeout;
        unreachable_timeout: plan.unreachable_timeout.map(Some);
        topic_timeout: properties.topic_metadata_propagation_max.or(plan.common.timeout);
        retry_backoff: properties.retry_backoff;
        retry_backoff_max: properties.retry_backoff_max;
        partitioner: properties.partitioner.map(partitioner);
        buffer_bytes: buffer_bytes(properties);
    }
    builder = builder.compression_level(properties.compression_level);
    Ok(builder.build()?)
}

/// A buffer that is smaller than a message is as large as one: librdkafka takes it as well.
fn buffer_bytes(properties: &ClientProperties) -> Option<usize> {
    let defaults = ProducerConfig::default();
    let message = properties.message_max_bytes.unwrap_or(defaults.max_message_bytes);
    match properties.queue_buffering_max_bytes {
        None if message <= defaults.buffer_bytes => None,
        wanted => Some(wanted.unwrap_or_default().max(message)),
    }
}

fn compression(codec: properties::CompressionType) -> Compression {
    match codec {
        properties::CompressionType::None => Compression::None,
        properties::CompressionType::Gzip => Compression::Gzip,
        properties::CompressionType::Snappy => Compression::Snappy,
        properties::CompressionType::Lz4 => Compression::Lz4,
        properties::CompressionType::Zstd => Compression::Zstd,
    }
}

fn partitioner(name: properties::Partitioner) -> Partitioner {
    match name {
        properties::Partitioner::Random => Partitioner::Random,
        properties::Partitioner::Consistent => Partitioner::Consistent,
        properties::Partitioner::ConsistentRandom => Partitioner::ConsistentRandom,
        properties::Partitioner::Murmur2 => Partitioner::Murmur2,
        properties::Partitioner::Murmur2Random => Partitioner::Murmur2Random,
        properties::Partitioner::Fnv1a => Partitioner::Fnv1a,
        properties::Partitioner::Fnv1aRandom => Partitioner::Fnv1aRandom,
    }
}
