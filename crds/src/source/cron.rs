//! What only a CronSource has.

use std::time::Duration;

use bytes::Bytes;
use millrace_model::SourceSpec;
use millrace_model::source::{CatchUp, Cron};

use crate::field::{Object, Report};

/// Ticks missed longer ago than this are not made up, where the document says nothing.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// Reads what is left of the `spec`.
pub(super) fn read(spec: &mut Object<'_>, report: &mut Report) -> Option<super::Spec> {
    let schedule = spec.require("schedule", report)?.text(report)?.to_owned();
    let timezone = spec.text("timezone", report).unwrap_or("UTC").to_owned();
    let content_type = spec.text("contentType", report).map(str::to_owned);
    let data = spec
        .text("data", report)
        .map(|text| Bytes::copy_from_slice(text.as_bytes()));
    let cron = Cron {
        schedule,
        timezone,
        content_type,
        data,
        jitter: Duration::ZERO,
        catch_up: CatchUp::default(),
        catch_up_max_age: MAX_AGE,
    };
    Some(Box::new(move |_| SourceSpec::Cron(cron)))
}
