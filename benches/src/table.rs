//! The report as one aligned table.

use std::fmt::Write;

use crate::report::{Cell, Measure, Report, Row, Target, Unit};

const TITLES: [&str; 11] =
    ["scenario", "broker", "against", "it", "CPU s", "kcopy", "CPU s", "wall", "CPU", "target", "result"];

/// Columns of numbers stand right.
const RIGHT: std::ops::RangeInclusive<usize> = 3..=8;

/// The whole report.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    for (name, value) in &report.facts {
        let _ = writeln!(text, "{name:<8} {value}");
    }
    text.push('\n');
    let rows: Vec<_> = report.rows.iter().map(columns).collect();
    let mut widths = TITLES.map(|title| title.chars().count());
    for row in &rows {
        for (width, column) in widths.iter_mut().zip(row) {
            *width = (*width).max(column.chars().count());
        }
    }
    let titles = TITLES.map(str::to_owned);
    for row in [&titles].into_iter().chain(&rows) {
        let mut line = String::new();
        for (index, (column, width)) in row.iter().zip(widths).enumerate() {
            let _ = if RIGHT.contains(&index) {
                write!(line, "{column:>width$}  ")
            } else {
                write!(line, "{column:<width$}  ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let (with_target, missed) = report.totals();
    let _ = writeln!(
        text,
        "\nwall, CPU: how many times better kcopy is, the median of the pairs\n{with_target} rows with a target, {missed} MISSED"
    );
    text
}

/// One row in one line, for those who wait.
pub(crate) fn line(row: &Row) -> String {
    columns(row).into_iter().filter(|column| !column.is_empty()).collect::<Vec<_>>().join("  ")
}

fn columns(row: &Row) -> [String; 11] {
    let value = |cell: &Cell| with_unit(cell.value, cell.unit);
    let seconds = |cell: &Cell| cell.cpu_seconds.map(|seconds| format!("{seconds:.2}")).unwrap_or_default();
    let ratio = |ratio: Option<f64>| ratio.map(|ratio| format!("{ratio:.2}x")).unwrap_or_default();
    let targets: Vec<_> = row.targets.iter().map(|target| shown(*target, row.ours.unit)).collect();
    [
        row.scenario.clone(),
        row.broker.clone(),
        row.against.clone(),
        row.theirs.as_ref().map(value).unwrap_or_default(),
        row.theirs.as_ref().map(seconds).unwrap_or_default(),
        value(&row.ours),
        seconds(&row.ours),
        ratio(row.wall),
        ratio(row.cpu),
        targets.join(", "),
        result(row),
    ]
}

fn result(row: &Row) -> String {
    let missed: Vec<_> = row.missed().map(|target| name(target.measure())).collect();
    match (row.targets.is_empty(), missed.is_empty()) {
        (true, _) => String::new(),
        (false, true) => "ok".to_owned(),
        (false, false) if row.targets.len() == 1 => "MISSED".to_owned(),
        (false, false) => format!("MISSED: {}", missed.join(", ")),
    }
}

fn name(measure: Measure) -> &'static str {
    match measure {
        Measure::Wall => "wall",
        Measure::Cpu => "CPU",
        Measure::Value => "kcopy",
    }
}

fn shown(target: Target, unit: Unit) -> String {
    let (sign, bound) = match target {
        Target::AtLeast(_, bound) => (">=", bound),
        Target::MoreThan(_, bound) => (">", bound),
        Target::AtMost(_, bound) => ("<=", bound),
    };
    match target.measure() {
        Measure::Value => format!("{sign} {bound} {}", unit.name()),
        measure => format!("{} {sign} {bound}", name(measure)),
    }
}

fn with_unit(value: f64, unit: Unit) -> String {
    match unit {
        Unit::RecordsPerSecond if value >= 1e6 => format!("{:.2} M/s", value / 1e6),
        Unit::RecordsPerSecond => format!("{:.0} k/s", value / 1e3),
        Unit::Milliseconds | Unit::Megabytes | Unit::MegabytesPerSecond => {
            format!("{value:.1} {}", unit.name())
        }
        Unit::Times => format!("{value:.2} {}", unit.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(wall: f64, targets: Vec<Target>) -> Row {
        let cell = |value| Cell { value, unit: Unit::RecordsPerSecond, cpu_seconds: Some(0.5) };
        Row {
            scenario: "consume".to_owned(),
            broker: "kcopy broker".to_owned(),
            against: "kcat".to_owned(),
            theirs: Some(cell(500_000.0)),
            ours: cell(1_500_000.0),
            wall: Some(wall),
            cpu: None,
            targets,
        }
    }

    #[test]
    fn a_missed_target_is_named() {
        let targets = || vec![Target::AtLeast(Measure::Wall, 2.0), Target::AtLeast(Measure::Cpu, 8.0)];
        assert!(line(&row(3.0, targets())).ends_with("wall >= 2, CPU >= 8  MISSED: CPU"));
        assert!(line(&row(1.0, targets())).ends_with("MISSED: wall, CPU"));
        assert!(line(&row(2.0, vec![Target::AtLeast(Measure::Wall, 2.0)])).ends_with("wall >= 2  ok"));
        assert!(line(&row(1.0, vec![Target::MoreThan(Measure::Wall, 1.0)])).ends_with("MISSED"));
    }

    #[test]
    fn columns_are_aligned() {
        let facts = vec![("kcat", "1.7.1".to_owned())];
        let rows = vec![row(3.0, vec![]), row(12.0, vec![Target::AtMost(Measure::Value, 5.0)])];
        let text = render(&Report { facts, rows });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "kcat     1.7.1");
        let end = |line: &str, word: &str| line.find(word).map(|at| at + word.len());
        assert_eq!(end(lines[3], "3.00x"), end(lines[4], "12.00x"));
        assert_eq!(end(lines[2], "  wall"), end(lines[3], "3.00x"));
        assert!(text.ends_with("1 rows with a target, 1 MISSED\n"));
    }
}
