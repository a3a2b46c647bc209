//! Writes the Rust of every message: a struct for each struct of the table, `encode` and `decode`.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
};

use crate::table::{Api, Field, Message, Struct, Type, Versions, least_size};

pub(crate) fn messages(apis: &[Api], data: &[Message]) -> String {
    let mut modules: BTreeMap<String, String> = BTreeMap::new();
    for api in apis {
        let about = format!("request of API {} ({})", api.name, api.key);
        modules.insert(snake(&api.request.name), Module::new(&api.request, &about, Some(api)).emit());
        let about = format!("response of API {} ({})", api.name, api.key);
        modules.insert(snake(&api.response.name), Module::new(&api.response, &about, None).emit());
    }
    for message in data {
        modules.insert(snake(&message.name), Module::new(message, "data inside other messages", None).emit());
    }
    let mut out = String::from("// Generated from tables/ by build/main.rs.\n\n");
    for (name, text) in &modules {
        let _ = writeln!(out, "{text}");
        let _ = writeln!(out, "pub use {name}::{};\n", pascal(name));
    }
    out.push_str(&api_keys(apis));
    out
}

fn api_keys(apis: &[Api]) -> String {
    let mut out = String::from(
        "/// The APIs of the protocol that this crate speaks.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]\n#[repr(i16)]\n#[non_exhaustive]\n\
         pub enum ApiKey {\n",
    );
    for Api { key, name, request, .. } in apis {
        let _ =
            writeln!(out, "    /// Key {key}, versions {}-{}.", request.versions.min, request.versions.max);
        let _ = writeln!(out, "    {name} = {key},");
    }
    out.push_str("}\n\nimpl ApiKey {\n    /// Every API, in the order of the keys.\n    pub const ALL: &'static [ApiKey] = &[");
    for api in apis {
        let _ = write!(out, "ApiKey::{}, ", api.name);
    }
    out.push_str("];\n\n    fn from_number(key: i16) -> Option<ApiKey> {\n        Some(match key {\n");
    for Api { key, name, .. } in apis {
        let _ = writeln!(out, "            {key} => ApiKey::{name},");
    }
    out.push_str("            _ => return None,\n        })\n    }\n");
    let mut method = |head: &str, doc: &str, value: &dyn Fn(&Api) -> String| {
        let _ = writeln!(out, "\n    /// {doc}\n    {head} {{\n        match self {{");
        for api in apis {
            let _ = writeln!(out, "            ApiKey::{} => {},", api.name, value(api));
        }
        out.push_str("        }\n    }\n");
    };
    method("pub const fn name(self) -> &'static str", "The name in the protocol's specification.", &|api| {
        format!("{:?}", api.name)
    });
    method(
        "pub const fn versions(self) -> std::ops::RangeInclusive<i16>",
        "The versions that this crate speaks.",
        &|api| format!("{}..={}", api.request.versions.min, api.request.versions.max),
    );
    method("const fn request_flexible_from(self) -> i16", "The first flexible version.", &|api| {
        flexible_from(&api.request)
    });
    method("const fn response_flexible_from(self) -> i16", "The first flexible version.", &|api| {
        flexible_from(&api.response)
    });
    out.push_str("}\n\n");
    out.push_str(
        "/// Calls `callback!` with a line `Name NameRequest NameResponse;` for each API.\n\
         #[macro_export]\nmacro_rules! for_each_api {\n    ($callback:ident) => {\n        $callback! {\n",
    );
    for Api { name, .. } in apis {
        let _ = writeln!(out, "            {name} {name}Request {name}Response;");
    }
    out.push_str("        }\n    };\n}\n");
    out
}

fn flexible_from(message: &Message) -> String {
    if message.flexible.is_empty() { "i16::MAX".into() } else { message.flexible.min.to_string() }
}

/// One message's module.
struct Module<'a> {
    message: &'a Message,
    about: &'a str,
    api: Option<&'a Api>,
    structs: HashMap<&'a str, &'a Struct>,
    out: String,
}

impl<'a> Module<'a> {
    fn new(message: &'a Message, about: &'a str, api: Option<&'a Api>) -> Module<'a> {
        let structs = message.structs.iter().map(|item| (item.name.as_str(), item)).collect();
        Module { message, about, api, structs, out: String::new() }
    }

    fn emit(mut self) -> String {
        let Message { name, versions, .. } = self.message;
        let module = snake(name);
        let _ = writeln!(self.out, "/// {name}, versions {}-{}: {}.", versions.min, versions.max, self.about);
        let _ = writeln!(self.out, "pub mod {module} {{\n    use crate::codec::generated::*;\n");
        for item in &self.message.structs {
            self.definition(item);
            self.defaults(item);
            let _ = writeln!(self.out, "    impl {} {{", item.name);
            self.encode(item);
            self.decode(item);
            let _ = writeln!(self.out, "    }}\n");
        }
        self.message_impl();
        self.out.push_str("}\n");
        self.out
    }

    fn message_impl(&mut self) {
        let Message { name, versions, flexible, .. } = self.message;
        let is_flexible = condition(*flexible, *versions).unwrap_or("true".into());
        let unused = if is_flexible.contains("version") { "" } else { "_" };
        let _ = writeln!(
            self.out,
            "    impl Message for {name} {{
        const NAME: &'static str = {name:?};
        const VERSIONS: std::ops::RangeInclusive<i16> = {min}..={max};

        fn is_flexible({unused}version: i16) -> bool {{
            {is_flexible}
        }}

        fn encode(&self, version: i16, w: &mut Writer) -> Result<(), EncodeError> {{
            check_encode_version::<Self>(version)?;
            self.encode_fields(version, w)
        }}

        fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {{
            check_decode_version::<Self>(r, version)?;
            r.whole(version, Self::decode_fields)
        }}
    }}",
            min = versions.min,
            max = versions.max,
        );
        if let Some(api) = self.api {
            let _ = writeln!(
                self.out,
                "
    impl Request for {name} {{
        const API_KEY: ApiKey = ApiKey::{};
        type Response = super::{};
    }}",
                api.name, api.response.name
            );
        }
    }

    fn definition(&mut self, item: &Struct) {
        let _ = writeln!(self.out, "    /// `{}` of {}.", item.name, self.message.name);
        let _ = writeln!(self.out, "    #[derive(Clone, Debug, PartialEq)]\n    pub struct {} {{", item.name);
        for field in &item.fields {
            let _ = writeln!(self.out, "        /// `{}`", field.words);
            let _ = writeln!(self.out, "        pub {}: {},", ident(&field.name), rust_type(field));
        }
        if self.has_tags() {
            self.out.push_str("        /// Tagged fields that this crate does not know; they survive.\n");
            self.out.push_str("        pub unknown_tagged_fields: TaggedFields,\n");
        }
        self.out.push_str("    }\n\n");
    }

    fn defaults(&mut self, item: &Struct) {
        let _ = writeln!(self.out, "    impl Default for {} {{\n        fn default() -> Self {{", item.name);
        self.out.push_str("            Self {\n");
        for field in &item.fields {
            let _ = writeln!(self.out, "                {}: {},", ident(&field.name), default(field));
        }
        if self.has_tags() {
            self.out.push_str("                unknown_tagged_fields: TaggedFields::default(),\n");
        }
        self.out.push_str("            }\n        }\n    }\n\n");
    }

    fn encode(&mut self, item: &Struct) {
        self.out.push_str(
            "        pub(crate) fn encode_fields(&self, version: i16, w: &mut Writer) -> Result<(), EncodeError> {\n",
        );
        self.bind_flexible();
        for field in &item.fields {
            self.encode_field(field);
        }
        if self.has_tags() {
            self.out
                .push_str("            if flexible {\n                let mut tagged = w.tagged_fields();\n");
            for field in item.fields.iter().filter(|field| field.tag.is_some()) {
                self.encode_tagged(field);
            }
            self.out.push_str(
                "                w.put_tagged_fields(tagged, &self.unknown_tagged_fields);\n            }\n",
            );
        }
        self.out.push_str("            Ok(())\n        }\n\n");
    }

    fn bind_flexible(&mut self) {
        let flexible = condition(self.message.flexible, self.message.versions).unwrap_or("true".into());
        let _ = writeln!(self.out, "            let flexible = {flexible};");
        if self.message.flexible.is_empty() || flexible == "true" {
            self.out.push_str("            let _ = (version, flexible);\n");
        } else {
            self.out.push_str("            let _ = flexible;\n");
        }
    }

    fn encode_field(&mut self, field: &Field) {
        let valid = self.message.versions;
        let present = field.versions.intersect(valid);
        let name = format!("self.{}", ident(&field.name));
        let plain = match field.tag {
            // No table has a field that is tagged in some versions and plain in others.
            Some((_, tagged)) => {
                assert!(tagged.covers(present), "{}: partly tagged", field.name);
                None
            }
            None => Some(self.write_field(field, &name)),
        };
        let refuse = format!(
            "if {} {{\n                return Err(EncodeError::unsupported::<{}>(version, {:?}));\n            }}",
            is_set(field, &name),
            self.message.name,
            field.name
        );
        let refuse = (!field.ignorable).then_some(refuse);
        match (condition(present, valid), plain, refuse) {
            (None, Some(plain), _) => {
                let _ = writeln!(self.out, "            {plain}");
            }
            (None, None, _) => {}
            (Some(when), Some(plain), refuse) => {
                let _ = write!(self.out, "            if {when} {{\n                {plain}\n            }}");
                let _ = match refuse {
                    Some(refuse) => writeln!(self.out, " else {refuse}"),
                    None => writeln!(self.out),
                };
            }
            (Some(when), None, Some(refuse)) => {
                let _ = writeln!(
                    self.out,
                    "            if !({when}) {{\n                {refuse}\n            }}"
                );
            }
            (Some(_), None, None) => {}
        }
    }

    fn encode_tagged(&mut self, field: &Field) {
        let (tag, tagged) = field.tag.expect("a tagged field");
        let name = format!("self.{}", ident(&field.name));
        let when =
            condition(tagged, self.message.versions).map(|when| format!("({when}) && ")).unwrap_or_default();
        let write = self.write_field(field, &name);
        let _ = writeln!(
            self.out,
            "                if {when}({}) {{\n                    let w = tagged.field({tag});\n                    {write}\n                }}",
            is_set(field, &name)
        );
    }

    /// The statement that writes a field, null included.
    fn write_field(&self, field: &Field, name: &str) -> String {
        let flexible = if field.inflexible { "false" } else { "flexible" };
        if field.nullable.is_empty() {
            return self.write_value(&field.kind, name, flexible);
        }
        let value = self.write_value(&field.kind, "(*value)", flexible);
        let null = match field.kind {
            Type::Struct(_) => "w.put_i8(-1)".to_string(),
            Type::String => format!("w.put_null_string({flexible})"),
            _ => format!("w.put_null({flexible})"),
        };
        let present = if matches!(field.kind, Type::Struct(_)) { "w.put_i8(1); " } else { "" };
        let null = match condition(field.nullable, field.versions.intersect(self.message.versions)) {
            None => null,
            Some(when) => {
                let message = &self.message.name;
                let refuse = format!("return Err(EncodeError::null::<{message}>(version, {:?}))", field.name);
                format!("if {when} {{ {null} }} else {{ {refuse} }}")
            }
        };
        format!("match &{name} {{ None => {{ {null}; }} Some(value) => {{ {present}{value} }} }}")
    }

    fn write_value(&self, kind: &Type, name: &str, flexible: &str) -> String {
        match kind {
            Type::Bool => format!("w.put_bool({name});"),
            Type::Int8 => format!("w.put_i8({name});"),
            Type::Int16 => format!("w.put_i16({name});"),
            Type::ErrorCode => format!("w.put_i16({name}.0);"),
            Type::Uint16 => format!("w.put_u16({name});"),
            Type::Int32 => format!("w.put_i32({name});"),
            Type::Uint32 => format!("w.put_u32({name});"),
            Type::Int64 => format!("w.put_i64({name});"),
            Type::Float64 => format!("w.put_f64({name});"),
            Type::Uuid => format!("w.put_uuid({name});"),
            Type::String => format!("w.put_string(&{name}, {flexible})?;"),
            Type::Bytes => format!("w.put_bytes(&{name}, {flexible})?;"),
            Type::Records => format!("w.put_records(&{name}, {flexible})?;"),
            Type::Struct(_) => format!("{name}.encode_fields(version, w)?;"),
            Type::Array(inner) => {
                let value = self.write_value(inner, if copy(inner) { "(*item)" } else { "item" }, flexible);
                format!("w.put_count({name}.len(), {flexible})?; for item in &{name} {{ {value} }}")
            }
        }
    }

    fn decode(&mut self, item: &Struct) {
        self.out.push_str(
            "        pub(crate) fn decode_fields(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {\n",
        );
        self.bind_flexible();
        self.out.push_str("            let mut out = Self::default();\n");
        for field in item.fields.iter().filter(|field| field.tag.is_none()) {
            let present = field.versions.intersect(self.message.versions);
            let read = format!("out.{} = {};", ident(&field.name), self.read_field(field));
            let _ = match condition(present, self.message.versions) {
                None => writeln!(self.out, "            {read}"),
                Some(when) => {
                    writeln!(self.out, "            if {when} {{\n                {read}\n            }}")
                }
            };
        }
        if self.has_tags() {
            self.out.push_str("            if flexible {\n");
            self.out.push_str("                out.unknown_tagged_fields = r.tagged_fields(|r, tag| {\n");
            self.out.push_str("                    let _ = &r;\n                    match tag {\n");
            for field in &item.fields {
                let Some((tag, tagged)) = field.tag else { continue };
                let when = condition(tagged, self.message.versions)
                    .map(|when| format!(" if {when}"))
                    .unwrap_or_default();
                let _ = writeln!(
                    self.out,
                    "                        {tag}{when} => out.{} = {},",
                    ident(&field.name),
                    self.read_field(field)
                );
            }
            self.out.push_str("                        _ => return Ok(false),\n                    }\n");
            self.out
                .push_str("                    #[allow(unreachable_code)]\n                    Ok(true)\n");
            self.out.push_str("                })?;\n            }\n");
        }
        self.out.push_str("            Ok(out)\n        }\n");
    }

    fn read_field(&self, field: &Field) -> String {
        let flexible = if field.inflexible { "false" } else { "flexible" };
        let context = format!(".in_field({:?})?", field.name);
        let plain = self.read_value(&field.kind, flexible, "");
        if field.nullable.is_empty() {
            return format!("{plain}{context}");
        }
        let nullable = match &field.kind {
            Type::Struct(name) => format!("r.nullable_struct(|r| {name}::decode_fields(r, version))"),
            kind => self.read_value(kind, flexible, "nullable_"),
        };
        match condition(field.nullable, field.versions.intersect(self.message.versions)) {
            None => format!("{nullable}{context}"),
            Some(when) => format!("if {when} {{ {nullable}{context} }} else {{ Some({plain}{context}) }}"),
        }
    }

    fn read_value(&self, kind: &Type, flexible: &str, nullable: &str) -> String {
        match kind {
            Type::Bool => "r.bool()".into(),
            Type::Int8 => "r.i8()".into(),
            Type::Int16 => "r.i16()".into(),
            Type::ErrorCode => "r.i16().map(ErrorCode)".into(),
            Type::Uint16 => "r.u16()".into(),
            Type::Int32 => "r.i32()".into(),
            Type::Uint32 => "r.u32()".into(),
            Type::Int64 => "r.i64()".into(),
            Type::Float64 => "r.f64()".into(),
            Type::Uuid => "r.uuid()".into(),
            Type::String => format!("r.{nullable}string({flexible})"),
            Type::Bytes => format!("r.{nullable}bytes({flexible})"),
            Type::Records => format!("r.{nullable}records({flexible})"),
            Type::Struct(name) => format!("{name}::decode_fields(r, version)"),
            Type::Array(inner) => {
                let least = least_size(inner, &self.structs, self.message.versions);
                let item = self.read_value(inner, flexible, "");
                format!("r.{nullable}array({flexible}, {least}, |r| {item})")
            }
        }
    }

    fn has_tags(&self) -> bool {
        !self.message.flexible.is_empty()
    }
}

/// When `range` holds, given that the version is in `valid`; None: always.
fn condition(range: Versions, valid: Versions) -> Option<String> {
    let range = range.intersect(valid);
    if range.covers(valid) {
        None
    } else if range.is_empty() {
        Some("false".into())
    } else if range.max >= valid.max {
        Some(format!("version >= {}", range.min))
    } else if range.min <= valid.min {
        Some(format!("version <= {}", range.max))
    } else {
        Some(format!("({}..={}).contains(&version)", range.min, range.max))
    }
}

fn is_nullable(field: &Field) -> bool {
    !field.nullable.is_empty()
}

fn rust_type(field: &Field) -> String {
    let kind = plain_type(&field.kind);
    if is_nullable(field) { format!("Option<{kind}>") } else { kind }
}

fn plain_type(kind: &Type) -> String {
    match kind {
        Type::Bool => "bool".into(),
        Type::Int8 => "i8".into(),
        Type::Int16 => "i16".into(),
        Type::Uint16 => "u16".into(),
        Type::Int32 => "i32".into(),
        Type::Uint32 => "u32".into(),
        Type::Int64 => "i64".into(),
        Type::Float64 => "f64".into(),
        Type::Uuid => "Uuid".into(),
        Type::String => "Str".into(),
        Type::Bytes => "Bytes".into(),
        Type::Records => "RecordBytes".into(),
        Type::ErrorCode => "ErrorCode".into(),
        Type::Struct(name) => name.clone(),
        Type::Array(inner) => format!("Vec<{}>", plain_type(inner)),
    }
}

fn copy(kind: &Type) -> bool {
    !matches!(
        kind,
        Type::String | Type::Bytes | Type::Records | Type::Struct(_) | Type::Array(_) | Type::ErrorCode
    )
}

fn default(field: &Field) -> String {
    let text = field.default.as_deref();
    if is_nullable(field) {
        // Kafka's own classes begin with null records, whatever the table says of null.
        return if text == Some("null") || field.kind == Type::Records {
            "None".into()
        } else {
            "Some(Default::default())".into()
        };
    }
    match (&field.kind, text) {
        (_, None | Some("\"\"")) => "Default::default()".into(),
        (Type::ErrorCode, Some(text)) => format!("ErrorCode({text})"),
        (_, Some(text)) => text.to_string(),
    }
}

/// The condition under which a field differs from its default.
fn is_set(field: &Field, name: &str) -> String {
    let text = field.default.as_deref();
    if is_nullable(field) {
        return if text == Some("null") || field.kind == Type::Records {
            format!("{name}.is_some()")
        } else {
            format!("{name} != Some(Default::default())")
        };
    }
    match (&field.kind, text) {
        (Type::Bool, None | Some("false")) => name.to_string(),
        (Type::Bool, _) => format!("!{name}"),
        (Type::String | Type::Bytes | Type::Records | Type::Array(_), _) => format!("!{name}.is_empty()"),
        (Type::Struct(kind), _) => format!("{name} != {kind}::default()"),
        (Type::Uuid | Type::ErrorCode, _) => format!("{name} != Default::default()"),
        (Type::Float64, None) => format!("{name} != 0.0"),
        (_, text) => format!("{name} != {}", text.unwrap_or("0")),
    }
}

fn ident(name: &str) -> String {
    if matches!(name, "type" | "match" | "move" | "ref" | "use") { format!("r#{name}") } else { name.into() }
}

/// `FetchRequest` as `fetch_request`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_uppercase() && at > 0 {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

fn pascal(name: &str) -> String {
    name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}
