//! Generates the protocol's messages from `tables/`.
#![allow(clippy::print_stdout, reason = "cargo reads it")]

mod emit;
mod errors;
mod table;

use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=tables");
    println!("cargo::rerun-if-changed=build");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let mut paths: Vec<_> = fs::read_dir("tables")
        .expect("the tables are part of the crate")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "kafka"))
        .collect();
    paths.sort();
    let (mut apis, mut data) = (Vec::new(), Vec::new());
    for path in paths {
        let text = fs::read_to_string(&path).expect("a readable table");
        match table::parse(&text) {
            Ok(table::Table::Api(api)) => apis.push(api),
            Ok(table::Table::Data(message)) => data.push(message),
            Err(why) => panic!("{}: {why}", path.display()),
        }
    }
    apis.sort_by_key(|api| api.key);
    let errors = fs::read_to_string("tables/errors.txt").expect("tables/errors.txt");
    fs::write(Path::new(&out).join("messages.rs"), emit::messages(&apis, &data)).expect("a writable OUT_DIR");
    fs::write(Path::new(&out).join("error_codes.rs"), errors::error_codes(&errors))
        .expect("a writable OUT_DIR");
}
