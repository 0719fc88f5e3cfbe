//! Documents: what a link points to is there, also the test that a link names, and the README names the two
//! commands that a newcomer needs.

use std::path::Path;

use super::House;

/// The two commands of the README.
const COMMANDS: [&str; 2] = ["cargo run --release -- dev", "cargo xtask test"];

/// Its words are in alphabetical order, each of them once.
const GLOSSARY: &str = "docs/glossary.md";

pub(super) fn check(house: &House) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    let documents = house.texts("md")?;
    for (file, text) in &documents {
        let folder = house.root.join(file.parent().unwrap_or(Path::new("")));
        for link in links(text) {
            if !exists(&folder, link, text) {
                findings.push(format!("{}: nothing is at {link}", file.display()));
            }
        }
        for (name, link) in functions(text) {
            let code = std::fs::read_to_string(folder.join(link)).unwrap_or_default();
            if !code.contains(&format!("fn {name}(")) {
                findings.push(format!("{}: {link} has no function {name}", file.display()));
            }
        }
    }
    if let Some((_, text)) = documents.iter().find(|(file, _)| *file == Path::new(GLOSSARY)) {
        findings.extend(disorder(text));
    }
    match documents.iter().find(|(file, _)| *file == Path::new("README.md")) {
        None => findings.push("there is no README.md".to_owned()),
        Some((_, text)) => {
            let missing = COMMANDS.iter().filter(|command| !text.contains(**command));
            findings.extend(missing.map(|command| format!("README.md does not name `{command}`")));
        }
    }
    Ok(findings)
}

/// The targets of the links of a document, but for those that lead elsewhere and those in code.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let prose = line
            .split('`')
            .step_by(2)
            .flat_map(|prose| prose.split("](").skip(1));
        if !fenced {
            found.extend(
                prose
                    .filter_map(|rest| rest.split_once(')'))
                    .map(|(target, _)| target),
            );
        }
    }
    found.retain(|target| !target.contains("://") && !target.starts_with("mailto:"));
    found
}

/// The words of the glossary that do not stand behind the one before.
fn disorder(glossary: &str) -> Vec<String> {
    let words = glossary
        .lines()
        .filter_map(|line| line.strip_prefix("| **")?.split("**").next());
    let words: Vec<String> = words.map(str::to_lowercase).collect();
    let pairs = words.windows(2).filter(|pair| pair[0] >= pair[1]);
    pairs
        .map(|pair| format!("{GLOSSARY}: `{}` stands before `{}`", pair[0], pair[1]))
        .collect()
}

/// The functions that a document links to by name, with their files: ``[`name`](file.rs)``.
fn functions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let named = text.split("[`").skip(1).filter_map(|rest| rest.split_once("`]("));
    let linked = named.filter_map(|(name, rest)| Some((name, rest.split_once(')')?.0)));
    let is_name = |name: &str| {
        name.bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    };
    linked.filter(move |(name, link)| is_name(name) && link.ends_with(".rs"))
}

fn exists(folder: &Path, link: &str, text: &str) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    if !path.is_empty() && !folder.join(path).exists() {
        return false;
    }
    let target = if path.is_empty() {
        Some(text.to_owned())
    } else {
        std::fs::read_to_string(folder.join(path)).ok()
    };
    let is_document = path.is_empty() || path.ends_with(".md");
    anchor.is_empty()
        || !is_document
        || target.is_some_and(|text| anchors(&text).any(|known| known == anchor))
}

/// The anchors that a document's headings give.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_of_code() {
        let text =
            "See [a](docs/a.md) and [b](#there), [c](https://x.org/y).\n`[d](no)`\n```\n[e](no)\n```\n";
        assert_eq!(links(text), ["docs/a.md", "#there"]);
    }

    #[test]
    fn words_that_are_doubled_or_in_disorder_are_found() {
        let glossary =
            "| word | means |\n|---|---|\n| **a** | x |\n| **C** | **b** |\n| **b** | y |\n| **b** | z |\n";
        assert_eq!(disorder(glossary).len(), 2);
    }

    #[test]
    fn functions_are_named_by_links_to_their_file() {
        let text = "[`a_test`](../x/a.rs), [a](b.rs), [`keyType`](c.md#d), [`C::d`](e.rs) and [`f`](g.rs).";
        assert_eq!(
            functions(text).collect::<Vec<_>>(),
            [("a_test", "../x/a.rs"), ("f", "g.rs")]
        );
    }

    #[test]
    fn a_link_needs_its_file_and_its_heading() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("a.md"), "# What is promised\n").expect("written");
        let cases = [
            ("a.md", true),
            ("a.md#what-is-promised", true),
            ("a.md#what-is-not", false),
            ("b.md", false),
            ("#here", true),
            ("#there", false),
        ];
        for (link, expected) in cases {
            assert_eq!(exists(folder.path(), link, "## Here\n"), expected, "{link}");
        }
    }
}
