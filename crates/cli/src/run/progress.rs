//! What people see of a long run.

use std::{fmt, io::IsTerminal, time::Duration};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use kcopy_client::PartitionRange;

use crate::plan::{Common, Grammar};

/// Progress on standard error: only for people, and only where data goes elsewhere.
#[derive(Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// For reading: how much there is is known, unless the run has no end.
    pub(crate) fn new(common: &Common, ranges: &[PartitionRange]) -> Progress {
        let left =
            ranges.iter().map(|range| range.end.map(|end| end.saturating_sub(range.start).max(0) as u64));
        Progress::start(common, left.sum::<Option<u64>>())
    }

    /// For anything that counts records.
    pub(crate) fn start(common: &Common, total: Option<u64>) -> Progress {
        let is_wanted = common.grammar == Grammar::Kcopy
            && !common.quiet()
            && std::io::stderr().is_terminal()
            && !std::io::stdout().is_terminal();
        if is_wanted { Progress::bar(total) } else { Progress(None) }
    }

    fn bar(total: Option<u64>) -> Progress {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(5));
        let template = if total.is_some() {
            "{elapsed} {bar:30} {human_pos} of {human_len} records, {rate}, {eta} left"
        } else {
            "{elapsed} {human_pos} records, {rate}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
                // An error of a writer that draws on a terminal is nobody's loss.
                let _ = write!(out, "{}/s", HumanCount(state.per_sec().round() as u64));
            };
            bar.set_style(style.with_key("rate", rate));
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Progress(Some(bar))
    }

    /// For a load, whose records go nowhere near standard output. How many there are is said later.
    pub(crate) fn of_load(common: &Common, is_endless: bool) -> Progress {
        let is_wanted = !common.quiet() && std::io::stderr().is_terminal();
        if is_wanted { Progress::bar((!is_endless).then_some(0)) } else { Progress(None) }
    }

    /// So many records are done of so many.
    pub(crate) fn set(&self, records: u64, total: Option<u64>) {
        if let Some(bar) = &self.0 {
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(records);
        }
    }

    /// Says something on standard error between two pictures of the line.
    pub(crate) fn suspend(&self, say: impl FnOnce()) {
        match &self.0 {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }

    /// So many records more.
    #[inline]
    pub(crate) fn add(&self, records: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(records);
        }
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
