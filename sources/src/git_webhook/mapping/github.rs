//! GitHub, as the CloudEvents adapter's document has it; events that it does not know follow its general
//! rule.

use std::borrow::Cow;

use super::draft::Draft;
use super::github_table::{Row, Source, Suffix, TABLE};
use super::{Call, word};

/// The source where an event names none, unless an Enterprise server says that it is another.
const GITHUB: &str = "https://github.com";
/// Where the source is looked for when it is not where the table says, and for events outside of it.
const SOURCES: &[&str] = &[
    "repository.url",
    "organization.url",
    "installation.account.url",
    "enterprise.html_url",
];

/// What the call of an event says.
pub(super) fn draft<'a>(call: &Call<'a>) -> Draft<'a> {
    let event = call.header("x-github-event").unwrap_or("unknown");
    let row = TABLE.iter().find(|row| row.event == event);
    let plain = format!("com.github.{}", word(event));
    let mut draft = Draft::new(plain, GITHUB);
    draft.id = call.header("x-github-delivery").map(Cow::Borrowed);
    if let Some(suffix) = suffix(call, row.map_or(Suffix::Action, |row| row.suffix)) {
        draft.ty = format!("{}.{suffix}", draft.plain_type).into();
    }
    let told = row.and_then(|row| source(call, row));
    draft.source = told.or_else(|| call.first(SOURCES)).or_else(|| server(call));
    if let Some(row) = row {
        draft.subject = call.first(row.subject);
        draft.time = time(call, row);
    }
    draft
}

/// The Enterprise server that calls.
fn server<'a>(call: &Call<'a>) -> Option<Cow<'a, str>> {
    let host = call.header("x-github-enterprise-host")?;
    Some(format!("https://{host}").into())
}

/// What follows the event in its type.
fn suffix(call: &Call<'_>, suffix: Suffix) -> Option<String> {
    let paths: &[&str] = match suffix {
        Suffix::None => &[],
        Suffix::Action => &["action"],
        Suffix::Of(paths) => paths,
    };
    let words: Vec<_> = paths.iter().filter_map(|path| call.text(path)).collect();
    (!words.is_empty()).then(|| words.join("."))
}

fn source<'a>(call: &Call<'a>, row: &Row) -> Option<Cow<'a, str>> {
    match row.source {
        Source::At(path) => call.text(path),
        Source::Text(text) => Some(text.into()),
        Source::Commit => {
            let (url, commit) = (call.text("comment.url")?, call.text("comment.commit_id")?);
            Some(format!("{url}/{commit}").into())
        }
        Source::Users => {
            let url = call.text("sender.url")?;
            let users = url.rsplit_once('/')?.0.to_owned();
            Some(users.into())
        }
    }
}

fn time<'a>(call: &Call<'a>, row: &Row) -> Option<Cow<'a, str>> {
    let by_action = || {
        let action = call.text("action")?;
        call.text(&format!("release.{action}_at"))
    };
    let found = if row.event == "release" { by_action() } else { None };
    found.or_else(|| call.first(row.time))
}
