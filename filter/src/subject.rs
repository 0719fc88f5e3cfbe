//! An event as filters see it: its attributes, and its data parsed when the first clause asks for it.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use millrace_event::Event;

use crate::json::Json;
use crate::meter::Meter;

/// One event, for as many filters as there are.
///
/// # Guarantees
/// The data is parsed at most once however many clauses ask for it, and not at all when none does.
#[derive(Debug)]
pub struct Subject<'e> {
    event: Cow<'e, Event>,
    json: OnceCell<Result<Json, NoJson>>,
    errors: Cell<u32>,
}

/// Why there is no JSON.
#[derive(Debug)]
pub(crate) enum NoJson {
    /// There is no data.
    Absent,
    /// The data is said to be something else, or nothing is said of it; here is the media type.
    OtherType(Option<String>),
    /// It is said to be JSON and is not, or it is nested deeper than 128 levels.
    Broken(String),
}

// === impl Subject ===

impl<'e> Subject<'e> {
    /// The event, not parsed yet.
    pub fn new(event: &'e Event) -> Self {
        Self {
            event: Cow::Borrowed(event),
            json: OnceCell::new(),
            errors: Cell::new(0),
        }
    }

    /// The same with its own reference to the event, so that it can move to another thread. What was parsed
    /// goes along.
    pub fn into_owned(self) -> Subject<'static> {
        Subject {
            event: Cow::Owned(self.event.into_owned()),
            json: self.json,
            errors: self.errors,
        }
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Whether a clause has asked for the data.
    pub fn was_parsed(&self) -> bool {
        self.json.get().is_some()
    }

    /// How many clauses could not be evaluated: an expression had an error, or data declared as JSON was not
    /// JSON.
    pub fn errors(&self) -> u32 {
        self.errors.get()
    }

    pub(crate) fn note_errors(&self, errors: u32) {
        self.errors.set(self.errors.get().saturating_add(errors));
    }

    /// The data as JSON; `None`: there is no time to parse it here.
    pub(crate) fn json(&self, meter: &Meter<'_>) -> Option<Result<&Json, &NoJson>> {
        if self.json.get().is_none() {
            let bytes = self.event.json().map_or(0, <[u8]>::len);
            meter.may_parse(bytes).ok()?;
        }
        Some(self.json.get_or_init(|| parse(&self.event)).as_ref())
    }
}

fn parse(event: &Event) -> Result<Json, NoJson> {
    if event.data_ref().is_none() {
        return Err(NoJson::Absent);
    }
    let Some(data) = event.json() else {
        let media = event.get("datacontenttype").map(|value| value.text.to_owned());
        return Err(NoJson::OtherType(media));
    };
    Json::parse(data).map_err(|error| NoJson::Broken(error.to_string()))
}
