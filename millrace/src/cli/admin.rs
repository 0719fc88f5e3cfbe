//! Asking a running Millrace by its admin API, and what its refusals mean.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use millrace_filter::value;
use serde_json::Value;

use crate::cli::client::{Answer, Ask, Caller, NoAnswer, Streamed, below};
use crate::cli::exit::Exit;
use crate::cli::reach::{Reach, Reached};
use crate::cli::stream::Lines;
use crate::cli::{out, usage};

/// Marks a deliberate change: no page in a browser can send this header.
const MEANT: (HeaderName, HeaderValue) = (
    HeaderName::from_static("millrace-request"),
    HeaderValue::from_static("1"),
);

/// The admin API of one Millrace.
#[derive(Clone, Debug)]
pub(crate) struct AdminApi {
    base: Uri,
    caller: Caller,
}

/// Why the API did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDone {
    /// Nothing came back.
    #[error("{0}. Is Millrace running there? --admin or MILLRACE_ADMIN say where it is")]
    NoAnswer(#[from] NoAnswer),
    /// It refused.
    #[error("{}", refusal(.detail, .code.as_deref()))]
    Refused {
        /// Its sentence.
        detail: String,
        /// Its code, as docs/reference/errors.md has it.
        code: Option<String>,
    },
    /// It answered something else.
    #[error("this is not the answer of a Millrace: {0}")]
    Nonsense(String),
}

// === impl AdminApi ===

impl AdminApi {
    /// The API at that place; says so when it cannot be reached as it is described.
    pub(crate) fn new(reach: &Reach) -> Result<Self, Exit> {
        match reach.admin() {
            Ok(Reached { base, caller }) => Ok(Self { base, caller }),
            Err(error) => Err(usage(&crate::reasons::reasons(&error))),
        }
    }

    /// What is at a path below `/api/v1/`.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, NotDone> {
        read(&self.text(path).await?)
    }

    /// The answer as text, for answers with data of events: they may have numbers that are too large for a
    /// double.
    pub(crate) async fn text(&self, path: &str) -> Result<Bytes, NotDone> {
        Ok(self.ask(Method::GET, path).await?.body)
    }

    /// What is at a path, which must be a list.
    pub(crate) async fn list(&self, path: &str) -> Result<Vec<Value>, NotDone> {
        match self.get(path).await? {
            Value::Array(list) => Ok(list),
            _ => Err(NotDone::Nonsense("a list is expected".to_owned())),
        }
    }

    /// Changes something.
    pub(crate) async fn change(&self, method: Method, path: &str) -> Result<(), NotDone> {
        self.ask(method, path).await.map(drop)
    }

    /// Puts a body in the place of what is at a path; the answer says what is there now.
    pub(crate) async fn put(&self, path: &str, body: impl Into<Bytes>) -> Result<Value, NotDone> {
        let mut ask = self.request(Method::PUT, path)?;
        ask.body = body.into();
        read(&self.made(&ask).await?.body)
    }

    /// The lines at a path, which may come for as long as they like.
    pub(crate) async fn lines(&self, path: &str) -> Result<Lines, NotDone> {
        let ask = self.request(Method::GET, path)?;
        let Streamed { status, lines } = ask.stream().await?;
        if status.is_success() {
            return Ok(lines);
        }
        let body = lines.all().await;
        let answer = Answer {
            status,
            headers: HeaderMap::new(),
            body,
        };
        Err(self.refused(&ask, &answer))
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Answer, NotDone> {
        self.made(&self.request(method, path)?).await
    }

    async fn made(&self, ask: &Ask) -> Result<Answer, NotDone> {
        let answer = ask.make().await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(self.refused(ask, &answer))
    }

    fn request(&self, method: Method, path: &str) -> Result<Ask, NotDone> {
        let url = below(&self.base, &format!("api/v1/{path}"))
            .map_err(|error| NotDone::Nonsense(error.to_string()))?;
        let mut ask = Ask::new(self.caller.clone(), method, url);
        ask.headers.insert(MEANT.0, MEANT.1);
        Ok(ask)
    }

    fn refused(&self, ask: &Ask, answer: &Answer) -> NotDone {
        let refusal = answer.refusal();
        match (refusal.detail, answer.status) {
            (Some(detail), _) => NotDone::Refused {
                detail: out::plain(&detail),
                code: refusal.code.map(|code| out::plain(&code)),
            },
            (None, StatusCode::NOT_FOUND) => {
                NotDone::Nonsense(format!("{} has no {}", self.base, ask.url.path()))
            }
            (None, _) => NotDone::Nonsense(answer.status_line()),
        }
    }
}

// === impl NotDone ===

impl NotDone {
    /// Says what went wrong, for the exit code that it has.
    pub(crate) fn report(&self) -> Exit {
        out::remark(&format!("error: {self}"));
        match self {
            Self::NoAnswer(_) => Exit::Unreachable,
            Self::Refused { .. } | Self::Nonsense(_) => Exit::Failed,
        }
    }
}

/// A refusal with its code, and with what helps where the sentence does not say it.
fn refusal(detail: &str, code: Option<&str>) -> String {
    let Some(code) = code else {
        return detail.to_owned();
    };
    let helps = match code {
        "unknown-trigger" => "; `millrace triggers` lists all",
        "unknown-parked-event" => "; `millrace parked list` lists all",
        "unknown-broker" => "; `millrace brokers` lists all",
        "trigger-in-use" | "broker-in-use" => "; take it out of the documents first",
        "trigger-gone" => "; show or drop it, or bring its Trigger back",
        "no-credentials" => "; show a token: --token-file, MILLRACE_TOKEN, or a context",
        "expired-credentials" => "; `millrace access token` makes a new one",
        "foreign-host" => "; --admin-allowed-hosts of the server allows a name",
        "too-many-followers" => "; end another `millrace tail` first",
        // What the ingress answers to a question for the admin API.
        "method-not-allowed" | "unknown-path" => "; --admin names the admin listener, not the one for events",
        _ => "",
    };
    format!("{detail} ({code}){helps}")
}

/// The JSON of an answer. Parts of event data that serde_json refuses are in it as strings.
pub(crate) fn read(text: &[u8]) -> Result<Value, NotDone> {
    if let Ok(value) = serde_json::from_slice(text) {
        return Ok(value);
    }
    let value = value::read(text).map_err(|error| NotDone::Nonsense(error.to_string()))?;
    Ok(as_serde(&value))
}

fn as_serde(value: &value::Value<'_>) -> Value {
    match value {
        value::Value::Null => Value::Null,
        value::Value::Bool(truth) => Value::Bool(*truth),
        value::Value::Number(number) => {
            let text = number.text();
            serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()))
        }
        value::Value::String(text) => Value::String(text.to_string()),
        value::Value::HalfPair(raw) => Value::String((*raw).to_owned()),
        value::Value::Array(items) => items.iter().map(as_serde).collect(),
        value::Value::Object(members) => {
            let members = members.iter();
            members
                .map(|(name, member)| (name.to_owned(), as_serde(member)))
                .collect()
        }
    }
}

/// A part of a path, with everything encoded that does not stand for itself in one.
pub(crate) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A text or number of an answer as a cell of a table.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// All members of one thing, one a line.
pub(crate) fn members(one: &Value) -> String {
    let mut rows = Vec::new();
    flatten("", one, &mut rows);
    out::table(&["FIELD", "VALUE"], &rows)
}

/// The members of a value as rows of a path and a text.
fn flatten(path: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let below = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                flatten(&below, member, rows);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&format!("{path}[{index}]"), item, rows);
            }
        }
        Value::Null => {}
        _ => rows.push(vec![path.to_owned(), cell(value)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_shown_member_by_member() {
        let shown = members(&serde_json::json!(
            {"name": "a/b", "broker": null, "settings": {"retry": 5}, "otherPlaces": [{"broker": "a/c"}]}
        ));
        assert_eq!(
            shown,
            "\
FIELD                  VALUE
name                   a/b
otherPlaces[0].broker  a/c
settings.retry         5"
        );
    }

    #[test]
    fn an_answer_is_read_whatever_the_data_in_it_is() {
        let read = |text: &str| read(text.as_bytes()).expect("JSON");
        assert_eq!(read(r#"{"a":[1,1.5]}"#), serde_json::json!({"a": [1, 1.5]}));
        let expected = serde_json::json!({"n": "1e400", "half": "\\ud800", "m": [1, null, true, "x"]});
        assert_eq!(
            read(r#"{"n":1e400,"half":"\ud800","m":[1,null,true,"x"]}"#),
            expected
        );
    }

    #[test]
    fn a_refusal_has_its_code_and_what_helps() {
        let refused = |code: Option<&str>| NotDone::Refused {
            detail: "no".to_owned(),
            code: code.map(str::to_owned),
        };
        assert_eq!(
            refused(Some("unknown-trigger")).to_string(),
            "no (unknown-trigger); `millrace triggers` lists all"
        );
        assert_eq!(refused(Some("bad-query")).to_string(), "no (bad-query)");
        assert_eq!(refused(None).to_string(), "no");
    }

    #[test]
    fn ids_cannot_leave_their_place_in_a_path() {
        assert_eq!(segment("a-1.b_c~"), "a-1.b_c~");
        assert_eq!(segment("../x?y=1#é/"), "..%2Fx%3Fy%3D1%23%C3%A9%2F");
    }
}
