//! The door of the brokers: whether an event may enter a channel, and how producers reach that door over
//! HTTP.
//!
//! The files follow an event. Over HTTP it comes through [`ingress`]; then [`admission`], which knows no
//! HTTP, finds the broker's door (`doors`), asks who may send there (`policies`), holds the event against the
//! [`limits`], stops it if it goes round in circles ([`millrace_event::hops`]), and appends it to the
//! broker's channel. [`metrics`] counts what came of it, and [`turned_away`] is who was not let in.

pub mod admission;
mod doors;
pub mod ingress;
pub mod limits;
pub mod metrics;
mod policies;
pub mod turned_away;

pub use admission::{Admission, AdmissionParts};
pub use ingress::{HostRule, Ingress, IngressConfig, IngressParts};
pub use limits::Limits;
pub use metrics::IngressMetrics;
pub use turned_away::{Away, TurnedAway};
