//! Turns an answer that cannot be taken as a reply into an event, so that it is stored, dead-lettered, parked
//! and shown like any other event.

use millrace_channel::Position;
use millrace_delivery::reply::Came;
use millrace_event::{DataForm, Event, EventBuilder, ObjectName, SpecVersion};

/// The type of such an event.
const TYPE: &str = "dev.millrace.reply.refused";
/// The prefix of attributes made from the answer's `ce-` headers.
const PREFIX: &str = "reply";

/// The event for an answer to `asked`, which lies at `position` and was delivered for the trigger.
///
/// Its data is the answer's body, and its `datacontenttype` the answer's. The answer's `ce-` headers are in
/// attributes whose names begin with `reply`. `askedid` and `askedsource` name the delivered event. Every
/// answer to the same event has the same `source` and `id`.
pub(crate) fn event(trigger: &ObjectName, position: Position, asked: &Event, came: &Came) -> Event {
    let said = came
        .attributes
        .iter()
        .map(|(name, text)| (format!("{PREFIX}{name}"), text.as_str()));
    let media_type = came.media_type.as_deref();
    let told = [("askedid", asked.id()), ("askedsource", asked.source())];
    let more = told
        .into_iter()
        .chain(media_type.map(|text| ("datacontenttype", text)))
        .map(|(name, text)| (name.to_owned(), text))
        .chain(said)
        // A broken answer may hold anything: a value that no attribute can hold is left out.
        .filter(|(name, text)| bare(trigger, position).attribute(name, text).build().is_ok());
    let mut event = bare(trigger, position);
    for (name, text) in more {
        event = event.attribute(&name, text);
    }
    // An answer's head is smaller than what an event may have in attributes.
    with_body(event, came).build().unwrap_or_else(|_| {
        let bare = with_body(bare(trigger, position), came).build();
        bare.expect("invariant: a name that Kubernetes allows makes a source")
    })
}

fn bare(trigger: &ObjectName, position: Position) -> EventBuilder {
    let (namespace, name) = (trigger.namespace(), trigger.name());
    let source = format!("/apis/eventing.knative.dev/v1/namespaces/{namespace}/triggers/{name}");
    Event::builder(SpecVersion::V10)
        .attribute("id", &format!("reply-to-{position}"))
        .attribute("source", &source)
        .attribute("type", TYPE)
}

fn with_body(event: EventBuilder, came: &Came) -> EventBuilder {
    if came.body.is_empty() {
        event
    } else {
        event.data(DataForm::Bytes, &came.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSITION: Position = Position {
        partition: 0,
        offset: 7,
    };

    fn of(came: &Came) -> Event {
        let asked = Event::builder(SpecVersion::V10)
            .attribute("id", "A-1")
            .attribute("source", "/shop")
            .attribute("type", "order.paid")
            .build()
            .expect("a valid event");
        event(&ObjectName::new("shop", "ship"), POSITION, &asked, came)
    }

    #[test]
    fn it_tells_what_the_answer_said_and_to_which_event() {
        let said = [
            ("type", "order.shipped"),
            ("time", "yesterday"),
            ("foo_bar", "no name"),
            ("bad", "a\tb"),
        ];
        let event = of(&Came {
            media_type: Some("Text/Plain".to_owned()),
            attributes: said.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
            body: "thanks".into(),
        });
        let attributes: Vec<_> = event
            .attributes()
            .map(|(name, value)| (name, value.text))
            .collect();
        let expected = [
            ("specversion", "1.0"),
            ("id", "reply-to-7"),
            (
                "source",
                "/apis/eventing.knative.dev/v1/namespaces/shop/triggers/ship",
            ),
            ("type", "dev.millrace.reply.refused"),
            ("askedid", "A-1"),
            ("askedsource", "/shop"),
            ("datacontenttype", "Text/Plain"),
            ("replytype", "order.shipped"),
            ("replytime", "yesterday"),
        ];
        assert_eq!(attributes, expected);
        assert_eq!(event.data().expect("data"), "thanks");
    }

    #[test]
    fn no_answer_is_too_broken_to_be_kept() {
        let long = "x".repeat(100_000);
        for (media_type, name) in [("", ""), ("no type", &*long), (&*long, "é")] {
            let event = of(&Came {
                media_type: Some(media_type.to_owned()),
                attributes: vec![(name.to_owned(), long.clone()); 3],
                body: Default::default(),
            });
            assert_eq!((event.ty(), event.data()), (TYPE, None));
        }
    }
}
