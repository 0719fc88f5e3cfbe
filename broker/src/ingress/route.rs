//! Which broker a path names. Two segments need no router.
//!
//! `/sources/{namespace}/{name}` belongs to the webhooks of sources. A namespace called `sources` is no
//! conflict, as brokers have two segments and webhooks three.

/// The `namespace/name` that a path names; `None` when it has other than two segments.
///
/// One slash at the end is allowed. Percent signs are taken as they are: names of brokers have no characters
/// that would need them, so an encoded name is the name of no broker.
pub(super) fn broker_of(path: &str) -> Option<&str> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let (namespace, name) = path.split_once('/')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains('/')).then_some(path)
}

/// Whether a path is one of a source's webhook: three segments, the first of which is `sources`.
pub(super) fn is_webhook(path: &str) -> bool {
    path.strip_prefix("/sources/")
        .is_some_and(|below| broker_of(path).is_none() && below.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_segments_and_perhaps_a_slash_name_a_broker() {
        let table = [
            ("/shop/default", Some("shop/default")),
            ("/shop/default/", Some("shop/default")),
            ("/sources/default", Some("sources/default")),
            ("/sh%6fp/default", Some("sh%6fp/default")),
            ("/", None),
            ("", None),
            ("*", None),
            ("//", None),
            ("///", None),
            ("/shop", None),
            ("/shop/", None),
            ("//default", None),
            ("/shop//", None),
            ("//shop/default", None),
            ("/shop/default//", None),
            ("/shop//default", None),
            ("/shop/default/x", None),
            ("/sources/shop/push", None),
            ("shop/default", None),
        ];
        for (path, expected) in table {
            assert_eq!(broker_of(path), expected, "{path}");
        }
    }
}
