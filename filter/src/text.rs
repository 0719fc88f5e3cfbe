//! Filters as text that is kept with a lane, so that a later process can judge by a filter that is in no
//! document any more.

use crate::compile::CompileError;
use crate::compiled::Compiled;
use crate::filter::Filter;

/// Why a kept filter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// It is no text of [`of`].
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A rule of this version forbids it.
    #[error("{path}: {source}", path = source.path)]
    Refused {
        /// What it forbids, and where.
        #[from]
        source: CompileError,
    },
}

/// The filters of one trigger as text: JSON. Equal filters have equal texts.
pub fn of(filters: &[Filter]) -> String {
    serde_json::to_string(filters).expect("invariant: texts in lists are JSON")
}

/// The filters of a text, ready to run.
pub fn compile(text: &str) -> Result<Compiled, TextError> {
    let filters: Vec<Filter> = serde_json::from_str(text)?;
    Ok(Compiled::new(&filters)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Scalar;
    use crate::{MAX_CLAUSES, MAX_DEPTH};

    fn pair(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    /// A new version reads what an old one kept: a change here needs a way to read both.
    #[test]
    fn every_dialect_has_its_text_and_is_read_again() {
        let scalars = [
            ("$.a", Scalar::Null),
            ("$.b", Scalar::Boolean(true)),
            ("$.c", Scalar::Number("1.50".to_owned())),
            ("$.d", Scalar::Text("x\"y".to_owned())),
        ];
        let scalars = scalars.map(|(path, value)| (path.to_owned(), value)).to_vec();
        let filters = vec![
            Filter::Exact(pair("type", "a")),
            Filter::Prefix(pair("type", "ä")),
            Filter::Suffix(pair("source", "/s")),
            Filter::Cesql("type LIKE 'a%'".to_owned()),
            Filter::JsonPath("$.x".to_owned()),
            Filter::JsonPathEquals(scalars),
            Filter::All(vec![Filter::Any(vec![Filter::Not(Box::new(
                Filter::Attributes(pair("type", "")),
            ))])]),
        ];
        let kept = of(&filters);
        assert_eq!(
            kept,
            r#"[{"exact":[["type","a"]]},{"prefix":[["type","ä"]]},{"suffix":[["source","/s"]]},{"cesql":"type LIKE 'a%'"},{"jsonpath":"$.x"},{"jsonpath-equals":[["$.a","null"],["$.b",{"boolean":true}],["$.c",{"number":"1.50"}],["$.d",{"text":"x\"y"}]]},{"all":[{"any":[{"not":{"attributes":[["type",""]]}}]}]}]"#
        );
        assert_eq!(serde_json::from_str::<Vec<Filter>>(&kept).ok(), Some(filters));
        compile(&kept).expect("valid filters");
        assert_eq!(of(&[]), "[]");
    }

    #[test]
    fn the_deepest_and_the_longest_are_read_again() {
        let leaf = Filter::Exact(pair("type", "a"));
        let nest = |filter, _| Filter::All(vec![filter]);
        let deepest = (1..MAX_DEPTH).fold(leaf.clone(), nest);
        compile(&of(&[deepest])).expect("a valid filter");
        // A dialect and its pair count as two.
        let longest = vec![leaf; MAX_CLAUSES / 2];
        compile(&of(&longest)).expect("valid filters");
    }

    #[test]
    fn what_is_no_filter_is_refused_in_words() {
        for (kept, why) in [
            ("", "cannot be read"),
            (r#"[{"regex":"a"}]"#, "unknown variant `regex`"),
            (r#"[{"exact":[["Type","a"]]}]"#, "[0].exact.Type: "),
        ] {
            let error = compile(kept).expect_err("it is refused").to_string();
            assert!(error.contains(why), "{kept}: {error}");
        }
    }
}
