//! URLs relative to the address of what a document refers to.

use http::Uri;
use millrace_model::Unresolved;

/// A path and query relative to an address, joined as RFC 3986 joins them.
pub(super) fn join(address: &Uri, relative: &str) -> Result<Uri, Unresolved> {
    if relative.is_empty() {
        return Ok(address.clone());
    }
    let (path, query) = match relative.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (relative, None),
    };
    let base = address.path();
    let path = match path {
        "" => base.to_owned(),
        path if path.starts_with('/') => without_dots(path),
        path => without_dots(&format!("{}{path}", &base[..=base.rfind('/').unwrap_or(0)])),
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = address.clone().into_parts();
    parts.path_and_query = format!("{path}{query}").parse().ok();
    Uri::from_parts(parts).map_err(|_| Unresolved::NotAddressable)
}

/// An absolute path without the segments `.` and `..`.
fn without_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        segments.push("");
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_url_is_joined_as_links_are() {
        for (address, relative, joined) in [
            ("http://s.shop.svc", "", "http://s.shop.svc/"),
            ("http://s.shop.svc", "/in", "http://s.shop.svc/in"),
            (
                "http://s.shop.svc:8080/a/b",
                "/in?x=y",
                "http://s.shop.svc:8080/in?x=y",
            ),
            ("http://s.shop.svc/a/b", "in", "http://s.shop.svc/a/in"),
            ("http://s.shop.svc/a/", "../in", "http://s.shop.svc/in"),
            ("http://s.shop.svc/a/b", "../../../in/.", "http://s.shop.svc/in/"),
            ("http://s.shop.svc/a/b", "./", "http://s.shop.svc/a/"),
            ("http://s.shop.svc", "a//b", "http://s.shop.svc/a//b"),
            ("https://s.shop.svc/a?x=y", "?z=/..", "https://s.shop.svc/a?z=/.."),
        ] {
            let address: Uri = address.parse().expect("a URL");
            let found = join(&address, relative).expect("joined");
            assert_eq!(found.to_string(), joined, "{address} {relative}");
        }
    }
}
