//! What `millrace dev` shows of each event: one line when it is accepted, matched and answered.

use std::io::{IsTerminal as _, Write as _};

use millrace_event::Event;
use millrace_trigger_dispatcher::Observation;

/// Prints the lines, in colour on a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Show {
    colour: bool,
}

// === impl Show ===

impl Show {
    pub(crate) fn new() -> Self {
        Self {
            colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// What the dispatcher does with an event.
    pub(crate) fn observed(self, observation: &Observation<'_>) {
        match observation {
            Observation::Matched { event, triggers, .. } => {
                // The router reads only what is stored, so this is also the news that it was accepted.
                self.line(
                    "36",
                    "accepted",
                    event,
                    &format!("from {}, stored", event.source()),
                );
                let names: Vec<_> = triggers.iter().map(ToString::to_string).collect();
                let what = if names.is_empty() {
                    "no trigger".to_owned()
                } else {
                    format!("trigger {}", names.join(", "))
                };
                self.line(
                    if names.is_empty() { "33" } else { "34" },
                    "matched",
                    event,
                    &what,
                );
            }
            Observation::Attempted {
                event,
                target,
                attempt,
                ..
            } => {
                let good = attempt.is_taken();
                let number = match attempt.attempt {
                    0 => String::new(),
                    n => format!(" (attempt {})", u64::from(n) + 1),
                };
                let (said, trigger, millis) = (attempt.in_words(), &attempt.trigger, attempt.millis);
                let what = format!("{said} from {target} for {trigger} in {millis} ms{number}");
                self.line(
                    if good { "32" } else { "31" },
                    if good { "answered" } else { "failed" },
                    event,
                    &what,
                );
            }
        }
    }

    fn line(self, colour: &str, word: &str, event: &Event, what: &str) {
        let (on, off) = if self.colour {
            (format!("\x1b[{colour}m"), "\x1b[0m")
        } else {
            (String::new(), "")
        };
        let (id, ty) = (printable(event.id()), printable(event.ty()));
        let line = format!("{on}{word:<9}{off} {ty}  id {id}  {}\n", printable(what));
        // A closed terminal is no reason to stop serving.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}

/// Text from outside must not move the cursor or change colours.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_control_the_terminal() {
        assert_eq!(printable("a\x1b[31mb\n"), "a\u{fffd}[31mb\u{fffd}");
        assert_eq!(printable(&"x".repeat(500)).len(), 200);
    }
}
