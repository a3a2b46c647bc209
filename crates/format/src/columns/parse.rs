//! From text to columns.

use super::{Column, ColumnsError, Path, PathRoot, Source, Step, Type};

/// The longest path: as deep as a walk along it may be.
const MAX_STEPS: usize = 100;

/// Each column, and whether its type was said.
pub(super) fn parse(text: &str) -> Result<Vec<(Column, bool)>, ColumnsError> {
    let mut parser = Parser { rest: text };
    let mut list = Vec::new();
    loop {
        list.push(parser.column(list.len() + 1)?);
        parser.skip_spaces();
        if parser.rest.is_empty() {
            return Ok(list);
        }
        parser.expect(',')?;
    }
}

/// A name with its parts: `header."x y"` is two, and `lines[0]` one with an index behind it.
struct Name {
    /// As it is shown: without the quotes of a name that is one quoted part.
    display: String,
    first: String,
    /// What follows the first part and its point, as it was written, and taken apart.
    tail: String,
    steps: Vec<Step>,
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn column(&mut self, number: usize) -> Result<(Column, bool), ColumnsError> {
        self.skip_spaces();
        if self.rest.is_empty() || self.rest.starts_with([',', '=']) {
            return Err(error(format!("column {number} has no name")));
        }
        let name = self.name()?;
        let type_name = self.type_name(&name.display)?;
        self.skip_spaces();
        let source = if self.take('=') {
            self.source(&name.display)?
        } else {
            source_of_name(&name).unwrap_or_else(|| {
                let mut steps = vec![Step::Member(name.first.clone())];
                steps.extend(name.steps.iter().cloned());
                Source::Path(Path { root: PathRoot::Value, steps })
            })
        };
        let is_typed = type_name.is_some();
        let column_type = match type_name {
            Some(type_name) => Type::of_name(&type_name)
                .map_err(|error| ColumnsError::at(&name.display, error.to_string()))?,
            None => source.natural_type(),
        };
        Ok((Column { name: name.display, column_type, source }, is_typed))
    }

    fn source(&mut self, column: &str) -> Result<Source, ColumnsError> {
        self.skip_spaces();
        if self.rest.starts_with('\'') {
            return Ok(Source::Constant(self.quoted('\'')?));
        }
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Err(ColumnsError::at(column, "nothing follows the =".to_owned()));
        }
        let name = self.name()?;
        source_of_name(&name).ok_or_else(|| {
            let written = &name.display;
            let message = format!(
                "{written} is no source: there are key, value, topic, partition, offset, timestamp, \
                 timestamp_type, headers, header.NAME, constants such as '{written}', and parts of a JSON \
                 document such as value.{written}"
            );
            ColumnsError::at(column, message)
        })
    }

    fn name(&mut self) -> Result<Name, ColumnsError> {
        let (first, first_quoted) = self.part()?;
        let tail_start = self.rest;
        let mut steps = Vec::new();
        loop {
            if self.take('[') {
                let (digits, rest) = self.rest.split_once(']').ok_or_else(|| unclosed(']'))?;
                let index = digits.trim().parse().map_err(|_| error(format!("[{digits}] is no index")))?;
                steps.push(Step::Index(index));
                self.rest = rest;
            } else if self.take('.') {
                steps.push(Step::Member(self.part()?.0));
            } else {
                break;
            }
            if steps.len() > MAX_STEPS {
                return Err(error(format!("a path of more than {MAX_STEPS} steps")));
            }
        }
        let written = &tail_start[..tail_start.len() - self.rest.len()];
        let display =
            if first_quoted && steps.is_empty() { first.clone() } else { format!("{first}{written}") };
        let tail = match steps.as_slice() {
            [Step::Member(only)] => only.clone(),
            _ => written.strip_prefix('.').unwrap_or(written).to_owned(),
        };
        Ok(Name { display, first, tail, steps })
    }

    /// A quoted or plain part of a name, and whether it was quoted.
    fn part(&mut self) -> Result<(String, bool), ColumnsError> {
        if self.rest.starts_with('"') {
            let part = self.quoted('"')?;
            return if part.is_empty() { Err(error("a name is empty".to_owned())) } else { Ok((part, true)) };
        }
        let is_end = |c: char| c.is_whitespace() || matches!(c, ',' | '=' | '.' | '[' | ']' | '"' | '\'');
        let len = self.rest.find(is_end).unwrap_or(self.rest.len());
        let (part, rest) = self.rest.split_at(len);
        if part.is_empty() {
            let found = rest.chars().next().map_or("the end".to_owned(), |c| c.to_string());
            return Err(error(format!("a name was expected, not {found}")));
        }
        self.rest = rest;
        Ok((part.to_owned(), false))
    }

    /// A text in quotes, which are doubled within.
    fn quoted(&mut self, quote: char) -> Result<String, ColumnsError> {
        let mut text = String::new();
        loop {
            // At an opening quote, or at the second of a doubled one.
            self.rest = &self.rest[1..];
            let end = self.rest.find(quote).ok_or_else(|| unclosed(quote))?;
            text.push_str(&self.rest[..end]);
            self.rest = &self.rest[end + 1..];
            if !self.rest.starts_with(quote) {
                return Ok(text);
            }
            text.push(quote);
        }
    }

    /// Everything up to the source or the next column; commas within parentheses or quotes belong to the type.
    fn type_name(&mut self, column: &str) -> Result<Option<String>, ColumnsError> {
        let mut depth = 0usize;
        let mut in_quotes = false;
        let end = self.rest.find(|c| {
            in_quotes ^= c == '"';
            match c {
                _ if in_quotes => return false,
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(c, ',' | '=')
        });
        let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if text.contains('\'') {
            let message = "' was not expected here: a source follows an =".to_owned();
            return Err(ColumnsError::at(column, message));
        }
        self.rest = rest;
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), ColumnsError> {
        if self.take(wanted) {
            return Ok(());
        }
        let found: String = self.rest.chars().take(20).collect();
        Err(error(format!("a comma was expected before {found}")))
    }
}

fn source_of_name(name: &Name) -> Option<Source> {
    let Name { first, tail, steps, .. } = name;
    let root = match (first.as_str(), steps.is_empty()) {
        ("key", true) => return Some(Source::Key),
        ("value", true) => return Some(Source::Value),
        ("topic", true) => return Some(Source::Topic),
        ("partition", true) => return Some(Source::Partition),
        ("offset", true) => return Some(Source::Offset),
        ("timestamp", true) => return Some(Source::Timestamp),
        ("timestamp_type", true) => return Some(Source::TimestampType),
        ("headers", true) => return Some(Source::Headers),
        // Header names often have points themselves, and then need no quotes.
        ("header", false) => return Some(Source::Header(tail.clone())),
        ("key", false) => PathRoot::Key,
        ("value", false) => PathRoot::Value,
        _ => return None,
    };
    Some(Source::Path(Path { root, steps: steps.clone() }))
}

fn error(message: String) -> ColumnsError {
    ColumnsError { column: None, message }
}

fn unclosed(closing: char) -> ColumnsError {
    error(format!("a closing {closing} is missing"))
}
