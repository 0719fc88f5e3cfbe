//! The attributes a dead letter carries: `knativeerrordest`, `knativeerrorcode`, `knativeerrordata`.

/// The three attributes of a dead letter, ready for [`millrace_event::http::Outgoing::extra`].
pub fn attributes(subscriber: &str, status: Option<u16>, body_or_reason: &[u8]) -> [(&'static str, String); 3] {
    todo!()
}
