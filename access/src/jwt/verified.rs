//! Tokens whose signature was found right, so that it is not looked at for each request. They are forgotten
//! together with the keys that they were verified with.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::algorithm::Algorithm;
use super::claims::Claims;
use crate::token::TokenHash;

/// The most tokens of an issuer that are remembered. Only the issuer can make one more.
const MAX: usize = 8_192;

/// What a token was found to say.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) claims: Claims,
    pub(super) algorithm: Algorithm,
}

/// The tokens, by their hashes: those since half of the room was last used up, and those before. What is used
/// stays; what is not is gone after the room was used up twice.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<TokenHash, Arc<Found>>,
    old: HashMap<TokenHash, Arc<Found>>,
}

// === impl Verified ===

impl Verified {
    pub(super) fn get(&self, token: &TokenHash) -> Option<Arc<Found>> {
        let mut halves = self.0.lock();
        if let Some(found) = halves.young.get(token) {
            return Some(found.clone());
        }
        let found = halves.old.remove(token)?;
        halves.add(token, found.clone());
        Some(found)
    }

    pub(super) fn add(&self, token: &TokenHash, found: Arc<Found>) {
        self.0.lock().add(token, found);
    }
}

// === impl Halves ===

impl Halves {
    fn add(&mut self, token: &TokenHash, found: Arc<Found>) {
        if self.young.len() >= MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(*token, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_used_stays() {
        let verified = Verified::default();
        let text = br#"{"iss":"i","sub":"s","aud":"a","exp":1}"#;
        let found = || {
            Arc::new(Found {
                claims: Claims::read(text).expect("claims"),
                algorithm: Algorithm::Rs256,
            })
        };
        let hash = |nth: usize| TokenHash::of(&nth.to_be_bytes());
        for nth in 0..3 * MAX {
            verified.add(&hash(nth), found());
            assert!(verified.get(&hash(0)).is_some(), "used all the time: {nth}");
        }
        assert!(verified.get(&hash(1)).is_none(), "used once");
        let halves = verified.0.lock();
        assert!(halves.young.len() + halves.old.len() <= MAX);
    }
}
