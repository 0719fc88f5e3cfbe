//! Room for lookups of names that may hang, so that they leave the blocking threads to everybody else.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Room for lookups of names, for all sources of a process. Clones share it.
#[derive(Clone, Debug)]
pub struct Lookups {
    #[cfg_attr(
        not(feature = "kubernetes"),
        expect(dead_code, reason = "its only user is left out")
    )]
    places: Arc<Semaphore>,
}

/// The most lookups at a time.
const AT_A_TIME: usize = 32;

// === impl Lookups ===

impl Lookups {
    /// A place for a lookup, which is free again when it is dropped.
    #[cfg(feature = "kubernetes")]
    pub(crate) async fn place(&self) -> tokio::sync::OwnedSemaphorePermit {
        let place = self.places.clone().acquire_owned().await;
        place.expect("invariant: the places are never closed")
    }
}

impl Default for Lookups {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }
}
