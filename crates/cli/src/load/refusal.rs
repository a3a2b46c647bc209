//! What an error of PostgreSQL says about rows: whether it is about one at all, about which, and which of its columns.

use super::{batch::TableRows, encode::RowEncoder, postgres::connect::reason, trouble::Trouble};

/// Why rows were not written.
pub(super) enum Fault {
    Trouble(Trouble),
    /// PostgreSQL refuses one row.
    Row {
        row: usize,
        reason: String,
    },
    /// It refuses one of several, and does not say which.
    OneOf {
        reason: String,
    },
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Fault {
        Fault::Trouble(trouble)
    }
}

/// Rows that went to PostgreSQL together.
pub(super) struct Sent<'a> {
    pub(super) encoder: &'a RowEncoder,
    pub(super) rows: &'a TableRows,
    pub(super) from: usize,
    pub(super) until: usize,
}

impl Sent<'_> {
    /// What COPY into `goal` says of them: on which line it stopped, and mostly in which column.
    pub(super) fn refused_by_copy(&self, doing: &str, goal: &str, error: &tokio_postgres::Error) -> Fault {
        let context = error.as_db_error().and_then(|error| error.where_());
        let is_about_data = is_about_data(error, Some(goal));
        match context.filter(|_| is_about_data).and_then(|context| place_in(context, goal)) {
            Some((line, rest)) if line >= 1 && line <= self.until - self.from => {
                let row = self.from + line - 1;
                let at = column_in(rest, self.encoder.columns().map(|(name, _)| name));
                Fault::Row { row, reason: self.describe(row, at, reason(error)) }
            }
            _ if !is_about_data => Fault::Trouble(Trouble::postgres(doing, error)),
            _ => self.refused_without_line(doing, error),
        }
    }

    /// What the table says of rows that come out of a stage.
    pub(super) fn refused_by_table(&self, doing: &str, error: &tokio_postgres::Error) -> Fault {
        match is_about_data(error, None) {
            true => self.refused_without_line(doing, error),
            false => Fault::Trouble(Trouble::postgres(doing, error)),
        }
    }

    fn refused_without_line(&self, doing: &str, error: &tokio_postgres::Error) -> Fault {
        match self.until - self.from {
            1 => {
                let reason = self.describe(self.from, self.column_of_domain(error), reason(error));
                Fault::Row { row: self.from, reason }
            }
            _ => Fault::OneOf { reason: format!("{doing}: {}", reason(error)) },
        }
    }

    /// The column that a domain's constraint is about, as far as only one can be meant: a trigger has values of its own.
    fn column_of_domain(&self, error: &tokio_postgres::Error) -> Option<usize> {
        let error = error.as_db_error()?;
        let domain = error.datatype().filter(|_| error.where_().is_none_or(str::is_empty))?;
        let is_of_domain = |declared: &str| {
            let declared = declared.trim_end_matches("[]").rsplit('.').next().unwrap_or(declared);
            declared.trim_matches('"') == domain
        };
        let mut columns = self.encoder.columns().map(|(_, declared)| declared);
        let at = columns.position(is_of_domain)?;
        (!columns.any(is_of_domain)).then_some(at)
    }

    /// What PostgreSQL says of a row, with the column and its value.
    fn describe(&self, row: usize, column: Option<usize>, reason: String) -> String {
        let Some((at, (name, declared))) = column.and_then(|at| Some((at, self.encoder.columns().nth(at)?)))
        else {
            return reason;
        };
        let value = self.encoder.excerpt(&self.rows.bytes[self.rows.span(row, row + 1)], at);
        described(&format!("column {name} of type {declared}"), value.as_deref(), &reason)
    }
}

/// The row that an error of COPY is about, and what comes behind: `COPY orders, line 3, column id: "x"`, or other words in
/// place of `line` and `column` where the server speaks another language. The value is the record's own, and may look like
/// this as well.
fn place_in<'a>(context: &'a str, goal: &str) -> Option<(usize, &'a str)> {
    let start = format!("COPY {goal}, ");
    // A trigger's context comes before COPY's.
    let place = context.lines().find_map(|line| line.strip_prefix(&start))?;
    let (_, number) = place.split_once(' ')?;
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    Some((number[..digits].parse().ok()?, &number[digits..]))
}

/// The column that is named behind the line of an error of COPY.
fn column_in<'a>(rest: &str, names: impl Iterator<Item = &'a str>) -> Option<usize> {
    let (_, named) = rest.strip_prefix(", ")?.split_once(' ')?;
    // A name may begin with another one, and have whatever follows one in it.
    let is_named = |name: &str| {
        named.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ' ']))
    };
    let named = names.enumerate().filter(|(_, name)| is_named(name));
    Some(named.max_by_key(|(_, name)| name.len())?.0)
}

/// The value is left out where PostgreSQL shows it itself.
fn described(column: &str, value: Option<&str>, reason: &str) -> String {
    let is_shown = |value: &str| match value.strip_suffix('…') {
        Some(beginning) => reason.contains(&format!("\"{beginning}")),
        None => reason.contains(&format!("\"{value}\"")),
    };
    match value {
        Some(value) if !is_shown(value) => format!("{column}: {value:?}: {reason}"),
        _ => format!("{column}: {reason}"),
    }
}

/// Whether an error can be one of the row: all but those of the session, the server and its surroundings.
fn is_about_data(error: &tokio_postgres::Error, goal: Option<&str>) -> bool {
    // 08 connections, 25 and 2D transaction states, 26 statements that a pooler has lost, 28 and 3D who and where,
    // 3B savepoints, 40 rollbacks, 53 resources, 55 states of objects, locks among them, 57 the operator, 58 the
    // system, F0 its files, XX the server itself.
    const OTHERS: [&str; 14] =
        ["08", "25", "26", "28", "2D", "3B", "3D", "40", "53", "55", "57", "58", "F0", "XX"];
    let Some(error) = error.as_db_error() else { return false };
    let code = error.code().code();
    if code == "42501" {
        // A right is missing for every row, unless it is a policy that looks at each.
        return error.routine() == Some("ExecWithCheckOptions");
    }
    if code.starts_with("42") {
        // A value may be no name of anything there is. Where COPY itself does not say so, it is a trigger, or the table,
        // that is wrong for all rows.
        let context = error.where_().unwrap_or_default();
        // In some languages the table comes first.
        let is_alone = !context.contains('\n');
        return goal.is_some_and(|goal| {
            context.starts_with(&format!("COPY {goal}, ")) || is_alone && context.contains(goal)
        });
    }
    !OTHERS.iter().any(|class| code.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::{column_in, described, place_in};

    #[test]
    fn line_and_column_are_found_behind_any_word() {
        let names = ["id", "id x", "i: d"];
        for (context, expected) in [
            ("COPY t, line 3, column id: \"x\"", Some((3, Some("id")))),
            ("COPY t, line 3, column id", Some((3, Some("id")))),
            ("COPY t, line 3, column id x: null input", Some((3, Some("id x")))),
            ("COPY t, line 3, column i: d: \"1\"", Some((3, Some("i: d")))),
            ("COPY t, line 3, column other", Some((3, None))),
            ("COPY t, Zeile 12, Spalte id: \u{bb}x\u{ab}", Some((12, Some("id")))),
            ("COPY t, ligne 12, colonne id : \u{ab} x \u{bb}", Some((12, Some("id")))),
            ("PL/pgSQL function f() line 7 at RAISE\nCOPY t, line 4: \"COPY t, line 9\"", Some((4, None))),
            ("COPY other, line 3", None),
            ("COPY t", None),
        ] {
            let found = place_in(context, "t");
            let found =
                found.map(|(line, rest)| (line, column_in(rest, names.into_iter()).map(|at| names[at])));
            assert_eq!(found, expected, "{context}");
        }
    }

    #[test]
    fn a_value_is_shown_once() {
        for (value, reason, expected) in [
            (Some("-5"), "violates p", "column d of type p: \"-5\": violates p"),
            (Some("zz"), "invalid: \"zz\"", "column d of type p: invalid: \"zz\""),
            (Some("long…"), "invalid: \"longer\"", "column d of type p: invalid: \"longer\""),
            // What only begins like it is something else.
            (Some("p"), "violates \"p_check\"", "column d of type p: \"p\": violates \"p_check\""),
            (Some(""), "violates \"p_check\"", "column d of type p: \"\": violates \"p_check\""),
            (None, "no NULL", "column d of type p: no NULL"),
        ] {
            assert_eq!(described("column d of type p", value, reason), expected);
        }
    }
}
