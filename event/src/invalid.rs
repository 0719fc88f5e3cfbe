//! What can be wrong with an event that comes from outside: one closed list, each with a stable code.

/// Why something is not a valid CloudEvent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// The kind of fault; decides the stable code and the HTTP status.
    pub fault: Fault,
    /// The header, JSON member or attribute at fault, where there is one.
    pub field: Option<String>,
    /// A sentence for people.
    pub message: String,
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No `ce-` header and no CloudEvents media type: this is not a CloudEvent (400).
    NotAnEvent,
    // the helper completes this list
}
