//! The honest tenant: a Broker, two Triggers and their subscriber. The subscriber keeps the connections of
//! one Trigger and closes each of the other's, so that these deliveries also need new connections.

use std::collections::HashMap;
use std::time::Duration;

use crate::documents::{Documents, Trigger};
use crate::mesh::Mesh;
use crate::reload::sorted;
use crate::{Answer, Event, Sink};

use super::traffic::Outcome;

/// The honest Broker, `namespace/name`.
pub(super) const BROKER: &str = "shop/default";
/// The type of the events in the honest traffic.
pub(super) const TYPE: &str = "honest";
/// The secret that signs the honest calls, if there are any.
pub(super) const SECRET: &str = "known to the honest caller";
/// The honest webhook source, if there is one.
pub(super) const SOURCE: &str = "forge";

/// The paths at the subscriber, named after the Triggers.
const PATHS: [&str; 2] = ["/kept", "/fresh"];
/// The path for the calls of a forge.
const CALLED: &str = "/called";
/// The path where an event is answered with another, and the path that gets those answers.
const ASKED: &str = "/asked";
const HEARD: &str = "/heard";
/// The size of such an answer's data.
const REPLY: usize = 2048;

/// What a row of the table changes about the honest tenant.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terms {
    /// The host name of its subscriber; `None`: its address.
    pub(super) host: Option<&'static str>,
    /// Annotations of its Broker.
    pub(super) annotations: &'static [(&'static str, &'static str)],
    /// Whether a forge calls it too.
    pub(super) is_called: bool,
    /// Whether it has a subscriber that replies with events too.
    pub(super) replies: bool,
}

/// The honest tenant, of one mesh.
#[derive(Debug)]
pub struct Honest {
    sink: Sink,
}

// === impl Honest ===

impl Honest {
    /// Starts its subscriber, on the runtime of the caller.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> anyhow::Result<Self> {
        let sink = Sink::start().await?;
        sink.answer("/fresh", [Answer::ok().header("connection", "close")]);
        sink.decide(ASKED, |asked, _| {
            let reply = Event::new(asked.event().id(), "reply");
            Answer::reply(&reply.data("text/plain", vec![b'.'; REPLY]))
        });
        Ok(Self { sink })
    }

    /// Its documents.
    pub(super) fn documents(&self, terms: &Terms) -> Documents {
        let url = |path: &str| match terms.host {
            Some(host) => format!("http://{host}:{}{path}", self.sink.address().port()),
            None => self.sink.url(path),
        };
        let mut documents = Documents::broker_annotated(terms.annotations);
        for path in PATHS {
            let trigger = Trigger::new(&path[1..], &url(path)).attributes(&format!("{{type: {TYPE}}}"));
            documents = documents.trigger(&trigger);
        }
        if terms.replies {
            let asked = Trigger::new(&ASKED[1..], &url(ASKED)).attributes(&format!("{{type: {TYPE}}}"));
            let heard = Trigger::new(&HEARD[1..], &url(HEARD)).attributes("{type: reply}");
            documents = documents.trigger(&asked).trigger(&heard);
        }
        if terms.is_called {
            let called = Trigger::new(&CALLED[1..], &url(CALLED)).attributes("{type: com.github.push}");
            documents = documents.github(SOURCE, SECRET, "default").trigger(&called);
        }
        documents
    }

    /// Checks that the honest tenant felt nothing: no request of its traffic was refused, health was answered
    /// each time, and every event reached every Trigger at the first attempt. Nothing at all was parked.
    ///
    /// # Errors
    /// When it was felt.
    pub(super) async fn is_unharmed(
        &self,
        mesh: &Mesh,
        terms: &Terms,
        outcome: &Outcome,
    ) -> anyhow::Result<()> {
        outcome.is_whole()?;
        let sent: Vec<_> = outcome.sent.iter().map(|sent| sent.id.clone()).collect();
        let (mut triggers, called) = (PATHS.to_vec(), [CALLED]);
        if terms.replies {
            triggers.extend([ASKED, HEARD]);
        }
        self.has_all(&triggers, sent).await?;
        if terms.is_called {
            self.has_all(&called, outcome.called.clone()).await?;
            triggers.extend(called);
        }
        let admin = mesh.admin();
        for path in triggers {
            let trigger = admin.trigger(&format!("shop{path}")).await?;
            anyhow::ensure!(trigger["failedAttempts"] == 0, "{trigger}");
        }
        let parked = admin.get("parked").await?;
        anyhow::ensure!(parked == serde_json::json!([]), "parked: {parked}");
        let lost = admin.metric("millrace_dispatch_lost_events_total").await?;
        anyhow::ensure!(lost == 0.0, "{lost} events lost");
        Ok(())
    }

    /// Waits until so many events came to each path, and checks that they are exactly these, once each.
    async fn has_all(&self, paths: &[&str], ids: Vec<String>) -> anyhow::Result<()> {
        let ids = sorted(ids);
        for path in paths {
            self.sink.wait_for(path, ids.len()).await?;
            let arrived = sorted(self.sink.ids(path));
            anyhow::ensure!(arrived == ids, "accepted {ids:?}, arrived at {path}: {arrived:?}");
        }
        Ok(())
    }

    /// How long after its due time each event of the traffic had arrived at both paths.
    ///
    /// # Errors
    /// When not all of them arrive.
    pub async fn deliveries(&self, outcome: &Outcome) -> anyhow::Result<Vec<Duration>> {
        let due = outcome.sent.iter().map(|sent| (sent.id.as_str(), sent.due));
        let due: HashMap<_, _> = due.collect();
        let ids = due.keys().map(|&id| id.to_owned()).collect();
        let mut took = Vec::new();
        for path in PATHS {
            self.sink.until_all(path, &ids).await?;
            for received in self.sink.received(path) {
                if let Some(due) = due.get(received.event().id()) {
                    took.push(received.at.saturating_duration_since(*due));
                }
            }
        }
        Ok(took)
    }
}
