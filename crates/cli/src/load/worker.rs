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

use std::sync::Arc;

use kcopy_client::ConsumerConfig;
use tokio::sync::{mpsc, watch};

use super::{
    catalog::{self, Table},
    encode::Layout,
    filled::FilledColumns,
    locks,
    patience::Patience,
    positions::{Assigned, Placed, Survey},
    postgres::connect::Session,
    pulse::Pulse,
    reader::Reader,
    rejects::{DeadLetters, Reread},
    session::{self, Backend},
    shared::{Command, Shared, reload},
    transact::Loader,
    trouble::Trouble,
    writer::{Unanswered, write_all},
};
use crate::plan::{End, OnError};

/// One worker's work.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) assigned: Vec<Assigned>,
    pub(super) config: ConsumerConfig,
    filled: FilledColumns,
    /// That of the last session.
    backend: Option<Backend>,
    unanswered: Arc<Unanswered>,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        assigned: Vec<Assigned>,
        config: ConsumerConfig,
        filled: FilledColumns,
    ) -> Worker {
        Worker { shared, assigned, config, filled, backend: None, unanswered: Arc::default() }
    }

    /// Works until the ends are reached, or it shall stop; and which columns it has filled by then.
    ///
    /// # Errors
    /// What waiting does not mend, or has not mended within --timeout.
    pub(super) fn run(mut self, commander: &watch::Sender<Command>) -> Result<FilledColumns, String> {
        let mut patience = Patience::new(&self.shared);
        loop {
            match self.attempt(&mut patience) {
                Ok(()) => return Ok(self.filled),
                Err(trouble) => {
                    let has_fewer = matches!(trouble, Trouble::Missing(_)) && self.has_lost_a_partition();
                    patience.take(trouble)?;
                    if has_fewer {
                        self.shared.reporter.tell("partitions", "a topic has fewer partitions");
                        reload(commander);
                    }
                }
            }
            if *self.shared.command.borrow() != Command::Run {
                return Ok(self.filled);
            }
        }
    }

    /// Whether a topic is there without a partition that it had: the partitions have to be found anew. Of brokers without
    /// ids that would hide that it is another topic.
    fn has_lost_a_partition(&self) -> bool {
        let metadata = self.shared.client.metadata();
        let is_lost = |it: &Assigned| {
            let topic = metadata.topic(&it.topic).filter(|topic| topic.error.is_none() && topic.id.is_some());
            topic.is_some_and(|topic| !topic.partitions.is_empty() && topic.partition(it.partition).is_none())
        };
        self.shared.plan.end == End::Follow && self.assigned.iter().any(is_lost)
    }

    /// From a new connection to the end of what there is to do, or to the first trouble.
    fn attempt(&mut self, patience: &mut Patience) -> Result<(), Trouble> {
        let handle = self.shared.handle.clone();
        let pulse = Arc::clone(&patience.pulse);
        let Some(established) = handle.block_on(patience.limit(self.establish(&pulse))) else {
            return Ok(());
        };
        let (loader, tables, placed, letters) = established?;
        let placed = Arc::new(placed);
        self.unanswered.settle(&self.shared, &placed);
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
        let writing = handle.spawn(write_all(
            Arc::clone(&self.shared),
            pulse,
            loader,
            Arc::clone(&placed),
            letters,
            Arc::clone(&self.unanswered),
            receiver,
        ));
        let mut reader = Reader::new(&self.shared, consumer, &placed, &tables, sender)?;
        let read = reader.read();
        // The writer ends with what it has.
        drop(reader);
        let written =
            handle.block_on(writing).map_err(|error| Trouble::Final(format!("a task failed: {error}")))?;
        written?;
        read
    }

    async fn establish(&mut self, pulse: &Arc<Pulse>) -> Result<Established, Trouble> {
        let plan = Arc::clone(&self.shared.plan);
        let mut postgres = session::open(&plan, pulse, &mut self.backend).await?;
        let (placed, tables) = match self.survey(&mut postgres, pulse).await {
            Ok(surveyed) => surveyed,
            Err(trouble) => return Err(locks::explained(&postgres, &plan, pulse, trouble).await),
        };
        let layouts: Vec<Layout> = tables.iter().map(|(_, layout)| layout.clone()).collect();
        let reread = Reread { client: self.shared.client.clone(), config: self.config.clone() };
        let loader =
            Loader::new(postgres, Arc::clone(&plan), tables, &placed, reread, Arc::clone(pulse)).await?;
        loader.wait_within(locks::wait(&plan)).await?;
        let letters = match &plan.on_error {
            OnError::DeadLetter(topic) => {
                Some(pulse.resting(DeadLetters::new(&self.shared.client, &plan.common, topic)).await?)
            }
            _ => None,
        };
        Ok((loader, layouts, placed, letters))
    }

    /// Looks at the tables, and finds and checks the positions.
    async fn survey(&mut self, postgres: &mut Session, pulse: &Pulse) -> Result<Surveyed, Trouble> {
        let plan = &self.shared.plan;
        let mut tables = Vec::new();
        for name in table_names(plan) {
            pulse.beat();
            let table = catalog::find(postgres, &name).await?;
            tables.push(table.ok_or_else(|| Trouble::Final(format!("there is no table {name}")))?);
        }
        let layouts = self.filled.layouts(plan, &tables)?;
        let mut notices = Vec::new();
        let (client, config) = (&self.shared.client, &self.config);
        let survey = Survey { plan, client, config, tables: &tables, pulse, late: None };
        let placed = survey.establish(postgres, &self.assigned, &mut notices).await?;
        for notice in notices {
            self.shared.reporter.tell(notice.event, &notice.text);
        }
        Ok((placed, tables.into_iter().zip(layouts).collect()))
    }
}

type Surveyed = (Vec<Placed>, Vec<(Table, Layout)>);
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
