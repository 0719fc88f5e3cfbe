//! The namespaces whose labels match, as they come and go.

use std::collections::BTreeSet;
use std::time::Duration;

use millrace_model::source::api_server::ObjectKind;
use tokio::sync::watch;

use super::Shared;
use super::client::Trouble;
use super::pages::Pages;
use super::stream::{Stream, WatchEvent};
use crate::SourceError;

/// The names; `None` as long as they have not been listed.
pub(super) type Names = Option<BTreeSet<String>>;

const PATH: &str = "/api/v1/namespaces";
/// What this part of the source is called in messages.
const PART: &str = "namespaces";
/// The wait before a watch that ended is begun again.
const WAIT: Duration = Duration::from_secs(2);

/// Publishes the names until it is dropped.
///
/// # Errors
/// When the API server does not accept the credentials.
pub(super) async fn follow(
    shared: &Shared,
    selector: &str,
    names: &watch::Sender<Names>,
) -> Result<(), SourceError> {
    shared.standing.starts(PART);
    loop {
        match round(shared, selector, names).await {
            Ok(()) | Err(Trouble::Gone) => {}
            Err(trouble @ Trouble::Unauthorized(_)) => return Err(SourceError::Origin(trouble.to_string())),
            Err(trouble) => shared.standing.is_ill(PART, &trouble.to_string()),
        }
        tokio::time::sleep(WAIT).await;
    }
}

/// Lists, then watches from there.
async fn round(shared: &Shared, selector: &str, names: &watch::Sender<Names>) -> Result<(), Trouble> {
    let kind = ObjectKind {
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
    };
    let mut pages = Pages::new(&shared.origin, PATH, selector, &kind);
    let (mut all, mut version) = (BTreeSet::new(), String::new());
    while let Some(page) = pages.next().await? {
        all.extend(page.objects.into_iter().map(|object| object.name));
        version = page.version;
    }
    names.send_replace(Some(all.clone()));
    let mut stream = Stream::open(&shared.origin, PATH, selector, &kind, &version).await?;
    shared.standing.is_well(PART);
    while let Some(batch) = stream.next().await? {
        for said in batch {
            match said {
                WatchEvent::Seen(object) => {
                    all.insert(object.name);
                }
                WatchEvent::Ended(object) => {
                    all.remove(&object.name);
                }
                WatchEvent::Passed(_) => {}
                WatchEvent::Unreadable(code, why) => shared.context.report.refused(code, why),
                WatchEvent::Trouble(trouble) => return Err(trouble),
            }
        }
        names.send_if_modified(|names| {
            let is_other = names.as_ref() != Some(&all);
            if is_other {
                *names = Some(all.clone());
            }
            is_other
        });
    }
    Ok(())
}
