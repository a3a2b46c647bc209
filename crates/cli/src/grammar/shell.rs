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
        let command = command.bin_name(name).version(env!("CARGO_PKG_VERSION"));
        let mut page = Vec::new();
        clap_mangen::Man::new(command).title(title).render(&mut page).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    }
}
