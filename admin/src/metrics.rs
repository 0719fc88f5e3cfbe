//! `GET /metrics`: every metric of the process, as OpenMetrics text. What only the status board knows
//! (backlogs, deferred and parked events, room on the disk) is asked for at each scrape, so that it is never
//! kept twice.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use millrace_event::ObjectName;
use millrace_model::StatusBoard;
use millrace_model::status::{BrokerStatus, TriggerStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::Admin;
use crate::refused::Refused;

/// The media type of OpenMetrics 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn scrape(State(admin): State<Admin>) -> Result<Response, Refused> {
    match text(&admin) {
        Ok(text) => Ok(([(CONTENT_TYPE, OPEN_METRICS)], text).into_response()),
        Err(Error) => {
            let detail = "a metric could not be written as text";
            Err(Refused::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "metrics-failed",
                detail,
            ))
        }
    }
}

fn text(admin: &Admin) -> Result<String, Error> {
    let mut board = Registry::default();
    board.register_collector(Box::new(Board(admin.board.clone())));
    let mut text = String::with_capacity(16 * 1024);
    encode_registry(&mut text, &admin.registry)?;
    encode_registry(&mut text, &board)?;
    encode_eof(&mut text)?;
    Ok(text)
}

/// The board, as gauges.
#[derive(Debug)]
struct Board(Arc<StatusBoard>);

/// A gauge of one kind of thing: its name, what it means, how it is read.
type Gauge<T> = (&'static str, &'static str, fn(&T) -> u64);

/// A trigger has a series only while it is not zero: 10 000 idle triggers have none.
const OF_TRIGGERS: [Gauge<TriggerStatus>; 4] = [
    (
        "millrace_trigger_backlog_events",
        "Positions a trigger has not read yet, an upper bound of what it wants",
        |status| status.backlog,
    ),
    (
        "millrace_trigger_queued_events",
        "Events queued or in flight",
        |status| status.queued,
    ),
    (
        "millrace_trigger_deferred_events",
        "Events waiting for another attempt",
        |status| status.deferred,
    ),
    (
        "millrace_trigger_parked_events",
        "Events given up on, waiting for a decision",
        |status| status.parked,
    ),
];

/// The wall clock's jumps, by direction.
const JUMPS: (&str, &str) = (
    "millrace_clock_jumps",
    "How often the wall clock was set by a second or more",
);

/// A broker always has its series.
const OF_BROKERS: [Gauge<BrokerStatus>; 3] = [
    (
        "millrace_broker_head_position",
        "The next position to be written",
        |status| status.head,
    ),
    (
        "millrace_broker_log_bytes",
        "Bytes of the log on disk",
        |status| status.log_bytes,
    ),
    (
        "millrace_broker_refusing",
        "Whether producers are turned away (1) or not (0)",
        |status| u64::from(status.refusing.is_some()),
    ),
];

// === impl Board ===

impl Collector for Board {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let lanes = self.0.triggers();
        for gauge in OF_TRIGGERS {
            // A series names the trigger: what it has on each of its brokers counts together.
            let mut sums: BTreeMap<&ObjectName, u64> = BTreeMap::new();
            for (lane, status) in &lanes {
                let read = gauge.2(status);
                if read > 0 {
                    *sums.entry(&lane.trigger).or_default() += read;
                }
            }
            encode_rows(&mut encoder, (gauge.0, gauge.1), "trigger", sums)?;
        }
        let brokers = self.0.brokers();
        for gauge in OF_BROKERS {
            let rows = brokers.iter().map(|(name, status)| (name, gauge.2(status)));
            encode_rows(&mut encoder, (gauge.0, gauge.1), "broker", rows)?;
        }
        let clock = self.0.clock();
        let mut jumps = encoder.encode_descriptor(JUMPS.0, JUMPS.1, None, MetricType::Counter)?;
        for (direction, count) in [("forward", clock.forward), ("back", clock.back)] {
            jumps
                .encode_family(&[("direction", direction)])?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }
}

fn encode_rows<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    label: &'static str,
    rows: impl IntoIterator<Item = (&'a ObjectName, u64)>,
) -> Result<(), Error> {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (object, value) in rows {
        metric
            .encode_family(&[("namespace", object.namespace()), (label, object.name())])?
            .encode_gauge(&value)?;
    }
    Ok(())
}
