//! `GET /api/v1/brokers`: each broker as it should be and as it is.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use millrace_model::status::BrokerStatus;
use millrace_model::{Broker, BrokerState, ObjectName, OnFull};
use serde::Serialize;

use crate::Admin;

/// One broker.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BrokerView {
    /// `namespace/name`.
    name: String,
    /// `ready`, `orphaned` or `not-ready`.
    state: &'static str,
    /// Why, where that needs saying.
    reason: Option<String>,
    /// The next position to be written.
    head: u64,
    /// The oldest position that can be read.
    oldest: u64,
    /// Bytes of the log on disk.
    log_bytes: u64,
    /// Why producers are turned away now; null while they are not.
    refusing: Option<String>,
    /// Events dropped before every trigger had them (`millrace.dev/on-full: drop-oldest`), since the process
    /// started.
    dropped: u64,
    /// Triggers that were gone and whose debts were dropped to make room, since the process started.
    forgotten: u64,
    /// What its document says; null when there is none any more.
    settings: Option<Settings>,
}

/// What a broker's document says, after defaults.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    retention_age_seconds: u64,
    retention_bytes: u64,
    backlog_bytes: Option<u64>,
    on_full: &'static str,
}

pub(crate) async fn list(State(admin): State<Admin>) -> Json<Vec<BrokerView>> {
    let mesh = admin.mesh.borrow().clone();
    let mut statuses = admin.board.brokers();
    let names: BTreeSet<ObjectName> = mesh.brokers.keys().chain(statuses.keys()).cloned().collect();
    let views = names.into_iter().map(|name| {
        let status = statuses.remove(&name).unwrap_or_else(not_served);
        view(&name, status, mesh.brokers.get(&name).map(AsRef::as_ref))
    });
    Json(views.collect())
}

/// A broker that nobody has put on the board yet.
fn not_served() -> BrokerStatus {
    BrokerStatus {
        state: BrokerState::NotReady,
        reason: Some("it is not served yet".to_owned()),
        ..Default::default()
    }
}

fn view(name: &ObjectName, status: BrokerStatus, broker: Option<&Broker>) -> BrokerView {
    BrokerView {
        name: name.to_string(),
        state: status.state.as_str(),
        reason: status.reason,
        head: status.head,
        oldest: status.oldest,
        log_bytes: status.log_bytes,
        refusing: status.refusing,
        dropped: status.dropped,
        forgotten: status.forgotten,
        settings: broker.map(|broker| Settings {
            retention_age_seconds: broker.retention.age.as_secs(),
            retention_bytes: broker.retention.bytes,
            backlog_bytes: broker.backlog_bytes,
            on_full: match broker.on_full {
                OnFull::Refuse => "refuse",
                OnFull::DropOldest => "drop-oldest",
            },
        }),
    }
}
