//! `millrace send`: one event from flags, a file or the standard input, and what the answer to it means.
//!
//! [`message`] makes the message, [`answer`] reads what came back; this file has the flags and the sending.

mod answer;
pub(crate) mod message;

use std::path::PathBuf;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use clap::{ArgGroup, Args, ValueEnum};
use http::{Method, StatusCode};
use millrace_event::ObjectName;

use crate::cli::client::{Answer, Ask, NoAnswer, below};
use crate::cli::exit::Exit;
use crate::cli::out::Output;
use crate::cli::reach::{Reach, Reached};
use crate::cli::usage;
use crate::cli::values::{default_broker, parse_name, parse_pair};
use message::Message;

/// The flags that describe a new event, which has a type and is in no file.
const NEW_EVENT: [&str; 10] = [
    "ty",
    "source",
    "id",
    "subject",
    "time",
    "dataschema",
    "data",
    "data_file",
    "content_type",
    "extensions",
];

/// `millrace send`.
#[derive(Args, Clone, Debug)]
#[command(
    group = ArgGroup::new("new_event").args(NEW_EVENT).multiple(true).requires("ty"),
    after_help = EXAMPLES
)]
pub(crate) struct SendArgs {
    /// A file with one event as JSON, or with a batch of them; `-` is the standard input
    #[arg(value_name = "FILE", conflicts_with_all = NEW_EVENT)]
    file: Option<PathBuf>,
    /// The type of the event
    #[arg(long = "type", value_name = "TYPE", allow_hyphen_values = true)]
    ty: Option<String>,
    /// Where the event comes from: a URI or a path [default: /millrace/send]
    #[arg(long, allow_hyphen_values = true)]
    source: Option<String>,
    /// The id of the event; a new one where it is not given
    #[arg(long, allow_hyphen_values = true)]
    id: Option<String>,
    /// The thing in its source that the event is about
    #[arg(long, allow_hyphen_values = true)]
    subject: Option<String>,
    /// When it happened, as RFC 3339
    #[arg(long, allow_hyphen_values = true)]
    time: Option<String>,
    /// The schema of its data: a URI
    #[arg(long, value_name = "URI", allow_hyphen_values = true)]
    dataschema: Option<String>,
    /// The data of the event; @FILE is the content of a file, @- the standard input. A text that begins with
    /// @ goes by --data-file -
    #[arg(long, conflicts_with = "data_file", allow_hyphen_values = true)]
    data: Option<String>,
    /// A file with the data of the event; `-` is the standard input
    #[arg(long, value_name = "FILE")]
    data_file: Option<PathBuf>,
    /// The media type of the data; by default application/json for JSON, otherwise text/plain or
    /// application/octet-stream
    #[arg(long, value_name = "TYPE", allow_hyphen_values = true)]
    content_type: Option<String>,
    /// Another attribute; repeat it for more
    #[arg(long = "ext", value_name = "NAME=VALUE", value_parser = parse_pair, allow_hyphen_values = true)]
    extensions: Vec<(String, String)>,
    /// How the event is written; as it is where it comes from a file, else binary
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
    /// The Millrace to send to; with a path, the whole address of a broker [default: that of the context,
    /// else http://127.0.0.1:8080]
    #[arg(long, env = "MILLRACE_URL")]
    url: Option<String>,
    /// The broker: namespace/name [default: default/default, where --url has no path]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    broker: Option<ObjectName>,
    /// Try this many times more if nothing answers or the answer is 429 or 503
    #[arg(long, value_name = "N", default_value_t = 0)]
    retry: u32,
}

const EXAMPLES: &str = "\
Examples:
  millrace send --type order.paid --source /shop --data '{\"id\":7}'
  millrace send --broker shop/default event.json
  cat batch.json | millrace send -";

/// The content modes of the HTTP binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    /// Attributes in headers, data in the body
    Binary,
    /// Everything in a JSON body
    Structured,
    /// A list of events in a JSON body
    Batch,
}

/// The first and the longest wait between tries.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Why a try did not succeed, of those that another try may mend.
#[derive(Debug)]
enum NotNow {
    Busy(Answer),
    NoAnswer(NoAnswer),
}

/// Sends the event and says what the answer means.
pub(crate) async fn send(args: SendArgs, reach: Reach, output: Output) -> anyhow::Result<Exit> {
    let message = match Message::new(&args) {
        Ok(message) => message,
        Err(error) => return Ok(usage(&crate::reasons::reasons(&error))),
    };
    let reached = reach.ingress(args.url.as_deref());
    let to = reached.and_then(|Reached { base, caller }| Ok((address(&args, base)?, caller)));
    let (to, caller) = match to {
        Ok(to) => to,
        Err(error) => return Ok(usage(&crate::reasons::reasons(&error))),
    };
    let mut ask = Ask::new(caller, Method::POST, to);
    ask.headers = message.headers;
    ask.body = message.body;
    let came = match make(&ask, args.retry).await {
        Ok(answer) | Err(NotNow::Busy(answer)) => Ok(answer),
        Err(NotNow::NoAnswer(error)) => Err(error),
    };
    Ok(answer::tell(&ask.url, &message.ids, &came, output))
}

/// The URL of the broker.
fn address(args: &SendArgs, base: http::Uri) -> anyhow::Result<http::Uri> {
    match &args.broker {
        None if base.path() != "/" => Ok(base),
        None => below(&base, &default_broker().to_string()),
        Some(name) => below(&base, &name.to_string()),
    }
}

/// Makes the request, and repeats it if that may help. A try with an unknown outcome is not repeated: only
/// the sender of the event knows whether twice is better than never.
async fn make(ask: &Ask, retry: u32) -> Result<Answer, NotNow> {
    let schedule = ExponentialBuilder::default()
        .with_min_delay(WAITS.0)
        .with_max_delay(WAITS.1)
        .with_max_times(usize::try_from(retry).unwrap_or(usize::MAX))
        .with_jitter();
    (|| attempt(ask))
        .retry(schedule)
        .when(|error| !matches!(error, NotNow::NoAnswer(NoAnswer::Lost { .. })))
        .adjust(|error, wait| wait.map(|wait| wait.max(error.asks_for().min(WAITS.1))))
        .await
}

async fn attempt(ask: &Ask) -> Result<Answer, NotNow> {
    match ask.make().await {
        Ok(answer)
            if matches!(
                answer.status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
            ) =>
        {
            Err(NotNow::Busy(answer))
        }
        Ok(answer) => Ok(answer),
        Err(error) => Err(NotNow::NoAnswer(error)),
    }
}

// === impl NotNow ===

impl NotNow {
    /// How long the other side asks to wait.
    fn asks_for(&self) -> Duration {
        match self {
            Self::Busy(answer) => answer.retry_after().unwrap_or_default(),
            Self::NoAnswer(_) => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests;
