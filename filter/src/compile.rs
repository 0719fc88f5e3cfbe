//! From what a user wrote to a checked tree: every rule of every dialect.

use crate::cesql::Expression;
use crate::clause::{Ask, Attr, Test};
use crate::compiled::What;
use crate::filter::{Filter, Scalar};
use crate::jsonpath::{JsonPath, PathTest, Wanted};
use crate::rules::{attribute_ask, check_name, dialect_ask, shown};
use crate::tree::Tree;

/// How deep `all`, `any` and `not` may be nested.
pub const MAX_DEPTH: usize = 32;
/// How many clauses, of all dialects and levels together, one trigger's filters may have.
pub const MAX_CLAUSES: usize = 1_000;
/// The longest attribute name, in bytes. CloudEvents asks for 20 at most; longer ones exist.
pub const MAX_NAME_BYTES: usize = 255;
/// The longest value to compare with, in bytes.
pub const MAX_VALUE_BYTES: usize = 4_096;

/// Why a filter cannot be admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// The path to be put directly behind that of the field: `[1].all[0].exact.Type` behind `spec.filters`,
    /// or `.attributes.Type` behind `spec.filter` for the older form. Empty when the whole is at fault.
    pub path: String,
    /// A sentence for people.
    pub message: String,
}

impl CompileError {
    /// The same error of a part that stands at `path`.
    fn behind(mut self, path: &str) -> Self {
        self.path.insert_str(0, path);
        self
    }
}

/// Checks the implicit `all` of these filters and gives it as a tree.
pub(crate) fn check(filters: &[Filter]) -> Result<Tree, CompileError> {
    let mut compiler = Compiler { clauses: 0 };
    if let [Filter::Attributes(pairs)] = filters {
        return Ok(compiler
            .pairs(".attributes", pairs, attribute_ask)?
            .with_root("filter"));
    }
    let mut children = Vec::with_capacity(filters.len().min(MAX_CLAUSES));
    for (i, filter) in filters.iter().enumerate() {
        children.push(compiler.filter(filter, format!("[{i}]"), 1)?);
    }
    Ok(Tree::join(What::All, String::new(), children).with_root("filters"))
}

/// Counts what it has seen, so that a hostile document costs no more than the bounds.
struct Compiler {
    clauses: usize,
}

impl Compiler {
    fn filter(&mut self, filter: &Filter, path: String, depth: usize) -> Result<Tree, CompileError> {
        if depth > MAX_DEPTH {
            return refuse(
                path,
                format!("filters may be nested {MAX_DEPTH} deep, and not deeper"),
            );
        }
        self.count(&path)?;
        match filter {
            Filter::Attributes(pairs) => self.pairs(&format!("{path}.attributes"), pairs, attribute_ask),
            Filter::Exact(pairs) => self.dialect(format!("{path}.exact"), pairs, Ask::Exact),
            Filter::Prefix(pairs) => self.dialect(format!("{path}.prefix"), pairs, Ask::Prefix),
            Filter::Suffix(pairs) => self.dialect(format!("{path}.suffix"), pairs, Ask::Suffix),
            Filter::Cesql(text) => {
                let path = format!("{path}.cesql");
                let expression = Expression::filter(text).map_err(|error| error.behind(&path))?;
                Ok(Tree::leaf(What::Cesql(Box::new(expression)), path))
            }
            Filter::JsonPath(text) => json_path(text, None, format!("{path}.jsonpath")),
            Filter::JsonPathEquals(pairs) => self.json_paths(pairs, &format!("{path}.jsonpath")),
            Filter::All(list) => self.list(What::All, format!("{path}.all"), list, depth),
            Filter::Any(list) => self.list(What::Any, format!("{path}.any"), list, depth),
            Filter::Not(inner) => {
                let path = format!("{path}.not");
                Ok(Tree::negate(self.filter(inner, path.clone(), depth + 1)?, path))
            }
        }
    }

    /// The map of `jsonpath`: each path must select its value.
    fn json_paths(&mut self, pairs: &[(String, Scalar)], path: &str) -> Result<Tree, CompileError> {
        if pairs.is_empty() {
            return refuse(
                path.to_owned(),
                "the map is empty: it needs at least one path".to_owned(),
            );
        }
        let mut children = Vec::with_capacity(pairs.len().min(MAX_CLAUSES));
        for (i, (text, value)) in pairs.iter().enumerate() {
            let path = format!("{path}.{}", shown(text));
            self.count(&path)?;
            if pairs[..i].iter().any(|(other, _)| other == text) {
                return refuse(path, "the path is given twice".to_owned());
            }
            children.push(json_path(text, Some(value), path)?);
        }
        Ok(Tree::join(What::All, path.to_owned(), children))
    }

    fn list(
        &mut self,
        what: What,
        path: String,
        list: &[Filter],
        depth: usize,
    ) -> Result<Tree, CompileError> {
        if list.is_empty() {
            return refuse(path, "the list is empty: it needs at least one filter".to_owned());
        }
        let mut children = Vec::with_capacity(list.len().min(MAX_CLAUSES));
        for (i, filter) in list.iter().enumerate() {
            children.push(self.filter(filter, format!("{path}[{i}]"), depth + 1)?);
        }
        Ok(Tree::join(what, path, children))
    }

    /// The map of `exact`, `prefix` or `suffix`.
    fn dialect(
        &mut self,
        path: String,
        pairs: &[(String, String)],
        ask: fn(Box<str>) -> Ask,
    ) -> Result<Tree, CompileError> {
        if pairs.is_empty() {
            return refuse(
                path,
                "the map is empty: it needs at least one attribute".to_owned(),
            );
        }
        self.pairs(&path, pairs, |value| dialect_ask(value, ask))
    }

    /// A map of attributes to values: all must hold.
    fn pairs(
        &mut self,
        path: &str,
        pairs: &[(String, String)],
        ask: impl Fn(&str) -> Result<Ask, String>,
    ) -> Result<Tree, CompileError> {
        let mut children: Vec<Tree> = Vec::with_capacity(pairs.len().min(MAX_CLAUSES));
        for (name, value) in pairs {
            let path = format!("{path}.{}", shown(name));
            self.count(&path)?;
            let checked = check_name(name).and_then(|()| ask(value));
            let ask = checked.or_else(|message| refuse(path.clone(), message))?;
            let test = Test {
                attr: Attr::new(name),
                ask,
            };
            if children
                .iter()
                .any(|other| matches!(&other.what, What::Test(seen) if seen.attr == test.attr))
            {
                return refuse(path, format!("the attribute {name} is given twice"));
            }
            children.push(Tree::leaf(What::Test(test), path));
        }
        Ok(Tree::join(What::All, path.to_owned(), children))
    }

    fn count(&mut self, path: &str) -> Result<(), CompileError> {
        self.clauses += 1;
        if self.clauses > MAX_CLAUSES {
            return refuse(
                path.to_owned(),
                format!("a trigger may have {MAX_CLAUSES} clauses, and not more"),
            );
        }
        Ok(())
    }
}

/// The clause that asks a path, and for its value if there is one.
fn json_path(text: &str, value: Option<&Scalar>, at: String) -> Result<Tree, CompileError> {
    let path = JsonPath::new(text).map_err(|error| error.behind(&at))?;
    let wanted = match value {
        None => None,
        Some(Scalar::Text(text)) if text.len() > MAX_VALUE_BYTES => {
            return refuse(at, format!("the value is longer than {MAX_VALUE_BYTES} bytes"));
        }
        Some(value) => Some(Wanted::new(value).or_else(|message| refuse(at.clone(), message))?),
    };
    Ok(Tree::leaf(What::Path(Box::new(PathTest { path, wanted })), at))
}

fn refuse<T>(path: String, message: String) -> Result<T, CompileError> {
    Err(CompileError { path, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(name: &str, value: &str) -> Filter {
        Filter::Exact(vec![(name.to_owned(), value.to_owned())])
    }

    fn refused(filters: &[Filter]) -> (String, String) {
        match check(filters) {
            Ok(_) => panic!("{filters:?} was admitted"),
            Err(error) => (error.path, error.message),
        }
    }

    #[test]
    fn names_are_admitted_as_knative_admits_them() {
        let twenty = "a2345678901234567890";
        let core = [
            "source",
            "id",
            "specversion",
            "type",
            "subject",
            "time",
            "datacontenttype",
            "dataschema",
        ];
        for name in core.iter().chain(&["aaa", "c1d2e3", twenty, "knativebrokerttl"]) {
            assert!(check(&[exact(name, "x")]).is_ok(), "{name} was refused");
        }
        let long = "a".repeat(MAX_NAME_BYTES + 1);
        for name in [
            "", "SOURCE", "Source", "souRce", "s pace s", "s_pace_s", "s-pace-s", "123", "1a", "é", "🦀",
            "a.b", &long,
        ] {
            let (path, message) = refused(&[exact(name, "x")]);
            assert!(path.starts_with("[0].exact."), "{path}");
            assert!(message.contains("name"), "{name}: {message}");
        }
    }

    #[test]
    fn what_is_not_wholly_valid_is_refused_where_it_stands() {
        let pairs = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        };
        let long = "v".repeat(MAX_VALUE_BYTES + 1);
        let cases: Vec<(Vec<Filter>, &str, &str)> = vec![
            (
                vec![exact("type", "a"), exact("Type", "b")],
                "[1].exact.Type",
                "no attribute name",
            ),
            (vec![exact("data", "b")], "[0].exact.data", "not an attribute"),
            (vec![exact("type", "")], "[0].exact.type", "empty"),
            (
                vec![Filter::Prefix(pairs(&[("type", "")]))],
                "[0].prefix.type",
                "empty",
            ),
            (
                vec![Filter::Suffix(pairs(&[("type", &long)]))],
                "[0].suffix.type",
                "longer than",
            ),
            (
                vec![Filter::Attributes(pairs(&[("type", &long)]))],
                ".attributes.type",
                "longer than",
            ),
            (
                vec![Filter::Attributes(pairs(&[("Type", "a")]))],
                ".attributes.Type",
                "no attribute name",
            ),
            (vec![Filter::Exact(vec![])], "[0].exact", "empty"),
            (vec![Filter::All(vec![])], "[0].all", "empty"),
            (
                vec![Filter::Not(Box::new(Filter::Any(vec![])))],
                "[0].not.any",
                "empty",
            ),
            (
                vec![Filter::Any(vec![exact("type", "a"), exact("x y", "b")])],
                "[0].any[1].exact.x y",
                "no attribute",
            ),
            (
                vec![Filter::Exact(pairs(&[("type", "a"), ("type", "b")]))],
                "[0].exact.type",
                "twice",
            ),
        ];
        for (filters, path, message) in cases {
            let (actual_path, actual) = refused(&filters);
            assert_eq!(actual_path, path, "{filters:?}");
            assert!(actual.contains(message), "{filters:?}: {actual}");
        }
    }

    #[test]
    fn depth_and_number_of_clauses_are_bounded() {
        let nested = |depth| (1..depth).fold(exact("type", "a"), |inner, _| Filter::Not(Box::new(inner)));
        assert!(check(&[nested(MAX_DEPTH)]).is_ok());
        assert!(refused(&[nested(MAX_DEPTH + 1)]).1.contains("deep"));
        // An `exact` and its attribute are two.
        assert!(check(&vec![exact("type", "a"); MAX_CLAUSES / 2]).is_ok());
        assert!(
            refused(&vec![exact("type", "a"); MAX_CLAUSES / 2 + 1])
                .1
                .contains("clauses")
        );
    }
}
