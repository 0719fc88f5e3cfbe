//! `/api/v1/brokers` and one of them: each broker as it should be and as it is; one that is gone can be
//! forgotten.

use std::collections::BTreeSet;
use std::fmt;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use http::StatusCode;
use millrace_model::status::BrokerStatus;
use millrace_model::{Broker, BrokerState, ObjectName, OnFull};
use serde::Serialize;

use crate::Admin;
use crate::elsewhere::{self, ElsewhereView};
use crate::refused::Refused;

/// Who keeps the folders of brokers.
#[async_trait::async_trait]
pub trait BrokerKeeper: Send + Sync + fmt::Debug {
    /// Gives the folder of a broker back that is in no document any more, with everything in it.
    ///
    /// # Errors
    /// Why it is still there.
    async fn forget(&self, broker: &ObjectName) -> Result<(), NotForgotten>;
}

/// Why a broker was not forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotForgotten {
    /// There is none of that name.
    Unknown,
    /// It is in a document.
    InUse,
    /// The process is starting, or about to end.
    NotReady,
    /// A file could not be written or removed: a sentence for people. The broker is still there; what its
    /// triggers were owed may be gone.
    Failed(String),
}

/// The name in a path, or the refusal of a path that is not text.
type Named = Result<Path<(String, String)>, PathRejection>;

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
    /// Parked events, also those of triggers that are gone.
    parked: u64,
    /// `embedded` (on the local disk), `jetstream` or `kafka`; null when there is no document any more.
    backend: Option<&'static str>,
    /// What a 202 rests on; null while its channel is not open.
    durability: Option<DurabilityView>,
    /// The partitions that other processes serve; left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    elsewhere: Vec<ElsewhereView>,
    /// What its document says; null when there is none any more.
    settings: Option<Settings>,
}

/// What a 202 rests on.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DurabilityView {
    /// `synced`, `replicated` or `single-copy`.
    word: &'static str,
    /// A sentence: what may be lost all the same, and what could not be verified.
    meaning: &'static str,
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
        let status = statuses.remove(&name);
        view(&admin, &name, status, mesh.brokers.get(&name).map(AsRef::as_ref))
    });
    Json(views.collect())
}

pub(crate) async fn show(State(admin): State<Admin>, path: Named) -> Result<Json<BrokerView>, Refused> {
    let name = named(path)?;
    let mesh = admin.mesh.borrow().clone();
    let broker = mesh.brokers.get(&name).map(AsRef::as_ref);
    let status = admin.board.broker(&name);
    if broker.is_none() && status.is_none() {
        return Err(unknown());
    }
    Ok(Json(view(&admin, &name, status, broker)))
}

/// Forgets a broker that is gone, with everything that it holds.
pub(crate) async fn forget(State(admin): State<Admin>, path: Named) -> Result<StatusCode, Refused> {
    let name = named(path)?;
    let Some(keeper) = &admin.keeper else {
        return Err(unknown());
    };
    // Before, it is not known which brokers are gone.
    let is_ready = *admin.ready.borrow();
    let forgotten = match is_ready {
        true => keeper.forget(&name).await,
        false => Err(NotForgotten::NotReady),
    };
    match forgotten {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(NotForgotten::Unknown) => Err(unknown()),
        Err(NotForgotten::InUse) => Err(Refused::new(
            StatusCode::CONFLICT,
            "broker-in-use",
            "the broker is in a document; only one that is gone can be forgotten",
        )),
        Err(NotForgotten::NotReady) => Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-ready",
            "the process is starting or about to end, and forgets no broker now",
        )),
        Err(NotForgotten::Failed(why)) => Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "storage-failed",
            why,
        )),
    }
}

fn unknown() -> Refused {
    Refused::unknown("unknown-broker", "there is no broker of that name")
}

fn named(path: Named) -> Result<ObjectName, Refused> {
    let Path((namespace, name)) = path.map_err(|_| unknown())?;
    Ok(ObjectName::new(namespace, name))
}

/// A broker that nobody has put on the board yet.
fn not_served(fault: Option<String>) -> BrokerStatus {
    BrokerStatus {
        state: BrokerState::NotReady,
        reason: fault.or_else(|| Some("it is not served yet".to_owned())),
        ..Default::default()
    }
}

/// A broker all of whose partitions other processes serve.
fn served_elsewhere() -> BrokerStatus {
    BrokerStatus {
        state: BrokerState::Ready,
        reason: Some("other processes serve all of its partitions".to_owned()),
        ..Default::default()
    }
}

fn view(
    admin: &Admin,
    name: &ObjectName,
    status: Option<BrokerStatus>,
    broker: Option<&Broker>,
) -> BrokerView {
    let log = admin.logs.get(name);
    let elsewhere = admin.owned.elsewhere(name);
    let fault = || log.as_ref().and_then(|log| log.fault());
    let status = status.unwrap_or_else(|| match elsewhere.values().all(Option::is_some) {
        true if !elsewhere.is_empty() && fault().is_none() => served_elsewhere(),
        _ => not_served(fault()),
    });
    let durability = log.and_then(|log| log.durability());
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
        parked: status.parked,
        elsewhere: elsewhere::views(elsewhere),
        backend: broker.map(|broker| broker.backend.as_str()),
        durability: durability.map(|durability| DurabilityView {
            word: durability.word,
            meaning: durability.meaning,
        }),
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
