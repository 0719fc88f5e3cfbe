//! Fields that several kinds have: where events go ([`destination`](mod@destination)), how they are delivered
//! ([`delivery`](mod@delivery)), which are wanted ([`filters`](mod@filters)), which are
//! meant ([`selector`](mod@selector)), and how an object stands
//! ([`status`](mod@status)).

mod delivery;
mod destination;
mod filters;
mod selector;
mod status;

pub(super) use self::delivery::{any_duration, delivery, short_period};
pub(super) use self::destination::{destination, reference};
pub(super) use self::filters::{LEVELS, filter, filters};
pub(super) use self::selector::selector;
pub(super) use self::status::{addresses, auth, resolved, status};

/// The longest name of an object, and of a kind or version.
pub(super) const NAME: u32 = 253;

/// The longest URL, and the longest name of an audience.
pub(super) const URL: u32 = 2_048;

/// The longest chain of certificates.
const CERTIFICATES: u32 = 65_536;

/// The longest text of other kinds: an expression, the value of an attribute.
pub(super) const TEXT: u32 = 4_096;

pub(super) fn bound(most: usize) -> u32 {
    u32::try_from(most).unwrap_or(u32::MAX)
}
