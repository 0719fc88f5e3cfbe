//! Files that are read again when they change: those of TLS, and who may call.
//!
//! What cannot be used is logged and counted, and what was read before stays in use. The next change is
//! another try.

use std::path::PathBuf;
use std::sync::Arc;

use millrace_access::Gate;
use millrace_serve::Tls;
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
    /// A sentence, if they cannot be used.
    fn reread(&self, metrics: &RereadMetrics) -> Result<(), String>;
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

    fn reread(&self, metrics: &RereadMetrics) -> Result<(), String> {
        self.reload().map_err(|error| error.to_string())?;
        metrics.certificate(self);
        Ok(())
    }
}

impl Reread for Gate {
    const NAME: &'static str = "access";

    fn reread(&self, _: &RereadMetrics) -> Result<(), String> {
        self.reload().map_err(|error| error.to_string())
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

    async fn reread(&self) {
        let (what, metrics) = (self.what.clone(), self.metrics.clone());
        let Ok(outcome) = tokio::task::spawn_blocking(move || what.reread(&metrics)).await else {
            return;
        };
        match outcome {
            Ok(()) => {
                self.metrics.count(T::NAME, "taken");
                tracing::info!(files = T::NAME, "changed files are in effect");
            }
            Err(error) => {
                self.metrics.count(T::NAME, "refused");
                tracing::error!(
                    files = T::NAME,
                    %error,
                    "changed files cannot be used; what was read before stays in use"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A file whose content may not be `bad`.
    struct Text(PathBuf);

    impl Reread for Text {
        const NAME: &'static str = "text";

        fn reread(&self, _: &RereadMetrics) -> Result<(), String> {
            match std::fs::read_to_string(&self.0) {
                Ok(text) if text != "bad" => Ok(()),
                _ => Err("it is bad".to_owned()),
            }
        }
    }

    #[tokio::test]
    async fn each_change_is_taken_or_refused_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("text");
        std::fs::write(&file, "one").expect("a file");
        let metrics = RereadMetrics::default();
        let text = Text(file.clone());
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
        for (content, taken, refused) in [("bad", 0, 1), ("three", 1, 1), ("four four", 2, 1)] {
            std::fs::write(&file, content).expect("a file");
            while (count("taken"), count("refused")) != (taken, refused) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        shutdown.cancel();
        task.await.expect("it ends");
    }
}
