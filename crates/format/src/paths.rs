//! Many paths into one JSON document, found in one walk over it.
//!
//! The paths of all columns make up a tree. The walk follows the document and the tree side by side: what no path
//! leads into is stepped over (and checked to be JSON on the way), what a path ends at is noted with its place.
//! Nothing is unescaped or copied, nothing allocated per document.
//!
//! Of members of the same name the last one counts, as in jsonb. No document is too deep: only as many levels as
//! a path has steps are recursed into.

use std::ops::Range;

use super::{
    columns::Step,
    json::{JsonError, Nesting, Rules, Scanner},
    scan::Pattern,
    types::JsonKind,
};

/// Where a path has led to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) kind: JsonKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The paths into one document.
#[derive(Debug, Default)]
pub(super) struct Paths {
    root: Node,
    found: Vec<Option<Found>>,
    nesting: Nesting,
    name: Vec<u8>,
}

#[derive(Debug, Default)]
struct Node {
    /// Sorted by length and bytes.
    members: Vec<Member>,
    /// The number of the member that came first in the last object.
    first: usize,
    elements: Vec<(u32, Node)>,
    /// The number of the path that ends here.
    slot: Option<usize>,
    /// The numbers of all paths that end here or below.
    slots: Range<usize>,
}

#[derive(Debug)]
struct Member {
    name: Box<[u8]>,
    /// As it stands in most documents, between its quotes.
    quoted: Pattern,
    /// The number of the member that followed last time: documents of one topic keep their order.
    next: usize,
    node: Node,
}

/// Up to so many members are looked through one by one.
const FEW: usize = 8;

impl Paths {
    /// A tree of these paths, and the number of each. Equal paths have equal numbers.
    pub(super) fn new(paths: &[&[Step]]) -> (Paths, Vec<usize>) {
        let mut root = Node::default();
        for path in paths {
            root.insert(path);
        }
        let mut count = 0;
        root.number(&mut count);
        let slots = paths.iter().filter_map(|path| root.slot_of(path)).collect();
        (Paths { root, found: vec![None; count], ..Paths::default() }, slots)
    }

    /// Walks over a document.
    pub(super) fn walk(&mut self, document: &[u8]) -> Result<(), JsonError> {
        self.clear();
        let Paths { root, found, nesting, name } = self;
        let mut walk = Walk { scanner: Scanner::new(document), found, nesting, name };
        walk.value(root)?;
        walk.scanner.end()
    }

    /// As after a document in which nothing was found.
    pub(super) fn clear(&mut self) {
        self.found.fill(None);
    }

    /// What the path of this number has led to.
    #[inline]
    pub(super) fn found(&self, slot: usize) -> Option<Found> {
        self.found[slot]
    }
}

impl Node {
    fn insert(&mut self, path: &[Step]) {
        let Some((first, rest)) = path.split_first() else {
            self.slot = Some(0);
            return;
        };
        match first {
            Step::Member(name) => {
                let name = name.as_bytes();
                let at = self.member_at(name).unwrap_or_else(|at| {
                    self.members.insert(at, Member::new(name));
                    at
                });
                self.members[at].node.insert(rest);
            }
            Step::Index(index) => {
                let at =
                    self.elements.binary_search_by_key(index, |(index, _)| *index).unwrap_or_else(|at| {
                        self.elements.insert(at, (*index, Node::default()));
                        at
                    });
                self.elements[at].1.insert(rest);
            }
        }
    }

    /// Numbers the paths so that those of a subtree follow each other.
    fn number(&mut self, count: &mut usize) {
        let start = *count;
        if let Some(slot) = &mut self.slot {
            *slot = *count;
            *count += 1;
        }
        self.members.iter_mut().for_each(|member| member.node.number(count));
        self.elements.iter_mut().for_each(|(_, node)| node.number(count));
        self.slots = start..*count;
    }

    fn slot_of(&self, path: &[Step]) -> Option<usize> {
        match path.split_first() {
            None => self.slot,
            Some((Step::Member(name), rest)) => {
                let at = self.member_at(name.as_bytes()).ok()?;
                self.members[at].node.slot_of(rest)
            }
            Some((Step::Index(index), rest)) => {
                self.elements.iter().find(|(at, _)| at == index).and_then(|(_, node)| node.slot_of(rest))
            }
        }
    }

    fn member_at(&self, name: &[u8]) -> Result<usize, usize> {
        self.members.binary_search_by(|member| (member.name.len(), &*member.name).cmp(&(name.len(), name)))
    }

    #[inline]
    fn member(&self, name: &[u8]) -> Option<usize> {
        if self.members.len() <= FEW {
            return self.members.iter().position(|member| *member.name == *name);
        }
        self.member_at(name).ok()
    }
}

impl Member {
    fn new(name: &[u8]) -> Member {
        Member { name: name.into(), quoted: Pattern::new(name), next: 0, node: Node::default() }
    }
}

struct Walk<'w, 'd> {
    scanner: Scanner<'d>,
    found: &'w mut [Option<Found>],
    nesting: &'w mut Nesting,
    name: &'w mut Vec<u8>,
}

impl Walk<'_, '_> {
    /// A value that is due, with the paths that end at it or lead into it.
    #[inline]
    fn value(&mut self, node: &mut Node) -> Result<(), JsonError> {
        let first = self.scanner.peek();
        let start = self.scanner.position();
        let kind = match first {
            Some(b'"') => JsonKind::String { has_escapes: self.scanner.string(Rules::Json)?.has_escapes },
            Some(b'-' | b'0'..=b'9') => {
                self.scanner.number(Rules::Json)?;
                JsonKind::Number
            }
            Some(b'{') if !node.members.is_empty() => {
                self.object(node)?;
                JsonKind::Object
            }
            Some(b'[') if !node.elements.is_empty() => {
                self.array(node)?;
                JsonKind::Array
            }
            Some(byte) => {
                self.scanner.value(Rules::Json, self.nesting)?;
                JsonKind::of_first(byte)
            }
            None => return Err(self.scanner.error("the text ends where a value was expected")),
        };
        if let Some(slot) = node.slot {
            self.found[slot] = Some(Found { kind, start, end: self.scanner.position() });
        }
        Ok(())
    }

    fn object(&mut self, node: &mut Node) -> Result<(), JsonError> {
        self.scanner.take(b'{');
        if self.scanner.take(b'}') {
            return Ok(());
        }
        // The member before.
        let mut last = None;
        loop {
            let expected = last.map_or(node.first, |last: usize| node.members[last].next);
            let at = if self.scanner.take_pattern(&node.members[expected].quoted) {
                Some(expected)
            } else {
                let raw = self.scanner.string(Rules::Json)?;
                node.member(self.scanner.text_of(raw, self.name))
            };
            self.scanner.expect(b':', "a colon was expected")?;
            match at {
                Some(at) => {
                    match last.replace(at) {
                        None => node.first = at,
                        Some(last) => node.members[last].next = at,
                    }
                    let member = &mut node.members[at].node;
                    // The one before of the same name does not count, nor what was found in it.
                    if member.slots.len() > 1 || member.slot.is_none() {
                        self.found[member.slots.clone()].fill(None);
                    }
                    self.value(member)?;
                }
                None => {
                    self.scanner.value(Rules::Json, self.nesting)?;
                }
            }
            if !self.scanner.take(b',') {
                return self.scanner.expect(b'}', "a comma or } was expected");
            }
        }
    }

    fn array(&mut self, node: &mut Node) -> Result<(), JsonError> {
        self.scanner.take(b'[');
        if self.scanner.take(b']') {
            return Ok(());
        }
        let mut elements = node.elements.iter_mut().peekable();
        let mut index = 0u32;
        loop {
            match elements.next_if(|element| element.0 == index) {
                Some((_, element)) => self.value(element)?,
                None => {
                    self.scanner.value(Rules::Json, self.nesting)?;
                }
            }
            index = index.saturating_add(1);
            if !self.scanner.take(b',') {
                return self.scanner.expect(b']', "a comma or ] was expected");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{Columns, Path, Source};

    /// What each path finds, as JSON text; a dash where nothing is.
    fn find(paths: &str, documents: &[&str]) -> Result<String, JsonError> {
        let columns = Columns::parse(paths).expect(paths);
        let steps = |source: &Source| match source {
            Source::Path(Path { steps, .. }) => steps.clone(),
            _ => Vec::new(),
        };
        let steps: Vec<Vec<Step>> = columns.as_slice().iter().map(|column| steps(&column.source)).collect();
        let steps: Vec<&[Step]> = steps.iter().map(Vec::as_slice).collect();
        let (mut paths, slots) = Paths::new(&steps);
        let mut last = "";
        for document in documents {
            last = document;
            paths.walk(document.as_bytes())?;
        }
        let text = |slot: &usize| paths.found(*slot).map_or("-", |found| &last[found.start..found.end]);
        Ok(slots.iter().map(text).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn paths_find_their_values() {
        for (paths, document, expected) in [
            ("a, b", r#"{"a":1,"b":"x"}"#, r#"1 "x""#),
            ("b, a, c", r#" { "a" : 1 , "x" : {"b":3}, "b" : "x" } "#, r#""x" 1 -"#),
            ("value.a.b, value.a.c", r#"{"a":{"c":[1,2],"d":0,"b":{}}}"#, "{} [1,2]"),
            ("x = value.a, value.a.b", r#"{"a":{"b":1}}"#, r#"{"b":1} 1"#),
            ("value.a[1], value.a[0].b", r#"{"a":[{"b":true},null]}"#, "null true"),
            ("value.a[3]", r#"{"a":[1,2]}"#, "-"),
            ("value.a.b", r#"{"a":[1]}"#, "-"),
            ("value.a[0]", r#"{"a":{"0":1}}"#, "-"),
            ("a", "[1]", "-"),
            ("a", "7", "-"),
            ("a, \"\u{e9}\" = value.\u{e9}", r#"{"\u0061":1,"\u00e9":2}"#, "1 2"),
            ("a, value.a.b, c = value.a.c", r#"{"a":{"b":1,"c":2},"a":{"c":3}}"#, r#"{"c":3} - 3"#),
            ("value.a.b", r#"{"a":{"b":1},"a":5}"#, "-"),
            ("a, b = value.a", r#"{"a":1,"a":2}"#, "2 2"),
            (
                "c1, c2, c3, c4, c5, c6, c7, c8, c9, c10",
                r#"{"c10":10,"c1":1,"c9":9}"#,
                "1 - - - - - - - 9 10",
            ),
        ] {
            assert_eq!(find(paths, &[document]).as_deref(), Ok(expected), "{paths} in {document}");
        }
        assert_eq!(find("a, b", &[r#"{"a":1}"#, r#"{"b":2}"#]).as_deref(), Ok("- 2"));
    }

    #[test]
    fn members_are_found_in_any_order_whatever_came_before() {
        let paths = "a, ab, \"longer than sixteen bytes\", e = value.\u{e9}, d = value.o.a";
        let documents = [
            r#"{"a":1,"ab":2,"longer than sixteen bytes":3,"é":4,"o":{"a":5}}"#,
            r#"{"o":{"x":0,"a":5},"é":4,"longer than sixteen bytes":3,"ab":2,"a":1}"#,
            r#"{ "ab" : 2 , "A":0, "longer than sixteen byteS":0, "longer than sixteen bytes" : 3, "\u00e9":4,
                "o":{"a":0,"a":5}, "a" : 1}"#,
            r#"{"abc":0,"ab":0,"a":0,"a":1,"o":{},"o":{"a":5},"longer than sixteen bytes":3,"\u0061b":2,"é":4}"#,
            "{}",
            r#"{"é":4,"o":{"a":5},"longer than sixteen bytes":3,"ab":2,"a":1}"#,
        ];
        for first in documents {
            for second in documents {
                let expected = if second == "{}" { "- - - - -" } else { "1 2 3 4 5" };
                assert_eq!(find(paths, &[first, second]).as_deref(), Ok(expected), "{first}, then {second}");
            }
        }
    }

    #[test]
    fn what_is_no_json_is_refused_wherever_it_is() {
        for wrong in [
            "",
            " ",
            "{",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1}x"#,
            r#"{"x":tru}"#,
            r#"{"x":[1,]}"#,
            r#"{"x":"}"#,
            "{'a':1}",
            r#"{"x":01}"#,
            r#"{"x":1"a":2}"#,
            "\u{feff}{}",
        ] {
            assert!(find("a", &[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn depth_has_no_limit_and_costs_no_stack() {
        let deep = format!(r#"{{"x":{}1{},"a":2}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(find("a", &[&deep]).as_deref(), Ok("2"));
    }
}
