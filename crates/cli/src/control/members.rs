//! The members of a request's JSON object: each is taken once, and none may be left over.

use serde_json::{Map, Value};

/// A JSON object that is being read.
#[derive(Debug)]
pub(super) struct Members {
    left: Map<String, Value>,
    /// What could have been there, for the error.
    known: Vec<&'static str>,
}

impl Members {
    /// Reads a body; an empty one is an object without members.
    ///
    /// # Errors
    /// It is no JSON object.
    pub(super) fn parse(body: &[u8]) -> Result<Members, String> {
        if body.trim_ascii().is_empty() {
            return Ok(Members { left: Map::new(), known: Vec::new() });
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(left)) => Ok(Members { left, known: Vec::new() }),
            Ok(_) => Err("the body must be a JSON object".into()),
            Err(error) => Err(format!("the body is no JSON: {error}")),
        }
    }

    /// Whatever is there; null is nothing.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// A text, if it is there.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("\"{name}\" must be a string, not {other}")),
        }
    }

    /// A whole number, if it is there.
    ///
    /// # Errors
    /// It is something else, or too small or large.
    pub(super) fn number<N: TryFrom<i64>>(&mut self, name: &'static str) -> Result<Option<N>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => {
                let number = value.as_i64().and_then(|number| N::try_from(number).ok());
                let number = number
                    .ok_or_else(|| format!("\"{name}\" must be a whole number in range, not {value}"))?;
                Ok(Some(number))
            }
        }
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// Something is; the text says what could have been there.
    pub(super) fn finish(self) -> Result<(), String> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) if self.known.is_empty() => Err(format!("\"{name}\" is unknown: nothing is expected")),
            Some(name) => Err(format!("\"{name}\" is unknown; known are {}", self.known.join(", "))),
        }
    }
}

/// `value`, or an error that says that `name` is missing.
pub(super) fn required<T>(name: &str, value: Option<T>) -> Result<T, String> {
    value.ok_or_else(|| format!("\"{name}\" is missing"))
}
