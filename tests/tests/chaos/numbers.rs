//! What is produced, and what has to be in the tables then.

use std::{collections::BTreeMap, fmt::Write as _};

use postgres::Client;

use crate::Random;

pub(crate) const PARTITIONS: usize = 3;
/// Few, so that most of them come again and again, within a batch too.
const KEYS_PER_PARTITION: u64 = 100;
const MOST_AT_ONCE: u64 = 1000;

/// Two tables for each way. One that takes the same record twice, or an older one after a newer one, does not let it
/// happen, or shows it.
pub(crate) const TABLES: &str = r#"
create table load_append(id int8 generated always as identity, n int8, key text not null, partition int4 not null,
                         "offset" int8 not null);
create table sql_append(like load_append including all);
create table load_upsert(key text primary key, n int8 not null, partition int4 not null, "offset" int8 not null);
create table sql_upsert(like load_upsert including all);
create function goes_forward() returns trigger language plpgsql as $$
begin
    if new.partition <> old.partition or new."offset" <= old."offset" then
        raise 'key % goes from % to %', new.key, old."offset", new."offset";
    end if;
    return new;
end $$;
create trigger forward before update on load_upsert for each row execute function goes_forward();
create trigger forward before update on sql_upsert for each row execute function goes_forward();
"#;

/// What was produced so far.
#[derive(Default)]
pub(crate) struct Numbers {
    /// Of each partition: the records, and those with a number, which go from 0 on.
    counts: [(i64, i64); PARTITIONS],
    /// By key: number, partition, offset.
    last: BTreeMap<String, (i64, i32, i64)>,
}

impl Numbers {
    pub(crate) fn total(&self) -> i64 {
        self.counts.iter().map(|(records, _)| records).sum()
    }

    /// Up to a thousand lines `PARTITION KEY VALUE`; one in twenty is a tombstone.
    pub(crate) fn next_lines(&mut self, random: &mut Random) -> String {
        let mut lines = String::new();
        for _ in 0..=random.below(MOST_AT_ONCE) {
            let partition = random.below(PARTITIONS as u64) as usize;
            let key = format!("{partition}-{}", random.below(KEYS_PER_PARTITION));
            let (offset, n) = self.counts[partition];
            self.counts[partition].0 += 1;
            if random.chance(20) {
                writeln!(lines, "{partition}\t{key}\t\\N").expect("a line");
                self.last.remove(&key);
            } else {
                writeln!(lines, "{partition}\t{key}\t{{\"n\":{n}}}").expect("a line");
                self.counts[partition].1 += 1;
                self.last.insert(key, (n, partition as i32, offset));
            }
        }
        lines
    }

    pub(crate) fn assert_each_is_there_once(&self, client: &mut Client, table: &str) {
        let counts = format!(
            r#"select partition, count(*), count(distinct "offset"), coalesce(min("offset"), 0), coalesce(max("offset"), -1),
                      count(n), count(distinct n), coalesce(min(n), 0), coalesce(max(n), -1),
                      count(*) filter (where "offset" <= before)
               from (select *, lag("offset") over (partition by partition order by id) as before from {table}) numbered
               group by partition order by partition"#
        );
        let rows = client.query(&counts, &[]).expect("counts");
        let found: Vec<[i64; 10]> = rows
            .iter()
            .map(|row| {
                let mut all = [i64::from(row.get::<_, i32>(0)); 10];
                (1..10).for_each(|column| all[column] = row.get(column));
                all
            })
            .collect();
        let expected = self.counts.iter().zip(0..).filter(|((records, _), _)| *records > 0);
        let expected: Vec<[i64; 10]> = expected
            .map(|((records, numbers), partition)| {
                [partition, *records, *records, 0, records - 1, *numbers, *numbers, 0, numbers - 1, 0]
            })
            .collect();
        let what = "partition; offsets: all, different, first, last; numbers likewise; how many out of order";
        assert_eq!(found, expected, "{table}: {what}");
        // A number is where it was produced, and the positions are where the records end.
        self.assert_positions(client, table, true);
    }

    pub(crate) fn assert_the_last_of_each_key_is_there(&self, client: &mut Client, table: &str) {
        let all = format!(r#"select key, n, partition, "offset" from {table}"#);
        let rows = client.query(&all, &[]).expect("the rows");
        let found: BTreeMap<String, (i64, i32, i64)> =
            rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3)))).collect();
        let wrong: Vec<_> = self
            .last
            .iter()
            .map(|(key, last)| (key, found.get(key), Some(last)))
            .chain(found.iter().map(|(key, found)| (key, Some(found), self.last.get(key))))
            .filter(|(_, found, expected)| found != expected)
            .collect();
        assert!(wrong.is_empty(), "{table}: key, found and expected number, partition and offset: {wrong:?}");
        self.assert_positions(client, table, false);
    }

    fn assert_positions(&self, client: &mut Client, table: &str, counts_rows: bool) {
        let positions = "select partition, next_offset, rows from kcopy.offsets \
                         where target = $1::text::regclass order by partition";
        let rows = client.query(positions, &[&table]).expect("positions");
        let found: Vec<(i32, i64, i64)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        assert_eq!(found.len(), PARTITIONS, "{table}: {found:?}");
        for ((partition, next_offset, rows), (records, _)) in found.into_iter().zip(&self.counts) {
            assert_eq!(next_offset, *records, "{table}: the position of partition {partition}");
            if counts_rows {
                assert_eq!(rows, *records, "{table}: the rows of partition {partition}");
            }
        }
    }
}
