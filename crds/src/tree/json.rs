//! From an object of a cluster to a tree.
//!
//! The object has been decoded already, so its parts have no place ([`Mark::NONE`]) and its values say
//! themselves what they are.

use serde_json::Value;

use super::{Entry, MAX_DEPTH, MAX_NODES, Malformed, Node, ReadsAs, Scalar, Shape, too_deep, too_large};
use crate::problem::Mark;

/// The tree of an object.
pub(crate) fn tree(object: &Value) -> Result<Node, Malformed> {
    let mut nodes = 0;
    node(object, 1, &mut nodes)
}

/// One part. Recursion is bounded by [`MAX_DEPTH`].
fn node(value: &Value, depth: usize, nodes: &mut usize) -> Result<Node, Malformed> {
    if depth > MAX_DEPTH && (value.is_array() || value.is_object()) {
        return Err(too_deep(Mark::NONE));
    }
    *nodes += 1;
    if *nodes > MAX_NODES {
        return Err(too_large(Mark::NONE));
    }
    let shape = match value {
        Value::Null => scalar("null", ReadsAs::Null),
        Value::Bool(value) => scalar(&value.to_string(), ReadsAs::Bool),
        Value::Number(number) => scalar(&number.to_string(), ReadsAs::Number),
        Value::String(text) => scalar(text, ReadsAs::Text),
        Value::Array(items) => {
            let items = items.iter().map(|item| node(item, depth + 1, nodes));
            Shape::List(items.collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let entries = fields.iter().map(|(key, value)| {
                let key = Scalar {
                    text: key.clone(),
                    reads_as: ReadsAs::Text,
                };
                let value = node(value, depth + 1, nodes)?;
                Ok(Entry {
                    key,
                    key_at: Mark::NONE,
                    value,
                })
            });
            Shape::Map(entries.collect::<Result<_, _>>()?)
        }
    };
    Ok(Node {
        at: Mark::NONE,
        shape,
    })
}

fn scalar(text: &str, reads_as: ReadsAs) -> Shape {
    let text = text.to_owned();
    Shape::Scalar(Scalar { text, reads_as })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tree::Trees;

    /// The tree of a text, without its places.
    fn of_text(text: &str) -> Node {
        let mut root = Trees::new(text).next().expect("one").expect("valid").root;
        forget_places(&mut root);
        root
    }

    fn forget_places(node: &mut Node) {
        node.at = Mark::NONE;
        match &mut node.shape {
            Shape::Scalar(_) => {}
            Shape::List(items) => items.iter_mut().for_each(forget_places),
            Shape::Map(entries) => {
                for entry in entries {
                    entry.key_at = Mark::NONE;
                    forget_places(&mut entry.value);
                }
            }
        }
    }

    #[test]
    fn an_object_is_the_same_tree_as_its_text() {
        for object in [
            json!({"a": "x", "b": [1, -2.5, true, false, null, "yes", ""], "c": {}, "d": []}),
            json!({"a": {"b": {"c": [[{"d": "null"}]]}}}),
            json!("text"),
            json!(18_446_744_073_709_551_615_u64),
        ] {
            let text = object.to_string();
            assert_eq!(tree(&object), Ok(of_text(&text)), "{text}");
        }
    }

    #[test]
    fn an_object_is_as_deep_and_as_large_as_a_text_may_be() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        let text_of = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        for levels in [1, MAX_DEPTH, MAX_DEPTH + 1] {
            let object = tree(&nested(levels));
            let text = Trees::new(&text_of(levels)).next().expect("one");
            assert_eq!(object.is_ok(), text.is_ok(), "{levels}");
        }
        assert_eq!(tree(&nested(MAX_DEPTH + 1)), Err(too_deep(Mark::NONE)));
        assert_eq!(tree(&json!(vec![0; MAX_NODES])), Err(too_large(Mark::NONE)));
    }
}
