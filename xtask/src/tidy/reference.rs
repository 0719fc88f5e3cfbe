//! The reference lists what documents may say: it names each annotation that the code reads, and no page or
//! example names another one.

use std::collections::BTreeSet;

use super::promised::literals;
use super::{House, sources};

const ANNOTATIONS: &str = "docs/reference/annotations.md";
/// The prefix of the project's own annotations.
const OURS: &str = "millrace.dev/";

/// Every annotation is documented, and every one that a page or an example uses exists.
pub(super) fn annotations(house: &House) -> anyhow::Result<Vec<String>> {
    let mut known = BTreeSet::new();
    for (file, text) in house.texts("rs")? {
        if file.starts_with("crds/src") {
            known.extend(listed(sources::before_tests(&text)).map(str::to_owned));
        }
    }
    let mut findings = Vec::new();
    if known.is_empty() {
        findings.push("no list of annotations was found in crds/src".to_owned());
    }
    let page = std::fs::read_to_string(house.root.join(ANNOTATIONS))?;
    let lacking = known
        .iter()
        .filter(|name| !page.contains(&format!("`{OURS}{name}`")));
    findings.extend(lacking.map(|name| format!("{ANNOTATIONS} does not explain `{OURS}{name}`")));
    for extension in ["md", "yaml"] {
        for (file, text) in house.texts(extension)? {
            let strange = used(&text).filter(|name| !known.contains(*name));
            let file = file.display();
            findings.extend(strange.map(|name| format!("{file} names `{OURS}{name}`, which does not exist")));
        }
    }
    Ok(findings)
}

/// The names in the lists called `ANNOTATIONS`.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    let lists = text.split("const ANNOTATIONS").skip(1);
    lists.flat_map(|list| literals(list.split(';').next().unwrap_or_default()))
}

/// The names behind the prefix, where it is not the end of another group (`sources.millrace.dev/v1alpha1`).
fn used(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(OURS).filter_map(|(at, _)| {
        let is_ours = !text[..at].ends_with('.');
        let name = &text[at + OURS.len()..];
        let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '-');
        let name = &name[..end.unwrap_or(name.len())];
        (is_ours && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_found_in_their_list_and_where_they_are_used() {
        let code = "const ANNOTATIONS: &[&str] = &[\"a-b\",\n \"c\"];\nlet x = \"d\";\n";
        assert_eq!(listed(code).collect::<Vec<_>>(), ["a-b", "c"]);
        let page =
            "`millrace.dev/a-b: 24h`, sources.millrace.dev/v1alpha1, `millrace.dev/...`, {millrace.dev/x: 1}";
        assert_eq!(used(page).collect::<Vec<_>>(), ["a-b", "x"]);
    }
}
