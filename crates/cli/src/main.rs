//! The kcopy binary: parses the command line, then runs what it asks for.

use std::io::Write;
use std::process::ExitCode;

use kcopy::dispatch;
use kcopy::environment::Environment;
use kcopy::plan::Plan;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    match dispatch::parse(&args, &Environment::of_process()) {
        Ok(Plan::Print(text)) => print(&text),
        Ok(_) => {
            eprintln!("error: this build only parses command lines");
            ExitCode::FAILURE
        }
        Err(wrong) => {
            eprint!("{}", wrong.stderr);
            ExitCode::from(wrong.exit_code)
        }
    }
}

/// Writes `text` to stdout; a reader that is gone or a full disk is a failure.
fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot write to stdout: {error}");
            ExitCode::FAILURE
        }
    }
}
