//! No written file names a folder of somebody's machine or the host of a registry: a clone works anywhere.

use super::House;
use crate::tree;

/// The beginnings that give a place away. Written in halves, so that this file does not find itself.
const PLACES: [&str; 11] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/tm", "p/"),
    concat!("/op", "t/wheels"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("registry.npmjs", ".org"),
    concat!("pypi", ".org"),
    concat!("proxy.golang", ".org"),
];

pub(super) fn check(house: &House) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in &house.files {
        // What is not text names no place that anybody follows.
        let Some(text) = tree::text(&house.root, file)? else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            findings.extend(places(line).map(|place| format!("{}:{}: {place}", file.display(), number + 1)));
        }
    }
    Ok(findings)
}

/// The places that a line names. `x/home/` is part of a longer path and none.
fn places(line: &str) -> impl Iterator<Item = &'static str> {
    PLACES.into_iter().filter(move |place| {
        line.match_indices(place).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            !place.starts_with('/') || before.is_none_or(|c| !c.is_alphanumeric() && !"._-}$".contains(c))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_one_machine_are_found_and_others_not() {
        let cases = [
            (concat!("see /ho", "me/ann/x"), 1),
            (concat!("\"/tm", "p/x\""), 1),
            (concat!("https://example.com/ho", "me/x"), 0),
            (concat!("$HOME/wo", "rk/x"), 0),
            (concat!("https://registry.npmjs", ".org/x"), 1),
            ("./millrace-data", 0),
        ];
        for (line, expected) in cases {
            assert_eq!(places(line).count(), expected, "{line}");
        }
    }
}
