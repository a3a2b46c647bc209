//! The columns that a run fills: none of them may go while it runs.

use super::{catalog::Table, encode::Layout, trouble::Trouble};
use crate::plan::Load;

/// The names of the columns that are filled, by the place of the table.
#[derive(Debug, Clone, Default)]
pub(super) struct FilledColumns {
    tables: Vec<Vec<String>>,
}

impl FilledColumns {
    /// How the tables are filled from now on. Columns may have come since the last look, and are filled as well. One
    /// that went would be missed in all later rows, whose records are not read again.
    ///
    /// # Errors
    /// A column that was filled is not any more, or a table cannot be filled.
    pub(super) fn layouts(&mut self, plan: &Load, tables: &[Table]) -> Result<Vec<Layout>, Trouble> {
        let mut layouts = Vec::with_capacity(tables.len());
        for (at, table) in tables.iter().enumerate() {
            let before = self.tables.get(at).map(Vec::as_slice).unwrap_or_default();
            let ended = |column: &str, what: &str| {
                Trouble::Final(format!(
                    "table {}: column {column}, which this run fills, {what}: nothing is loaded without it; start \
                     again if that is meant",
                    table.name
                ))
            };
            // Before the layout, which could only say that there is no such column.
            if let Some(gone) = before.iter().find(|name| table.column(name).is_none()) {
                return Err(ended(gone, "was dropped or renamed"));
            }
            let layout = Layout::new(plan, table).map_err(Trouble::Final)?;
            if let Some(left) = before.iter().find(|name| !layout.names().any(|filled| filled == **name)) {
                return Err(ended(left, "has got its values from PostgreSQL since"));
            }
            layouts.push(layout);
        }
        self.tables = layouts.iter().map(|layout| layout.names().map(str::to_owned).collect()).collect();
        Ok(layouts)
    }

    /// Adds what others have filled.
    pub(super) fn add(&mut self, others: FilledColumns) {
        self.tables.resize(self.tables.len().max(others.tables.len()), Vec::new());
        for (columns, others) in self.tables.iter_mut().zip(others.tables) {
            columns.extend(others.into_iter().filter(|other| !columns.contains(other)).collect::<Vec<_>>());
        }
    }
}
