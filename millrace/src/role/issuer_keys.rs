//! Fetches the keys of the issuers that the access file names, beside the requests that need them.
//!
//! Fetches go through the guard on outgoing connections, as deliveries do. One that hangs holds up no other
//! issuer.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use millrace_access::Gate;
use millrace_access::jwt::{IssuerKeys, KeySource, discovery, keys};
use millrace_delivery::{Connector, FetchLimits, Share};
use millrace_event::Clock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::seen::LOOK;

/// The most time for one document.
const TIME: Duration = Duration::from_secs(10);
/// The largest file with authorities, and with a token.
const MAX_FILE: u64 = 1 << 20;

/// What is counted of all issuers.
#[derive(Clone, Debug, Default)]
pub(super) struct IssuerMetrics {
    fetches: Family<FetchLabels, Counter>,
    keys: Family<IssuerLabel, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FetchLabels {
    issuer: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerLabel {
    issuer: String,
}

/// Fetches what is due.
pub(super) struct KeyKeeper {
    gate: Arc<Gate>,
    connector: Connector,
    share: Share,
    clock: Clock,
    metrics: IssuerMetrics,
}

/// How the fetch for an issuer ended: with how many keys, or a sentence.
type Fetched = (Arc<IssuerKeys>, Result<usize, String>);

// === impl IssuerMetrics ===

impl IssuerMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "millrace_issuer_key_fetches",
            "Fetches of the keys of a token issuer: taken, or failed and so without effect",
            metrics.fetches.clone(),
        );
        registry.register(
            "millrace_issuer_keys",
            "Keys of a token issuer that are in use",
            metrics.keys.clone(),
        );
        metrics
    }
}

// === impl KeyKeeper ===

impl KeyKeeper {
    pub(super) fn new(gate: Arc<Gate>, connector: Connector, metrics: IssuerMetrics) -> Self {
        Self {
            gate,
            share: connector.share(),
            connector,
            clock: Clock::System,
            metrics,
        }
    }

    /// Fetches keys whenever they are due, until `shutdown`.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        let mut running = JoinSet::new();
        let mut failures = HashMap::new();
        loop {
            let known = self.gate.keys();
            for keys in &known {
                if keys.begin(self.clock.steady()) {
                    running.spawn(self.fetch(keys.clone()));
                }
                self.show(keys);
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(Ok(ended)) = running.join_next() => self.note(&ended, &mut failures),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn show(&self, keys: &IssuerKeys) {
        let issuer = keys.source().issuer.clone();
        let count = i64::try_from(keys.count(self.clock.steady())).unwrap_or(i64::MAX);
        self.metrics
            .keys
            .get_or_create_owned(&IssuerLabel { issuer })
            .set(count);
    }

    /// Counts a fetch, and says what is new of it: a failure that lasts is told once.
    fn note(&self, (keys, outcome): &Fetched, failures: &mut HashMap<String, String>) {
        let issuer = keys.source().issuer.clone();
        match outcome {
            Ok(count) => {
                if failures.remove(&issuer).is_some() {
                    tracing::info!(
                        issuer,
                        keys = count,
                        "the keys of the issuer can be fetched again"
                    );
                }
            }
            Err(error) => {
                if failures.insert(issuer.clone(), error.clone()).as_ref() != Some(error) {
                    tracing::warn!(
                        issuer,
                        %error,
                        "the keys of the issuer cannot be fetched; those that are there stay in use for a time"
                    );
                }
            }
        }
        let outcome = if outcome.is_ok() { "taken" } else { "failed" };
        self.metrics
            .fetches
            .get_or_create_owned(&FetchLabels { issuer, outcome })
            .inc();
        self.show(keys);
    }

    fn fetch(&self, keys: Arc<IssuerKeys>) -> impl Future<Output = Fetched> + Send + 'static + use<> {
        let (connector, share, clock) = (self.connector.clone(), self.share.clone(), self.clock.clone());
        async move {
            let set = fetch(&connector, share, keys.source()).await;
            let outcome = match set {
                Ok(set) => keys
                    .fetched(&set, clock.steady())
                    .map_err(|fault| fault.to_string()),
                Err(why) => {
                    keys.failed(clock.steady());
                    Err(why)
                }
            };
            (keys, outcome)
        }
    }
}

/// Fetches a set of keys, from where the issuer says they are.
async fn fetch(connector: &Connector, share: Share, source: &KeySource) -> Result<Bytes, String> {
    let share = match &source.authorities {
        None => share,
        Some(file) => {
            let trusted = connector.clone().with_roots(&authorities(file)?);
            trusted
                .map_err(|error| format!("{}: {error}", file.display()))?
                .share()
        }
    };
    let token = source.token.as_deref().map(token).transpose()?;
    let limits = |octets| FetchLimits { octets, time: TIME };
    let get = async |url: &Uri, octets, bearer: Option<&[u8]>| {
        let fetched = share.fetch(url, bearer, limits(octets)).await;
        fetched.map_err(|error| format!("{url}: {error}"))
    };
    if let Some(url) = &source.keys {
        return get(url, keys::MAX_SET, token.as_deref()).await;
    }
    let address = discovery::address(&source.issuer);
    let address: Uri = address.parse().map_err(|_| "its name is no URL".to_owned())?;
    let document = get(&address, discovery::MAX_DOCUMENT, token.as_deref()).await?;
    let url = discovery::keys_address(&document, &source.issuer)?;
    // A token is never carried to another place.
    let is_same = url.authority() == address.authority() && url.scheme() == address.scheme();
    get(&url, keys::MAX_SET, token.as_deref().filter(|_| is_same)).await
}

fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(file)?;
    let all = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) | Err(_) => Err(format!("{} holds no certificate in PEM form", file.display())),
    }
}

fn token(file: &Path) -> Result<Vec<u8>, String> {
    Ok(read(file)?.trim_ascii().to_vec())
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let about = std::fs::metadata(file).and_then(|about| match about.is_file() && about.len() <= MAX_FILE {
        true => std::fs::read(file),
        false => Err(std::io::Error::other("it is no file of at most 1 MiB")),
    });
    about.map_err(|error| format!("{} cannot be read: {error}", file.display()))
}
