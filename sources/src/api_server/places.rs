//! The places that are watched, each with a watch for each kind: opened, left, and remembered. So objects
//! that end with a namespace while no run is there are reported all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Shared;
use super::remember::Remembered;
use super::select::{Scope, Selection};
use super::watch::Watch;
use crate::SourceError;

/// All watches of a source.
pub(super) struct Places {
    shared: Arc<Shared>,
    shutdown: CancellationToken,
    tasks: JoinSet<(Scope, Result<(), SourceError>)>,
    open: BTreeMap<Scope, Open>,
    /// The matching namespaces as last told.
    wanted: BTreeSet<String>,
    /// Whether they have been told at all.
    is_begun: bool,
}

/// A place with watches at work.
struct Open {
    watches: usize,
    left: CancellationToken,
}

/// The most watches of one source.
const MAX_WATCHES: usize = 1_000;
/// Under this name stand the matching namespaces that have been opened and not yet left.
const OPENED: &str = "namespaces";

// === impl Places ===

impl Places {
    pub(super) fn new(shared: &Arc<Shared>, shutdown: &CancellationToken) -> Self {
        Self {
            shared: shared.clone(),
            shutdown: shutdown.clone(),
            tasks: JoinSet::new(),
            open: BTreeMap::new(),
            wanted: BTreeSet::new(),
            is_begun: false,
        }
    }

    /// Watches every kind in this place from now on.
    pub(super) fn open(&mut self, place: Scope) {
        let left = CancellationToken::new();
        let selections = Selection::all(&self.shared.spec, &place);
        let open = Open {
            watches: selections.len(),
            left: left.clone(),
        };
        for selection in selections {
            let watch = Watch {
                shared: self.shared.clone(),
                selection,
                left: left.clone(),
                shutdown: self.shutdown.clone(),
            };
            let place = place.clone();
            let watched = async move { (place, watch.run().await) };
            self.tasks.spawn(watched.in_current_span());
        }
        self.open.insert(place, open);
    }

    /// The next watch that ends, and how. May be dropped while it waits.
    pub(super) async fn ended(&mut self) -> Result<Scope, SourceError> {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Err(error)) => Err(broken(&error)),
            Some(Ok((place, ended))) => ended.map(|()| place),
        }
    }

    /// Waits until all watches have ended.
    pub(super) async fn all_ended(mut self) -> Result<(), SourceError> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|error| broken(&error))?.1?;
        }
        Ok(())
    }

    /// Opens and leaves places, so that these matching namespaces are those that are looked at.
    pub(super) async fn set(&mut self, names: &BTreeSet<String>) -> Result<(), SourceError> {
        self.wanted = self.within_bound(names);
        for (place, open) in &self.open {
            if let Scope::Matching(name) = place
                && !self.wanted.contains(name)
            {
                open.left.cancel();
            }
        }
        let opened = if std::mem::replace(&mut self.is_begun, true) {
            Some(BTreeSet::new())
        } else {
            self.opened().await?
        };
        let known = opened.clone().unwrap_or_default();
        let place = |name: &String| Scope::Matching(name.clone());
        let new: Vec<String> = self
            .wanted
            .iter()
            .filter(|name| !self.open.contains_key(&place(name)))
            .cloned()
            .collect();
        // If nothing is remembered at all, existing objects are not news.
        for name in new
            .iter()
            .filter(|name| opened.is_some() && !known.contains(*name))
        {
            self.begin_empty(&place(name)).await?;
        }
        self.remember(&known).await?;
        new.iter().for_each(|name| self.open(place(name)));
        for gone in known.difference(&self.wanted.clone()) {
            self.open(place(gone));
            self.open[&place(gone)].left.cancel();
        }
        Ok(())
    }

    /// A watch of this place has ended; after the last one it is left.
    pub(super) async fn one_less(&mut self, place: &Scope) -> Result<(), SourceError> {
        let Some(open) = self.open.get_mut(place) else {
            return Ok(());
        };
        open.watches = open.watches.saturating_sub(1);
        if open.watches > 0 || self.shutdown.is_cancelled() {
            return Ok(());
        }
        self.open.remove(place);
        match place {
            // It came back while it was being left.
            Scope::Matching(name) if self.wanted.contains(name) => {
                self.begin_empty(place).await?;
                self.open(place.clone());
            }
            _ => self.remember(&BTreeSet::new()).await?,
        }
        Ok(())
    }

    /// Objects in a place that has just come are new: they are compared with nothing.
    async fn begin_empty(&self, place: &Scope) -> Result<(), SourceError> {
        for selection in Selection::all(&self.shared.spec, place) {
            let mut told = Remembered::load(&self.shared.context.memory, &selection.name()).await?;
            if !told.is_begun() {
                told.begin(&selection.view(self.shared.origin.url()));
                told.save().await?;
            }
        }
        Ok(())
    }

    /// The namespaces that were opened before; `None`: there were never any.
    async fn opened(&self) -> Result<Option<BTreeSet<String>>, SourceError> {
        let Some(text) = self.shared.context.memory.get(OPENED).await? else {
            return Ok(None);
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            SourceError::Unusable(format!("the remembered namespaces cannot be read: {error}"))
        })
    }

    /// Stores those that are wanted, those that are being left, and these.
    async fn remember(&self, more: &BTreeSet<String>) -> Result<(), SourceError> {
        let open = self.open.keys().filter_map(Scope::namespace);
        let all: BTreeSet<&str> = open
            .chain(self.wanted.iter().map(String::as_str))
            .chain(more.iter().map(String::as_str))
            .collect();
        let text = serde_json::to_vec(&all).map_err(|error| SourceError::Unusable(error.to_string()))?;
        Ok(self.shared.context.memory.put(OPENED, text).await?)
    }

    fn within_bound(&self, names: &BTreeSet<String>) -> BTreeSet<String> {
        const PART: &str = "the number of namespaces";
        let room = MAX_WATCHES / self.shared.spec.resources.len().max(1);
        if names.len() > room {
            let why = format!("only {room} of {} are looked at", names.len());
            self.shared.standing.is_ill(PART, &why);
        } else {
            self.shared.standing.is_gone(PART);
        }
        names.iter().take(room).cloned().collect()
    }
}

fn broken(error: &tokio::task::JoinError) -> SourceError {
    SourceError::Unusable(format!("a watch broke down: {error}"))
}
