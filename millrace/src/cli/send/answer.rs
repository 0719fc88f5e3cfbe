//! What the answer to an event means, in a sentence, as JSON, and as an exit code.

use http::{StatusCode, Uri};
use serde_json::json;

use crate::cli::client::{Answer, NoAnswer};
use crate::cli::exit::Exit;
use crate::cli::out::{self, Output, count};

/// Says what became of the events.
pub(crate) fn tell(to: &Uri, ids: &[String], came: &Result<Answer, NoAnswer>, output: Output) -> Exit {
    let (exit, sentence) = match came {
        Ok(answer) if answer.status.is_success() => (Exit::Ok, accepted(to, ids, answer)),
        Ok(answer) => (Exit::Failed, refused(to, answer)),
        Err(error @ NoAnswer::Unreachable { .. }) => (
            Exit::Unreachable,
            format!("{error}. Nothing was sent. Is Millrace running there? --url says where it is"),
        ),
        Err(error @ NoAnswer::Lost { .. }) => (
            Exit::Unreachable,
            format!(
                "{error}. The event may have been stored; sending it again with the same id{} lets receivers tell",
                match ids {
                    [id] => format!(" (--id {})", out::plain(id)),
                    _ => String::new(),
                }
            ),
        ),
    };
    if output == Output::Json {
        let answer = came.as_ref().ok();
        let status = answer.map(|answer| answer.status.as_u16());
        let problem = answer
            .filter(|answer| !answer.status.is_success())
            .map(Answer::refusal);
        let retry_after = answer.and_then(Answer::retry_after).map(|wait| wait.as_secs());
        out::json(&json!({
            "url": to.to_string(),
            "ids": ids,
            "status": status,
            "accepted": exit == Exit::Ok,
            "meaning": sentence,
            "problem": problem,
            "retryAfterSeconds": retry_after,
        }));
    } else if exit == Exit::Ok {
        out::data(&sentence);
    } else {
        out::remark(&format!("error: {sentence}"));
    }
    exit
}

fn accepted(to: &Uri, ids: &[String], answer: &Answer) -> String {
    let what = match ids {
        [] => "the events".to_owned(),
        [id] => format!("event {}", out::plain(id)),
        ids => count(ids.len(), "event"),
    };
    match answer.status {
        StatusCode::ACCEPTED => format!("202 Accepted: {what}, stored durably by {to}"),
        _ => format!(
            "{}: {what}, taken by {to}; a broker says 202, so this may be something else",
            answer.status_line()
        ),
    }
}

/// What a failed answer means for the event: a proxy's answer, and one after a failed write, leave it open.
fn may_be_stored(code: Option<&str>) -> &'static str {
    match code {
        None | Some("storage-failed") => "The event may have been stored",
        Some(_) => "Nothing was stored",
    }
}

fn refused(to: &Uri, answer: &Answer) -> String {
    let refusal = answer.refusal();
    let detail = refusal.detail.as_deref().map(out::plain);
    let told = match (detail, refusal.field.as_deref().map(out::plain)) {
        // Most sentences name the field themselves.
        (Some(detail), Some(field)) if !detail.contains(&field) => format!("{field}: {detail}"),
        (Some(detail), _) => detail,
        (None, _) => "without a word why".to_owned(),
    };
    let code = refusal.code.map(|code| out::plain(&code));
    let meaning = match answer.status {
        StatusCode::BAD_REQUEST => {
            "The event is malformed; sending it again as it is will not help.".to_owned()
        }
        StatusCode::NOT_FOUND if code.as_deref() == Some("unknown-broker") => {
            format!("Nothing was stored by {to}; --broker names another.")
        }
        StatusCode::NOT_FOUND => {
            format!(
                "{to} is no address of a broker; --url names the listener for events, --broker the broker."
            )
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            "It is over the limit; --max-event-bytes of the server sets it.".to_owned()
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "The broker does not know this format.".to_owned(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let wait = answer
                .retry_after()
                .map(|wait| format!(" in {} s", wait.as_secs()))
                .unwrap_or_default();
            let stored = may_be_stored(code.as_deref());
            format!("{stored}; try again{wait}, or let --retry do it.")
        }
        status if status.is_server_error() => format!("{}.", may_be_stored(code.as_deref())),
        _ => "Nothing was stored.".to_owned(),
    };
    let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
    format!("{}: {told}{code}. {meaning}", answer.status_line())
}
