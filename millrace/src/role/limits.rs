//! How the process's file descriptors are divided: connections in, connections out, and a reserve for files,
//! state and the admin listener. None of them can use up another's.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit of open files, and its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Files that the process may have open.
    pub(crate) limit: usize,
    /// Connections of producers and origins (`--max-connections`).
    pub(crate) incoming: usize,
    /// Connections to targets (`--max-outgoing-connections`).
    pub(crate) outgoing: usize,
    /// Name lookups that run at one time: each has a thread, and takes a descriptor or two from the reserve.
    pub(crate) lookups: usize,
    /// Connections of the admin listener.
    pub(crate) admin: usize,
}

/// Name lookups: an eighth of a quarter of the limit, within these bounds.
const LOOKUPS: (usize, usize) = (4, 1_024);
/// The bounds for connections of the admin listener: health, metrics and commands; few are ever open.
const ADMIN: (usize, usize) = (4, 256);
/// The reserve is at least this fraction of the limit: segments of logs, state databases, documents, and
/// sockets that are just being closed or accepted.
const RESERVE: usize = 4;
/// What a Broker with traffic may have open: four files all the time, the history of attempts while it is
/// written, the state once more while it is searched, and an older segment while it is read.
const OF_BROKER: usize = 7;
/// The most that the reserve is, in quarters of the limit: connections must be possible.
const MOST: usize = 3;
/// Stands for "no limit".
const UNLIMITED: usize = 1 << 30;

// === impl Descriptors ===

impl Descriptors {
    /// Raises the soft limit to the hard one, and divides it, for so many Brokers. `incoming` and `outgoing`
    /// are upper bounds.
    pub(crate) fn claim(incoming: usize, outgoing: usize, brokers: usize) -> Self {
        let split = Self::split(raise(), incoming, outgoing, brokers);
        if reserve_for(brokers, split.admin, split.lookups) > split.limit / RESERVE * MOST {
            tracing::warn!(
                limit = split.limit,
                brokers,
                "the limit of open files is too low for so many Brokers: files and connections may take each other's \
                 room (raise `ulimit -n`)"
            );
        }
        if split.incoming < incoming {
            // Not a warning: most limits are lower than the default asks for, and nothing is wrong with
            // that.
            tracing::info!(
                limit = split.limit,
                max_connections = split.incoming,
                "the limit of open files allows fewer connections than --max-connections"
            );
        }
        split
    }

    /// Both wishes are met if they fit beside the reserve. Otherwise a third is for connections in and two
    /// thirds for those out, and either side gets what the other does not want.
    fn split(limit: usize, incoming: usize, outgoing: usize, brokers: usize) -> Self {
        let quarter = (limit / RESERVE).max(1);
        let admin = (quarter / 4).clamp(ADMIN.0, ADMIN.1);
        let lookups = (quarter / 8).clamp(LOOKUPS.0, LOOKUPS.1);
        let reserve = reserve_for(brokers, admin, lookups).clamp(quarter, (quarter * MOST).min(limit.max(1)));
        // Connections that wait for room at a listener have a descriptor too: at most an eighth.
        let room = (limit.saturating_sub(reserve) / 9 * 8).max(2);
        let third = (room / 3).max(1);
        let incoming = incoming.min(third.max(room.saturating_sub(outgoing)));
        Self {
            limit,
            incoming,
            outgoing: outgoing.min(room - incoming),
            lookups,
            admin,
        }
    }

    /// Registers `millrace_descriptors_*`.
    pub(crate) fn register(self, registry: &mut Registry) {
        let limit: Gauge = Gauge::default();
        limit.set(i64::try_from(self.limit).unwrap_or(i64::MAX));
        registry.register(
            "millrace_descriptors_limit",
            "Files and connections that the process may have open",
            limit,
        );
        registry.register_collector(Box::new(Used));
    }
}

/// The reserve that so many Brokers want, beside connections of the admin listener and lookups.
fn reserve_for(brokers: usize, admin: usize, lookups: usize) -> usize {
    brokers.saturating_mul(OF_BROKER).saturating_add(admin + lookups)
}

/// The limit of open files, after raising it as far as it goes.
fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        // Some systems report no limit but enforce one.
        Err(error) => {
            tracing::debug!(%error, "the limit of open files cannot be raised");
            current
        }
    };
    limit
        .and_then(|limit| usize::try_from(limit).ok())
        .map_or(UNLIMITED, |limit| limit.min(UNLIMITED))
}

/// Counts the open files when metrics are read.
struct Used;

impl fmt::Debug for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Used")
    }
}

impl Collector for Used {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // Only Linux has this folder; elsewhere there is no such series.
        let Ok(open) = std::fs::read_dir("/proc/self/fd") else {
            return Ok(());
        };
        let used = ConstGauge::new(i64::try_from(open.count()).unwrap_or(i64::MAX));
        let help = "Files and connections that the process has open";
        let metric =
            encoder.encode_descriptor("millrace_descriptors_open", help, None, used.metric_type())?;
        used.encode(metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_given_where_it_fits() {
        let split = Descriptors::split(1 << 20, 10_000, 20_000, 1);
        assert_eq!(
            (split.incoming, split.outgoing, split.admin),
            (10_000, 20_000, 256)
        );
        let split = Descriptors::split(UNLIMITED, 50_000, 20_000, 1);
        assert_eq!((split.incoming, split.outgoing), (50_000, 20_000));
    }

    #[test]
    fn whatever_the_limit_a_quarter_of_it_stays_for_files_and_the_admin_side() {
        for limit in [16, 64, 256, 1024, 4096, 20_000, 65_536] {
            for (incoming, outgoing) in [(1, 1), (10_000, 20_000), (1 << 40, 20_000)] {
                let split = Descriptors::split(limit, incoming, outgoing, 1);
                let waiting = (split.incoming / 8).max(1);
                let connections = split.incoming + waiting + split.outgoing;
                assert!(connections <= limit - limit / 4, "{split:?}");
                assert!(split.admin <= limit / 4, "{split:?}");
                assert!(split.incoming >= 1 && split.outgoing >= 1, "{split:?}");
            }
        }
        let split = Descriptors::split(1024, 10_000, 20_000, 1);
        assert_eq!((split.incoming, split.outgoing, split.admin), (226, 454, 64));
        assert_eq!(split.lookups, 32);
        assert_eq!(Descriptors::split(65_536, 10_000, 20_000, 1).lookups, 1_024);
    }

    #[test]
    fn what_one_side_does_not_want_is_the_others() {
        let split = Descriptors::split(4096, 50, 20_000, 1);
        assert_eq!((split.incoming, split.outgoing), (50, 2678));
        let split = Descriptors::split(4096, 10_000, 100, 1);
        assert_eq!((split.incoming, split.outgoing), (2628, 100));
    }

    #[test]
    fn many_brokers_have_room_for_their_files_and_leave_some_for_connections() {
        for (brokers, incoming) in [(1, 226), (16, 226), (40, 192), (60, 149), (96, 74), (1_000, 74)] {
            let split = Descriptors::split(1024, 10_000, 20_000, brokers);
            assert_eq!(split.incoming, incoming, "{brokers} Brokers");
            let connections = split.incoming + split.incoming / 8 + split.outgoing;
            let files = reserve_for(brokers, split.admin, split.lookups).min(1024 / 4 * 3);
            assert!(connections + files <= 1024, "{brokers} Brokers: {split:?}");
        }
        for limit in [0, 1, 2, 16] {
            let split = Descriptors::split(limit, 10_000, 20_000, usize::MAX);
            assert!(split.incoming >= 1 && split.outgoing >= 1, "{split:?}");
        }
    }
}
