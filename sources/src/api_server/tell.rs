//! Changes become events, and these are handed on until they are durable.

use std::time::Duration;

use millrace_event::Event;
use millrace_filter::Decision;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::difference::Change;
use super::discover::Resource;
use super::events::{Shape, shown};
use super::select;
use super::watch::Stop;

/// Tells the changes of one kind.
pub(super) struct Teller<'a> {
    shared: &'a Shared,
    shape: Shape<'a>,
    shutdown: &'a CancellationToken,
}

/// What is handed on at once: events, and bytes of their data but for the last one's.
const EVENTS: usize = 200;
const BYTES: usize = 2 << 20;
/// How long events that are being handed on at the shutdown have for it.
const GRACE: Duration = Duration::from_secs(2);

// === impl Teller ===

impl<'a> Teller<'a> {
    pub(super) fn new(shared: &'a Shared, resource: &'a Resource, shutdown: &'a CancellationToken) -> Self {
        let shape = Shape {
            url: shared.origin.url(),
            resource,
            mode: shared.spec.mode,
            max_bytes: shared.context.max_event_bytes,
        };
        Self {
            shared,
            shape,
            shutdown,
        }
    }

    /// Returns when all of it is durable in the sink, in this order. Changes that do not pass the filters are
    /// dropped.
    pub(super) async fn tell(&self, changes: &[Change]) -> Result<(), Stop> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        for change in changes {
            let Some(event) = self.event(change).await else {
                continue;
            };
            bytes += event.data_ref().map_or(0, <[u8]>::len);
            events.push(event);
            if events.len() == EVENTS || bytes >= BYTES {
                self.deliver(&events).await?;
                events.clear();
                bytes = 0;
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        self.deliver(&events).await
    }

    async fn event(&self, change: &Change) -> Option<Event> {
        let report = &self.shared.context.report;
        if self.shape.is_too_large(change) {
            let max = self.shape.max_bytes;
            report.failed(format!(
                "{} is told without the object, which is larger than {max} bytes",
                shown(change)
            ));
        }
        match self.shape.event(change) {
            Ok(event) => self.passes(change, &event).await.then_some(event),
            Err(invalid) => {
                report.refused("bad-object", format!("{} is no event: {invalid}", shown(change)));
                None
            }
        }
    }

    /// Whether the filters of the source let the event pass. If deciding needs too much work they do not.
    async fn passes(&self, change: &Change, event: &Event) -> bool {
        let Shared { spec, context, .. } = self.shared;
        match select::decide(spec, event, &context.turns).await {
            Decision::Match => true,
            Decision::NoMatch | Decision::Later => false,
            Decision::TooMuchWork => {
                let why = "the filters would need too much work to decide";
                context
                    .report
                    .refused("too-much-work", format!("{} is not told: {why}", shown(change)));
                false
            }
        }
    }

    async fn deliver(&self, events: &[Event]) -> Result<(), Stop> {
        let too_late = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            delivered = self.shared.context.outlet.deliver(events) => {
                delivered.map_err(|error| Stop::Source(error.into()))
            }
            () = too_late => Err(Stop::Shutdown),
        }
    }
}
