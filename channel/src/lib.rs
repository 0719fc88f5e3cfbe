//! The durable channel of a broker: the contract ([`contract`], and the values it speaks of: [`record`],
//! [`work`], [`lane`], [`parked`], [`attempt`]), the default backend ([`embedded`]) and the suite that every
//! backend passes (`conformance`). What all backends on other machines share is `remote`; one in memory
//! (`simulated`) proves it. These three are behind features of their names.

pub mod attempt;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod contract;
pub mod embedded;
pub mod lane;
pub mod parked;
pub mod record;
#[cfg(any(test, feature = "remote"))]
pub mod remote;
#[cfg(any(test, feature = "simulated"))]
pub mod simulated;
pub mod work;

pub use attempt::{Attempt, AttemptOutcome};
pub use contract::{
    AppendError, Change, Channel, ChannelError, Class, Durability, Elsewhere, Ends, Forgotten, Guarantees,
    LaneProgress, Log, Logs, Ownership, Progress, Reader, Usage,
};
pub use lane::{EarlierFilter, Lane, LaneId, LaneSpec, LaneState};
pub use parked::{Parked, ParkedQuery};
pub use record::{Batch, Gap, GapReason, NoPosition, Position, Record};
pub use work::{FailedAttempt, Rows, Stage, Work, WorkKey};
