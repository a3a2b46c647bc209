//! `kcopy load`: Kafka to PostgreSQL over the wire, exactly once.
//!
//! | | |
//! |---|---|
//! | [`postgres`] | how PostgreSQL is reached |
//! | `catalog`, `encode` | a table, and records as its rows |
//! | `filled` | the columns that a run fills stay there |
//! | `create`, `infer` | a table for records that nobody has described; what its columns are |
//! | `positions`, `loss` | kcopy.offsets: read, checked, set for the first time; what no longer means what it meant |
//! | `starts` | where topics begin that were never loaded |
//! | `worker`, `session` | from a connection to its end; how it is set up |
//! | `trouble`, `patience` | what can go wrong; tries again |
//! | `pulse`, `locks` | a server that says nothing; who holds what is waited for |
//! | `reader`, `writer` | records into batches, batches into the database |
//! | `batch` | what goes into one transaction |
//! | `transact`, `fill`, `destination` | one batch, one transaction; its rows in one table; the statements for that |
//! | `rejects` | records that a table cannot take |
//! | `shared` | what workers share: counters, events |
//! | `service`, `metrics`, `mirror` | signals, systemd, Prometheus, positions in a Kafka group |
//!
//! Invariant: rows and positions are written by one transaction, or not at all. Memory never decides where
//! loading goes on; the database does.

mod batch;
mod catalog;
mod create;
mod destination;
mod encode;
mod fill;
mod filled;
mod infer;
mod locks;
mod loss;
mod metrics;
mod mirror;
mod patience;
mod positions;
pub mod postgres;
mod pulse;
mod reader;
mod refusal;
mod rejects;
mod service;
mod session;
mod shared;
mod starts;
mod transact;
mod trouble;
mod worker;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use kcopy_client::{
    Client, ConsumerConfig, IsolationLevel, Metadata,
    wire::{ErrorCode, Str},
};
use serde_json::json;
use tokio::sync::watch;

use self::{
    catalog::Table,
    filled::FilledColumns,
    patience::Patience,
    positions::{Assigned, Notice, Survey},
    pulse::Pulse,
    service::{Notify, Signals},
    session::Backend,
    shared::{Command, Reporter, Shared, Stats},
    trouble::Trouble,
    worker::Worker,
};
use crate::{
    plan::{End, Load, OnError, Start},
    run::{Failure, progress::Progress, session::Session},
};

/// Loads what the plan says.
///
/// # Errors
/// Anything that was asked for and not done, and a signal. What was committed stays.
pub fn run(plan: &Load) -> Result<(), Failure> {
    let session = Session::new(&plan.common)?;
    let mut plan = plan.clone();
    plan.server.connect_within(plan.common.timeout);
    plan.server.keepalive.or_within(plan.write_timeout);
    let plan = Arc::new(plan);
    let client = session.client.clone();
    let network = session.into_background()?;
    let (commander, command) = watch::channel(Command::Run);
    let shared = Arc::new(Shared {
        plan: Arc::clone(&plan),
        client,
        handle: network.handle().clone(),
        command,
        stats: Stats::new(worker::table_names(&plan)),
        pulses: Mutex::default(),
        reporter: Reporter {
            is_quiet: plan.common.quiet(),
            json: plan.json,
            progress: Progress::of_load(&plan.common, plan.end == End::Follow),
            unwritten: OnceLock::new(),
        },
    });
    let commander = Arc::new(commander);
    let notify = Arc::new(Notify::new());
    let started = Instant::now();
    if plan.is_dry_run {
        let mut patience = Patience::new(&shared);
        let pulse = Arc::clone(&patience.pulse);
        let printed = shared.handle.block_on(patience.limit(print_tables(&shared, &pulse)));
        // Nobody can tell it to stop.
        printed.unwrap_or(Ok(())).map_err(|trouble| Failure::Told(trouble.to_string()))?;
        return shared.reporter.unwritten.get().map_or(Ok(()), |text| Err(Failure::Told(text.clone())));
    }
    let ended_by = start_services(&shared, &commander, &notify)?;
    let result = load(&shared, &commander, &notify);
    if let Some(group) = &plan.group {
        shared.handle.block_on(mirror::finish(&shared, group));
    }
    notify.send("STOPPING=1");
    shared.reporter.progress.finish();
    let signal = *ended_by.borrow();
    if result.is_ok() {
        sum_up(&shared, started, signal.is_some());
    }
    let unwritten = shared.reporter.unwritten.get();
    match (result, signal) {
        (Err(text), _) => Err(Failure::Told(text)),
        (Ok(()), Some(number)) => Err(Failure::Signal(number)),
        (Ok(()), None) => unwritten.map_or(Ok(()), |text| Err(Failure::Told(text.clone()))),
    }
}

/// `--create-table --dry-run`: the SQL and nothing else. A table that is there is left out.
async fn print_tables(shared: &Shared, pulse: &Pulse) -> Result<(), Trouble> {
    let plan = &shared.plan;
    let postgres = session::open(plan, pulse, &mut None).await?;
    for name in worker::table_names(plan) {
        if catalog::find(&postgres, &name).await?.is_some() {
            shared.reporter.tell("table", &format!("table {name} is there already"));
            continue;
        }
        let config = consumer_config(plan);
        let statement = create::statement(&shared.client, plan, &config, &name);
        let (sql, notes) = pulse.resting(statement).await?;
        notes.iter().for_each(|note| shared.reporter.tell("left_out", note));
        if plan.json {
            shared.reporter.event("create_table", json!({ "message": sql }));
            continue;
        }
        writeln!(std::io::stdout(), "{sql}")
            .map_err(|error| Trouble::Final(format!("writing to standard output: {error}")))?;
    }
    Ok(())
}

/// What goes on beside the workers, on the network's thread.
fn start_services(
    shared: &Arc<Shared>,
    commander: &Arc<watch::Sender<Command>>,
    notify: &Arc<Notify>,
) -> Result<watch::Receiver<Option<i32>>, Failure> {
    let plan = &shared.plan;
    let (number, ended_by) = watch::channel(None);
    let _entered = shared.handle.enter();
    let signals = Signals::new().map_err(|error| Failure::Told(format!("listening for signals: {error}")))?;
    tokio::spawn(signals.watch(Arc::clone(shared), Arc::clone(commander), number, Arc::clone(notify)));
    tokio::spawn(Arc::clone(notify).watchdog(Arc::clone(shared)));
    tokio::spawn(show_progress(Arc::clone(shared)));
    if let Some(group) = &plan.group {
        tokio::spawn(mirror::run(Arc::clone(shared), group.clone()));
    }
    if let Some(address) = plan.metrics {
        let listening = shared.handle.block_on(metrics::listen(address));
        let (listener, address) =
            listening.map_err(|error| Failure::Told(format!("--metrics {address}: {error}")))?;
        shared.reporter.tell("metrics", &format!("metrics at http://{address}/metrics"));
        tokio::spawn(metrics::serve(listener, Arc::clone(shared)));
    }
    Ok(ended_by)
}

fn sum_up(shared: &Shared, started: Instant, is_stopped: bool) {
    let stats = &shared.stats;
    let (records, rejected) = (Stats::of(&stats.records), Stats::of(&stats.rejected));
    let rejects = if rejected > 0 { format!(", {rejected} of them rejected") } else { String::new() };
    let seconds = started.elapsed().as_secs_f64();
    let text = match records {
        // Whether there was something new it may never have learnt.
        0 if is_stopped || Stats::of(&stats.failures) > 0 => "nothing was loaded".to_owned(),
        0 => "nothing new to load".to_owned(),
        _ => format!("loaded {records} records{rejects} in {seconds:.1} s"),
    };
    shared.reporter.tell("summary", &text);
}

async fn show_progress(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let records = Stats::of(&shared.stats.records);
        let total = (shared.plan.end == End::Pinned).then(|| records + shared.stats.left());
        shared.reporter.progress.set(records, total);
    }
}

/// Looks for partitions that were added to those that are loaded, until it has found some: in the metadata that there are,
/// whoever has renewed them, a topic that was made anew, say.
async fn watch_topics(
    shared: Arc<Shared>,
    commander: Arc<watch::Sender<Command>>,
    known: BTreeMap<Str, usize>,
) {
    let names: Vec<&str> = known.keys().map(|topic| &**topic).collect();
    loop {
        // A cluster that does not answer is the workers' business, and so is a topic with an error.
        if let Ok(metadata) = shared.client.topics(&names).await {
            let has_more = |(name, count): (&Str, &usize)| {
                metadata.topic(name).is_some_and(|topic| topic.partitions.len() > *count)
            };
            if known.iter().any(has_more) {
                break;
            }
        }
        let max_age = shared.client.config().metadata_max_age;
        tokio::time::sleep(max_age.clamp(Duration::from_millis(100), Duration::from_secs(1))).await;
    }
    shared.reporter.tell("partitions", "a topic has new partitions");
    shared::reload(&commander);
}

/// Loads until the ends are reached, or somebody says that it is enough.
fn load(
    shared: &Arc<Shared>,
    commander: &Arc<watch::Sender<Command>>,
    notify: &Notify,
) -> Result<(), String> {
    let config = consumer_config(&shared.plan);
    let (mut filled, mut backend) = (FilledColumns::default(), None);
    let mut looked = Looked::default();
    loop {
        let mut patience = Patience::new(shared);
        let pulse = Arc::clone(&patience.pulse);
        let assigned = loop {
            if *shared.command.borrow() == Command::Stop {
                return Ok(());
            }
            let prepared = prepare(shared, &config, &mut filled, &pulse, &mut backend, &mut looked);
            match shared.handle.block_on(patience.limit(prepared)) {
                Some(Ok(assigned)) => break assigned,
                Some(Err(trouble)) => patience.take(trouble)?,
                None => {
                    take_reload(commander);
                }
            }
        };
        notify.send("READY=1");
        let watching = (shared.plan.end == End::Follow && shared.plan.partitions.is_none()).then(|| {
            let mut known = BTreeMap::new();
            for it in &assigned {
                *known.entry(it.topic.clone()).or_default() += 1;
            }
            shared.handle.spawn(watch_topics(Arc::clone(shared), Arc::clone(commander), known))
        });
        let worked = work(shared, commander, &config, &mut filled, assigned);
        // It knows only what there was.
        if let Some(watching) = watching {
            watching.abort();
        }
        worked?;
        if !take_reload(commander) {
            return Ok(());
        }
    }
}

/// Whether partitions are to be found anew, which the caller does then.
fn take_reload(commander: &watch::Sender<Command>) -> bool {
    commander.send_if_modified(|command| {
        let is_again = *command == Command::Reload;
        if is_again {
            *command = Command::Run;
        }
        is_again
    })
}

/// Shares the partitions between workers, and waits for all of them.
fn work(
    shared: &Arc<Shared>,
    commander: &Arc<watch::Sender<Command>>,
    config: &ConsumerConfig,
    filled: &mut FilledColumns,
    assigned: Vec<Assigned>,
) -> Result<(), String> {
    let count = shared.plan.connections.min(assigned.len()).max(1);
    let mut shares: Vec<Vec<Assigned>> = vec![Vec::new(); count];
    for (at, assigned) in assigned.into_iter().enumerate() {
        shares[at % count].push(assigned);
    }
    let mut threads = Vec::with_capacity(count);
    for (number, share) in shares.into_iter().enumerate() {
        let worker = Worker::new(Arc::clone(shared), share, config.clone(), filled.clone());
        let commander = Arc::clone(commander);
        let work = move || {
            worker.run(&commander).inspect_err(|_| {
                // The others finish what they have.
                commander.send_replace(Command::Stop);
            })
        };
        let thread = std::thread::Builder::new().name(format!("worker {number}")).spawn(work);
        threads.push(thread.map_err(|error| format!("starting a worker: {error}"))?);
    }
    let mut first = Ok(());
    for thread in threads {
        let ended = thread.join().unwrap_or_else(|_| Err("a worker panicked".to_owned()));
        first = first.and(ended.map(|by_worker| filled.add(by_worker)));
    }
    first
}

/// What a run remembers of its looks.
#[derive(Default)]
struct Looked {
    /// Notices that have been told.
    told: BTreeSet<String>,
    /// Topics that were not there: all of their records have come since this run began.
    late: BTreeSet<Str>,
    /// Whether positions were set: what is there from here on is this run's.
    has_begun: bool,
}

/// Looks at both sides once, before anything is read: the tables, the topics, where each partition ends.
async fn prepare(
    shared: &Arc<Shared>,
    config: &ConsumerConfig,
    filled: &mut FilledColumns,
    pulse: &Pulse,
    backend: &mut Option<Backend>,
    looked: &mut Looked,
) -> Result<Vec<Assigned>, Trouble> {
    let plan = &shared.plan;
    let mut postgres = session::open(plan, pulse, backend).await?;
    let names = worker::table_names(plan);
    let mut tables = Vec::with_capacity(names.len());
    for name in &names {
        pulse.beat();
        let mut found = match catalog::find(&postgres, name).await {
            Ok(found) => found,
            Err(trouble) => return Err(locks::explained(&postgres, plan, pulse, trouble).await),
        };
        if found.is_none() && plan.creates_tables {
            let statement = create::statement(&shared.client, plan, config, name);
            let (sql, notes) = pulse.resting(statement).await?;
            notes.iter().for_each(|note| shared.reporter.tell("left_out", note));
            shared.reporter.tell("create_table", &sql);
            let made = postgres.batch_execute(&sql).await;
            // Another loader may have made it at the same moment: `if not exists` fails then.
            if let Err(error) = made.as_ref()
                && !positions::is_made_meanwhile(error)
            {
                return Err(Trouble::postgres(&format!("making table {name}"), error));
            }
            found = catalog::find(&postgres, name).await?;
        }
        tables.push(
            found.ok_or_else(|| {
                Trouble::Final(format!("there is no table {name}: --create-table makes one"))
            })?,
        );
    }
    for table in &tables {
        pulse.beat();
        catalog::check_rights(&postgres, table, plan).await?;
    }
    // What cannot be is told before any position is set, and before any record comes.
    for layout in filled.layouts(plan, &tables)? {
        layout.encoder().map_err(Trouble::Final)?;
    }
    for notice in numbered_columns(plan, &tables) {
        if looked.told.insert(notice.clone()) {
            shared.reporter.tell("column_default", &notice);
        }
    }
    pulse.beat();
    positions::ensure_schema(&mut postgres).await?;
    if let OnError::DeadLetter(topic) = &plan.on_error {
        pulse.resting(rejects::check_topic(&shared.client, topic)).await?;
    }
    let mut assigned = match pulse.resting(partitions(&shared.client, plan, &names)).await {
        Err(Trouble::Missing(text)) if plan.end == End::Follow => {
            looked.late.extend(missing(&shared.client.metadata(), plan).map(Str::from));
            // It may be made later, unless it was there before.
            let were_there = positions::were_there(&postgres, plan).await?;
            return Err(if were_there { Trouble::Missing(text) } else { Trouble::Passing(text) });
        }
        found => found?,
    };
    let late = Some(&looked.late);
    let survey = Survey { plan, client: &shared.client, config, tables: &tables, pulse, late };
    let mut notices = Vec::new();
    let says_start = plan.import_group.is_some() || !matches!(plan.start, Start::Beginning);
    if says_start && !looked.has_begun && positions::were_there(&postgres, plan).await? {
        let text = "some topic has positions in its table already (kcopy.offsets): neither --from nor --import-group is \
                    used for it";
        notices.push(Notice { event: "start_not_used", text: text.to_owned() });
    }
    let placed = match survey.establish(&mut postgres, &assigned, &mut notices).await {
        Ok(placed) => placed,
        Err(trouble) => return Err(locks::explained(&postgres, plan, pulse, trouble).await),
    };
    looked.has_begun = true;
    for notice in notices {
        shared.reporter.tell(notice.event, &notice.text);
    }
    for (assigned, placed) in assigned.iter_mut().zip(&placed) {
        assigned.end = Some(placed.range.last_stable_offset).filter(|_| plan.end == End::Pinned);
    }
    Ok(assigned)
}

/// What to say of columns that PostgreSQL numbers: records may have members of their names.
fn numbered_columns(plan: &Load, tables: &[Table]) -> Vec<String> {
    let own = tables.iter().filter(|_| plan.columns.is_none());
    let numbered = own.flat_map(|table| {
        let columns = table.columns.iter().filter(|column| column.is_numbered && !column.is_generated);
        columns.map(|column| (&table.name, &column.name))
    });
    let notice = |(table, column): (&String, &String)| {
        format!(
            "table {table}: column {column} is left to its default; --columns '{column}, ...' fills it from the records"
        )
    };
    numbered.map(notice).collect()
}

/// How long it may take until all brokers know of a new topic.
const HEARSAY: Duration = Duration::from_millis(500);

fn is_missing(metadata: &Metadata, name: &str) -> bool {
    metadata.topic(name).and_then(|topic| topic.error) == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
}

/// The topics of the plan that are not there.
fn missing<'a>(metadata: &Metadata, plan: &'a Load) -> impl Iterator<Item = &'a str> {
    let names = plan.routes.iter().map(|route| route.topic.as_str());
    names.filter(move |name| is_missing(metadata, name))
}

/// The partitions of all topics, and the table of each.
async fn partitions(client: &Client, plan: &Load, tables: &[String]) -> Result<Vec<Assigned>, Trouble> {
    let names: Vec<&str> = plan.routes.iter().map(|route| route.topic.as_str()).collect();
    let mut metadata = client.topics(&names).await.map_err(|error| Trouble::kafka(&error))?;
    // Of a topic that is there, the first of --partitions that it does not have.
    let lacks = |metadata: &Metadata, name: &str| {
        let topic = metadata.topic(name).filter(|topic| topic.error.is_none())?;
        let wanted = plan.partitions.as_deref().unwrap_or_default();
        wanted.iter().copied().find(|index| topic.partition(*index).is_none())
    };
    if names.iter().any(|name| is_missing(&metadata, name) || lacks(&metadata, name).is_some()) {
        // Not every broker has heard of what was made a moment ago.
        tokio::time::sleep(HEARSAY).await;
        let renewed = client.refresh_metadata(&names, metadata.generation).await;
        metadata = renewed.map_err(|error| Trouble::kafka(&error))?;
    }
    let mut assigned = Vec::new();
    for route in &plan.routes {
        let topic = metadata.topic(&route.topic).ok_or_else(|| {
            Trouble::Final(format!("the cluster's answer leaves topic {} out", route.topic))
        })?;
        if plan.end != End::Follow && is_missing(&metadata, &route.topic) {
            return Err(Trouble::Final(format!(
                "there is no topic {}: kcopy topic list shows all that are there",
                route.topic
            )));
        }
        if let Some(code) = topic.error {
            return Err(Trouble::kafka(&kcopy_client::Error::broker(code).with_topic(&route.topic)));
        }
        if let Some(index) = lacks(&metadata, &route.topic) {
            let count = topic.partitions.len();
            return Err(Trouble::Final(format!(
                "topic {} has no partition {index}: it has {count}, 0 to {}",
                route.topic,
                count.saturating_sub(1)
            )));
        }
        let table = tables.iter().position(|table| *table == route.table).unwrap_or(0);
        let wanted = |index: i32| plan.partitions.as_ref().is_none_or(|list| list.contains(&index));
        for partition in topic.partitions.iter().filter(|partition| wanted(partition.index)) {
            let topic = Str::from(route.topic.as_str());
            assigned.push(Assigned { table, topic, partition: partition.index, end: None });
        }
    }
    Ok(assigned)
}

fn consumer_config(plan: &Load) -> ConsumerConfig {
    let properties = &plan.common.properties;
    let mut config = ConsumerConfig::default();
    config.isolation_level = IsolationLevel::ReadCommitted;
    config.fetch_max_bytes = properties.fetch_max_bytes.unwrap_or(config.fetch_max_bytes);
    config.partition_max_bytes = properties.max_partition_fetch_bytes.unwrap_or(config.partition_max_bytes);
    config.min_bytes = properties.fetch_min_bytes.unwrap_or(config.min_bytes);
    config.max_wait = properties.fetch_wait_max.unwrap_or(config.max_wait);
    config.prefetch_bytes = properties.queued_max_bytes.unwrap_or(config.prefetch_bytes);
    config.check_crcs = properties.check_crcs.unwrap_or(config.check_crcs);
    if let Some(timeout) = plan.common.timeout {
        config.unreachable_timeout = timeout;
    }
    config
}
