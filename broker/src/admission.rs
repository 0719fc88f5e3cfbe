//! Admission: the one way into a broker's channel, for the HTTP ingress, sources and replies alike.

use std::fmt;
use std::sync::Arc;

use millrace_access::{Counted, Gate, Identity, Load, Paid, TooMuch};
use millrace_channel::{AppendError, Class, Log, Logs};
use millrace_event::{Event, Intake, ObjectName, Origin, Refusal, hops};
use millrace_filter::Turns;
use millrace_model::Mesh;
use millrace_model::event_policy::{FirstRefused, Ruling};
use tokio::sync::watch;

use crate::doors::{Door, Doors};
use crate::limits::Limits;
use crate::metrics::IngressMetrics;
use crate::policies::{self, Left};
use crate::turned_away::{Away, TurnedAway};

/// What admission is made of.
pub struct AdmissionParts {
    /// The mesh: its brokers are those that have a door.
    pub mesh: watch::Receiver<Arc<Mesh>>,
    /// The open channels. A broker of the mesh whose channel is not here (yet) is not ready.
    pub logs: Logs,
    /// How large events and batches may be.
    pub limits: Limits,
    /// The default for Brokers without a policy, and the limits. `None`: nothing is limited, and policies are
    /// not asked, as with a gate that asks nobody who they are.
    pub gate: Option<Arc<Gate>>,
    /// Where filters of policies run that take long.
    pub turns: Turns,
    /// Is told who was not let in.
    pub turned_away: Option<TurnedAway>,
    /// Where it is counted.
    pub metrics: IngressMetrics,
}

/// The door of all brokers of the mesh.
///
/// # Flow
/// Known broker, whether they may, size, loop guard, channel, how much, filters of policies, append: in this
/// order, and the first that refuses decides. Filters may take long, so that what they refuse is paid; what
/// is refused before costs nothing, and what the channel does not store is given back.
///
/// # Guarantees
/// Those of [`Intake`]. Events of [`Origin::Mesh`] may use the channel's reserve, so that a full disk drains
/// by itself. An event is stored as it is given, without a copy, unless it carries a `knativebrokerttl` that
/// is a number: then that number is stored one lower. An event without it may pass 255 brokers; the
/// dispatcher writes the number when it sends the event on within the mesh.
///
/// # Caveats
/// When the future of `admit` is dropped the events may be stored all the same.
pub struct Admission {
    doors: Doors,
    logs: Logs,
    limits: Limits,
    gate: Option<Arc<Gate>>,
    turns: Turns,
    turned_away: Option<TurnedAway>,
}

/// Events that can be stored, and where.
pub(crate) struct Ready {
    pub(crate) events: Vec<Event>,
    bytes: usize,
    log: Arc<dyn Log>,
}

// === impl Admission ===

impl Admission {
    /// Wires it up. Nothing runs by itself.
    pub fn new(parts: AdmissionParts) -> Self {
        Self {
            doors: Doors::new(parts.mesh, parts.metrics),
            logs: parts.logs,
            limits: parts.limits,
            gate: parts.gate,
            turns: parts.turns,
            turned_away: parts.turned_away,
        }
    }

    /// The gate, if it asks. Else policies decide nothing.
    fn asks_who_calls(&self) -> Option<&Gate> {
        self.gate.as_deref().filter(|gate| gate.asks_who_calls())
    }

    /// What is left to ask once it is known who sends to a Broker.
    ///
    /// # Errors
    /// They may not, whatever they send.
    pub(crate) fn ask(&self, door: &Door, subject: &str) -> Result<Left, Ruling> {
        match self.asks_who_calls() {
            None => Ok(Left::Nothing),
            Some(gate) => policies::ask(&door.name, &door.policies(), subject, gate.default_mode()),
        }
    }

    /// What is left to ask of a sender within the process. A Trigger may always answer to its own Broker.
    fn ask_within(&self, door: &Door, origin: &Origin) -> Result<Left, Refusal> {
        if self.asks_who_calls().is_none() || self.doors.is_answer(&door.name, origin) {
            return Ok(Left::Nothing);
        }
        let left = self.ask(door, &origin.sender().to_string());
        let left = left.map_err(|ruling| policies::refusal(&ruling, origin));
        left.inspect_err(|refusal| self.turn_away_within(door, origin, refusal))
    }

    /// The place of the first event that the policies refuse.
    pub(crate) async fn first_refused(&self, left: Left, events: Vec<Event>) -> FirstRefused {
        policies::first_refused(left, events, &self.turns).await
    }

    /// Whether so much, which a request has at least, would fit into the limits.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn has_room(&self, door: &Door, who: &Identity, least: Load) -> Result<(), TooMuch> {
        match &self.gate {
            None => Ok(()),
            Some(gate) => gate.has_room(who, &door.path, least),
        }
    }

    /// Counts a request of somebody who calls as in hand, as long as what is returned lives.
    ///
    /// # Errors
    /// There are as many as a limit lets there be.
    pub(crate) fn begin(&self, door: &Door, who: &Identity) -> Result<Option<Counted>, TooMuch> {
        match &self.gate {
            None => Ok(None),
            Some(gate) => gate.begin(who, &door.path),
        }
    }

    /// Spends what events of somebody who calls have.
    ///
    /// # Errors
    /// They do not fit into the limits.
    pub(crate) fn spend(&self, door: &Door, who: &Identity, events: &[Event]) -> Result<Paid, TooMuch> {
        match &self.gate {
            None => Ok(Paid::default()),
            Some(gate) => gate.spend(who, &door.path, load(events)),
        }
    }

    /// Spends what events of a sender within the process have. What the mesh sends itself was let in once,
    /// and to hold it up would hold up what is done already.
    fn spend_within(&self, door: &Door, events: &[Event], origin: &Origin) -> Result<Paid, Refusal> {
        let (Some(gate), Origin::Producer(_)) = (&self.gate, origin) else {
            return Ok(Paid::default());
        };
        let spent = gate.spend_within(&door.path, load(events));
        spent.map_err(|too_much| Refusal::Full {
            code: too_much.code(),
            reason: too_much.to_string(),
            retry_after: too_much.wait(),
        })
    }

    /// Whether a sender of webhooks that gives itself this name may send.
    pub(crate) fn allows_origin(&self, origin: &[u8]) -> bool {
        self.gate.as_ref().is_none_or(|gate| gate.allows_origin(origin))
    }

    /// How many events a minute limits let through; `None`: any number.
    pub(crate) fn per_minute(&self, door: &Door, who: &Identity) -> Option<u64> {
        self.gate.as_ref()?.per_minute(who, &door.path)
    }

    /// Tells who was not let in.
    pub(crate) fn turn_away(&self, door: &Door, away: Away<'_>) {
        if let Some(told) = &self.turned_away {
            told(&door.name, away);
        }
    }

    fn turn_away_within(&self, door: &Door, origin: &Origin, refusal: &Refusal) {
        self.turn_away(door, Away::Within(origin.sender(), refusal.code()));
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn doors(&self) -> &Doors {
        &self.doors
    }

    /// Asks what costs the sender nothing: size, loop guard, channel. A loop is logged here.
    pub(crate) fn ready(&self, door: &Door, mut events: Vec<Event>) -> Result<Ready, Refusal> {
        let bytes = self.limits.check(&events)?;
        hops::pass(&mut events).inspect_err(|refusal| {
            if *refusal == Refusal::Looping {
                door.say_loop();
            }
        })?;
        let log = self.logs.get(&door.name).ok_or_else(|| not_ready(&door.name))?;
        Ok(Ready { events, bytes, log })
    }

    /// Stores events that were let in and paid. Refusals are counted by the caller.
    pub(crate) async fn store(
        &self,
        door: &Door,
        ready: Ready,
        paid: Paid,
        class: Class,
    ) -> Result<(), Refusal> {
        let Ready { events, bytes, log } = ready;
        let count = events.len();
        // Told before: then the append does not even begin.
        let takes_none = !paid.is_nothing() && log.fault().is_some();
        if let Err(error) = log.append(events, class).await {
            let is_whole = count == 1 || log.guarantees().atomic_batch;
            if let Some(gate) = &self.gate
                && (takes_none || (is_whole && stored_none(&error)))
            {
                gate.give_back(paid);
            }
            return Err(refusal(error));
        }
        door.metrics.accepted(count, bytes);
        Ok(())
    }

    async fn admit_at(&self, door: &Door, events: Vec<Event>, origin: &Origin) -> Result<(), Refusal> {
        let left = self.ask_within(door, origin)?;
        if events.is_empty() {
            return Ok(());
        }
        let ready = self.ready(door, events)?;
        let paid = self.spend_within(door, &ready.events, origin)?;
        if let left @ Left::Filters(_) = left
            && self.first_refused(left, ready.events.clone()).await.is_some()
        {
            let refusal = policies::refusal(&Ruling::NoneAllows, origin);
            self.turn_away_within(door, origin, &refusal);
            return Err(refusal);
        }
        self.store(door, ready, paid, class(origin)).await
    }
}

#[async_trait::async_trait]
impl Intake for Admission {
    async fn admit(&self, broker: &ObjectName, events: Vec<Event>, origin: Origin) -> Result<(), Refusal> {
        let Some(door) = self.doors.of(broker) else {
            let refusal = Refusal::UnknownBroker(broker.clone());
            self.doors.metrics().refused_elsewhere(refusal.code());
            return Err(refusal);
        };
        let admitted = self.admit_at(&door, events, &origin).await;
        if let Err(refusal) = &admitted {
            door.refused(refusal.code());
        }
        admitted
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn load(events: &[Event]) -> Load {
    Load {
        events: events.len(),
        bytes: events.iter().map(Event::data_len).sum(),
    }
}

/// Replies and what one broker of the mesh sends another must find room when producers do not.
fn class(origin: &Origin) -> Class {
    match origin {
        Origin::Producer(_) => Class::Producer,
        Origin::Mesh(_) => Class::Reserve,
    }
}

fn not_ready(broker: &ObjectName) -> Refusal {
    let reason = format!("the broker {broker} is not ready yet");
    Refusal::Unavailable {
        code: "broker-not-ready",
        reason,
    }
}

/// Whether an append that failed so has certainly stored nothing, where its events are stored all or none.
fn stored_none(error: &AppendError) -> bool {
    match error {
        AppendError::Full { .. } | AppendError::TooLarge(_) | AppendError::Closed => true,
        // They may be there all the same.
        AppendError::Away { .. } | AppendError::Storage(_) => false,
    }
}

fn refusal(error: AppendError) -> Refusal {
    match error {
        AppendError::Full {
            code,
            reason,
            retry_after,
        } => Refusal::Full {
            code,
            reason,
            retry_after,
        },
        AppendError::Away { reason, retry_after } => Refusal::Full {
            code: "backend-unavailable",
            reason,
            retry_after,
        },
        AppendError::TooLarge(reason) => Refusal::TooLarge(reason),
        AppendError::Storage(reason) => Refusal::Unavailable {
            code: "storage-failed",
            reason: format!("the event could not be made durable: {reason}"),
        },
        AppendError::Closed => Refusal::Unavailable {
            code: "shutting-down",
            reason: "the broker is shutting down; nothing was stored".to_owned(),
        },
    }
}
