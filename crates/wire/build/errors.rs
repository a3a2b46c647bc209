//! Generates the constants of `ErrorCode` from `tables/errors.txt`: `NUMBER NAME [KIND...]`.

use std::fmt::Write;

pub(crate) fn error_codes(text: &str) -> String {
    let rows: Vec<(i16, &str, Vec<&str>)> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let mut words = line.split_whitespace();
            let number = words.next().and_then(|word| word.parse().ok()).expect("an error's number");
            (number, words.next().expect("an error's name"), words.collect())
        })
        .collect();
    let mut out = String::from("impl ErrorCode {\n");
    for (number, name, kinds) in &rows {
        let kinds = if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
        let _ = writeln!(out, "    /// Error {number}{kinds}.");
        let _ = writeln!(out, "    pub const {name}: ErrorCode = ErrorCode({number});");
    }
    out.push_str("\n    /// The name of the protocol's specification, if the number is known.\n");
    out.push_str("    pub const fn known_name(self) -> Option<&'static str> {\n        match self.0 {\n");
    for (number, name, _) in &rows {
        let _ = writeln!(out, "            {number} => Some({name:?}),");
    }
    out.push_str("            _ => None,\n        }\n    }\n");
    for (method, kind, doc) in [
        ("is_retriable", "retriable", "The same request can succeed later."),
        ("refreshes_metadata", "refresh-metadata", "The client's view of leaders or coordinators is stale."),
        ("is_configuration", "configuration", "Retrying cannot help until somebody changes a setting."),
        ("is_authorization", "authorization", "The principal lacks a right."),
        ("is_authentication", "authentication", "The client could not prove who it is."),
        ("needs_new_producer", "recreate-producer", "The producer's identity is lost: it has to start anew."),
    ] {
        let numbers: Vec<String> =
            rows.iter().filter(|row| row.2.contains(&kind)).map(|row| row.0.to_string()).collect();
        let _ = writeln!(out, "\n    /// {doc}\n    pub const fn {method}(self) -> bool {{");
        let _ = writeln!(out, "        matches!(self.0, {})\n    }}", numbers.join(" | "));
    }
    out.push_str("}\n");
    out
}
