//! What the entries of an access file have in common: a name, an end, what they are good for and how much.

use std::sync::Arc;

use millrace_event::Timestamp;

use crate::grants::{BrokerPattern, Grants, Role};
use crate::limits::Limit;
use crate::limits::wire::WireLimit;

/// The longest name of a token or certificate.
const MAX_NAME: usize = 2_048;

/// The limit of an entry: its own, else the default.
pub(crate) fn limit(
    own: Option<WireLimit>,
    default: Option<&Arc<Limit>>,
) -> Result<Option<Arc<Limit>>, String> {
    match own {
        None => Ok(default.cloned()),
        Some(own) => own.read().map(Some).map_err(|why| format!("limit.{why}")),
    }
}

/// What it is good for.
pub(crate) fn grants(
    brokers: &[String],
    admin: Option<&str>,
    limit: Option<Arc<Limit>>,
) -> Result<Grants, String> {
    let patterns = brokers.iter().enumerate().map(|(nth, text)| {
        text.parse::<BrokerPattern>()
            .map_err(|error| format!("brokers[{nth}]: {error}"))
    });
    let brokers = patterns.collect::<Result<Vec<_>, _>>()?;
    let admin = match admin {
        None => None,
        Some("read") => Some(Role::Read),
        Some("operate") => Some(Role::Operate),
        Some(_) => return Err("admin: `read` or `operate` is expected".to_owned()),
    };
    if brokers.is_empty() && admin.is_none() {
        return Err("brokers: without `brokers` and `admin` it would be good for nothing".to_owned());
    }
    Ok(Grants {
        brokers,
        admin,
        limit,
    })
}

/// Its end.
pub(crate) fn expires(text: Option<&str>) -> Result<Option<Timestamp>, String> {
    let Some(text) = text else { return Ok(None) };
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => Ok(Some(Timestamp(at.as_millisecond()))),
        Err(_) => Err("expires: a time as in RFC 3339 is expected: 2030-01-01T00:00:00Z".to_owned()),
    }
}

/// Names stand in logs, metrics and answers.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(format!(
            "name: from 1 to {MAX_NAME} bytes without control characters are expected"
        ));
    }
    Ok(())
}
