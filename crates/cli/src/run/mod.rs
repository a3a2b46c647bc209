//! Executes a [`Plan`].

mod broker;
mod consume;
mod failure;
mod metadata;
mod positions;
mod print;
mod produce;
mod progress;
mod session;
mod topics;
mod view;

pub use self::failure::Failure;
use crate::plan::{Common, Plan};

/// Carries a plan out.
///
/// # Errors
/// Anything that was asked for and not done.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    if let Some(common) = plan.common() {
        tell_notices(common);
    }
    match plan {
        Plan::Print(text) => print::print(text),
        Plan::Consume(plan) => consume::run(plan),
        Plan::Produce(plan) => produce::run(plan),
        Plan::ListMetadata(plan) => metadata::list(plan),
        Plan::QueryOffsets(plan) => metadata::offsets(plan),
        Plan::Topic(plan) => topics::run(plan),
        Plan::ClusterDescribe(plan) => metadata::describe_cluster(plan),
        Plan::Broker(plan) => broker::run(plan),
    }
}

fn tell_notices(common: &Common) {
    if !common.quiet() {
        for notice in &common.notices {
            eprintln!("% {notice}");
        }
    }
}
