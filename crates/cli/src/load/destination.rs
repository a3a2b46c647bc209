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
    /// Where rows go first, and what moves them into the table.
    pub(super) stage: Option<(String, Statement)>,
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
                "create temp table {goal} on commit delete rows as select {columns}{} from {} with no data",
                marks.definitions(),
                table.name
            );
            client.batch_execute(&make).await.map_err(failed)?;
            let merge = merge_sql(plan, &table, &layout, marks, &into);
            stage = Some((into.clone(), client.prepare(&merge).await.map_err(failed)?));
        }
        let copy =
            format!("copy {into} ({columns}{more}) from stdin with (format {format}, encoding 'UTF8')");
        let copy = client.prepare(&copy).await.map_err(failed)?;
        Ok(Destination { table, encoder, copy, goal, stage })
    }
}

/// From the stage into the table, in the order in which the rows came, so that identities follow it too; the last
/// of equal keys wins.
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
            let same: Vec<String> = key.iter().map(|name| format!("t.{name} = last.{name}")).collect();
            let same = same.join(" and ");
            (
                format!(", gone as (delete from {name} t using last where last.{tombstone} and {same})"),
                format!(" where not {tombstone}"),
            )
        }
    };
    format!(
        "with last as (select distinct on ({key_list}) * from {stage} order by {key_list}, {ordinal} desc){gone} \
         insert into {name} ({columns}) overriding system value select {columns} from last{remaining} \
         order by {ordinal} on conflict ({key_list}) do {update}"
    )
}
