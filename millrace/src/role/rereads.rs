//! Files that are read again when they change: those of TLS, and who may call.
//!
//! What cannot be used is logged and counted, and what was read before stays in use. The next change is
//! another try. What cannot even be read is tried again without one, after pauses.

use std::path::PathBuf;
use std::sync::Arc;

use millrace_access::{FileError, Gate};
use millrace_serve::{Tls, TlsError};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::seen::{Fingerprint, LOOK, Seen};

/// What can be read again.
pub(super) trait Reread: Send + Sync + 'static {
    /// Its name in logs and metrics.
    const NAME: &'static str;

    /// Reads them, which may block.
    ///
    /// # Errors
    /// They cannot be read or used.
    fn reread(&self, metrics: &RereadMetrics) -> Result<(), NotReread>;
}

/// Why files are not in effect. A sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotReread {
    /// One cannot be read, which may pass without a change of it.
    Unreadable(String),
    /// They make no sense.
    Refused(String),
}

/// What is counted of all files.
#[derive(Clone, Debug, Default)]
pub(super) struct RereadMetrics {
    reread: Family<Labels, Counter>,
    not_after: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    files: &'static str,
    outcome: &'static str,
}

/// Files, and how they were before they were first read.
pub(super) struct Reader<T> {
    what: Arc<T>,
    paths: Vec<PathBuf>,
    seen: Seen,
    metrics: RereadMetrics,
    /// Why they could not be read at the last try.
    unreadable: Option<String>,
}

// === impl RereadMetrics ===

impl RereadMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "millrace_files_reread",
            "Changes of certificates and access files: taken, or refused and so without effect",
            metrics.reread.clone(),
        );
        registry.register(
            "millrace_tls_certificate_not_after_timestamp_seconds",
            "When the certificate of the listeners ends; 0 without one",
            metrics.not_after.clone(),
        );
        metrics
    }

    /// Shows when the certificate ends.
    pub(super) fn certificate(&self, tls: &Tls) {
        self.not_after.set(tls.not_after());
    }

    fn count(&self, files: &'static str, outcome: &'static str) {
        self.reread.get_or_create_owned(&Labels { files, outcome }).inc();
    }
}

impl Reread for Tls {
    const NAME: &'static str = "tls";

    fn reread(&self, metrics: &RereadMetrics) -> Result<(), NotReread> {
        self.reload().map_err(|error| match &error {
            TlsError::Unreadable { .. } => NotReread::Unreadable(error.to_string()),
            TlsError::Unusable { .. } | TlsError::Pair { .. } => NotReread::Refused(error.to_string()),
        })?;
        metrics.certificate(self);
        Ok(())
    }
}

impl Reread for Gate {
    const NAME: &'static str = "access";

    fn reread(&self, _: &RereadMetrics) -> Result<(), NotReread> {
        self.reload().map_err(|error| match &error {
            FileError::Unreadable { .. } => NotReread::Unreadable(error.to_string()),
            FileError::Invalid { .. } => NotReread::Refused(error.to_string()),
        })
    }
}

// === impl Reader ===

impl<T: Reread> Reader<T> {
    /// Reads `what` for the first time by `read`. Its files are looked at before, so that no change is
    /// missed.
    pub(super) fn begin<E>(
        paths: Vec<PathBuf>,
        metrics: RereadMetrics,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<Self, E> {
        let seen = Seen::new(Fingerprint::of(&paths));
        Ok(Self {
            what: Arc::new(read()?),
            paths,
            seen,
            metrics,
            unreadable: None,
        })
    }

    /// What was read.
    pub(super) fn what(&self) -> Arc<T> {
        self.what.clone()
    }

    /// Reads it again whenever its files change, until `shutdown`.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let paths = self.paths.clone();
            let looked = tokio::task::spawn_blocking(move || Fingerprint::of(&paths)).await;
            let Ok(now) = looked else { return };
            if self.seen.is_to_be_taken(now) {
                self.reread().await;
            }
        }
    }

    async fn reread(&mut self) {
        let (what, metrics) = (self.what.clone(), self.metrics.clone());
        let Ok(outcome) = tokio::task::spawn_blocking(move || what.reread(&metrics)).await else {
            return;
        };
        let before = self.unreadable.take();
        match outcome {
            Ok(()) => {
                self.seen.settle();
                self.metrics.count(T::NAME, "taken");
                tracing::info!(files = T::NAME, "changed files are in effect");
            }
            Err(NotReread::Refused(error)) => {
                self.seen.settle();
                self.refused(&error);
            }
            Err(NotReread::Unreadable(error)) => {
                self.seen.try_again();
                // Each try would say the same.
                if before.as_ref() != Some(&error) {
                    self.refused(&error);
                }
                self.unreadable = Some(error);
            }
        }
    }

    fn refused(&self, error: &str) {
        self.metrics.count(T::NAME, "refused");
        tracing::error!(
            files = T::NAME,
            %error,
            "changed files cannot be used; what was read before stays in use"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    /// A file whose content may not be `bad`, and which can be read from the second try on if it is `late`.
    struct Text(PathBuf, AtomicU32);

    impl Reread for Text {
        const NAME: &'static str = "text";

        fn reread(&self, _: &RereadMetrics) -> Result<(), NotReread> {
            match std::fs::read_to_string(&self.0) {
                Ok(text) if text == "late" && self.1.fetch_add(1, Ordering::Relaxed) < 3 => {
                    Err(NotReread::Unreadable("it is shut".to_owned()))
                }
                Ok(text) if text != "bad" => Ok(()),
                _ => Err(NotReread::Refused("it is bad".to_owned())),
            }
        }
    }

    /// It does not wait for real: the clock goes on while nothing is to be done.
    #[tokio::test(start_paused = true)]
    async fn each_change_is_taken_or_refused_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("text");
        std::fs::write(&file, "one").expect("a file");
        let metrics = RereadMetrics::default();
        let text = Text(file.clone(), AtomicU32::new(0));
        let reader = Reader::begin(vec![file.clone()], metrics.clone(), || Ok::<_, ()>(text)).expect("read");
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(reader.run(shutdown.clone()));
        let count = |outcome| {
            let labels = Labels {
                files: "text",
                outcome,
            };
            metrics.reread.get_or_create_owned(&labels).get()
        };
        for (content, taken, refused) in [
            ("bad", 0, 1),
            ("three", 1, 1),
            ("four four", 2, 1),
            // Tried four times, and told once.
            ("late", 3, 2),
        ] {
            std::fs::write(&file, content).expect("a file");
            while (count("taken"), count("refused")) != (taken, refused) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        shutdown.cancel();
        task.await.expect("it ends");
    }
}
