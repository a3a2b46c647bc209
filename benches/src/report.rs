//! What was measured, and what it should have been.

use std::{fs, process::Command, thread};

use anyhow::Result;
use serde_json::{Value, json};

use crate::lab::{Lab, first_line};

/// All rows of a run, and where it ran.
pub(crate) struct Report {
    /// Facts about the machine and the programs: name and value.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// In the order of the table.
    pub(crate) rows: Vec<Row>,
}

/// One comparison.
pub(crate) struct Row {
    /// What was done.
    pub(crate) scenario: String,
    /// On which broker.
    pub(crate) broker: String,
    /// What kcopy is compared with.
    pub(crate) against: String,
    /// What that reached.
    pub(crate) theirs: Option<Cell>,
    /// What kcopy reached.
    pub(crate) ours: Cell,
    /// How many times better kcopy is in wall time (the median of the pairs).
    pub(crate) wall: Option<f64>,
    /// How many times better it is in CPU time (the median of the pairs).
    pub(crate) cpu: Option<f64>,
    /// What was asked for.
    pub(crate) targets: Vec<Target>,
}

/// A value of one side: the median of its runs.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    /// In `unit`.
    pub(crate) value: f64,
    /// Of the value.
    pub(crate) unit: Unit,
    /// Seconds of CPU time, where they were measured.
    pub(crate) cpu_seconds: Option<f64>,
}

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Records for each second of wall time.
    RecordsPerSecond,
    /// Wall time of a short run.
    Milliseconds,
    /// Memory: 1,000,000 bytes.
    Megabytes,
    /// 1,000,000 bytes for each second of one core.
    MegabytesPerSecond,
    /// A ratio.
    Times,
}

impl Unit {
    /// As tables and JSON call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RecordsPerSecond => "records/s",
            Self::Milliseconds => "ms",
            Self::Megabytes => "MB",
            Self::MegabytesPerSecond => "MB/s",
            Self::Times => "times",
        }
    }
}

/// Which number of a row a target is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// [`Row::wall`].
    Wall,
    /// [`Row::cpu`].
    Cpu,
    /// The value of [`Row::ours`].
    Value,
}

/// A bound for a number of a row.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// Met by that much or more.
    AtLeast(Measure, f64),
    /// Met by more than that.
    MoreThan(Measure, f64),
    /// Met by that much or less.
    AtMost(Measure, f64),
}

impl Target {
    /// Which number.
    pub(crate) fn measure(self) -> Measure {
        match self {
            Self::AtLeast(measure, _) | Self::MoreThan(measure, _) | Self::AtMost(measure, _) => measure,
        }
    }

    /// Is it met? A number that was not measured meets nothing.
    pub(crate) fn is_met(self, row: &Row) -> bool {
        let value = row.number(self.measure());
        match self {
            Self::AtLeast(_, bound) => value.is_some_and(|value| value >= bound),
            Self::MoreThan(_, bound) => value.is_some_and(|value| value > bound),
            Self::AtMost(_, bound) => value.is_some_and(|value| value <= bound),
        }
    }
}

impl Row {
    /// That number of this row.
    pub(crate) fn number(&self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::Wall => self.wall,
            Measure::Cpu => self.cpu,
            Measure::Value => Some(self.ours.value),
        }
    }

    /// The targets that it misses.
    pub(crate) fn missed(&self) -> impl Iterator<Item = Target> + '_ {
        self.targets.iter().copied().filter(|target| !target.is_met(self))
    }

    fn to_json(&self) -> Value {
        let cell = |cell: &Cell| json!({ "value": cell.value, "unit": cell.unit.name(), "cpu_seconds": cell.cpu_seconds });
        let target = |target: &Target| {
            let (bound, value) = match target {
                Target::AtLeast(_, value) => ("at_least", value),
                Target::MoreThan(_, value) => ("more_than", value),
                Target::AtMost(_, value) => ("at_most", value),
            };
            let of = match target.measure() {
                Measure::Wall => "wall_ratio",
                Measure::Cpu => "cpu_ratio",
                Measure::Value => "kcopy",
            };
            json!({ "of": of, "bound": bound, "value": value, "met": target.is_met(self) })
        };
        json!({
            "scenario": self.scenario,
            "broker": self.broker,
            "against": self.against,
            "theirs": self.theirs.as_ref().map(cell),
            "kcopy": cell(&self.ours),
            "wall_ratio": self.wall,
            "cpu_ratio": self.cpu,
            "targets": self.targets.iter().map(target).collect::<Vec<_>>(),
        })
    }
}

impl Report {
    /// An empty one.
    pub(crate) fn new(lab: &Lab) -> Result<Self> {
        let cpus = thread::available_parallelism().map_or(0, usize::from);
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(':'));
        let model = model.map_or("an unknown processor", |(_, model)| model.trim());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let facts = vec![
            ("machine", format!("{cpus} x {model}, Linux {}", kernel.trim())),
            ("kcopy", first_line(kcopy_tests::kcopy_bin(), "--version")?),
            ("kcat", kcat_version(lab)?),
            ("records", format!("{} of 100 bytes, {} pairs", lab.options.records, lab.options.pairs)),
        ];
        Ok(Self { facts, rows: Vec::new() })
    }

    /// Adds a row, and shows it to those who wait.
    pub(crate) fn push(&mut self, row: Row) {
        crate::lab::note(&crate::table::line(&row));
        self.rows.push(row);
    }

    /// How many rows have a target, and how many of them miss one.
    pub(crate) fn totals(&self) -> (usize, usize) {
        (self.rows.iter().filter(|row| !row.targets.is_empty()).count(), self.missed())
    }

    /// How many rows miss a target.
    pub(crate) fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.missed().next().is_some()).count()
    }

    /// All of it.
    pub(crate) fn to_json(&self) -> Value {
        // No object: several parts may have been skipped.
        let facts: Vec<_> =
            self.facts.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let (with_target, missed) = self.totals();
        json!({
            "facts": facts,
            "rows": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
            "with_target": with_target,
            "missed": missed,
        })
    }
}

/// From `Version 1.7.1 (JSON, Transactions, librdkafka 2.0.2 builtin.features=...)` in the middle of its help.
fn kcat_version(lab: &Lab) -> Result<String> {
    let output = Command::new(&lab.kcat).arg("-V").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let after =
        |word: &str| text.split(word).nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or("?");
    Ok(format!("kcat {} (librdkafka {})", after("Version "), after("librdkafka ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_that_was_skipped_is_in_the_json() {
        let facts = vec![("skipped", "one".to_owned()), ("skipped", "another".to_owned())];
        let json = Report { facts, rows: Vec::new() }.to_json();
        let values: Vec<_> =
            json["facts"].as_array().into_iter().flatten().map(|fact| &fact["value"]).collect();
        assert_eq!(values, ["one", "another"]);
    }
}
