//! GNU getopt's rules: bundled flags, attached values, options after operands, `--` ends options.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// One element of the command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// An option, with its value if it takes one.
    Flag(u8, Vec<u8>),
    /// A GNU-style long option, which kcat has none of; without its dashes.
    Long(String),
    /// Not an option.
    Operand(OsString),
    /// A letter that is no option.
    Unknown(u8),
    /// An option whose value is missing.
    NoValue(u8),
}

/// Walks `args`. `options` are the known letters, a colon after those that take a value.
pub(super) struct Getopt<'a> {
    options: &'static [u8],
    args: std::slice::Iter<'a, OsString>,
    /// What is left of a bundle of flags.
    bundle: &'a [u8],
    only_operands: bool,
}

impl<'a> Getopt<'a> {
    pub(super) fn new(options: &'static str, args: &'a [OsString]) -> Self {
        Self { options: options.as_bytes(), args: args.iter(), bundle: &[], only_operands: false }
    }

    fn next_of_bundle(&mut self, letter: u8) -> Element {
        let takes_value = match self.options.iter().position(|it| *it == letter && letter != b':') {
            Some(index) => self.options.get(index + 1) == Some(&b':'),
            None => return Element::Unknown(letter),
        };
        if !takes_value {
            return Element::Flag(letter, Vec::new());
        }
        let attached = std::mem::take(&mut self.bundle);
        if !attached.is_empty() {
            return Element::Flag(letter, attached.to_vec());
        }
        match self.args.next() {
            Some(value) => Element::Flag(letter, value.clone().into_vec()),
            None => Element::NoValue(letter),
        }
    }
}

impl Iterator for Getopt<'_> {
    type Item = Element;

    fn next(&mut self) -> Option<Element> {
        loop {
            if let Some((&letter, rest)) = self.bundle.split_first() {
                self.bundle = rest;
                return Some(self.next_of_bundle(letter));
            }
            let arg: &OsStr = self.args.next()?;
            match arg.as_bytes() {
                _ if self.only_operands => return Some(Element::Operand(arg.to_owned())),
                b"--" => self.only_operands = true,
                [b'-', b'-', long @ ..] => {
                    return Some(Element::Long(String::from_utf8_lossy(long).into_owned()));
                }
                [b'-', bundle @ ..] if !bundle.is_empty() => self.bundle = bundle,
                _ => return Some(Element::Operand(arg.to_owned())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(args: &[&str]) -> String {
        let args: Vec<OsString> = args.iter().map(Into::into).collect();
        let show = |element| match element {
            Element::Flag(letter, value) if value.is_empty() => format!("-{}", letter as char),
            Element::Flag(letter, value) => {
                format!("-{}={}", letter as char, String::from_utf8_lossy(&value))
            }
            Element::Long(name) => format!("--{name}"),
            Element::Operand(text) => text.to_string_lossy().into_owned(),
            Element::Unknown(letter) => format!("?{}", letter as char),
            Element::NoValue(letter) => format!("!{}", letter as char),
        };
        Getopt::new("Cb:c:qeJK:", &args).map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn getopt_rules() {
        for (args, expected) in [
            (&["-qeJ", "-c100"][..], "-q -e -J -c=100"),
            (&["-qe", "-K", ";", "f"], "-q -e -K=; f"),
            (&["-qc5", "-bh:1"], "-q -c=5 -b=h:1"),
            (&["a", "-q", "b"], "a -q b"),
            (&["-q", "--", "-q"], "-q -q"),
            (&["-K", "-q"], "-K=-q"),
            (&["-qb"], "-q !b"),
            (&["-Yq"], "?Y -q"),
            (&["-:"], "?:"),
            (&["-", "--help"], "- --help"),
            (&["-K", "", "x"], "-K x"),
        ] {
            assert_eq!(walk(args), expected, "{args:?}");
        }
        let args: Vec<OsString> = ["--", "-q"].iter().map(Into::into).collect();
        assert_eq!(Getopt::new("q", &args).collect::<Vec<_>>(), [Element::Operand("-q".into())]);
    }
}
