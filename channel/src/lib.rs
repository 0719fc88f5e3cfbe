//! The durable channel of a broker: the contract ([`contract`], and the values it speaks of: [`record`],
//! [`work`], [`lane`], [`parked`], [`attempt`]), the default backend ([`embedded`]) and the suite that every
//! backend passes (`conformance`, behind a feature).

pub mod attempt;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod contract;
pub mod embedded;
pub mod lane;
pub mod parked;
pub mod record;
pub mod work;

pub use attempt::{Attempt, AttemptOutcome};
pub use contract::{
    AppendError, Change, Channel, ChannelError, Class, Ends, Forgotten, LaneProgress, Log, Logs, Ownership,
    Progress, Reader, Usage,
};
pub use lane::{Lane, LaneId, LaneSpec, LaneState};
pub use parked::{Parked, ParkedQuery};
pub use record::{Batch, Gap, GapReason, Position, Record};
pub use work::{Failure, Rows, Stage, Work, WorkKey};
