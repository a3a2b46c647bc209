//! A stand-in for psql where only PostgreSQL's server is installed: runs each argument, or stdin, as SQL on the server
//! that `PGHOST`, `PGPORT`, `PGUSER` and `PGDATABASE` name, and prints rows aligned, or the count of a command.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool of the tests")]

use std::{env, error::Error, io::Read, process::ExitCode};

use postgres::{Client, Config, NoTls, SimpleQueryMessage};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let server = error.downcast_ref::<postgres::Error>().and_then(postgres::Error::as_db_error);
            match server {
                Some(error) => {
                    eprintln!("ERROR:  {}", error.message());
                    error.detail().into_iter().for_each(|detail| eprintln!("DETAIL:  {detail}"));
                }
                None => eprintln!("ERROR:  {error}"),
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let variable = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let mut config = Config::new();
    config.host(&variable("PGHOST", "127.0.0.1")).port(variable("PGPORT", "5432").parse()?);
    config.user(&variable("PGUSER", "postgres")).dbname(&variable("PGDATABASE", "postgres"));
    let mut client = config.connect(NoTls)?;
    let arguments = env::args().skip(1).collect::<Vec<_>>();
    if arguments.is_empty() {
        let mut sql = String::new();
        std::io::stdin().read_to_string(&mut sql)?;
        return print(&mut client, &sql);
    }
    arguments.iter().try_for_each(|sql| print(&mut client, sql))
}

fn print(client: &mut Client, sql: &str) -> Result<(), Box<dyn Error>> {
    let mut table: Vec<Vec<String>> = Vec::new();
    for message in client.simple_query(sql)? {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                table = vec![columns.iter().map(|column| column.name().to_owned()).collect()];
            }
            SimpleQueryMessage::Row(row) => {
                table.push((0..row.len()).map(|i| row.get(i).unwrap_or_default().to_owned()).collect());
            }
            SimpleQueryMessage::CommandComplete(count) if table.is_empty() => println!("{count} rows"),
            SimpleQueryMessage::CommandComplete(_) => print_table(&std::mem::take(&mut table)),
            _ => {}
        }
    }
    Ok(())
}

fn print_table(table: &[Vec<String>]) {
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    for row in table {
        let cells =
            row.iter().enumerate().map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        println!(" {}", cells.collect::<Vec<_>>().join(" | ").trim_end());
    }
}
