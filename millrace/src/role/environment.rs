//! Settings of the environment that are ignored, or cannot be followed: logged once, at the start.

/// The variables by which other programs find a proxy.
const PROXIES: [&str; 6] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
];

/// Logs which variables are ignored, and what is wrong with the certificates that others name.
pub(crate) fn remark() {
    let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if let Some(remark) = about_proxies(&PROXIES.into_iter().filter(set).collect::<Vec<_>>()) {
        tracing::warn!("{remark}");
    }
    for wrong in millrace_delivery::wrong_with_roots() {
        tracing::warn!("{wrong}. Deliveries by https fail until that is mended and Millrace started again");
    }
}

fn about_proxies(set: &[&str]) -> Option<String> {
    let (names, are) = match set {
        [] => return None,
        [one] => ((*one).to_owned(), "is"),
        many => (many.join(", "), "are"),
    };
    Some(format!(
        "{names} {are} set and not used: Millrace connects to targets directly, since it judges the address that it connects to, \
         and behind a proxy it would see the proxy's only"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_named_where_they_are_set() {
        assert_eq!(about_proxies(&[]), None);
        let one = about_proxies(&["HTTPS_PROXY"]).expect("a remark");
        assert!(one.starts_with("HTTPS_PROXY is set and not used: "), "{one}");
        let two = about_proxies(&["HTTP_PROXY", "all_proxy"]).expect("a remark");
        assert!(two.starts_with("HTTP_PROXY, all_proxy are set"), "{two}");
    }
}
