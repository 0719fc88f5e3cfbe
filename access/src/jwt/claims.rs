//! What a token claims: who it is, by whom, for whom and when. Only these members count, and each has one
//! type.

use std::sync::Arc;
use std::time::Duration;

use millrace_event::Timestamp;
use serde_json::value::RawValue;

use super::json::Object;
use super::{TokenFault, unreadable};

/// The claims that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who made it.
    pub issuer: String,
    /// Who it is.
    pub subject: Arc<str>,
    /// For whom it is: there is at least one.
    pub audiences: Arc<[String]>,
    /// When it ends.
    pub expires: Timestamp,
    /// From when it is good: the later one of `nbf` and `iat`.
    pub not_before: Option<Timestamp>,
}

/// Where a time stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The token is good now.
    Good,
    /// It has ended.
    Expired,
    /// It is not good yet.
    NotYet,
}

/// The longest issuer, subject or audience.
pub(super) const MAX_NAME: usize = 2_048;
/// The most audiences.
const MAX_AUDIENCES: usize = 16;
/// 9999-12-31T23:59:59Z, in seconds.
const MAX_SECONDS: u64 = 253_402_300_799;

// === impl Claims ===

impl Claims {
    /// Reads them.
    ///
    /// # Errors
    /// One is missing, of another type, or out of bounds.
    pub fn read(text: &[u8]) -> Result<Self, TokenFault> {
        let object = Object::read(text).map_err(unreadable)?;
        let name = |claim| {
            let found = object.get::<String>(claim).ok().flatten();
            found.filter(|name| is_name(name))
        };
        let time = |claim| object.raw(claim).map(seconds).transpose();
        let expires = time("exp")?.ok_or_else(|| unreadable("it has no end (`exp`)"))?;
        Ok(Self {
            issuer: name("iss")
                .ok_or_else(|| unreadable("it does not say who made it (`iss`), or not as a text"))?,
            subject: name("sub")
                .ok_or_else(|| unreadable("it does not say who it is (`sub`), or not as a text"))?
                .into(),
            audiences: audiences(&object)?,
            expires,
            not_before: time("nbf")?.max(time("iat")?),
        })
    }

    /// How it stands at a time, where clocks may differ by `skew`.
    pub fn standing(&self, now: Timestamp, skew: Duration) -> Standing {
        if self.expires.after(skew) <= now {
            return Standing::Expired;
        }
        match self.not_before {
            Some(begin) if begin.before(skew) > now => Standing::NotYet,
            _ => Standing::Good,
        }
    }
}

fn audiences(object: &Object<'_>) -> Result<Arc<[String]>, TokenFault> {
    let fault = || unreadable("it does not say for whom it is (`aud`), or not as texts");
    let all = match object.get::<String>("aud") {
        Ok(Some(one)) => vec![one],
        Ok(None) => return Err(fault()),
        Err(_) => object
            .get::<Vec<String>>("aud")
            .ok()
            .flatten()
            .ok_or_else(fault)?,
    };
    let is_good = !all.is_empty() && all.len() <= MAX_AUDIENCES && all.iter().all(|one| is_name(one));
    is_good.then(|| all.into()).ok_or_else(fault)
}

/// Names stand in logs, metrics and answers.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control)
}

/// A time in whole seconds. RFC 7519 allows fractions, which issuers do not use: refusing them leaves one way
/// to read a number.
fn seconds(raw: &RawValue) -> Result<Timestamp, TokenFault> {
    let seconds = raw.get().parse::<u64>().ok();
    let seconds = seconds.filter(|seconds| *seconds <= MAX_SECONDS);
    let millis = seconds.and_then(|seconds| i64::try_from(seconds * 1_000).ok());
    millis
        .map(Timestamp)
        .ok_or_else(|| unreadable("a time in it is not a number of whole seconds, up to the year 9999"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_held_against_the_clock_with_a_bounded_difference() {
        let text = br#"{"iss":"i","sub":"s","aud":"a","exp":100,"nbf":50,"iat":40}"#;
        let claims = Claims::read(text).expect("claims");
        let skew = Duration::from_secs(5);
        let table = [
            (44_999, Standing::NotYet),
            (45_000, Standing::Good),
            (104_999, Standing::Good),
            (105_000, Standing::Expired),
        ];
        for (now, expected) in table {
            assert_eq!(claims.standing(Timestamp(now), skew), expected, "{now}");
        }
    }
}
