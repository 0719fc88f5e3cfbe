//! What other processes serve: they are named, and whoever asks is told to ask there.

use http::StatusCode;
use millrace_channel::Elsewhere;
use millrace_event::ObjectName;
use serde::Serialize;

use crate::Admin;
use crate::refused::Refused;

/// A partition that this process does not serve.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ElsewhereView {
    partition: u32,
    /// Who serves it, and where to ask; null while nobody does.
    owner: Option<String>,
}

/// For a broker's view.
pub(crate) fn views(elsewhere: Elsewhere) -> Vec<ElsewhereView> {
    let each = elsewhere.into_iter();
    each.map(|(partition, owner)| ElsewhereView { partition, owner })
        .collect()
}

/// The refusal for what was not found here and may be elsewhere; `None` where this process serves everything.
pub(crate) fn refusal<'a>(
    admin: &Admin,
    brokers: impl IntoIterator<Item = &'a ObjectName>,
) -> Option<Refused> {
    let all = brokers.into_iter();
    let told: Vec<String> = all.filter_map(|broker| in_words(admin, broker)).collect();
    (!told.is_empty()).then(|| {
        let detail = format!("it is not among what this process serves; {}", told.join("; "));
        Refused::new(StatusCode::MISDIRECTED_REQUEST, "served-elsewhere", detail)
    })
}

/// Who serves the partitions of a broker that this process does not.
fn in_words(admin: &Admin, broker: &ObjectName) -> Option<String> {
    let elsewhere = admin.owned.elsewhere(broker);
    if elsewhere.is_empty() {
        return None;
    }
    let each = elsewhere.iter().map(|(partition, owner)| match owner {
        Some(owner) => format!("partition {partition} by {owner}"),
        None => format!("partition {partition} by nobody now"),
    });
    let each: Vec<_> = each.collect();
    Some(format!("of the broker {broker} {} is served", each.join(", ")))
}
