//! What the author of files should know about references: they may come to something later, so none is a
//! problem.

use millrace_event::ObjectName;
use millrace_model::{
    Auth, Mesh, MissingSecret, NoSecret, NoTarget, SourceKey, SourceSpec, Target, Unresolved,
};

use super::{Draft, ShownToken, Standing};
use crate::document::auth;
use crate::document::delivery::DeliverySpec;
use crate::document::kinds::Kind;
use crate::document::source::SourceDocument;
use crate::document::{Content, Document};
use crate::external::Named;
use crate::problem::Mark;
use crate::report::Report;

/// Where a document names its own dead-letter sink.
const DEAD_LETTER_SINK: &str = "spec.delivery.deadLetterSink";

/// What is to be said about a document, and what it names outside of all documents, now that references are
/// looked up.
pub(crate) fn report(document: &Document, draft: &Draft, mesh: &Mesh) -> Report {
    let mut report = Report::new(document.origin.clone(), Some(draft.key.to_string()));
    match (&document.content, &draft.standing) {
        (
            Some(Content::Broker(read)),
            Standing::Broker {
                dead_letter,
                dead_letter_token,
                ..
            },
        ) => {
            let own = &read.broker.name;
            let is_embedded = mesh
                .brokers
                .get(own)
                .is_none_or(|broker| broker.backend.is_embedded());
            if let Some(config) = read
                .config
                .as_ref()
                .and_then(|config| config.as_ref().ok())
                .filter(|_| is_embedded)
            {
                let message = format!(
                    "the Broker is kept on the local disk: no ConfigMap {} of these documents has a `backend`",
                    config.name
                );
                report.remark(config.at, "spec.config", message);
            }
            let found = (dead_letter.as_ref(), dead_letter_token);
            remark_on_sink(&read.delivery, found, own, &mut report);
        }
        (
            Some(Content::Trigger(read)),
            Standing::Trigger {
                broker,
                subscriber,
                dead_letter,
                tokens,
            },
        ) => {
            if let Err(why) = broker
                && let Some(why) = told(why)
            {
                let message = format!("{why} in these files; the Trigger waits for it");
                report.remark(read.broker_at, "spec.broker", message);
            }
            if let Err(why) = subscriber
                && let Some(why) = told(why)
            {
                let message = format!("the Trigger is not ready: {why}");
                report.remark(read.subscriber_at, "spec.subscriber", message);
            }
            no_token(
                &tokens.subscriber,
                read.subscriber_at,
                "spec.subscriber",
                &mut report,
            );
            let found = (dead_letter.as_ref(), &tokens.dead_letter);
            remark_on_sink(&read.delivery, found, &read.broker.name, &mut report);
            if let Some(trigger) = mesh.triggers.get(&draft.key.name) {
                let own_dead_letter_auth = read.dead_letter_auth.as_ref();
                let dead_letter_auth = trigger.dead_letter_auth.as_deref();
                let dead_letter_auth = dead_letter_auth.filter(|_| own_dead_letter_auth.is_some());
                for (auth, annotation, target) in [
                    (
                        trigger.subscriber_auth.as_deref(),
                        auth::SUBSCRIBER,
                        Some(subscriber),
                    ),
                    (dead_letter_auth, auth::DEAD_LETTER, dead_letter.as_ref()),
                ] {
                    signing_secrets(auth, read.subscriber_at, annotation, &mut report);
                    unused_auth(auth, read.subscriber_at, annotation, target, &mut report);
                }
            }
        }
        (Some(Content::EventPolicy(_)), Standing::EventPolicy { missing, .. }) => {
            for why in missing {
                let message = format!("nobody may send by this entry: {why}");
                report.remark(document.at, "spec.from", message);
            }
            let policy = mesh.policies.get(&draft.key.name);
            if policy.is_some_and(|policy| policy.brokers.is_empty()) {
                let message = "no Broker of these files is meant by it";
                report.remark(document.at, "spec.to", message);
            }
        }
        (Some(Content::Source(read)), Standing::Source { sink, token, missing }) => {
            remark_on_secrets(missing, read.sink_at, &mut report);
            webhook_secrets(read, draft, mesh, &mut report);
            no_token(token, read.sink_at, "spec.sink", &mut report);
            if let Err(why) = sink
                && let Some(why) = told(why)
            {
                let message = format!("the source does not run: {why}");
                report.remark(read.sink_at, "spec.sink", message);
            }
        }
        (Some(Content::KafkaSink(read)), Standing::KafkaSink { missing }) => {
            remark_on_secrets(missing, read.spec_at, &mut report);
        }
        _ => {}
    }
    report
}

/// Remarks on secrets that are nowhere. The problems of an invalid Secret say more; nor is one said to be
/// missing that has not been looked up.
fn remark_on_secrets(missing: &[MissingSecret], at: Mark, report: &mut Report) {
    let is_known = |why: &&MissingSecret| !matches!(why.why, NoSecret::Invalid | NoSecret::Pending);
    for why in missing.iter().filter(is_known) {
        report.remark(at, "spec", format!("a secret is missing: {why}"));
    }
}

/// The reason, unless the problems of another document say it already, or nobody has looked yet.
fn told(why: &NoTarget) -> Option<&NoTarget> {
    let is_known = !matches!(
        why,
        NoTarget::Unresolved(_, Unresolved::Invalid | Unresolved::Pending)
            | NoTarget::NoSecret(MissingSecret {
                why: NoSecret::Invalid | NoSecret::Pending,
                ..
            })
    );
    is_known.then_some(why)
}

/// Remarks on a document's own dead-letter sink that is not there, or that is the Broker `own` itself.
fn remark_on_sink(
    delivery: &DeliverySpec,
    (found, token): (Option<&Result<Target, NoTarget>>, &ShownToken),
    own: &ObjectName,
    report: &mut Report,
) {
    let (Some(sink), Some(found)) = (&delivery.dead_letter, found) else {
        return;
    };
    no_token(token, sink.at, DEAD_LETTER_SINK, report);
    let message = match found {
        Err(why) => match told(why) {
            Some(why) => format!("dead letters are parked: {why}"),
            None => return,
        },
        Ok(Target::Broker(broker)) if broker == own => format!(
            "dead letters go back to the Broker {own} itself: matching Triggers get them again, until the TTL ends"
        ),
        Ok(_) => return,
    };
    report.remark(sink.at, DEAD_LETTER_SINK, message);
}

/// Remarks on a target that may wait for a token which deliveries do not show.
fn no_token(token: &ShownToken, at: Mark, path: &str, report: &mut Report) {
    if let ShownToken::NoAccount(_) = token {
        let message = "its `audience` asks for a token, and deliveries show one only in a cluster, with \
                       --oidc-service-account";
        report.remark(at, path, message);
    }
}

/// Remarks on what deliveries would show to a target that is shown nothing.
fn unused_auth(
    auth: Option<&Auth>,
    at: Mark,
    annotation: &str,
    target: Option<&Result<Target, NoTarget>>,
    report: &mut Report,
) {
    let (Some(_), Some(Ok(target))) = (auth, target) else {
        return;
    };
    let why = match target {
        Target::Http { .. } => return,
        Target::Broker(broker) => format!("events go to the Broker {broker} within Millrace"),
        Target::Kafka(sink) => format!("the KafkaSink {} has its own login", sink.name),
    };
    let path = format!("metadata.annotations[millrace.dev/{annotation}]");
    report.remark(at, &path, format!("this is not used: {why}"));
}

/// Notes the secrets that sign deliveries: `check` looks whether they can.
fn signing_secrets(auth: Option<&Auth>, at: Mark, annotation: &str, report: &mut Report) {
    for (index, secret) in auth.iter().flat_map(|auth| &auth.signing_keys).enumerate() {
        let path =
            format!("metadata.annotations[millrace.dev/{annotation}].standardWebhooks.secrets[{index}]");
        report.external_at(at, path, Named::SigningSecret(secret.clone()));
    }
}

/// Notes the secrets that calls are verified with: `check` looks whether they can serve.
fn webhook_secrets(read: &SourceDocument, draft: &Draft, mesh: &Mesh, report: &mut Report) {
    let Kind::Source(kind) = draft.key.kind else {
        return;
    };
    let name = read.name.clone();
    let source = mesh.sources.get(&SourceKey { kind, name });
    let Some(SourceSpec::GitWebhook(webhook)) = source.map(|source| &source.spec) else {
        return;
    };
    for (index, (secret, at)) in webhook.secrets.iter().zip(&read.secrets_at).enumerate() {
        let (forge, verification) = (webhook.forge, webhook.verification.clone());
        let named = Named::WebhookSecret(forge, verification, secret.clone());
        report.external_at(*at, format!("spec.secrets[{index}]"), named);
    }
}
