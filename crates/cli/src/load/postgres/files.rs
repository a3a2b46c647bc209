//! pg_service.conf and the password file.

use super::{
    Secret,
    parameters::{Parameters, keyword},
};

/// The parameters of one service.
///
/// # Errors
/// The file has no such section, or a line in it that makes no sense.
pub(super) fn service(text: &str, service: &str) -> Result<Option<Parameters>, String> {
    let mut found: Option<Parameters> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            if found.is_some() {
                break;
            }
            if name == service {
                found = Some(Parameters::new());
            }
            continue;
        }
        let Some(parameters) = &mut found else { continue };
        let (name, value) =
            line.split_once('=').ok_or_else(|| format!("line {}: expected NAME=VALUE", number + 1))?;
        let name = keyword(name.trim())
            .filter(|name| *name != "service")
            .ok_or_else(|| format!("line {}: {:?} is no connection parameter", number + 1, name.trim()))?;
        // As in libpq the first of two wins.
        parameters.entry(name).or_insert_with(|| value.trim().to_owned());
    }
    Ok(found)
}

/// The password of the first line `host:port:database:user:password` that fits; `*` fits all.
pub(super) fn password(text: &str, host: &str, port: u16, dbname: &str, user: &str) -> Option<Secret> {
    let port = port.to_string();
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut fields = fields(line).into_iter();
        for wanted in [host, port.as_str(), dbname, user] {
            let (field, is_escaped) = fields.next()?;
            let is_any = field == "*" && !is_escaped;
            if !is_any && field != wanted {
                return None;
            }
        }
        let (password, _) = fields.next()?;
        (!password.is_empty()).then_some(Secret(password))
    })
}

/// Fields between colons; a backslash takes the next letter as it is. Whether a field had one is told.
fn fields(line: &str) -> Vec<(String, bool)> {
    let mut fields = vec![(String::new(), false)];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        let count = fields.len();
        let (field, is_escaped) = &mut fields[count - 1];
        match letter {
            '\\' => {
                *is_escaped = true;
                field.extend(letters.next());
            }
            ':' if count < 5 => fields.push((String::new(), false)),
            letter => field.push(letter),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fitting_line_has_the_password() {
        let file =
            "# h:1:d:u:comment\nh:5432:d:u:one\nh:*:*:*:two\n\\*:5432:d:u:star\n*:*:d\\:x:*:a\\:b\\\\:c\n";
        let find = |host, port, dbname| password(file, host, port, dbname, "u").map(|found| found.0);
        assert_eq!(find("h", 5432, "d").as_deref(), Some("one"));
        assert_eq!(find("h", 1, "d").as_deref(), Some("two"));
        assert_eq!(find("*", 5432, "d").as_deref(), Some("star"));
        assert_eq!(find("x", 5432, "d:x").as_deref(), Some("a:b\\:c"));
        assert_eq!(find("x", 5432, "d"), None);
    }

    #[test]
    fn a_service_is_a_section() {
        let file = "host=outside\n[a]\nhost=h\n# x\nport = 5433\n\n[b]\nhost=i\nhost=j\n[c]\nnonsense=1\n";
        let find = |name| service(file, name).map(|found| found.map(|found| format!("{found:?}")));
        assert_eq!(find("a").unwrap().unwrap(), "{\"host\": \"h\", \"port\": \"5433\"}");
        assert_eq!(find("b").unwrap().unwrap(), "{\"host\": \"i\"}");
        assert_eq!(find("d"), Ok(None));
        assert!(find("c").unwrap_err().starts_with("line 11"));
    }
}
