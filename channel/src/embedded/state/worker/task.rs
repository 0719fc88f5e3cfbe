//! What waits for the worker: changes that become one transaction, and questions.

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::embedded::state::StateError;
use crate::embedded::state::holds::Held;

/// What a job brings about beyond the database, once it is durable.
#[derive(Default)]
pub(in crate::embedded::state) struct Effects {
    /// Changes of what holds the log's segments.
    pub(in crate::embedded::state) holds: Vec<Held>,
    /// A command changed something: the dispatcher shall look.
    pub(in crate::embedded::state) command: bool,
    /// Done on the same thread after the commit and before the next job, so that nothing can be committed in
    /// between.
    pub(in crate::embedded::state) then: Option<Box<dyn FnOnce() + Send>>,
}

/// One change that waits. It may be run again when the transaction around it failed.
pub(in crate::embedded::state) trait Job: Send {
    fn run(&mut self, db: &Connection) -> Result<Effects, StateError>;
    fn answer(self: Box<Self>, outcome: Result<(), StateError>);
}

/// One short question. It gets the database as it was committed last, or why that cannot be opened.
pub(in crate::embedded::state) type Question = Box<dyn FnOnce(Result<&Connection, StateError>) + Send>;

/// What waits for the worker.
pub(in crate::embedded::state) enum Order {
    /// A part of the next transaction.
    Change(Box<dyn Job>),
    /// It waits for no transaction but the one under way.
    Answer(Question),
}

/// A job made of a closure, and the caller that waits for its value.
pub(in crate::embedded::state) struct Task<F, T> {
    work: F,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, StateError>>,
}

// === impl Task ===

impl<F, T> Task<F, T>
where
    F: FnMut(&Connection, &mut Effects) -> Result<T, StateError> + Send + 'static,
    T: Send + 'static,
{
    /// The change and where its answer comes.
    pub(in crate::embedded::state) fn with_answer(
        work: F,
    ) -> (Order, oneshot::Receiver<Result<T, StateError>>) {
        let (reply, answer) = oneshot::channel();
        let task = Self {
            work,
            value: None,
            reply,
        };
        (Order::Change(Box::new(task)), answer)
    }
}

impl<F, T> Job for Task<F, T>
where
    F: FnMut(&Connection, &mut Effects) -> Result<T, StateError> + Send,
    T: Send,
{
    fn run(&mut self, db: &Connection) -> Result<Effects, StateError> {
        let mut effects = Effects::default();
        self.value = Some((self.work)(db, &mut effects)?);
        Ok(effects)
    }

    fn answer(self: Box<Self>, outcome: Result<(), StateError>) {
        let Self { value, reply, .. } = *self;
        // The caller may be gone; the change is made all the same.
        let _ = reply.send(outcome.and_then(|()| value.ok_or(StateError::Closed)));
    }
}
