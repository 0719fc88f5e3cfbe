//! What only a CronSource has.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use millrace_event::{DataForm, Event, EventBuilder, SpecVersion};
use millrace_model::SourceSpec;
use millrace_model::source::{CatchUp, Cron, Schedule, ScheduleError};

use crate::document::delivery::short_period;
use crate::field::{Field, Object};
use crate::problem::{Code, shown};
use crate::report::Report;
use crate::suggest;

/// Ticks missed longer ago than this are not made up, where the document says nothing.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// The longest jitter.
const MAX_JITTER: Duration = Duration::from_secs(24 * 3600);
/// What `catchUp` may be.
pub(crate) const CATCH_UP: [&str; 3] = ["none", "last", "all"];

/// Reads what is left of the `spec`.
pub(super) fn read(spec: &mut Object<'_>, report: &mut Report) -> Option<super::Spec> {
    let schedule = schedule(spec, report);
    let content_type = spec.take("contentType");
    let content_type = content_type.map(|field| media_type(&field, report));
    let data = data(spec, content_type.flatten(), report);
    let jitter = spec.take("jitter").map(|field| jitter(&field, report));
    let catch_up = spec.take("catchUp").map(|field| catch_up(&field, report));
    let max_age = spec
        .take("catchUpMaxAge")
        .map(|field| short_period(&field, report));
    let cron = Cron {
        schedule: schedule?,
        content_type: content_type.flatten().map(str::to_owned),
        data,
        jitter: jitter.flatten().unwrap_or_default(),
        catch_up: catch_up.flatten().unwrap_or_default(),
        catch_up_max_age: max_age.flatten().unwrap_or(MAX_AGE),
    };
    Some(super::Spec::Whole(SourceSpec::Cron(Box::new(cron))))
}

fn schedule(spec: &mut Object<'_>, report: &mut Report) -> Option<Schedule> {
    let expression = spec.require("schedule", report);
    let zone = spec.take("timezone");
    let name = match &zone {
        Some(field) => field.text(report)?,
        None => "UTC",
    };
    if let (Some(field), Err(error)) = (&zone, Schedule::check_zone(name)) {
        field.refuse(report, Code::BadSchedule, unknown_zone(name, &error));
        return None;
    }
    let expression = expression?;
    match Schedule::parse(expression.text(report)?, name) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            expression.refuse(report, Code::BadSchedule, error.to_string());
            None
        }
    }
}

fn unknown_zone(name: &str, error: &ScheduleError) -> String {
    if let Some(words) = by_offset(name) {
        return format!("there is no time zone `{}`; {words}", shown(name));
    }
    let zones = Schedule::zones();
    let zones: Vec<&str> = zones.iter().map(String::as_str).collect();
    match suggest::nearest(name, &zones) {
        Some(near) => format!("there is no time zone `{}`; did you mean `{near}`?", shown(name)),
        None => error.to_string(),
    }
}

/// What to write in the place of a distance from UTC: `UTC+8`, `GMT-5`, `+05:30`.
fn by_offset(name: &str) -> Option<String> {
    let upper = name.trim().to_ascii_uppercase();
    let bare = ["UTC", "GMT", "Z"]
        .iter()
        .find_map(|prefix| upper.strip_prefix(prefix));
    let bare = bare.unwrap_or(&upper).trim_start();
    let (sign, digits) = (bare.chars().next()?, bare.get(1..)?);
    if !matches!(sign, '+' | '-') || digits.is_empty() {
        return None;
    }
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    // In the names of Etc the sign says where UTC is, seen from there.
    let (other, most) = if sign == '+' { ('-', 14) } else { ('+', 12) };
    Some(match (hours, minutes) {
        (0, 0) => "write UTC".to_owned(),
        (hours, 0) if hours <= most => {
            format!("write `Etc/GMT{other}{hours}`, whose sign is the other way round")
        }
        _ => "write the name of a place, for example Asia/Kolkata for 5 hours and a half ahead of UTC"
            .to_owned(),
    })
}

fn media_type<'a>(field: &Field<'a>, report: &mut Report) -> Option<&'a str> {
    let text = field.text(report)?;
    if probe(Some(text)).build().is_err() {
        field.refuse(
            report,
            Code::BadData,
            "this is not a media type; write for example application/json",
        );
        return None;
    }
    Some(text)
}

/// `data` or `dataBase64`, which is JSON where it is said to be.
fn data(spec: &mut Object<'_>, content_type: Option<&str>, report: &mut Report) -> Option<Bytes> {
    let (plain, encoded) = (spec.take("data"), spec.take("dataBase64"));
    let (field, data) = match (plain, encoded) {
        (None, None) => return None,
        (Some(_), Some(encoded)) => {
            let message = "`data` and `dataBase64` exclude each other";
            encoded.refuse(report, Code::ConflictingFields, message);
            return None;
        }
        (Some(field), None) => {
            let data = Bytes::copy_from_slice(field.text(report)?.as_bytes());
            (field, data)
        }
        (None, Some(field)) => {
            let text: String = field.text(report)?.split_ascii_whitespace().collect();
            let Ok(data) = STANDARD.decode(text) else {
                field.refuse(report, Code::BadData, "this is not base64");
                return None;
            };
            (field, data.into())
        }
    };
    let is_json = |event: Event| event.json().is_some();
    let said = probe(content_type).data(DataForm::Bytes, &data).build();
    if said.is_ok_and(is_json) && probe(content_type).data(DataForm::Json, &data).build().is_err() {
        let message = "`contentType` says that this is JSON, and it is not";
        field.refuse(report, Code::BadData, message);
        return None;
    }
    Some(data)
}

/// An event that exists only to ask the rules of events.
fn probe(content_type: Option<&str>) -> EventBuilder {
    let event = Event::builder(SpecVersion::V10)
        .attribute("id", "1")
        .attribute("source", "/")
        .attribute("type", "t");
    match content_type {
        Some(text) => event.attribute("datacontenttype", text),
        None => event,
    }
}

fn jitter(field: &Field<'_>, report: &mut Report) -> Option<Duration> {
    let jitter = short_period(field, report)?;
    if jitter > MAX_JITTER {
        field.refuse(report, Code::OutOfRange, "the jitter may be at most 24h");
        return None;
    }
    Some(jitter)
}

fn catch_up(field: &Field<'_>, report: &mut Report) -> Option<CatchUp> {
    match field.text(report)? {
        "none" => Some(CatchUp::None),
        "last" => Some(CatchUp::Last),
        "all" => Some(CatchUp::All),
        other => {
            let message = match suggest::nearest(other, &CATCH_UP) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "there are `none`, `last` and `all`".to_owned(),
            };
            field.refuse(
                report,
                Code::UnknownValue,
                format!("`{}` is no way of catching up; {message}", shown(other)),
            );
            None
        }
    }
}
