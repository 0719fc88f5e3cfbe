//! How large an event and a batch may be, in one place for HTTP, sources and replies.

use millrace_event::{Event, Refusal, http};

/// The limits. Inert data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Decoded data of one event, in bytes (`--max-event-bytes`). 1 MiB.
    pub event_bytes: usize,
    /// Events of a batch. 1 000.
    pub batch_events: usize,
    /// Bytes of a batch: of its body over HTTP, of its data together otherwise. 8 MiB.
    pub batch_bytes: usize,
}

/// What the body of one structured event may have beside its data: attributes (of which an event has 64 KiB
/// at most) with what JSON needs to write them down.
const AROUND_DATA: usize = 128 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_bytes: 1024 * 1024,
            batch_events: 1000,
            batch_bytes: 8 * 1024 * 1024,
        }
    }
}

// === impl Limits ===

impl Limits {
    /// The longest body in that mode. Data in a structured event may be Base64, which makes four bytes of
    /// three.
    pub fn body_bytes(&self, mode: http::Mode) -> usize {
        match mode {
            http::Mode::Binary => self.event_bytes,
            http::Mode::Structured => (self.event_bytes.div_ceil(3) * 4).saturating_add(AROUND_DATA),
            http::Mode::Batch => self.batch_bytes,
        }
    }

    /// The longest body of any mode.
    pub fn largest_body(&self) -> usize {
        let modes = [http::Mode::Binary, http::Mode::Structured, http::Mode::Batch];
        modes
            .map(|mode| self.body_bytes(mode))
            .into_iter()
            .fold(0, usize::max)
    }

    /// The limits for decoding.
    pub(crate) fn decoding(&self) -> http::Limits {
        http::Limits {
            event_bytes: self.event_bytes,
            batch_events: self.batch_events,
            ..http::Limits::default()
        }
    }

    /// Checks events that are values already, and gives their data's length together.
    pub(crate) fn check(&self, events: &[Event]) -> Result<usize, Refusal> {
        if events.len() > self.batch_events {
            let text = format!("the batch has more than {} events", self.batch_events);
            return Err(Refusal::TooLarge(text));
        }
        let mut total = 0_usize;
        for event in events {
            let data = event.data_len();
            if data > self.event_bytes {
                let text = format!("the event's data is larger than {} bytes", self.event_bytes);
                return Err(Refusal::TooLarge(text));
            }
            total = total.saturating_add(data);
        }
        if events.len() > 1 && total > self.batch_bytes {
            let text = format!("the batch has more than {} bytes of data", self.batch_bytes);
            return Err(Refusal::TooLarge(text));
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use millrace_event::{DataForm, SpecVersion};

    use super::*;

    fn event(data: usize) -> Event {
        let builder = Event::builder(SpecVersion::V10)
            .attribute("id", "1")
            .attribute("source", "/s");
        builder
            .attribute("type", "t")
            .data(DataForm::Bytes, &vec![0; data])
            .build()
            .unwrap()
    }

    #[test]
    fn each_limit_holds_at_its_edge_and_not_beyond() {
        let limits = Limits {
            event_bytes: 10,
            batch_events: 3,
            batch_bytes: 15,
        };
        let table: [(&[usize], Option<usize>); 7] = [
            (&[], Some(0)),
            (&[10], Some(10)),
            (&[11], None),
            (&[5, 5, 5], Some(15)),
            (&[5, 5, 6], None),
            (&[1, 1, 1, 1], None),
            (&[0, 11], None),
        ];
        for (sizes, expected) in table {
            let events: Vec<_> = sizes.iter().map(|size| event(*size)).collect();
            assert_eq!(limits.check(&events).ok(), expected, "{sizes:?}");
        }
    }

    #[test]
    fn a_structured_body_has_room_for_base64_of_the_largest_data() {
        let limits = Limits::default();
        assert_eq!(limits.body_bytes(http::Mode::Binary), limits.event_bytes);
        assert!(limits.body_bytes(http::Mode::Structured) >= limits.event_bytes * 4 / 3 + 64 * 1024);
    }
}
