//! `kcopy completions` and `kcopy man`.

use clap::Command;
use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  kcopy completions bash > /etc/bash_completion.d/kcopy
  kcopy completions zsh > ~/.zfunc/_kcopy")]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn script(&self, mut command: Command) -> String {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "kcopy", &mut script);
        String::from_utf8_lossy(&script).into_owned()
    }
}

/// Print a manual page
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  kcopy man | man -l -
  kcopy man topic create > kcopy-topic-create.1")]
pub(super) struct ManArgs {
    /// The command that the page is for [default: kcopy itself]
    #[arg(value_name = "COMMAND")]
    path: Vec<String>,
}

impl ManArgs {
    pub(super) fn page(&self, mut command: Command) -> Result<String, String> {
        command.build();
        let mut name = command.get_name().to_owned();
        for word in &self.path {
            let Some(found) = command.find_subcommand(word) else {
                return Err(format!("there is no command \"{name} {word}\""));
            };
            command = found.clone();
            name = format!("{name} {word}");
        }
        // Manual pages are named with dashes.
        let title = name.replace(' ', "-");
        let examples = command.get_before_help().map(ToString::to_string).unwrap_or_default();
        let command = command.bin_name(name).version(env!("CARGO_PKG_VERSION"));
        let mut page = Vec::new();
        let source = concat!("kcopy ", env!("CARGO_PKG_VERSION"));
        let manual = clap_mangen::Man::new(command).title(title).source(source);
        manual.render(&mut page).map_err(|error| error.to_string())?;
        let page = String::from_utf8_lossy(&page);
        let (before, version) = page.split_once(".SH VERSION").unwrap_or((&page, ""));
        let examples = examples.strip_prefix("Examples:\n").map(preformatted).unwrap_or_default();
        Ok(format!("{before}{examples}{EXIT_STATUS}.SH VERSION{version}"))
    }
}

/// What all verbs end with.
const EXIT_STATUS: &str = r"
.SH EXIT STATUS
.TP
0
All that was asked for has been done.
.TP
1
Something was not delivered, or not to be had; the last line on standard error says what.
.TP
2
Wrong use: nothing was done.
.TP
128+N
Signal N ended the run: 130 for SIGINT, 143 for SIGTERM, 141 where the reader of the output has gone.
";

/// A section of lines that stay as they are.
fn preformatted(text: &str) -> String {
    let mut section = ".SH EXAMPLES\n.nf\n".to_owned();
    for line in text.lines() {
        // A dot or a quote at the beginning would be a request.
        section += "\\&";
        section += &line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        section += "\n";
    }
    section + ".fi"
}
