//! The backoff arithmetic: pure, so that a schedule can be tested as a table.

use std::time::Duration;

use millrace_model::DeliveryPolicy;

/// The wait after the failed attempt number `n` (from 0): the policy's backoff, capped, with jitter upwards of at most
/// 20 % (`random` in 0..1), or Retry-After (capped by the policy) if that is longer.
pub fn wait(policy: &DeliveryPolicy, n: u32, retry_after: Option<Duration>, random: f64) -> Duration {
    todo!()
}
