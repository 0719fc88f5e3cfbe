//! Which forge a call comes from, by its headers.

use http::HeaderMap;
use millrace_model::source::git_webhook::Forge;

use super::refuse::RefusedCall;

/// The forge to which a header belongs. Gitea sends GitHub's headers too, and Forgejo sends Gitea's and
/// GitHub's: the order matters.
const ORDER: [(&str, Forge); 5] = [
    ("x-forgejo-event", Forge::Forgejo),
    ("x-gitea-event", Forge::Gitea),
    ("x-gitlab-event", Forge::Gitlab),
    ("x-event-key", Forge::Bitbucket),
    ("x-github-event", Forge::Github),
];

/// Checks that a call comes from the forge that the source is for.
pub(super) fn check(forge: Forge, headers: &HeaderMap) -> Result<(), RefusedCall> {
    if forge == Forge::Generic {
        return Ok(());
    }
    let found = ORDER.iter().find(|(name, _)| headers.contains_key(*name));
    match found {
        None => Err(RefusedCall::NoEventHeader),
        Some((_, found)) if kin(*found) == kin(forge) => Ok(()),
        Some((_, found)) => Err(RefusedCall::OtherForge(found.as_str())),
    }
}

/// Forges that call in the same way count as one: Forgejo is a fork of Gitea, and the headers of the two
/// Bitbuckets differ too little to be told apart with certainty.
fn kin(forge: Forge) -> Forge {
    match forge {
        Forge::Forgejo => Forge::Gitea,
        Forge::BitbucketServer => Forge::Bitbucket,
        Forge::Github | Forge::Gitlab | Forge::Bitbucket | Forge::Gitea | Forge::Generic => forge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(names: &[&'static str]) -> HeaderMap {
        names
            .iter()
            .map(|name| (http::HeaderName::from_static(name), "push".parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_forge_is_known_by_its_own_header_whatever_else_it_sends() {
        let table: [(Forge, &[&str], Option<&str>); 8] = [
            (Forge::Github, &["x-github-event"], None),
            (Forge::Github, &["x-github-event", "x-gitea-event"], Some("gitea")),
            (
                Forge::Gitea,
                &["x-github-event", "x-gitea-event", "x-gogs-event"],
                None,
            ),
            (
                Forge::Gitea,
                &["x-github-event", "x-gitea-event", "x-forgejo-event"],
                None,
            ),
            (
                Forge::Forgejo,
                &["x-github-event", "x-gitea-event", "x-forgejo-event"],
                None,
            ),
            (Forge::BitbucketServer, &["x-event-key"], None),
            (Forge::Gitlab, &["x-github-event"], Some("github")),
            (Forge::Generic, &[], None),
        ];
        for (forge, names, other) in table {
            match (check(forge, &headers(names)), other) {
                (Ok(()), None) => {}
                (Err(RefusedCall::OtherForge(found)), Some(other)) => assert_eq!(found, other),
                (outcome, _) => panic!("{forge:?} {names:?}: {outcome:?}"),
            }
        }
        assert!(matches!(
            check(Forge::Github, &headers(&[])),
            Err(RefusedCall::NoEventHeader)
        ));
    }
}
