//! The program's log: lines on the standard error, for people or as JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The variables that say what is logged; the first one that is set counts.
const VARIABLES: [&str; 2] = ["MILLRACE_LOG", "RUST_LOG"];

/// Begins to log. `default` is the filter where no variable says otherwise.
///
/// # Errors
/// A sentence, when a variable holds something that is no filter.
pub(crate) fn begin(format: LogFormat, default: &str) -> Result<(), String> {
    let set = VARIABLES
        .iter()
        .find_map(|name| Some((*name, std::env::var(name).ok().filter(|v| !v.is_empty())?)));
    let (name, directives) = set.unwrap_or(("", default.to_owned()));
    let filter =
        EnvFilter::try_new(directives).map_err(|error| format!("{name} is no log filter: {error}"))?;
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    // A second call, as tests make it, keeps the first one's settings.
    let _ = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}
