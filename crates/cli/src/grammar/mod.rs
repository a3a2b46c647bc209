//! kcopy's own grammar: verbs for data, nouns for administration.
//!
//! Every long option can also be given in the environment: `--max-time` as `KCOPY_MAX_TIME`. A variable that is
//! set and empty counts as unset. A test walks all options for this.

mod broker;
mod common;
mod consume;
mod exact;
mod formats;
mod load;
mod produce;
mod shell;
mod sql;
mod topic;

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::environment::{Environment, WrongUse};
use crate::plan::Plan;
use crate::properties;

/// Moves data between Kafka and PostgreSQL.
#[derive(Debug, Parser)]
#[command(
    name = "kcopy",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    before_help = EXAMPLES,
    after_help = "A first option with one dash, or the name kcat or kafkacat, is kcat's command line: kcopy -h shows it.\n\
                  Every long option can also be set in the environment: --max-time as KCOPY_MAX_TIME."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

// Lines of examples stay under 80 columns: a wrapped one could not be pasted.
const EXAMPLES: &str = "\
Examples:
  kcopy consume orders --group load
  kcopy consume orders --format json --from -1h --follow
  kcopy load orders --into orders
  echo '{\"id\":1}' | kcopy produce orders --format raw
  kcopy topic create orders --partitions 3
  kcopy broker --topic orders:3 -- sh -c 'kcopy topic list'
  psql -c \"copy orders from program 'kcopy consume orders --group load'\"";

#[derive(Debug, Subcommand)]
enum Verb {
    Consume(consume::ConsumeArgs),
    Produce(produce::ProduceArgs),
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    #[command(subcommand)]
    Cluster(topic::ClusterCommand),
    Broker(broker::BrokerArgs),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
    Load(load::LoadArgs),
    /// PostgreSQL to Kafka over the wire, exactly once (comes in a later release)
    #[command(disable_help_flag = true)]
    Publish(LaterArgs),
    Sql(sql::SqlArgs),
    #[command(hide = true)]
    Report(sql::ReportArgs),
    /// Consumer groups: list, describe, reset, delete (comes in a later release)
    #[command(disable_help_flag = true)]
    Group(LaterArgs),
}

/// Whatever follows a verb that is not there yet.
#[derive(Debug, clap::Args)]
struct LaterArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<OsString>,
}

/// Parses `args` (without the program's name) in kcopy's grammar.
///
/// # Errors
/// The command line is wrong; the exit code is 2.
pub fn parse(args: &[OsString], environment: &Environment<'_>) -> Result<Plan, WrongUse> {
    if asks_for_properties(args) {
        return Ok(Plan::Print(properties::list()));
    }
    let program = OsString::from("kcopy");
    let matched = command(environment).try_get_matches_from(std::iter::once(&program).chain(args));
    let cli = match matched.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Plan::Print(error.render().to_string()));
        }
        Err(mut error) => {
            forget_hidden(&mut error);
            let origin = match (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue)) {
                (Some(ContextValue::String(option)), Some(ContextValue::String(_))) => {
                    origin(option, args, environment)
                }
                _ => String::new(),
            };
            return Err(wrong_use(error.render().to_string() + &origin));
        }
    };
    match plan(cli.verb, environment) {
        Ok(plan) => Ok(match plan.common().and_then(|common| common.dump.clone()) {
            Some(dump) => Plan::Print(dump),
            None => plan,
        }),
        Err(reason) => Err(wrong_use(format!("error: {reason}\n{}", origin(&reason, args, environment)))),
    }
}

/// Whether `-X list` is somewhere behind a verb that takes properties: it needs nothing else to be right.
fn asks_for_properties(args: &[OsString]) -> bool {
    let Some((verb, rest)) = args.split_first() else { return false };
    if !["consume", "produce", "load", "topic", "cluster"].iter().any(|known| verb == *known) {
        return false;
    }
    let rest: Vec<&str> = rest.iter().map_while(|arg| arg.to_str()).take_while(|arg| *arg != "--").collect();
    let is_list = |text: &str| matches!(text, "list" | "help");
    let is_asked = |arg: &str| {
        let value = arg.strip_prefix("-X").or_else(|| arg.strip_prefix("--property="));
        value.is_some_and(|value| is_list(value.trim_start_matches('=')))
    };
    rest.iter().any(|arg| is_asked(arg))
        || rest.windows(2).any(|pair| matches!(pair[0], "-X" | "--property") && is_list(pair[1]))
}

fn plan(verb: Verb, environment: &Environment<'_>) -> Result<Plan, String> {
    match verb {
        Verb::Consume(args) => args.plan(environment),
        Verb::Produce(args) => args.plan(environment),
        Verb::Topic(command) => command.plan(environment),
        Verb::Cluster(command) => command.plan(environment),
        Verb::Broker(args) => args.plan(),
        Verb::Completions(args) => Ok(Plan::Print(args.script(command(environment)))),
        Verb::Man(args) => args.page(command(environment)).map(Plan::Print),
        Verb::Load(args) => args.plan(environment),
        Verb::Publish(_) => {
            Err(later("publish", "COPY ... TO PROGRAM 'kcopy produce TOPIC' publishes a query's rows"))
        }
        Verb::Sql(args) => args.plan(),
        Verb::Report(args) => Ok(args.plan()),
        Verb::Group(_) => {
            Err(later("group", "kcopy consume --group G reads with a group's offsets, and commits them"))
        }
    }
}

fn later(verb: &str, today: &str) -> String {
    format!("kcopy {verb} comes in a later release; today {today}")
}

/// A line that names the environment variable, if that is where the value of the option comes from that `about` begins
/// with.
fn origin(about: &str, args: &[OsString], environment: &Environment<'_>) -> String {
    let is_name = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '-';
    let long: String = about.chars().take_while(is_name).collect();
    let command = command(environment);
    let all = command.get_subcommands().flat_map(|verb| {
        verb.get_arguments().chain(verb.get_subcommands().flat_map(|action| action.get_arguments()))
    });
    let mut same = all.filter(|arg| arg.get_long().is_some_and(|name| long.strip_prefix("--") == Some(name)));
    let Some(arg) = same.next() else { return String::new() };
    let short = arg.get_short().map(|letter| format!("-{letter}"));
    let is_given = args.iter().map(|arg| arg.to_string_lossy()).take_while(|arg| arg != "--").any(|arg| {
        arg.split('=').next() == Some(&long)
            || short.as_ref().is_some_and(|short| arg.starts_with(short.as_str()))
    });
    let name = format!("KCOPY_{}", long.trim_start_matches('-').replace('-', "_").to_ascii_uppercase());
    if is_given || arg.get_env().is_none() || environment.non_empty(&name).is_none() {
        return String::new();
    }
    format!("The value comes from the environment variable {name}.\n")
}

/// Who reads it in a server's log knows whose error it is.
fn wrong_use(stderr: String) -> WrongUse {
    let named = stderr.strip_prefix("error: ").map(|reason| format!("kcopy: error: {reason}"));
    WrongUse { stderr: named.unwrap_or(stderr), exit_code: 2 }
}

/// Verbs that are not shown are not what somebody meant.
fn forget_hidden(error: &mut clap::Error) {
    let Some(ContextValue::Strings(similar)) = error.get(ContextKind::SuggestedSubcommand) else { return };
    let command = Cli::command();
    let is_shown = |name: &&String| command.find_subcommand(name).is_none_or(|verb| !verb.is_hide_set());
    let shown: Vec<String> = similar.iter().filter(is_shown).cloned().collect();
    error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(shown));
}

/// The whole grammar, with options that read the environment.
fn command(environment: &Environment<'_>) -> Command {
    let timeout = |arg: Arg| arg.help(produce::TIMEOUT_HELP);
    adjust(Cli::command().mut_subcommand("produce", |verb| verb.mut_arg("timeout", timeout)), environment)
}

/// Makes switches take the words of the environment, forgets empty variables, and keeps the help short.
fn adjust(command: Command, environment: &Environment<'_>) -> Command {
    let command = command
        .disable_help_subcommand(false)
        .max_term_width(100)
        .mut_args(|arg| adjust_arg(arg, environment));
    command.mut_subcommands(|subcommand| adjust(subcommand, environment))
}

fn adjust_arg(arg: Arg, environment: &Environment<'_>) -> Arg {
    let arg =
        if matches!(arg.get_action(), ArgAction::SetTrue) { arg.value_parser(parse_switch) } else { arg };
    let unset = match arg.get_env() {
        Some(name) => environment.non_empty(&name.to_string_lossy()).is_none(),
        None => false,
    };
    let arg = if unset { arg.env(Resettable::Reset) } else { arg };
    arg.hide_env(true)
}

/// The words that switch an option on or off in the environment.
fn parse_switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests;
