//! Executes a [`Plan`].

mod broker;
mod consume;
mod exact;
mod failure;
mod metadata;
mod partitions;
mod positions;
mod print;
mod produce;
pub(crate) mod progress;
mod report;
pub(crate) mod session;
mod told;
mod topics;
mod view;
mod written;

pub use self::{failure::Failure, report::report_wrong_use};
use crate::{
    plan::{Common, Input, Plan},
    process::{self, say},
};

/// Carries a plan out.
///
/// # Errors
/// Anything that was asked for and not done.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    check_descriptors(plan)?;
    if let Some(common) = plan.common() {
        tell_notices(common);
        trace(common);
    }
    if only_tells(plan) {
        process::watch_reader();
    }
    match plan {
        Plan::Print(text) => print::print(text),
        Plan::Consume(plan) => consume::run(plan),
        Plan::Load(plan) => crate::load::run(plan),
        Plan::Produce(plan) => produce::run(plan),
        Plan::ListMetadata(plan) => metadata::list(plan),
        Plan::QueryOffsets(plan) => metadata::offsets(plan),
        Plan::Topic(plan) => topics::run(plan),
        Plan::ClusterDescribe(plan) => metadata::describe_cluster(plan),
        Plan::Broker(plan) => broker::run(plan),
        Plan::TakeReport { path, is_ascii } => report::take(path, *is_ascii),
    }
}

/// What would be written to a closed standard output, or read from a closed standard input, is lost.
fn check_descriptors(plan: &Plan) -> Result<(), Failure> {
    let (reads, writes) = match plan {
        Plan::Produce(plan) => (plan.input == Input::Stdin, plan.tee),
        Plan::Broker(plan) => (false, plan.command.is_empty()),
        Plan::Load(plan) => (false, plan.json || plan.is_dry_run),
        _ => (false, true),
    };
    if writes && process::stdout_was_closed() {
        return Err(Failure::Told("standard output is closed: nothing can be written".into()));
    }
    if reads && process::stdin_was_closed() {
        return Err(Failure::Told("standard input is closed: there is nothing to read".into()));
    }
    Ok(())
}

/// Whether all that the plan does is to answer on standard output: without a reader it is for nothing, however long
/// brokers are silent. What changes something is carried through.
fn only_tells(plan: &Plan) -> bool {
    match plan {
        Plan::Consume(_) | Plan::ListMetadata(_) | Plan::QueryOffsets(_) | Plan::ClusterDescribe(_) => true,
        Plan::Topic(plan) => plan.action.only_tells(),
        _ => false,
    }
}

/// What the client warns of, and with `-d` what it does, on standard error. Record values are never among it.
fn trace(common: &Common) {
    if common.properties.debug.is_empty() {
        told::warnings();
    } else {
        told::contexts(&common.properties.debug);
    }
}

fn tell_notices(common: &Common) {
    if !common.quiet() {
        for notice in &common.notices {
            say!("% {notice}");
        }
    }
}
