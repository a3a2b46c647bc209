//! The binary's own command line: names, streams, exit codes, environment. Nothing here talks to a broker.

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(program: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(program)
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn kcopy(args: &[&str], variables: &[(&str, &str)]) -> Output {
    run(Path::new(env!("CARGO_BIN_EXE_kcopy")), args, variables)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_programs_name_chooses_the_grammar() {
    let folder = tempfile::tempdir().unwrap();
    for (name, args, code, out, err) in [
        ("kcat", &["-h"][..], 0, "Usage: kcat <options>", ""),
        ("kafkacat", &["-V"], 0, "kcat - ", ""),
        ("kcat", &["-C"], 1, "", "Error: -b <broker,..> missing\n\nUsage: kcat <options>"),
        ("kafka-topics", &["--help"], 0, "Usage: kafka-topics", ""),
        ("kafka-topics.sh", &["--list"], 1, "", "--bootstrap-server must be specified\n"),
        ("kcopy", &["--version"], 0, "kcopy ", ""),
        ("kcopy", &["-C"], 1, "", "Error: -b <broker,..> missing\n\nUsage: kcopy <options>"),
        ("kcopy", &["consum"], 2, "", "kcopy: error: unrecognized subcommand 'consum'"),
        ("kcopy", &[], 2, "", "Examples:\n"),
    ] {
        let link = folder.path().join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kcopy"), &link).unwrap();
        }
        let output = run(&link, args, &[]);
        assert_eq!(output.status.code(), Some(code), "{name} {args:?}");
        assert!(stdout(&output).starts_with(out), "{name} {args:?}: {}", stdout(&output));
        assert!(stderr(&output).starts_with(err), "{name} {args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output).is_empty(), out.is_empty(), "{name} {args:?}");
        assert_eq!(stderr(&output).is_empty(), err.is_empty(), "{name} {args:?}");
    }
}

#[test]
fn the_environment_is_checked_like_the_command_line() {
    for (variables, args, part) in [
        (&[("KCOPY_BROKERS", "h:0")][..], &["topic", "list"][..], "a port is 1 to 65535"),
        (&[("KCOPY_MAX_TIME", "5")], &["consume", "t"], "\"5\" is no duration"),
        (&[("KCOPY_TIMEOUT", "0s")], &["topic", "list"], "expected at least 1ms"),
        (&[("KCOPY_FOLLOW", "perhaps")], &["consume", "t"], "expected true or false"),
        (&[("KCOPY_FORMAT", "yaml")], &["consume", "t"], "possible values"),
        (&[("KCOPY_CONFIG", "/nowhere/k.conf")], &["topic", "create", "t"], "/nowhere/k.conf"),
        (&[("KCOPY_PROPERTY", "akcs=1")], &["produce", "t"], "did you mean \"acks\"?"),
    ] {
        let output = kcopy(args, variables);
        assert_eq!(output.status.code(), Some(2), "{variables:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{variables:?}: {}", stderr(&output));
    }
    // The command line wins, and empty is unset.
    let output = kcopy(&["consume", "--help"], &[("KCOPY_BROKERS", ""), ("KCOPY_FOLLOW", "")]);
    assert_eq!(output.status.code(), Some(0));
    let output = kcopy(&["consume", "t", "--max-time", "x"], &[("KCOPY_MAX_TIME", "5")]);
    assert!(stderr(&output).contains("\"x\" is no duration"));
}

#[test]
fn text_that_cannot_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_kcopy"))
        .arg("--help")
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_standard_error_that_cannot_be_written_changes_no_exit_code() {
    let full = || Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    // Without a reader.
    let broken = || Stdio::from(std::io::pipe().unwrap().1);
    for (args, code) in [
        (&["consume", "t", "--no-such-option"][..], 2),
        (&["consume", "t", "--columns", "=", "--report", "/nowhere/report"], 2),
        (&["consume", "t", "-b", "127.0.0.1:1", "--timeout", "100ms"], 1),
        (&["-C", "-t", "t", "-b", "127.0.0.1:1", "-m", "1"], 1),
        (&["-C"], 1),
        (&["--version"], 0),
    ] {
        for stderr in [full(), broken()] {
            let status = Command::new(env!("CARGO_BIN_EXE_kcopy"))
                .args(args)
                .env_clear()
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(stderr)
                .status()
                .unwrap();
            assert_eq!(status.code(), Some(code), "{args:?}");
        }
    }
}
