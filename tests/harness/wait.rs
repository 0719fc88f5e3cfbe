//! Waiting for a condition. A test never sleeps to give something time: it waits until it is so, or fails at
//! the deadline.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How long anything may take before a test gives up. Far longer than it takes: a slow machine is no failure.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives something. An error of the condition counts as "not yet", and is shown at
/// the deadline.
///
/// # Errors
/// When the deadline passes first; `what` names what was waited for.
pub async fn wait_until<T, F>(what: &str, mut condition: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let began = Instant::now();
    loop {
        let last = match condition().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if began.elapsed() > DEADLINE {
            let seen = last.map_or_else(|| "it is not so".to_owned(), |error| format!("{error:#}"));
            bail!("waited {} s for: {what}; last: {seen}", DEADLINE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for one future, but not beyond the deadline.
///
/// # Errors
/// When the deadline passes first, and with the error of the future itself.
pub async fn within<T, E>(what: &str, future: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    E: Into<anyhow::Error>,
{
    let outcome = tokio::time::timeout(DEADLINE, future).await;
    let outcome = outcome.with_context(|| format!("waited {} s for: {what}", DEADLINE.as_secs()))?;
    outcome.map_err(Into::into).with_context(|| what.to_owned())
}
