//! Lets tests make a task panic, to see that nothing is lost by it. Empty outside of tests.

#[cfg(test)]
pub(crate) use self::testing::{at, panic_at};
#[cfg(not(test))]
pub(crate) use self::{never as at, never as panic_at};

#[cfg(not(test))]
pub(crate) fn never(_: &crate::serving::Serving, _: crate::watched::Task, _: Option<&millrace_event::Event>) {
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use millrace_event::Event;
    use parking_lot::Mutex;

    use crate::serving::Serving;
    use crate::watched::Task;

    /// The panics still to come, how often each, and the tasks that are to be held.
    #[derive(Debug, Default)]
    pub(crate) struct Provoked(
        Mutex<Vec<(Task, Option<&'static str>, u32)>>,
        Mutex<Option<Holding>>,
    );

    /// A task that is to be held when it sees an event.
    #[derive(Debug)]
    struct Holding {
        task: Task,
        id: &'static str,
        /// How often it passes the event before it is held.
        passes: u32,
        reached: Sender<()>,
        until: Receiver<()>,
    }

    /// A task that is held, or will be.
    #[derive(Debug)]
    pub(crate) struct Held {
        pub(crate) reached: Receiver<()>,
        /// Sending here lets the task go on. Dropping the sender makes it panic.
        pub(crate) until: Sender<()>,
    }

    impl Provoked {
        /// Makes a task panic so often: when it sees the event of that id, or at its next turn if there is no
        /// id.
        pub(crate) fn panic(&self, task: Task, id: Option<&'static str>, times: u32) {
            self.0.lock().push((task, id, times));
        }

        /// Holds a task when it sees the event of that id, after it has passed that event `passes` times.
        pub(crate) fn hold(&self, task: Task, id: &'static str, passes: u32) -> Held {
            let (reached, was_reached) = channel();
            let (until, waits) = channel();
            *self.1.lock() = Some(Holding {
                task,
                id,
                passes,
                reached,
                until: waits,
            });
            Held {
                reached: was_reached,
                until,
            }
        }

        /// Panics that are still to come.
        pub(crate) fn left(&self) -> u32 {
            self.0.lock().iter().map(|(.., times)| times).sum()
        }
    }

    pub(crate) fn at(serving: &Serving, task: Task, event: Option<&Event>) {
        let is_held = |holding: &mut Holding| {
            let seen = holding.task == task && event.map(Event::id) == Some(holding.id);
            let passes = seen && holding.passes > 0;
            holding.passes -= u32::from(passes);
            seen && !passes
        };
        let holding = serving.common.provoked.1.lock().take_if(is_held);
        if let Some(holding) = holding {
            let _ = holding.reached.send(());
            if holding.until.recv().is_err() {
                panic!("held in the {task}");
            }
            return;
        }
        panic_at(serving, task, event);
    }

    /// A place where a task may panic but is never held.
    pub(crate) fn panic_at(serving: &Serving, task: Task, event: Option<&Event>) {
        let mut all = serving.common.provoked.0.lock();
        let wanted = all
            .iter_mut()
            .find(|(which, id, times)| *which == task && *id == event.map(Event::id) && *times > 0);
        let Some((.., times)) = wanted else { return };
        *times -= 1;
        drop(all);
        panic!("provoked in the {task}");
    }
}
