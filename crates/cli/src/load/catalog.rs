//! What PostgreSQL says about a table.

use tokio_postgres::Client;

use super::trouble::Trouble;
use crate::plan::{Load, Mode};

/// A table that rows may go to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) oid: u32,
    /// With its schema, quoted as SQL needs it.
    pub(super) name: String,
    /// Its name alone, as it is.
    pub(super) relation: String,
    pub(super) columns: Vec<TableColumn>,
    /// The columns of its primary key, and the operators by which it has them equal.
    pub(super) key: Vec<String>,
    pub(super) key_equals: Vec<String>,
    /// Whether ON CONFLICT can go by the key: it is neither deferrable nor WITHOUT OVERLAPS.
    pub(super) is_key_arbiter: bool,
    pub(super) is_partitioned: bool,
    /// COPY does not obey row security: rows go through a stage.
    pub(super) has_row_security: bool,
    /// Triggers may change a row before it is checked.
    pub(super) has_row_triggers: bool,
    /// What deletes a row does more: other rows may depend on when it happens.
    pub(super) deletes_reach_further: bool,
    /// Changes whenever a column or the primary key does, or whether there are such triggers, row security, or partitions
    /// whose rows would not share the fate of the positions, or whether deletes reach further.
    pub(super) fingerprint: String,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TableColumn {
    pub(super) name: String,
    /// The type's name, domains replaced by what they are based on, enums as `enum(OID)`.
    pub(super) type_name: String,
    /// As it was declared.
    pub(super) declared: String,
    /// What a domain is made of, as SQL names it.
    pub(super) domain_base: Option<String>,
    pub(super) not_null: bool,
    /// PostgreSQL computes it: nothing can be written.
    pub(super) is_generated: bool,
    /// An identity, or a default that counts: what no mapping names is numbered by PostgreSQL.
    pub(super) is_numbered: bool,
    pub(super) has_default: bool,
}

impl Table {
    pub(super) fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

const FIND: &str = "\
select c.oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), c.relkind::text,
       c.relpersistence::text, pg_catalog.row_security_active(c.oid), {row_triggers}, c.relname::text,
       {further_deletes}
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = pg_catalog.to_regclass($1)";

/// A table and its partitions; `$` is its OID here and below.
const TREE: &str = "\
(select $::oid union all select t.relid::oid from pg_catalog.pg_partition_tree($::oid::regclass) t)";

/// Whether a table, or a partition of it, has BEFORE INSERT triggers for each row.
const ROW_TRIGGERS: &str = "\
exists (select from pg_catalog.pg_trigger g where g.tgtype & 7 = 7 and g.tgenabled <> 'D' and not g.tgisinternal
        and g.tgrelid in {tree})";

/// Whether foreign keys to a table, or to a partition of it, delete or change rows with it, or rules do, or there are
/// triggers, which may do anything.
const FURTHER_DELETES: &str = "\
(exists (select from pg_catalog.pg_constraint f where f.contype = 'f' and f.confdeltype in ('c', 'n', 'd')
         and f.confrelid in {tree})
 or exists (select from pg_catalog.pg_trigger g where g.tgenabled <> 'D' and not g.tgisinternal and g.tgrelid in {tree})
 or exists (select from pg_catalog.pg_rewrite w where w.ev_class = $ and w.ev_type = '4'))";

/// Partitions whose rows would be gone after a crash, or are elsewhere.
const UNFIT_PARTITIONS: &str = "\
select c.oid::regclass::text, c.relkind::text from pg_catalog.pg_class c
where c.oid in {tree} and (c.relkind = 'f' or c.relpersistence <> 'p') order by 1 limit 1";

const COLUMNS: &str = "\
with recursive base(attnum, typid, typmod, not_null) as (
  select attnum, atttypid, atttypmod, attnotnull from pg_catalog.pg_attribute
  where attrelid = $1 and attnum > 0 and not attisdropped
  union all
  select base.attnum, t.typbasetype, t.typtypmod, base.not_null or t.typnotnull
  from base join pg_catalog.pg_type t on t.oid = base.typid where t.typtype = 'd')
select a.attname::text,
       case when t.typtype = 'e' then 'enum(' || t.oid || ')'
            when e.typtype = 'e' then 'enum(' || e.oid || ')[]'
            else pg_catalog.format_type(base.typid, base.typmod) end,
       case when base.typid <> a.atttypid then pg_catalog.format_type(base.typid, base.typmod) end,
       base.not_null, a.attgenerated <> '',
       {is_numbered},
       d.adbin is not null, pg_catalog.format_type(a.atttypid, a.atttypmod)
from base join pg_catalog.pg_attribute a on a.attrelid = $1 and a.attnum = base.attnum
join pg_catalog.pg_type t on t.oid = base.typid and t.typtype <> 'd'
left join pg_catalog.pg_type e on e.oid = t.typelem and t.typcategory = 'A'
left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
order by a.attnum";

/// The text from which a fingerprint is made.
const FINGERPRINT: &str = "\
(select pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(',', a.attnum, a.attname, a.atttypid, a.atttypmod,
   a.attnotnull, a.attgenerated, a.attidentity, a.attisdropped, {is_numbered}), ';' order by a.attnum) || c.relpersistence::text
   || {row_triggers}::text || pg_catalog.row_security_active($::oid)::text
   || coalesce((select i.indkey::text || i.indimmediate::text from pg_catalog.pg_index i where i.indrelid = $ and i.indisprimary), '')
   || exists ({unfit_partitions})::text || {further_deletes}::text)
 from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
 left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
 where a.attrelid = $ and a.attnum > 0 group by c.relpersistence)";

/// Whether PostgreSQL numbers a column of `pg_attribute a` with `pg_attrdef d`.
const IS_NUMBERED: &str = "\
(a.attidentity <> '' or coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid) like 'nextval(%', false))";

/// The search_path may know another equality than the index.
const KEY: &str = "\
select a.attname::text, pg_catalog.format('operator(%I.%s)', n.nspname, o.oprname),
       i.indimmediate and not i.indisexclusion from pg_catalog.pg_index i
cross join lateral rows from (pg_catalog.unnest(i.indkey::int2[]), pg_catalog.unnest(i.indclass::oid[]))
     with ordinality k(attnum, class, at)
join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
join pg_catalog.pg_opclass c on c.oid = k.class
join pg_catalog.pg_amop m on m.amopfamily = c.opcfamily and m.amopstrategy = 3
     and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
join pg_catalog.pg_operator o on o.oid = m.amopopr
join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
where i.indrelid = $1 and i.indisprimary and k.at <= i.indnkeyatts order by k.at";

/// With all of its parts, about the table of this OID.
fn about(sql: &str, oid: &str) -> String {
    const PARTS: [(&str, &str); 5] = [
        ("{row_triggers}", ROW_TRIGGERS),
        ("{unfit_partitions}", UNFIT_PARTITIONS),
        ("{further_deletes}", FURTHER_DELETES),
        ("{is_numbered}", IS_NUMBERED),
        // In those before.
        ("{tree}", TREE),
    ];
    PARTS.iter().fold(sql.to_owned(), |sql, (name, part)| sql.replace(name, part)).replace('$', oid)
}

/// A query about the present fingerprints of tables, one row each in order: name to OID, and fingerprint.
pub(super) fn fingerprints(tables: &[&Table]) -> String {
    let one = |table: &&Table| {
        let name = table.name.replace('\'', "''");
        let fingerprint = about(FINGERPRINT, &table.oid.to_string());
        format!(
            "select pg_catalog.to_regclass('{name}')::oid = {} as is_same, {fingerprint} as fingerprint",
            table.oid
        )
    };
    tables.iter().map(one).collect::<Vec<_>>().join(" union all ")
}

/// Looks a table up. None where there is none of that name.
///
/// # Errors
/// It is no table, or one whose rows would not share the fate of the positions.
pub(super) async fn find(client: &Client, name: &str) -> Result<Option<Table>, Trouble> {
    let doing = format!("looking at table {name}");
    let failed = |error: tokio_postgres::Error| Trouble::postgres(&doing, &error);
    let sql = FIND
        .replace("{row_triggers}", &about(ROW_TRIGGERS, "c.oid"))
        .replace("{further_deletes}", &about(FURTHER_DELETES, "c.oid"));
    let Some(row) = client.query_opt(&sql, &[&name]).await.map_err(failed)? else { return Ok(None) };
    let (oid, name): (u32, String) = (row.get(0), row.get(1));
    let (kind, persistence): (String, String) = (row.get(2), row.get(3));
    let refuse = |what: &str| {
        Err(Trouble::Final(format!(
            "{name} is {what}: after a crash its rows and the positions would part; exactly once needs an ordinary \
             table"
        )))
    };
    match (kind.as_str(), persistence.as_str()) {
        ("r" | "p", "p") => {}
        ("f", _) => return refuse("a foreign table"),
        ("r" | "p", "u") => return refuse("an unlogged table"),
        ("r" | "p", _) => return refuse("a temporary table"),
        _ => return Err(Trouble::Final(format!("{name} is no table: rows cannot be copied into it"))),
    }
    let unfit = about(UNFIT_PARTITIONS, &oid.to_string());
    if let Some(unfit) = client.query_opt(&unfit, &[]).await.map_err(failed)? {
        let (partition, kind): (String, String) = (unfit.get(0), unfit.get(1));
        let what = if kind == "f" { "foreign" } else { "unlogged or temporary" };
        return refuse(&format!("a table with the {what} partition {partition}"));
    }
    let columns =
        client.query(&COLUMNS.replace("{is_numbered}", IS_NUMBERED), &[&oid]).await.map_err(failed)?;
    let columns = columns.iter().map(|row| TableColumn {
        name: row.get(0),
        type_name: row.get(1),
        domain_base: row.get(2),
        not_null: row.get(3),
        is_generated: row.get(4),
        is_numbered: row.get(5),
        has_default: row.get(6),
        declared: row.get(7),
    });
    let columns: Vec<TableColumn> = columns.collect();
    let key = client.query(KEY, &[&oid]).await.map_err(failed)?;
    let mut table = Table {
        oid,
        name,
        relation: row.get(6),
        columns,
        key: key.iter().map(|row| row.get(0)).collect(),
        key_equals: key.iter().map(|row| row.get(1)).collect(),
        is_key_arbiter: key.iter().all(|row| row.get(2)),
        is_partitioned: kind == "p",
        has_row_security: row.get(4),
        has_row_triggers: row.get(5),
        deletes_reach_further: row.get(7),
        fingerprint: String::new(),
    };
    let now = client.query_one(&fingerprints(&[&table]), &[]).await.map_err(failed)?;
    table.fingerprint = now.get::<_, Option<String>>(1).unwrap_or_default();
    Ok(Some(table))
}

/// What the role lacks of what is needed; UPDATE and SELECT may be granted for columns alone. INSERT may not: the
/// positions show themselves to who may insert into the table as a whole.
const MISSING_RIGHTS: &str = "\
select coalesce(pg_catalog.string_agg(privilege, ', '), ''), pg_catalog.quote_ident(current_user)
from pg_catalog.unnest($2::text[]) privilege
where not case when privilege in ('DELETE', 'INSERT') then pg_catalog.has_table_privilege($1::oid, privilege)
          else pg_catalog.has_any_column_privilege($1::oid, privilege) end";

/// Asks whether the role may write what the plan says, before anything is read: what PostgreSQL says later may be
/// about the positions alone, which are hidden from whoever may not insert.
///
/// # Errors
/// It may not.
pub(super) async fn check_rights(client: &Client, table: &Table, plan: &Load) -> Result<(), Trouble> {
    let mut needed = vec!["INSERT"];
    if plan.mode == Mode::Upsert {
        needed.extend(["UPDATE", "SELECT"]);
    }
    if plan.deletes_on_tombstone {
        needed.push("DELETE");
    }
    let row = client.query_one(MISSING_RIGHTS, &[&table.oid, &needed]).await.map_err(|error| {
        Trouble::postgres(&format!("looking at the rights to table {}", table.name), &error)
    })?;
    let (missing, role): (String, String) = (row.get(0), row.get(1));
    if missing.is_empty() {
        return Ok(());
    }
    let name = &table.name;
    Err(Trouble::Final(format!(
        "role {role} may not write to table {name} (no {missing}): its owner can say grant {missing} on {name} to {role}"
    )))
}

/// An identifier as SQL needs it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
