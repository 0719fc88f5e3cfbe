//! Paths: what they find, what is admitted, and what they cost.

mod admitted;
mod cost;
mod holds;
mod selects;

use millrace_event::{DataForm, Event, SpecVersion};

use super::*;
use crate::explain::Verdict;
use crate::{Compiled, Filter, Scalar};

/// An event with this data under this media type.
fn event(media: &str, data: &str) -> Event {
    let mut builder = Event::builder(SpecVersion::V10)
        .attribute("id", "1")
        .attribute("source", "/s")
        .attribute("type", "t");
    if !media.is_empty() {
        builder = builder.attribute("datacontenttype", media);
    }
    if !data.is_empty() {
        builder = builder.data(DataForm::Bytes, data.as_bytes());
    }
    builder.build().expect("a valid event")
}

fn explained(filter: Filter, event: &Event) -> (Verdict, String) {
    let compiled = Compiled::new(&[filter]).expect("a valid filter");
    let explanation = compiled.explain(event);
    assert_eq!(explanation.matched, compiled.matches(event));
    let clause = explanation.decided_by.expect("a clause decided");
    assert_eq!(clause.held(), explanation.matched);
    (clause.verdict, clause.because)
}
