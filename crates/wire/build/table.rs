//! Reads the protocol tables (`tables/README.md` has the notation) into a checked model.

use std::collections::HashMap;

/// A range of versions, both ends included; an open end is `i16::MAX`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Versions {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

impl Versions {
    const NEVER: Versions = Versions { min: 1, max: 0 };

    fn parse(text: &str) -> Option<Versions> {
        if let Some(min) = text.strip_suffix('+') {
            return Some(Versions { min: min.parse().ok()?, max: i16::MAX });
        }
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        Some(Versions { min: min.parse().ok()?, max: max.parse().ok()? })
    }

    pub(crate) fn intersect(self, other: Versions) -> Versions {
        Versions { min: self.min.max(other.min), max: self.max.min(other.max) }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.min > self.max
    }

    pub(crate) fn covers(self, other: Versions) -> bool {
        self.min <= other.min && self.max >= other.max
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    ErrorCode,
    Struct(String),
    Array(Box<Type>),
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Type,
    pub(crate) versions: Versions,
    pub(crate) nullable: Versions,
    pub(crate) tag: Option<(u32, Versions)>,
    pub(crate) inflexible: bool,
    pub(crate) default: Option<String>,
    pub(crate) ignorable: bool,
    /// The columns of the table behind the name, for the docs.
    pub(crate) words: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

/// A request, a response, or a piece of data: the first struct is the message itself.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) versions: Versions,
    pub(crate) flexible: Versions,
    pub(crate) structs: Vec<Struct>,
}

#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) key: i16,
    pub(crate) name: String,
    pub(crate) request: Message,
    pub(crate) response: Message,
}

pub(crate) enum Table {
    Api(Api),
    Data(Message),
}

/// Parses one table.
pub(crate) fn parse(text: &str) -> Result<Table, String> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    let head: Vec<&str> = lines.next().ok_or("empty table")?.split_whitespace().collect();
    match head[..] {
        ["api", key, name, ..] => {
            let key = key.parse().map_err(|_| format!("api key {key} is no number"))?;
            let request = message(&mut lines, "request", &format!("{name}Request"))?;
            let response = message(&mut lines, "response", &format!("{name}Response"))?;
            Ok(Table::Api(Api { key, name: name.to_string(), request, response }))
        }
        ["data", name] => Ok(Table::Data(message(&mut lines, "data", name)?)),
        _ => Err(format!("a table begins with 'api KEY NAME' or 'data NAME', not {head:?}")),
    }
}

fn message<'a, I>(lines: &mut std::iter::Peekable<I>, keyword: &str, name: &str) -> Result<Message, String>
where
    I: Iterator<Item = &'a str>,
{
    let head: Vec<&str> = lines.next().ok_or(format!("no {keyword}"))?.split_whitespace().collect();
    if head[0] != keyword {
        return Err(format!("expected {keyword}, found {head:?}"));
    }
    let mut versions = Versions::parse(head[1]).ok_or(format!("versions {}", head[1]))?;
    let mut flexible = Versions::NEVER;
    if let Some(at) = head.iter().position(|word| *word == "flexible") {
        flexible = Versions::parse(head[at + 1]).ok_or("flexible versions")?;
    }
    if head.contains(&"latest-unstable") {
        versions.max -= 1;
    }
    let mut structs = vec![Struct { name: name.to_string(), fields: Vec::new() }];
    block(lines, 1, 0, &mut structs)?;
    while let Some(line) = lines.peek().filter(|line| line.starts_with("struct ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        structs.push(Struct { name: words[1].to_string(), fields: Vec::new() });
        lines.next();
        let owner = structs.len() - 1;
        block(lines, 1, owner, &mut structs)?;
    }
    Ok(Message { name: name.to_string(), versions, flexible, structs })
}

/// The fields of one struct, and of the structs that are defined in place below them.
fn block<'a, I>(
    lines: &mut std::iter::Peekable<I>,
    depth: usize,
    owner: usize,
    structs: &mut Vec<Struct>,
) -> Result<(), String>
where
    I: Iterator<Item = &'a str>,
{
    while let Some(line) = lines.peek().copied() {
        let indent = (line.len() - line.trim_start().len()) / 4;
        if indent < depth || line.is_empty() {
            return Ok(());
        }
        if indent > depth {
            let kind = structs[owner].fields.last().map(|field| field.kind.clone());
            let name = struct_name(kind.as_ref()).ok_or(format!("fields below a plain type: {line}"))?;
            structs.push(Struct { name, fields: Vec::new() });
            let inner = structs.len() - 1;
            block(lines, depth + 1, inner, structs)?;
        } else {
            lines.next();
            let field = field(line)?;
            structs[owner].fields.push(field);
        }
    }
    Ok(())
}

fn struct_name(kind: Option<&Type>) -> Option<String> {
    match kind? {
        Type::Struct(name) => Some(name.clone()),
        Type::Array(inner) => struct_name(Some(inner)),
        _ => None,
    }
}

fn field(line: &str) -> Result<Field, String> {
    let mut words = line.split_whitespace().peekable();
    let mut next = || words.next().ok_or(format!("unfinished field: {line}"));
    let name = next()?.to_string();
    let kind = kind(next()?, &name);
    let versions = next().and_then(|text| Versions::parse(text).ok_or(format!("versions in: {line}")))?;
    let mut field = Field {
        name,
        kind,
        versions,
        nullable: Versions::NEVER,
        tag: None,
        inflexible: false,
        default: None,
        ignorable: false,
        words: line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "),
    };
    while let Some(word) = words.next() {
        match word {
            "nullable" => {
                field.nullable = match words.peek().and_then(|text| Versions::parse(text)) {
                    Some(found) => {
                        words.next();
                        found
                    }
                    None => versions,
                }
            }
            "tag" => {
                let tag = words.next().and_then(|text| text.parse().ok()).ok_or(format!("tag in: {line}"))?;
                let tagged = match words.peek().and_then(|text| Versions::parse(text)) {
                    Some(found) => {
                        words.next();
                        found
                    }
                    None => versions,
                };
                field.tag = Some((tag, tagged));
            }
            "=" => field.default = Some(words.next().ok_or(format!("default in: {line}"))?.to_string()),
            "inflexible" => field.inflexible = true,
            "ignorable" => field.ignorable = true,
            "key" => {}
            other => return Err(format!("unknown word {other} in: {line}")),
        }
    }
    Ok(field)
}

fn kind(text: &str, field: &str) -> Type {
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return Type::Array(Box::new(kind(inner, "")));
    }
    match text {
        "bool" => Type::Bool,
        "int8" => Type::Int8,
        "int16" if field == "error_code" => Type::ErrorCode,
        "int16" => Type::Int16,
        "uint16" => Type::Uint16,
        "int32" => Type::Int32,
        "uint32" => Type::Uint32,
        "int64" => Type::Int64,
        "float64" => Type::Float64,
        "uuid" => Type::Uuid,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        name => Type::Struct(name.to_string()),
    }
}

/// The least number of bytes that a value takes on the wire in any version: what a peer's count is
/// checked against.
pub(crate) fn least_size(kind: &Type, structs: &HashMap<&str, &Struct>, versions: Versions) -> usize {
    match kind {
        Type::Bool | Type::Int8 => 1,
        Type::Int16 | Type::Uint16 | Type::ErrorCode => 2,
        Type::Int32 | Type::Uint32 => 4,
        Type::Int64 | Type::Float64 => 8,
        Type::Uuid => 16,
        // Compact lengths take one byte.
        Type::String | Type::Bytes | Type::Records | Type::Array(_) => 1,
        Type::Struct(name) => structs[name.as_str()]
            .fields
            .iter()
            .filter(|field| field.tag.is_none() && field.versions.covers(versions))
            .map(
                |field| {
                    if field.nullable.is_empty() { least_size(&field.kind, structs, versions) } else { 1 }
                },
            )
            .sum::<usize>()
            .max(1),
    }
}
