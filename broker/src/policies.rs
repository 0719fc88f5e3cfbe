//! Asks the policies of a Broker about an event, whichever way it comes.

use std::sync::Arc;

use millrace_event::{Event, ObjectName, Origin, Refusal};
use millrace_filter::Turns;
use millrace_model::EventPolicy;
use millrace_model::event_policy::{
    self, Asking, Beforehand, DefaultMode, FirstRefused, From, Later, Policies, Ruling,
};

/// What policies still ask of events once their sender is known.
#[derive(Debug)]
pub(crate) enum Left {
    /// Nothing: they may come in.
    Nothing,
    /// The filters of these policies.
    Filters(Vec<Arc<EventPolicy>>),
}

/// Who sends, before there is an event.
///
/// # Errors
/// They may not, whatever they send.
pub(crate) fn ask(
    broker: &ObjectName,
    policies: &Policies,
    subject: &str,
    default: DefaultMode,
) -> Result<Left, Ruling> {
    match policies.beforehand(broker, From::named(subject), default) {
        Beforehand::Decided(ruling) if ruling.is_allowed() => Ok(Left::Nothing),
        Beforehand::Decided(ruling) => Err(ruling),
        Beforehand::Asks(policies) => Ok(Left::Filters(policies)),
    }
}

/// The place of the first event that may not come in. What takes long is decided in turns with all that takes
/// long.
pub(crate) async fn first_refused(left: Left, events: Vec<Event>, turns: &Turns) -> FirstRefused {
    let Left::Filters(asked) = left else { return None };
    match event_policy::first_refused_briefly(&asked, &events) {
        Ok(found) => found,
        Err(Later) => {
            let asking = Asking::new(asked, events);
            turns.work(asking, Asking::slice).await.refused()
        }
    }
}

/// What senders within the process are told.
pub(crate) fn refusal(ruling: &Ruling, origin: &Origin) -> Refusal {
    Refusal::NotAllowed {
        code: code(ruling),
        reason: format!("{} is {ruling}", origin.sender()),
    }
}

fn code(ruling: &Ruling) -> &'static str {
    match ruling {
        Ruling::DeniedByDefault(_) => "denied-by-default",
        Ruling::NoneAllows | Ruling::AllowedBy(_) | Ruling::AllowedByDefault(_) => "no-policy-allows",
    }
}
