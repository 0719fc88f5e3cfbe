//! An event as filters see it: its attributes, and its data parsed when the first clause asks for it.

use std::cell::{Cell, OnceCell};

use millrace_event::Event;

use crate::jsonpath;
use crate::value::{self, Value};

/// One event, for as many filters as there are.
///
/// # Guarantees
/// The data is parsed at most once however many clauses ask for it, and not at all when none does.
#[derive(Debug)]
pub struct Subject<'e> {
    event: &'e Event,
    json: OnceCell<Result<Json<'e>, NoJson>>,
    errors: Cell<u32>,
}

/// Data that is JSON.
#[derive(Debug)]
pub(crate) struct Json<'e> {
    pub(crate) value: Value<'e>,
    weight: OnceCell<usize>,
    has_beyond: OnceCell<bool>,
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
            event,
            json: OnceCell::new(),
            errors: Cell::new(0),
        }
    }

    /// The event.
    pub fn event(&self) -> &'e Event {
        self.event
    }

    /// Whether a clause has asked for the data.
    pub fn was_parsed(&self) -> bool {
        self.json.get().is_some()
    }

    /// How many clauses could not be evaluated for it: an expression had an error, data that is said to be JSON is none,
    /// or a path would have cost too much.
    pub fn errors(&self) -> u32 {
        self.errors.get()
    }

    pub(crate) fn note_error(&self) {
        self.errors.set(self.errors.get().saturating_add(1));
    }

    /// The data as JSON.
    pub(crate) fn json(&self) -> Result<&Json<'e>, &NoJson> {
        self.json.get_or_init(|| parse(self.event)).as_ref()
    }
}

fn parse(event: &Event) -> Result<Json<'_>, NoJson> {
    if event.data_ref().is_none() {
        return Err(NoJson::Absent);
    }
    let Some(data) = event.json() else {
        let media = event.get("datacontenttype").map(|value| value.text.to_owned());
        return Err(NoJson::OtherType(media));
    };
    match value::read(data) {
        Ok(value) => Ok(Json {
            value,
            weight: OnceCell::new(),
            has_beyond: OnceCell::new(),
        }),
        Err(error) => Err(NoJson::Broken(error.to_string())),
    }
}

// === impl Json ===

impl Json<'_> {
    /// The cost of visiting every value of it once.
    pub(crate) fn weight(&self) -> usize {
        *self.weight.get_or_init(|| jsonpath::weight(&self.value))
    }

    /// Whether there is a number beyond 64 bits in it.
    pub(crate) fn has_beyond(&self) -> bool {
        *self.has_beyond.get_or_init(|| self.value.has_beyond())
    }
}
