//! A cluster of Kubernetes as the origin of the mesh: objects are watched, what they refer to is resolved,
//! and each object gets the status that is true of it.
//!
//! It is an index of everything and no reconciler per object: all objects together make one mesh, purely
//! ([`mod@build`]), whenever something has changed and then stood still for a moment ([`controller`]).
//!
//! 1. [`mod@connect`] logs in. [`options`] says which objects are served. [`ensure`] creates a Broker that is
//!    to be there.
//! 2. [`watch`] follows the objects of one kind, [`watches`] opens and closes such watches, [`kinds`] says
//!    where each kind lies, and [`troubles`] tells of watches that fail.
//! 3. [`objects`] holds the documents of our kinds; [`targets`] the addresses of what they refer to
//!    ([`service`] reads ports), [`bundles`] whom to trust, and [`resolve`] answers from them. [`review`]
//!    asks what an ApiServerSource may read; [`configs`] has where Brokers are to keep their channels.
//! 4. [`index`] is all of it; [`mod@build`] makes the mesh of it and a draft of each status. [`kept`] has
//!    what was accepted on the disk, for a start while the API server is away. [`deletions`] says which
//!    Triggers are gone.
//! 5. [`status`] makes a status of a draft ([`condition`] has its parts, [`mod@public`] where Brokers are
//!    reached, [`running`] how sources run, [`sinks`] how KafkaSinks stand, [`channels`] how channels do,
//!    [`lanes`] how Triggers do, and [`tokens`] as whom they deliver). [`due`] says which are to be written,
//!    also of what is served no more; [`mod@write`] writes those that changed, and [`events`] tells of
//!    transitions. [`metrics`] counts.
//!
//! Nothing here opens channels or feeds lanes: whoever runs the mesh takes it from [`Controller::next`] and
//! says with [`Controller::took`] when it is in effect. Only then is anything `Ready`.

mod connect;
mod ensure;
mod options;

mod kinds;
mod troubles;
mod watch;
mod watches;

mod bundles;
mod configs;
mod objects;
mod resolve;
mod review;
mod service;
mod targets;

mod build;
mod deletions;
mod dependency;
mod index;
mod kept;

mod channels;
mod condition;
mod due;
mod events;
mod lanes;
mod public;
mod running;
mod sinks;
mod status;
mod tokens;
mod write;

mod controller;
mod metrics;

#[cfg(test)]
mod tests;

pub use connect::{ConnectError, Connection, connect};
pub use controller::{AllChannels, Controller};
pub use deletions::Gone;
pub use metrics::Metrics;
pub use options::{Authentication, Options};
pub use public::{Public, Vouching};
pub use tokens::TokenRequests;
