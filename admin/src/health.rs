//! Whether the process lives and is ready, and a list of paths for people who open the address in a browser.

use axum::extract::State;
use http::StatusCode;

use crate::Admin;
use crate::refused::Refused;

const INDEX: &str = "\
Millrace, the admin listener

GET    /healthz                              is the process alive
GET    /readyz                               does it accept events
GET    /metrics                              metrics, as OpenMetrics text
GET    /api/v1/mesh                          what runs, and the last reload
GET    /api/v1/brokers                       brokers
GET    /api/v1/brokers/{namespace}/{name}    one broker
DELETE /api/v1/brokers/{namespace}/{name}    forget one that is gone, with everything that it holds
GET    /api/v1/triggers                      triggers: state, backlog, cursor, last failure
GET    /api/v1/triggers/{namespace}/{name}   one trigger, with its settings
DELETE /api/v1/triggers/{namespace}/{name}   give up the place of one that is gone, with what is owed to it
GET    /api/v1/sources                       sources
GET    /api/v1/kafka-sinks                   sinks of Kafka, and whether their topics can be reached
GET    /api/v1/parked                        parked events (?trigger=namespace/name&limit=100&after=id)
GET    /api/v1/parked/{id}                   one parked event, with the history of its attempts
DELETE /api/v1/parked/{id}                   drop it for good
POST   /api/v1/parked/{id}/redrive           deliver it again
GET    /api/v1/explain                       what each trigger made of an event (?broker=namespace/name&id=ID&source=&trigger=&position=)
GET    /api/v1/events                        retained events as JSON lines (?broker=namespace/name&seconds=3600&limit=&from=)
GET    /api/v1/tail                          what happens, as JSON lines (?broker=&filter=&whole=true)
GET    /api/v1/log-level                     what the process logs
PUT    /api/v1/log-level                     log by this filter from now on (the body, as in RUST_LOG)

Requests that change something need the header `Millrace-Request: 1`.
";

pub(crate) async fn index() -> &'static str {
    INDEX
}

pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

pub(crate) async fn ready(State(admin): State<Admin>) -> Result<&'static str, Refused> {
    if admin.shutdown.is_cancelled() {
        let detail = "the process is about to end and takes no more events";
        return Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "shutting-down",
            detail,
        ));
    }
    if !*admin.ready.borrow() {
        let detail = "the process is starting and does not accept events yet";
        return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail));
    }
    for (broker, log) in admin.logs.all() {
        if let Some(fault) = log.fault() {
            let detail = format!("the files of the broker {broker} are not in order: {fault}");
            return Err(Refused::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "storage-failed",
                detail,
            ));
        }
    }
    Ok("ready\n")
}
