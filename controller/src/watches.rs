//! The watches that are open: each is a task, opened when something is wanted of it and closed when nothing
//! is.

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::watch::{self, Sighting, Watched};

/// Sightings that wait to be taken in; a watch with more waits. A complete list is one sighting.
const QUEUE: usize = 1024;

/// The open watches. Dropping them closes them.
#[derive(Debug)]
pub(crate) struct Watches {
    open: BTreeMap<Watched, Task>,
    sightings: mpsc::Sender<Sighting>,
}

/// A watch at work.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Watches ===

impl Watches {
    /// No watch yet, and where what they see arrives.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Sighting>) {
        let (sightings, seen) = mpsc::channel(QUEUE);
        let open = BTreeMap::new();
        (Self { open, sightings }, seen)
    }

    /// Opens and closes watches, so that exactly these are open.
    pub(crate) fn want(&mut self, client: &Client, watched: &BTreeSet<Watched>) {
        self.open.retain(|one, _| watched.contains(one));
        for one in watched {
            if !self.open.contains_key(one) {
                let follow = watch::follow(client.clone(), one.clone(), self.sightings.clone());
                let task = Task(tokio::spawn(follow).abort_handle());
                self.open.insert(one.clone(), task);
            }
        }
    }

    /// Whether that watch is open. One that was closed may still have been heard.
    pub(crate) fn is_open(&self, watched: &Watched) -> bool {
        self.open.contains_key(watched)
    }
}
