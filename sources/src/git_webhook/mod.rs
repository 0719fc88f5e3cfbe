//! GitWebhookSource: a forge calls, and an event is stored before it is answered.
//!
//! The files tell the way of a call: the endpoint leads it through ([`endpoint`]), the secrets are kept fresh
//! (`secrets`) and looked at (`flaw`), the call is told from a forged one (`verify`), is not one too many
//! (`rate`), comes from the forge it should (`detect`), holds JSON (`payload`), becomes an event (`mapping`),
//! or is refused in words (`refuse`).
//!
//! # Guarantees
//! - 202 is answered only after the sink has the event; after any other answer but a 503 nothing of the call
//!   is stored.
//! - What is unsigned or wrongly signed is never parsed as JSON, let alone stored.
//! - A verified call that holds JSON becomes an event, however new its kind or odd its values are.

mod detect;
mod endpoint;
mod flaw;
mod mapping;
mod payload;
mod rate;
mod refuse;
mod secrets;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use millrace_model::source::GitWebhook;
use millrace_model::source::git_webhook::Verification;
use tokio_util::sync::CancellationToken;

use crate::{Context, Feed, SourceError};
use endpoint::Hook;
use secrets::FoundSecrets;

pub use flaw::secret_flaw;

/// Takes the calls of one forge.
#[derive(Debug)]
pub(crate) struct GitWebhookFeed {
    spec: GitWebhook,
}

/// The longest body of a call in bytes, if an event may have this much data.
pub fn largest_call(max_event_bytes: usize) -> usize {
    payload::Wrapping::largest_body(max_event_bytes)
}

/// Why calls are not taken that nothing proves.
const UNSIGNED: &str = "`verification: none` lets in whoever can connect, and other machines can; that needs the \
                        flag --allow-anonymous";

/// How often secrets that are files are read again.
const REREAD: Duration = Duration::from_secs(1);

// === impl GitWebhookFeed ===

impl GitWebhookFeed {
    pub(crate) fn new(spec: GitWebhook) -> Self {
        Self { spec }
    }
}

#[async_trait::async_trait]
impl Feed for GitWebhookFeed {
    async fn run(&mut self, context: &Context, shutdown: CancellationToken) -> Result<(), SourceError> {
        if self.spec.verification == Verification::None && !context.webhooks.takes_unsigned() {
            return Err(SourceError::Unusable(UNSIGNED.to_owned()));
        }
        let hook = Arc::new(Hook::new(&self.spec, context)?);
        let unknown = FoundSecrets::default();
        let mut found = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            found = secrets::find(&self.spec, &context.secrets, &unknown) => found,
        };
        hook.use_secrets(&found);
        tell(context, &hook, &found);
        let _opened = context.webhooks.open(&context.name, hook.clone());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(REREAD), if secrets::may_change(&self.spec.secrets) => {}
            }
            let now = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                now = secrets::find(&self.spec, &context.secrets, &found) => now,
            };
            if now != found {
                hook.use_secrets(&now);
                tell(context, &hook, &now);
                found = now;
            }
        }
    }
}

/// Says how the source stands with these secrets.
fn tell(context: &Context, hook: &Hook, found: &FoundSecrets) {
    for why in &found.missing {
        tracing::warn!("a secret of the source cannot be used as it is now: {why}");
    }
    let report = &context.report;
    match (hook.can_verify(), found.missing.first()) {
        (true, None) => report.ready(),
        (true, Some(why)) => report.ready_but(why.as_str()),
        (false, why) => report.not_ready(why.map_or("it has no secret", String::as_str)),
    }
}
