//! The lookups that run: how many at one time, for whom, and on which threads.
//!
//! The system's resolver blocks a thread for as long as it likes, and nothing can stop it
//! (`docs/decisions/0010-name-lookups.md`). So each lookup has a thread of its own, of which there are at
//! most `max_lookups`, shared by the rules of [`crate::shares`]. A name that was answered last time may take
//! the last free thread. An unknown name leaves an eighth of the threads free, and a name that took too long
//! before leaves half. So names that no server answers take at most half of the threads in the long run,
//! however many they are.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_model::Shortage;
use tokio::sync::oneshot;

use crate::permits::{Pending, Permits, Shown};
use crate::shares::{Asking, OwnerId, Rank};
use crate::shortage;

/// How soon a thread that the machine refused is asked for again.
const AGAIN: Duration = Duration::from_millis(100);

/// The stack of a lookup's thread. It is larger than the usual least, as the library may ask other services.
const STACK: usize = 512 << 10;

/// The result of a lookup: at least one address.
pub(crate) type LookupResult = Result<Arc<[IpAddr]>, Missing>;

/// Why there is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Something of our own was short.
    Short(Shortage),
    /// The name is not known, or no server answered.
    NotFound(String),
}

type Ask = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Runs lookups.
pub(crate) struct Lookups {
    ask: Arc<Ask>,
    permits: Arc<Permits>,
}

/// How many threads must stay free when this lookup gets one.
fn kept(asking: Asking) -> usize {
    let of_rank = match asking.rank {
        Rank::Quick => 0,
        Rank::Usual => asking.limit / 8,
        Rank::Slow => asking.limit / 2,
    };
    let of_share = if asking.held < asking.share.max(2) {
        0
    } else {
        asking.limit / 4
    };
    of_rank.max(of_share)
}

// === impl Lookups ===

impl Lookups {
    pub(crate) fn new(
        limit: usize,
        shown: Shown,
        ask: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            ask: Arc::new(ask),
            permits: Permits::new(limit, kept, shown),
        }
    }

    /// A place in the line for one more lookup.
    pub(crate) fn ask(&self, owner: OwnerId, rank: Rank) -> Pending {
        self.permits.ask(owner, rank)
    }

    /// Begins a lookup on a thread of its own.
    ///
    /// # Errors
    /// When the machine gives no thread for it.
    pub(crate) fn begin(&self, name: &str) -> io::Result<oneshot::Receiver<LookupResult>> {
        let (sender, found) = oneshot::channel();
        let (ask, name) = (Arc::clone(&self.ask), name.to_owned());
        std::thread::Builder::new()
            .name("lookup".to_owned())
            .stack_size(STACK)
            // Nobody may be waiting any more; the result is for those who are.
            .spawn(move || drop(sender.send(found_by(&*ask, &name))))?;
        Ok(found)
    }

    /// As `begin`, but waits until the machine has a thread.
    pub(crate) async fn begin_when_possible(&self, name: &str) -> oneshot::Receiver<LookupResult> {
        loop {
            match self.begin(name) {
                Ok(found) => return found,
                Err(error) => tracing::debug!(%error, "no thread for a name lookup; trying again"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn found_by(ask: &Ask, name: &str) -> LookupResult {
    match ask(name) {
        Ok(addresses) if addresses.is_empty() => Err(Missing::NotFound("it has no address".to_owned())),
        Ok(addresses) => Ok(addresses.into()),
        Err(error) => Err(match shortage::of(&error).or_else(shortage::of_descriptors) {
            Some(short) => Missing::Short(short),
            None => Missing::NotFound(cause(&error)),
        }),
    }
}

/// The system's reason, without the words that only say it was asked.
fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ")
        .unwrap_or(&text)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_answered_has_the_last_thread_and_one_that_hung_leaves_half() {
        let kept = |rank, held| {
            kept(Asking {
                limit: 64,
                share: 1,
                held,
                rank,
            })
        };
        assert_eq!(kept(Rank::Quick, 0), 0);
        assert_eq!(kept(Rank::Usual, 0), 8);
        assert_eq!(kept(Rank::Slow, 0), 32);
        assert_eq!(kept(Rank::Quick, 1), 0, "a subscriber and its dead-letter sink");
        assert_eq!(kept(Rank::Quick, 2), 16, "above its share");
    }

    #[test]
    fn the_cause_is_what_the_system_says() {
        let error = io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(cause(&error), "Name or service not known");
        assert_eq!(cause(&io::Error::other("else")), "else");
    }
}
