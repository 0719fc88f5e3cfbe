//! Passes on what happens to events: to the feed of the admin API, and to the terminal of `millrace dev`.

use millrace_admin::TailFeed;
use millrace_admin::feed::Happened;
use millrace_trigger_dispatcher::{Observation, Observer};

use crate::dev::show::Show;

/// An observer for both. While nobody follows the feed and nothing is shown it costs a look at a number.
pub(super) fn observer(feed: TailFeed, show: Option<Show>) -> Observer {
    let asked = feed.clone();
    let tell = move |observation: &Observation<'_>| {
        if let Some(show) = show {
            show.observed(observation);
        }
        if feed.is_followed() {
            publish(&feed, observation);
        }
    };
    Observer::new(tell, move || show.is_some() || asked.is_followed())
}

fn publish(feed: &TailFeed, observation: &Observation<'_>) {
    match observation {
        Observation::Matched {
            broker,
            position,
            event,
            triggers,
        } => feed.publish(broker, *position, event, Happened::Routed(triggers.to_vec())),
        Observation::Attempted {
            broker,
            event,
            target,
            attempt,
        } => {
            let attempted = Happened::Attempted {
                attempt: (*attempt).clone(),
                target: (*target).to_owned(),
            };
            feed.publish(broker, attempt.position, event, attempted);
        }
    }
}
