//! From flags, a file or the standard input to a message in one of the three content modes.
//!
//! A file that is sent in the mode in which it is written goes out byte for byte: the broker reports what is
//! wrong with it.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use millrace_event::http::{Limits, Outgoing, write_binary, write_structured};
use millrace_event::{DataForm, Event, SpecVersion, json};
use millrace_filter::value::{self, Value};

use super::{ModeArg, SendArgs};

/// The most that is read from a file.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// The source of events for which none is given.
const SOURCE: &str = "/millrace/send";
/// The media types of the JSON modes.
const STRUCTURED: HeaderValue = HeaderValue::from_static("application/cloudevents+json; charset=utf-8");
const BATCH: HeaderValue = HeaderValue::from_static("application/cloudevents-batch+json; charset=utf-8");

/// A message ready to be sent.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The ids of its events, as far as they can be read.
    pub(crate) ids: Vec<String>,
}

// === impl Message ===

impl Message {
    /// The message that the flags ask for.
    pub(crate) fn new(args: &SendArgs) -> anyhow::Result<Self> {
        if args.ty.is_some() {
            let event = from_flags(args)?;
            return Ok(Self::of_event(&event, args.mode.unwrap_or(ModeArg::Binary)));
        }
        let text = match &args.file {
            Some(path) => read(path)?,
            None if std::io::stdin().is_terminal() => {
                bail!("there is no event: give --type, a FILE, or - for the standard input")
            }
            None => read(Path::new("-"))?,
        };
        Self::of_json(text, args.mode)
    }

    fn of_event(event: &Event, mode: ModeArg) -> Self {
        let ids = vec![event.id().to_owned()];
        let mut headers = HeaderMap::new();
        let body = match mode {
            ModeArg::Binary => write_binary(event, &Outgoing::default(), &mut headers),
            ModeArg::Structured => write_structured(event, &Outgoing::default(), &mut headers),
            ModeArg::Batch => {
                headers.insert(CONTENT_TYPE, BATCH);
                list_of(&json::encode(event, &Outgoing::default()))
            }
        };
        Self { headers, body, ids }
    }

    /// One event or a batch, as JSON.
    fn of_json(text: Bytes, mode: Option<ModeArg>) -> anyhow::Result<Self> {
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        let is_batch = match first {
            Some(b'[') => true,
            Some(b'{') => false,
            Some(_) | None => bail!("this is no event as JSON: it begins with neither {{ nor ["),
        };
        let own = if is_batch {
            ModeArg::Batch
        } else {
            ModeArg::Structured
        };
        let ids = ids(&text);
        match (mode.unwrap_or(own), is_batch) {
            (ModeArg::Batch, true) => Ok(Self {
                headers: content_type(BATCH),
                body: text,
                ids,
            }),
            (ModeArg::Structured, false) => Ok(Self {
                headers: content_type(STRUCTURED),
                body: text,
                ids,
            }),
            (ModeArg::Batch, false) => Ok(Self {
                headers: content_type(BATCH),
                body: list_of(&text),
                ids,
            }),
            (ModeArg::Binary, false) => {
                let limits = Limits {
                    event_bytes: usize::MAX,
                    ..Limits::default()
                };
                let event = json::decode(&text, &limits)
                    .map_err(|invalid| anyhow::anyhow!("this is no valid event: {}", told(&invalid)))?;
                Ok(Self::of_event(&event, ModeArg::Binary))
            }
            (ModeArg::Binary | ModeArg::Structured, true) => {
                bail!("a batch can be sent in --mode batch only")
            }
        }
    }
}

fn content_type(value: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, value)])
}

fn list_of(event: &[u8]) -> Bytes {
    [b"[", event, b"]"].concat().into()
}

/// The ids in a text of events; none where it is broken.
fn ids(text: &[u8]) -> Vec<String> {
    let id = |event: &Value<'_>| event.get("id")?.as_str().map(str::to_owned);
    match value::read(text) {
        Ok(Value::Array(events)) => events.iter().filter_map(id).collect(),
        Ok(event) => id(&event).into_iter().collect(),
        Err(_) => Vec::new(),
    }
}

/// The event that the flags describe.
fn from_flags(args: &SendArgs) -> anyhow::Result<Event> {
    let new_id = || format!("{:032x}", fastrand::u128(..));
    let mut event = Event::builder(SpecVersion::V10)
        .attribute("id", &args.id.clone().unwrap_or_else(new_id))
        .attribute("source", args.source.as_deref().unwrap_or(SOURCE))
        .attribute("type", args.ty.as_deref().unwrap_or_default());
    let optional = [
        ("subject", &args.subject),
        ("time", &args.time),
        ("dataschema", &args.dataschema),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            event = event.attribute(name, value);
        }
    }
    for (name, value) in &args.extensions {
        event = event.attribute(name, value);
    }
    let data = match (&args.data, &args.data_file) {
        (Some(text), _) => Some(match text.strip_prefix('@') {
            Some(path) => read(Path::new(path)).with_context(|| format!("--data {text}"))?,
            None => Bytes::from(text.clone().into_bytes()),
        }),
        (None, Some(path)) => Some(read(path)?),
        (None, None) => None,
    };
    if let Some(content_type) = args
        .content_type
        .as_deref()
        .or_else(|| data.as_deref().map(guess))
    {
        event = event.attribute("datacontenttype", content_type);
    }
    if let Some(data) = data {
        event = event.data(DataForm::Bytes, &data);
    }
    event
        .build()
        .map_err(|invalid| anyhow::anyhow!("this is no valid event: {}", told(&invalid)))
}

/// A fault with the attribute that has it.
fn told(invalid: &millrace_event::Invalid) -> String {
    match &invalid.field {
        Some(field) if !invalid.message.contains(field) => format!("{field}: {}", invalid.message),
        Some(_) | None => invalid.message.clone(),
    }
}

/// What data most likely is.
fn guess(data: &[u8]) -> &'static str {
    match std::str::from_utf8(data) {
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => "application/json",
        Ok(_) => "text/plain; charset=utf-8",
        Err(_) => "application/octet-stream",
    }
}

/// A file or, as `-`, the standard input.
pub(crate) fn read(path: &Path) -> anyhow::Result<Bytes> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin()
            .lock()
            .take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("{} cannot be read", path.display()))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        bail!("{} has more than {} MiB", path.display(), MAX_FILE_BYTES >> 20);
    }
    Ok(bytes.into())
}
