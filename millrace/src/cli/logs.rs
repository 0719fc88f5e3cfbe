//! The program's log: lines on the standard error, for people or as JSON, and the filter that can be changed
//! while the program runs.

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;

use millrace_admin::{AUDIT, LogFilter};
use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};
use tracing_subscriber::reload;

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

/// The longest filter that is taken while the program runs, in bytes.
const LONGEST_FILTER: usize = 4_096;

/// The filter of this process's log.
pub(crate) struct Filter {
    initial: String,
    current: Mutex<String>,
    apply: Apply,
}

/// Gives the log another filter.
type Apply = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// Begins to log. `default` is the filter where no variable says otherwise.
///
/// # Errors
/// A sentence, when a variable holds something that is no filter.
pub(crate) fn begin(format: LogFormat, default: &str) -> Result<Arc<Filter>, String> {
    let set = VARIABLES
        .iter()
        .find_map(|name| Some((*name, std::env::var(name).ok().filter(|v| !v.is_empty())?)));
    let (name, directives) = set.unwrap_or(("", default.to_owned()));
    let filter = read(&directives).map_err(|error| format!("{name} is no log filter: {error}"))?;
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    // A second call, as tests make it, keeps the first one's settings.
    let apply: Apply = match format {
        LogFormat::Text => {
            let lines = lines.with_env_filter(filter).with_filter_reloading();
            let handle = lines.reload_handle();
            let _ = lines.try_init();
            Box::new(move |filter| handle.reload(filter))
        }
        LogFormat::Json => {
            // The list of spans is enough: the innermost one stands in it too.
            let lines = lines.json().flatten_event(true).with_current_span(false);
            let lines = lines.with_env_filter(filter).with_filter_reloading();
            let handle = lines.reload_handle();
            let _ = lines.try_init();
            Box::new(move |filter| handle.reload(filter))
        }
    };
    Ok(Arc::new(Filter {
        initial: directives.clone(),
        current: Mutex::new(directives),
        apply,
    }))
}

/// Reads a filter. Values of fields are compared as they are: a regular expression may take any amount of
/// memory.
fn read(directives: &str) -> Result<EnvFilter, String> {
    let read = EnvFilter::builder().with_regex(false).parse(directives);
    let read = read.map_err(|error| error.to_string())?;
    // Of itself the client of NATS tells each try to connect, for as long as a server is away. Whoever wants
    // to hear it names it.
    match (directives.contains("async_nats"), "async_nats=off".parse()) {
        (false, Ok(quiet)) => Ok(read.add_directive(quiet)),
        _ => Ok(read),
    }
}

/// Reads a filter that holds from now on. Whatever it says, who changed what stays in the log: who may change
/// the filter could hide the next change otherwise. No other directive that is taken is as specific.
fn read_change(directives: &str) -> Result<EnvFilter, String> {
    let audit = format!("{AUDIT}=info").parse::<Directive>();
    let audit = audit.map_err(|error| error.to_string())?;
    Ok(read(directives)?.add_directive(audit))
}

/// Why a filter that can be read is more likely a mistake, which would silence the log.
fn mistake(directives: &str) -> Option<String> {
    if directives.is_empty() {
        return Some("it is empty; off logs nothing beside the audit lines".to_owned());
    }
    if directives.len() > LONGEST_FILTER {
        return Some(format!("it may have {LONGEST_FILTER} bytes"));
    }
    let names_audit = |word: &str| word.split(['=', '[', ':', '{']).next().map(str::trim) == Some(AUDIT);
    if directives.split(',').any(names_audit) {
        return Some(format!("it names {AUDIT}, whose lines are always kept"));
    }
    let is_module = |word: &str| word.contains(['=', '[', ':']) || word.parse::<LevelFilter>().is_ok();
    let mut words = directives.split(',').map(str::trim);
    let word = words.find(|word| !word.is_empty() && !is_module(word))?;
    Some(format!(
        "{word:?} is no level (off, error, warn, info, debug, trace); all lines of a module beside the usual ones are info,{word}=trace"
    ))
}

// === impl Filter ===

impl LogFilter for Filter {
    fn current(&self) -> String {
        self.current.lock().clone()
    }

    fn initial(&self) -> String {
        self.initial.clone()
    }

    fn set(&self, filter: &str) -> Result<(), String> {
        // The one of the start was taken already.
        let mistake = mistake(filter).filter(|_| filter != self.initial);
        if let Some(mistake) = mistake {
            return Err(mistake);
        }
        let read = read_change(filter)?;
        let mut current = self.current.lock();
        // By the filter of before, which may be the last one that lets it through.
        tracing::info!(from = %current, to = filter, "the log level changes");
        (self.apply)(read).map_err(|error| error.to_string())?;
        filter.clone_into(&mut current);
        Ok(())
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("initial", &self.initial)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// A filter whose log is not there.
    fn filter() -> Filter {
        Filter {
            initial: "info".to_owned(),
            current: Mutex::new("info".to_owned()),
            apply: Box::new(|_| Ok(())),
        }
    }

    #[test]
    fn filters_are_taken_and_shown_as_they_were_given() {
        let filter = filter();
        for text in [
            "debug",
            "OFF",
            "warn,millrace_delivery=trace",
            "info,hyper::proto,[source{source=shop/tick}]=debug",
            "info,[source{source=(a|b)*}]=debug",
        ] {
            assert_eq!(filter.set(text), Ok(()), "{text}");
            assert_eq!(filter.current(), text);
        }
        assert_eq!(filter.initial(), "info");
    }

    #[test]
    fn audit_lines_are_kept_whatever_the_filter_says() {
        let applied: Arc<Mutex<Option<EnvFilter>>> = Arc::default();
        let kept = applied.clone();
        let filter = Filter {
            initial: "off,audit=off".to_owned(),
            current: Mutex::new("info".to_owned()),
            apply: Box::new(move |filter| {
                *kept.lock() = Some(filter);
                Ok(())
            }),
        };
        for text in [
            "off",
            "[{who}]=off",
            "au=off,aud=off",
            "off,[x]=off",
            "off,audit=off",
        ] {
            assert_eq!(filter.set(text), Ok(()), "{text}");
            let applied = applied.lock().take().expect("a filter");
            let log = tracing_subscriber::registry().with(applied);
            tracing::subscriber::with_default(log, || {
                assert!(tracing::enabled!(target: AUDIT, tracing::Level::INFO), "{text}");
            });
        }
        assert_eq!(filter.current(), filter.initial());
    }

    #[test]
    fn what_would_silence_the_log_by_mistake_is_refused_and_changes_nothing() {
        let filter = filter();
        let long = "a=info,".repeat(1_000);
        for (text, says) in [
            ("", "it is empty"),
            ("inof", "\"inof\" is no level"),
            ("info,millrace_delivery", "\"millrace_delivery\" is no level"),
            ("audit=off", "it names audit"),
            ("info, audit = off", "it names audit"),
            ("audit[{who}]=off", "it names audit"),
            ("off,audit[x]=off", "it names audit"),
            ("millrace_delivery=loud", "error parsing level filter"),
            ("[source=debug", "invalid filter directive"),
            (long.as_str(), "4096 bytes"),
        ] {
            let refused = filter.set(text).expect_err(text);
            assert!(refused.contains(says), "{text}: {refused}");
        }
        assert_eq!(filter.current(), "info");
    }
}
