//! What a JSON object is made of, planned once.

use crate::json::put_string;

/// The members of an object, of objects within it, and so on.
#[derive(Debug)]
pub(super) struct MemberPlan {
    /// What comes before each value (braces, commas and names), and the number of its column.
    pub(super) members: Vec<(Vec<u8>, usize)>,
    /// The closing braces.
    pub(super) end: Vec<u8>,
}

/// A plan for columns with the paths that lead to them, none of which is within another. None without any.
pub(super) fn plan_members(paths: Vec<(&[String], usize)>) -> Option<MemberPlan> {
    let mut plan = MemberPlan { members: Vec::new(), end: Vec::new() };
    (!paths.is_empty()).then(|| {
        plan.object(&paths, 0);
        plan
    })
}

impl MemberPlan {
    /// Paths that are the same up to `depth`. What does not belong to a member yet is kept in `end`.
    fn object(&mut self, paths: &[(&[String], usize)], depth: usize) {
        let mut before = b'{';
        for (index, (path, column)) in paths.iter().enumerate() {
            let Some(name) = path.get(depth) else { continue };
            let same_name = |(other, _): &&(&[String], usize)| other.get(depth) == Some(name);
            if paths[..index].iter().any(|other| same_name(&other)) {
                continue;
            }
            self.end.push(before);
            before = b',';
            put_string(&mut self.end, name);
            self.end.push(b':');
            if path.len() == depth + 1 {
                self.members.push((std::mem::take(&mut self.end), *column));
            } else {
                let within: Vec<_> = paths.iter().filter(same_name).copied().collect();
                self.object(&within, depth + 1);
            }
        }
        self.end.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_built_where_they_are_first_named() {
        let paths: Vec<Vec<String>> = ["a", "b.c", "d", "b.e.f", "b.e.g"]
            .iter()
            .map(|path| path.split('.').map(str::to_owned).collect())
            .collect();
        let paths = paths.iter().enumerate().map(|(column, path)| (path.as_slice(), column)).collect();
        let plan = plan_members(paths).expect("members");
        let mut text = String::new();
        for (prefix, column) in &plan.members {
            text += &format!("{}{column}", String::from_utf8_lossy(prefix));
        }
        text += &String::from_utf8_lossy(&plan.end);
        assert_eq!(text, r#"{"a":0,"b":{"c":1,"e":{"f":3,"g":4}},"d":2}"#);
        assert!(plan_members(Vec::new()).is_none());
    }
}
