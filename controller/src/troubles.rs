//! What the log says of what keeps Millrace from its work, such as watches that fail: each trouble once, when
//! it begins, and that the API server answers again.

use std::collections::BTreeSet;

use millrace_model::ObjectName;

use crate::metrics::Metrics;
use crate::watch::{News, Trouble, Watched, What};

/// What has been said.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    said: BTreeSet<String>,
    /// The API server does not answer.
    is_away: bool,
}

// === impl Troubles ===

impl Troubles {
    /// Logs trouble when it begins and when it ends.
    pub(crate) fn note(&mut self, watched: &Watched, news: &News, account: Option<&str>, metrics: &Metrics) {
        let News::Failed(trouble) = news else {
            if std::mem::replace(&mut self.is_away, false) {
                tracing::info!("the API server answers again");
            }
            metrics.reached.set(1);
            return;
        };
        metrics.failures.inc();
        let what = match &watched.what {
            What::Ours(kind) => kind.to_string(),
            What::Target(kind) => format!("{} of {}", kind.kind, kind.api_version),
            What::Bundles => "trust bundle (ConfigMap) of its own namespace".to_owned(),
            // Its source or Broker says so in its status.
            What::Secret(_) | What::Config(_) | What::Review(_) => return,
        };
        match trouble {
            Trouble::Unreached(why) => {
                metrics.reached.set(0);
                if !std::mem::replace(&mut self.is_away, true) {
                    tracing::warn!(why, "the API server does not answer; what is known is served on");
                }
            }
            Trouble::Missing if self.said.insert(format!("missing {what}")) => {
                tracing::warn!("this cluster has no {what} yet; it is looked up again");
            }
            Trouble::Forbidden if self.said.insert(format!("forbidden {what}")) => {
                let account = account.unwrap_or("?");
                tracing::warn!(
                    account,
                    "Millrace may not list and watch each {what}; it is tried again"
                );
            }
            Trouble::Missing | Trouble::Forbidden => {}
        }
    }

    /// Logs that the Broker that is to be there is of another class: nothing is served until it is ours.
    pub(crate) fn note_foreign(&mut self, broker: &ObjectName, class: Option<&str>) {
        if self.said.insert(format!("class {broker}")) {
            let class = class.unwrap_or("none");
            tracing::error!(
                %broker,
                class,
                "the Broker that is to be there (--ensure-broker) is of another class; this is waited for: delete \
                 it, or name another one"
            );
        }
    }
}
