//! The backoff arithmetic: pure, so that a schedule can be tested as a table.

use std::time::Duration;

use millrace_model::{BackoffPolicy, DeliveryPolicy};

/// Jitter adds at most one part in this many: 20 %.
const JITTER_PART: u32 = 5;

/// The wait after the failed attempt number `n` (from 0): the policy's backoff, capped, with jitter upwards
/// of at most 20 % (`random` in 0..1), or Retry-After (capped by the policy) if that is longer.
///
/// The cap comes before the jitter: the wait may exceed `backoff.max` by a fifth of it, because triggers that
/// all stand at the cap would otherwise strike together. Retry-After gets no jitter: it is the target's own
/// choice of a time. Nothing overflows: what is too long becomes `Duration::MAX`, and a `random` that is no
/// number counts as 0.
pub fn wait(policy: &DeliveryPolicy, n: u32, retry_after: Option<Duration>, random: f64) -> Duration {
    let grown = match policy.backoff.policy {
        BackoffPolicy::Linear => times(policy.backoff.delay, u128::from(n) + 1),
        BackoffPolicy::Exponential => times(policy.backoff.delay, 1_u128.checked_shl(n).unwrap_or(u128::MAX)),
    };
    let capped = policy.backoff.max.map_or(grown, |max| grown.min(max));
    let random = if random.is_finite() {
        random.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let most = capped / JITTER_PART;
    // The product is rounded, which matters for waits of millions of years only; the bound holds for them
    // too.
    let backoff = capped.saturating_add(most.mul_f64(random).min(most));
    let asked_for = retry_after.map_or(Duration::ZERO, |asked| asked.min(policy.retry_after_max));
    backoff.max(asked_for)
}

/// The longest that any wait of the policy can be, jitter and Retry-After included.
pub fn longest(policy: &DeliveryPolicy) -> Duration {
    wait(policy, policy.retry.saturating_sub(1), Some(Duration::MAX), 1.0)
}

/// `delay · factor`, saturating. `Duration`'s own product takes factors of 32 bits only.
fn times(delay: Duration, factor: u128) -> Duration {
    const NANOS: u128 = 1_000_000_000;
    let product = delay.as_nanos().checked_mul(factor);
    let seconds = product.and_then(|nanos| u64::try_from(nanos / NANOS).ok());
    match (product, seconds) {
        (Some(nanos), Some(seconds)) => {
            let rest = u32::try_from(nanos % NANOS).expect("invariant: below one second in nanoseconds");
            Duration::new(seconds, rest)
        }
        _ => Duration::MAX,
    }
}

#[cfg(test)]
mod tests {
    use millrace_model::Backoff;
    use proptest::prelude::*;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn policy(policy: BackoffPolicy, delay: Duration, max: Option<Duration>) -> DeliveryPolicy {
        DeliveryPolicy {
            backoff: Backoff { policy, delay, max },
            ..DeliveryPolicy::default()
        }
    }

    #[test]
    fn the_schedule_grows_as_the_policy_says() {
        use BackoffPolicy::{Exponential, Linear};
        let cases: [(_, _, _, &[(u32, Duration)]); 6] = [
            (
                Linear,
                MS(200),
                None,
                &[(0, MS(200)), (1, MS(400)), (2, MS(600)), (9, S(2))],
            ),
            (
                Exponential,
                MS(200),
                None,
                &[(0, MS(200)), (1, MS(400)), (2, MS(800)), (9, MS(102_400))],
            ),
            (
                Exponential,
                MS(1),
                Some(MS(5)),
                &[(0, MS(1)), (2, MS(4)), (3, MS(5)), (4_000_000_000, MS(5))],
            ),
            (
                Linear,
                S(1),
                Some(S(3)),
                &[(0, S(1)), (2, S(3)), (3, S(3)), (u32::MAX, S(3))],
            ),
            (
                Exponential,
                Duration::ZERO,
                None,
                &[(0, Duration::ZERO), (127, Duration::ZERO), (128, Duration::ZERO)],
            ),
            (
                Exponential,
                S(1),
                None,
                &[
                    (63, Duration::new(1 << 63, 0)),
                    (64, Duration::MAX),
                    (200, Duration::MAX),
                ],
            ),
        ];
        for (kind, delay, max, expected) in cases {
            for &(n, wanted) in expected {
                assert_eq!(
                    wait(&policy(kind, delay, max), n, None, 0.0),
                    wanted,
                    "{kind:?} {delay:?} {max:?} n={n}"
                );
            }
        }
    }

    #[test]
    fn jitter_only_adds_and_at_most_a_fifth() {
        let policy = policy(BackoffPolicy::Exponential, S(10), Some(S(10)));
        let cases: [(f64, Duration); 7] = [
            (0.0, S(10)),
            (0.5, S(11)),
            (1.0, S(12)),
            (7.0, S(12)),
            (-1.0, S(10)),
            (f64::NAN, S(10)),
            (f64::INFINITY, S(10)),
        ];
        for (random, expected) in cases {
            assert_eq!(wait(&policy, 3, None, random), expected, "{random}");
        }
    }

    #[test]
    fn retry_after_wins_only_when_it_is_longer_and_only_as_far_as_the_policy_lets_it() {
        let mut policy = policy(BackoffPolicy::Linear, S(10), None);
        let cases: [(Duration, Option<Duration>, Duration); 6] = [
            (S(600), None, S(10)),
            (S(600), Some(S(5)), S(10)),
            (S(600), Some(S(60)), S(60)),
            (S(600), Some(S(6_000)), S(600)),
            (S(600), Some(Duration::MAX), S(600)),
            (Duration::ZERO, Some(S(60)), S(10)),
        ];
        for (max, asked, expected) in cases {
            policy.retry_after_max = max;
            assert_eq!(wait(&policy, 0, asked, 0.0), expected, "{max:?} {asked:?}");
        }
    }

    prop_compose! {
        fn any_policy()(linear: bool, delay: Duration, max: Option<Duration>, retry_after_max: Duration) -> DeliveryPolicy {
            let kind = if linear { BackoffPolicy::Linear } else { BackoffPolicy::Exponential };
            DeliveryPolicy { retry_after_max, ..policy(kind, delay, max) }
        }
    }

    proptest! {
        #[test]
        fn no_input_panics_and_later_attempts_never_wait_less(p in any_policy(), n in 0..u32::MAX, asked: Option<Duration>) {
            prop_assert!(wait(&p, n, asked, 0.0) <= wait(&p, n + 1, asked, 0.0));
        }

        #[test]
        fn the_wait_stays_within_its_bounds(p in any_policy(), n: u32, asked: Option<Duration>, random in 0.0..1.0_f64) {
            let least = wait(&p, n, asked, 0.0);
            let got = wait(&p, n, asked, random);
            prop_assert!(got >= least);
            prop_assert!(got <= least.saturating_add(least / JITTER_PART));
            if let Some(max) = p.backoff.max {
                let cap = max.saturating_add(max / JITTER_PART);
                prop_assert!(got <= cap.max(p.retry_after_max));
            }
        }

        #[test]
        fn no_wait_is_longer_than_the_longest(p in any_policy(), retry in 1..u32::MAX, n: u32, asked: Option<Duration>, random in 0.0..1.0_f64) {
            let p = DeliveryPolicy { retry, ..p };
            prop_assert!(wait(&p, n % retry, asked, random) <= longest(&p));
        }

        #[test]
        fn retry_after_is_waited_for_unless_the_policy_caps_it(p in any_policy(), n: u32, asked: Duration) {
            prop_assert!(wait(&p, n, Some(asked), 0.0) >= asked.min(p.retry_after_max));
        }
    }
}
