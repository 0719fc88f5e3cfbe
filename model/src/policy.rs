//! How delivery is tried again: Knative's DeliverySpec, resolved.

use std::time::Duration;

/// A resolved delivery policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryPolicy {
    /// Retries after the first attempt.
    pub retry: u32,
    /// The wait between attempts.
    pub backoff: Backoff,
    /// The longest a single attempt may take, from connecting to the end of the answer.
    pub timeout: Duration,
    /// How far a subscriber's Retry-After is honoured; zero ignores it.
    pub retry_after_max: Duration,
    /// The content mode of deliveries.
    pub format: Format,
}

/// The wait between attempts, before jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// How it grows.
    pub policy: BackoffPolicy,
    /// The first wait.
    pub delay: Duration,
    /// The longest wait; `None`: no cap.
    pub max: Option<Duration>,
}

/// How the wait grows with the number n of the failed attempt, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffPolicy {
    /// `delay · (n + 1)`.
    Linear,
    /// `delay · 2^n`.
    Exponential,
}

/// The content mode in which events are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Attributes in headers.
    #[default]
    Binary,
    /// Everything in a JSON body.
    Json,
}

impl Default for DeliveryPolicy {
    /// As Knative ships it: 10 retries, exponential from 0.2 s, and 5 minutes for an answer, as Knative
    /// Serving gives a service. Retry-After is followed up to 10 minutes.
    fn default() -> Self {
        Self {
            retry: 10,
            backoff: Backoff {
                policy: BackoffPolicy::Exponential,
                delay: Duration::from_millis(200),
                max: None,
            },
            timeout: Duration::from_secs(300),
            retry_after_max: Duration::from_secs(600),
            format: Format::Binary,
        }
    }
}
