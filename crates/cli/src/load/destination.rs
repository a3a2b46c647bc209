//! A table, and the statements that fill it.

use kcopy_format::Format;
use tokio_postgres::{Client, Statement};

use super::{
    catalog::{Table, quoted},
    encode::{Layout, RowEncoder, StageColumns},
    trouble::Trouble,
};
use crate::plan::{Load, Mode};

/// A table with what is said to fill it.
pub(super) struct Destination {
    pub(super) table: Table,
    pub(super) encoder: RowEncoder,
    pub(super) copy: Statement,
    /// What COPY fills, as PostgreSQL's errors name it: without its schema, and without quotes.
    pub(super) goal: String,
    /// Where rows go first.
    pub(super) stage: Option<Stage>,
    pub(super) is_upsert: bool,
}

/// A temporary table, and what moves rows out of it.
pub(super) struct Stage {
    /// All of them.
    pub(super) merge: Statement,
    /// Those that are numbered from $1 to $2: the SQL, and the statement once it was needed.
    pub(super) merge_piece: String,
    pub(super) piece: Option<Statement>,
    /// Makes the index by which these are found.
    pub(super) index: String,
}

impl Destination {
    /// Prepares the statements, and makes the stage where there is one.
    ///
    /// # Errors
    /// PostgreSQL refuses them.
    pub(super) async fn new(
        client: &Client,
        plan: &Load,
        at: usize,
        table: Table,
        layout: Layout,
    ) -> Result<Destination, Trouble> {
        let encoder = layout.encoder().map_err(Trouble::Final)?;
        let format = match layout.format {
            Format::Binary => "binary",
            _ => "text",
        };
        let columns = layout.column_list();
        let doing = format!("preparing to load into {}", table.name);
        let failed = |error: tokio_postgres::Error| Trouble::postgres(&doing, &error);
        let (mut goal, mut into) = (table.relation.clone(), table.name.clone());
        let (mut more, mut stage) = (String::new(), None);
        if let Some(marks) = &layout.stage {
            goal = format!("kcopy_stage_{at}");
            into = format!("pg_temp.{goal}");
            more = marks.list();
            let make = format!(
                "create temp table {goal} on commit delete rows as select {}{} from {} with no data",
                stage_columns(&table, &layout, marks),
                marks.definitions(),
                table.name
            );
            client.batch_execute(&make).await.map_err(failed)?;
            let ordinal = quoted(&marks.ordinal);
            let piece = format!("{into} where {ordinal} between $1 and $2");
            stage = Some(Stage {
                merge: client
                    .prepare(&merge_sql(plan, &table, &layout, marks, &into))
                    .await
                    .map_err(failed)?,
                merge_piece: merge_sql(plan, &table, &layout, marks, &piece),
                piece: None,
                index: format!("create index if not exists {goal}_{} on {into} ({ordinal})", marks.ordinal),
            });
        }
        let copy =
            format!("copy {into} ({columns}{more}) from stdin with (format {format}, encoding 'UTF8')");
        let copy = client.prepare(&copy).await.map_err(failed)?;
        Ok(Destination { table, encoder, copy, goal, stage, is_upsert: plan.mode == Mode::Upsert })
    }
}

/// What a stage takes from the table. A tombstone has NULL where a domain may refuse it, so there a stage has what domains
/// are made of; the table asks them.
fn stage_columns(table: &Table, layout: &Layout, marks: &StageColumns) -> String {
    let column = |name: &str| {
        let name_quoted = quoted(name);
        match table.column(name).and_then(|column| column.domain_base.as_ref()) {
            Some(base) if marks.tombstone.is_some() => format!("{name_quoted}::{base} as {name_quoted}"),
            _ => name_quoted,
        }
    };
    layout.names().map(column).collect::<Vec<_>>().join(", ")
}

/// From the stage, or a part of it, into the table, in the order in which the rows came, so that identities follow it too;
/// the last of equal keys wins.
fn merge_sql(plan: &Load, table: &Table, layout: &Layout, marks: &StageColumns, stage: &str) -> String {
    let ordinal = quoted(&marks.ordinal);
    let columns = layout.column_list();
    let name = &table.name;
    if plan.mode == Mode::Append {
        return format!(
            "insert into {name} ({columns}) overriding system value select {columns} from {stage} \
             order by {ordinal}"
        );
    }
    let key: Vec<String> = table.key.iter().map(|name| quoted(name)).collect();
    let others: Vec<String> =
        layout.names().filter(|name| !table.key.iter().any(|key| key == name)).map(quoted).collect();
    let update = match others.is_empty() {
        true => "nothing".to_owned(),
        false => {
            let set: Vec<String> = others.iter().map(|name| format!("{name} = excluded.{name}")).collect();
            format!("update set {}", set.join(", "))
        }
    };
    let key_list = key.join(", ");
    let (gone, remaining) = match &marks.tombstone {
        None => (String::new(), String::new()),
        Some(tombstone) => {
            let tombstone = quoted(tombstone);
            let same = table.key.iter().zip(&table.key_equals).map(|(name, equals)| {
                let base = table.column(name).and_then(|column| column.domain_base.as_ref());
                let cast = base.map(|base| format!("::{base}")).unwrap_or_default();
                let name = quoted(name);
                format!("t.{name}{cast} {equals} dead.{name}{cast}")
            });
            let same: Vec<String> = same.collect();
            let same = same.join(" and ");
            // Rows that an inheriting table has are not the table's own.
            let only = if table.is_partitioned { "" } else { "only " };
            (
                // A key that comes again is a new row.
                format!(
                    ", gone as (delete from {only}{name} t using staged dead where dead.{tombstone} and {same} \
                     returning 1)"
                ),
                // Looked at, so that it makes room first: a column that is unique beside the key may get a value that
                // goes.
                format!(" where not {tombstone} and (select count(*) from gone) >= 0"),
            )
        }
    };
    format!(
        "with staged as not materialized (select * from {stage}), \
         last as (select distinct on ({key_list}) * from staged order by {key_list}, {ordinal} desc){gone} \
         insert into {name} ({columns}) overriding system value select {columns} from last{remaining} \
         order by {ordinal} on conflict ({key_list}) do {update}"
    )
}
