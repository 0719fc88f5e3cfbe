//! Where a source's events go: into a Broker of this mesh, or to a URL.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use millrace_delivery::backoff;
use millrace_delivery::target::{self, Batches};
use millrace_delivery::{Auth, Connection, Failure, Outcome, Request, Sender, Share, Verdict};
use millrace_event::http::Outgoing;
use millrace_event::{Event, InnerSender, Intake, Origin, Refusal};
use millrace_model::source::Patience;
use millrace_model::{Format, SourceKey, Target};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::Report;
use crate::waits::Waits;

/// The way from one source to its sink.
///
/// # Guarantees
/// When [`Outlet::offer`] or [`Outlet::deliver`] returns `Ok`, every event given is durable in the Broker, or
/// was answered with a 2xx by the URL, in the order given.
///
/// Waiting for something that Millrace itself is short of, such as connections, is not a try at the sink.
///
/// # Caveats
/// A Broker takes all of a call's events or none. A URL takes them one by one: after an error some may have
/// arrived.
pub struct Outlet {
    target: Target,
    intake: Arc<dyn Intake>,
    /// The source.
    sender: InnerSender,
    /// What requests to a URL show.
    auth: Option<Arc<Auth>>,
    share: Share,
    /// The longest that one request to a URL may take, unless the document says that.
    timeout: Duration,
    /// Connections not in use; no more than were in use at once.
    idle: Mutex<Vec<Connection>>,
    /// Extension attributes that every event gets.
    overrides: Vec<(String, String)>,
    /// How a URL is tried, where the document says that.
    patience: Option<Patience>,
    report: Report,
}

/// Why the sink has not taken an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotTaken {
    /// A stable word, as in problem+json and in metrics: what intake says, `sink-refused`,
    /// `sink-unreachable`, `bad-override`, `retries-exhausted`.
    pub code: &'static str,
    /// A sentence for people.
    pub reason: String,
    /// Whether the same event may be taken later.
    pub is_temporary: bool,
    /// When to come back, where the sink said so.
    pub retry_after: Option<Duration>,
}

/// The first wait before events are offered again, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

// === impl Outlet ===

impl Outlet {
    /// The way to `target` for that source. A request to a URL may take as long as `timeout`.
    /// `share` is the source's share of outgoing connections.
    pub fn new(
        target: &Target,
        source: &SourceKey,
        overrides: Vec<(String, String)>,
        intake: Arc<dyn Intake>,
        share: Share,
        timeout: Duration,
        report: Report,
    ) -> Self {
        Self {
            target: target.clone(),
            intake,
            sender: InnerSender {
                kind: source.kind.as_str(),
                name: source.name.clone(),
            },
            auth: None,
            share,
            timeout,
            idle: Mutex::default(),
            overrides,
            patience: None,
            report,
        }
    }

    /// The same, with what the document says of how a URL is tried.
    #[must_use]
    pub fn with_patience(self, patience: Option<Patience>) -> Self {
        Self { patience, ..self }
    }

    /// The same, with what requests to a URL show.
    #[must_use]
    pub fn with_auth(self, auth: Option<Arc<Auth>>) -> Self {
        Self { auth, ..self }
    }

    /// Whether it takes many events at the price of one, all or none: a Broker does, a URL takes them one by
    /// one.
    pub fn takes_batches(&self) -> bool {
        self.batches().is_some()
    }

    fn batches(&self) -> Option<Batches<'_>> {
        target::batches(&self.target, &*self.intake, &self.sender)
    }

    /// Offers the events once.
    ///
    /// # Errors
    /// The first refusal; [`NotTaken::is_temporary`] says whether to offer them again.
    pub async fn offer(&self, events: &[Event]) -> Result<(), NotTaken> {
        let events = self.overridden(events)?;
        let pushed = self.push(&events, &CancellationToken::new()).await;
        pushed.map_err(|(_, refusal)| refusal)
    }

    /// Offers the events until they are taken. What is refused for now is offered again after a wait that
    /// grows up to 30 s, or as [`Outlet::with_patience`] says. Drop the future to give up.
    ///
    /// # Errors
    /// A refusal for good, of the first event that meets one; those before it are taken, or (Broker) none of
    /// the call's.
    pub async fn deliver(&self, events: &[Event]) -> Result<(), NotTaken> {
        self.deliver_unless(events, &CancellationToken::new())
            .await
            .map(|_| ())
    }

    /// As [`Outlet::deliver`], but gives up when `shutdown` comes; says whether the events are taken. What is
    /// under way then ends first, only no wait begins.
    ///
    /// # Errors
    /// As [`Outlet::deliver`].
    pub async fn deliver_unless(
        &self,
        events: &[Event],
        shutdown: &CancellationToken,
    ) -> Result<bool, NotTaken> {
        let events = self.overridden(events)?;
        let mut rest = &*events;
        let (mut waits, mut retries) = (Waits::new(WAITS), 0);
        while let Err((taken, refusal)) = self.push(rest, shutdown).await {
            if refusal == NotTaken::at_the_end() {
                return Ok(false);
            }
            if !refusal.is_temporary {
                return Err(refusal);
            }
            if taken > 0 {
                rest = &rest[taken..];
                waits.begin_anew();
                retries = 0;
            }
            let wait = match self.url_patience() {
                Some(patience) if patience.retry.is_some_and(|most| retries >= most) => {
                    return Err(given_up(&refusal, retries));
                }
                Some(patience) => backoff::wait(&patience.policy, retries, refusal.retry_after, 0.0),
                None => {
                    let wait = waits.next();
                    wait.max(refusal.retry_after.unwrap_or_default()).min(WAITS.1)
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(false),
                () = tokio::time::sleep(wait) => {}
            }
            retries = retries.saturating_add(1);
        }
        Ok(true)
    }

    /// How this URL is tried, if it is one and the document says that.
    fn url_patience(&self) -> Option<&Patience> {
        self.patience.as_ref().filter(|_| !self.takes_batches())
    }

    fn overridden<'a>(&self, events: &'a [Event]) -> Result<Cow<'a, [Event]>, NotTaken> {
        if self.overrides.is_empty() {
            return Ok(Cow::Borrowed(events));
        }
        let edit = |event: &Event| {
            let edited = self.overrides.iter().fold(event.edit(), |edited, (name, value)| {
                edited.attribute(name, value)
            });
            edited.build().map_err(|invalid| NotTaken {
                code: "bad-override",
                reason: format!("with its `ceOverrides` the event is invalid: {invalid}"),
                is_temporary: false,
                retry_after: None,
            })
        };
        events.iter().map(edit).collect()
    }

    /// One try; an error tells how many events were taken before it. A shortage is waited out until
    /// `shutdown`.
    async fn push(&self, events: &[Event], shutdown: &CancellationToken) -> Result<(), (usize, NotTaken)> {
        let pushed = match self.batches() {
            Some(batches) => {
                let offered = batches.offer(events.to_vec()).await;
                offered.map_err(|refusal| (0, NotTaken::from(refusal)))
            }
            None => self.post_all(events, shutdown).await,
        };
        match &pushed {
            Ok(()) => self.report.taken(events.len()),
            Err((taken, refusal)) => {
                if *taken > 0 {
                    self.report.taken(*taken);
                }
                if *refusal != NotTaken::at_the_end() {
                    self.report.not_taken(refusal.code, &refusal.reason);
                }
            }
        }
        pushed
    }

    async fn post_all(
        &self,
        events: &[Event],
        shutdown: &CancellationToken,
    ) -> Result<(), (usize, NotTaken)> {
        for (taken, event) in events.iter().enumerate() {
            self.post(event, shutdown)
                .await
                .map_err(|refusal| (taken, refusal))?;
        }
        Ok(())
    }

    async fn post(&self, event: &Event, shutdown: &CancellationToken) -> Result<(), NotTaken> {
        let policy = self.patience.as_ref().map(|patience| &patience.policy);
        let request = Request {
            event,
            origin: Origin::Producer(self.sender.clone()),
            outgoing: Outgoing::default(),
            format: policy.map_or(Format::Binary, |policy| policy.format),
            namespace: self.sender.name.namespace(),
            wants_reply: false,
            timeout: policy.map_or(self.timeout, |policy| policy.timeout),
            sender: self.auth.as_ref().map(|auth| Sender {
                auth,
                name: &self.sender.name,
                stage: "sink",
            }),
        };
        let kept = self.idle.lock().pop();
        let mut connection = kept.unwrap_or_else(|| self.share.slot());
        let outcome = loop {
            let tried = target::try_attempt(&self.target, &request, &*self.intake, &mut connection).await;
            let shortage = match tried {
                Ok(outcome) => break outcome,
                Err(shortage) => shortage,
            };
            self.report.failed(shortage.to_string());
            tokio::select! {
                () = connection.room(shortage) => {}
                () = shutdown.cancelled() => return Err(NotTaken::at_the_end()),
            }
        };
        connection.rest();
        self.idle.lock().push(connection);
        match outcome {
            Outcome::Done { .. } | Outcome::Reply(_) | Outcome::BadReply(_) => Ok(()),
            Outcome::Failed(failure) => Err(NotTaken::from(failure)),
            Outcome::Refused(refusal) => Err(NotTaken::from(refusal)),
        }
    }
}

fn given_up(refusal: &NotTaken, retries: u32) -> NotTaken {
    NotTaken {
        code: "retries-exhausted",
        reason: match retries {
            1 => format!("{} (given up after 1 retry)", refusal.reason),
            _ => format!("{} (given up after {retries} retries)", refusal.reason),
        },
        is_temporary: false,
        retry_after: None,
    }
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Outlet").field(&self.target).finish()
    }
}

// === impl NotTaken ===

impl NotTaken {
    /// The error when the shutdown came during a wait for something of our own.
    fn at_the_end() -> Self {
        Self {
            code: "shutting-down",
            reason: "the process is about to end".to_owned(),
            is_temporary: true,
            retry_after: None,
        }
    }
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code(),
            reason: refusal.to_string(),
            is_temporary: refusal.is_temporary(),
            retry_after: match refusal {
                Refusal::Full { retry_after, .. } => Some(retry_after),
                _ => None,
            },
        }
    }
}

impl From<Failure> for NotTaken {
    fn from(failure: Failure) -> Self {
        Self {
            code: if failure.status.is_some() || failure.is_about_event {
                "sink-refused"
            } else {
                "sink-unreachable"
            },
            reason: format!("the sink has not taken the event: {}", failure.reason),
            is_temporary: failure.verdict == Verdict::Again || !failure.is_about_event,
            retry_after: failure.retry_after,
        }
    }
}
