//! The status of an object, made of its draft and of what the data plane has taken in.
//!
//! # Contract
//! `Ready` is True only when the mesh in effect has this uid with this generation, and so the lane of a
//! Trigger has its start position. Until then it is Unknown; what is missing makes it False. Nothing in a
//! status counts: it changes when the state changes and not otherwise.

use std::collections::HashSet;

use millrace_crds::{ConditionStatus, Draft, Kind, ShownToken, Standing};
use millrace_model::{
    MissingSecret, NoSecret, NoTarget, ObjectName, SinkState, SourceKey, SourceState, Target,
};
use serde_json::{Value, json};

use crate::channels::Channels;
use crate::condition::Shown;
use crate::dependency;
use crate::lanes::{self, Lanes};
use crate::objects::{Entry, Objects};
use crate::options::Options;
use crate::resolve::Reviews;
use crate::review::Question;
use crate::running::{self, Running};
use crate::sinks::Sinks;
use crate::targets::Targets;
use crate::tokens;

/// What a status is made from, beside its draft.
pub(crate) struct Scene<'a> {
    pub(crate) options: &'a Options,
    pub(crate) objects: &'a Objects,
    pub(crate) targets: &'a Targets,
    pub(crate) reviews: &'a Reviews,
    pub(crate) running: &'a Running,
    pub(crate) sinks: &'a Sinks,
    pub(crate) channels: &'a Channels,
    pub(crate) lanes: &'a Lanes,
    /// What is in the mesh in effect.
    pub(crate) applied: &'a HashSet<(String, i64)>,
    /// Why the newest mesh is not in effect.
    pub(crate) delay: &'a str,
    /// The ServiceAccount of this process, `namespace:name`.
    pub(crate) account: Option<&'a str>,
}

/// A status that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) generation: i64,
    pub(crate) conditions: Vec<Shown>,
    /// The other fields.
    pub(crate) fields: Vec<(&'static str, Value)>,
}

/// The fields that are ours; others in a status are left alone.
const FIELDS: [&str; 16] = [
    "observedGeneration",
    "conditions",
    "address",
    "addresses",
    SUBSCRIBER[0],
    SUBSCRIBER[1],
    SUBSCRIBER[2],
    DEAD_LETTER[0],
    DEAD_LETTER[1],
    DEAD_LETTER[2],
    SINK[0],
    SINK[1],
    SINK[2],
    "auth",
    "policies",
    "from",
];
/// Where events go, who vouches for that, and whom tokens for it are for: as Knative names the fields.
const SUBSCRIBER: [&str; 3] = ["subscriberUri", "subscriberCACerts", "subscriberAudience"];
const DEAD_LETTER: [&str; 3] = [
    "deadLetterSinkUri",
    "deadLetterSinkCACerts",
    "deadLetterSinkAudience",
];
const SINK: [&str; 3] = ["sinkUri", "sinkCACerts", "sinkAudience"];
/// The group and version of policies.
const POLICY_VERSION: &str = "eventing.knative.dev/v1alpha1";
/// Not yet in the mesh in effect.
const NOT_UPDATED: &str = "DataPlaneNotUpdated";

// === impl Status ===

impl Status {
    /// The status of an object.
    pub(crate) fn of(draft: &Draft, entry: &Entry, scene: &Scene<'_>) -> Self {
        let conditions = draft.conditions().into_iter().map(Shown::from);
        let mut conditions: Vec<Shown> = conditions.filter(|one| one.ty != "Ready").collect();
        let mut fields = Vec::new();
        match &draft.standing {
            Standing::Invalid(_) => {
                conditions = draft.conditions().into_iter().map(Shown::from).collect();
            }
            Standing::Broker {
                dead_letter,
                dead_letter_token,
                policies,
                configured,
            } => {
                let audience = scene.options.audience(&draft.key.name);
                fields.extend(scene.options.public.fields(&draft.key.name, audience.as_deref()));
                let of_sink = |sink| scene.place(DEAD_LETTER, sink, dead_letter_token);
                fields.extend(dead_letter.iter().flat_map(of_sink));
                if !policies.is_empty() {
                    let policies = policies.iter().map(|(name, _)| name.name());
                    let all = policies.map(|name| json!({"apiVersion": POLICY_VERSION, "name": name}));
                    fields.push(("policies", all.collect()));
                }
                scene.say_default(&mut conditions, policies);
                scene.say_channel(&mut conditions, configured, draft, entry);
                conditions.push(Shown::met("Addressable", "Addressed"));
                conditions.push(scene.plane("IngressReady", "EventsAccepted", draft, entry));
            }
            Standing::Trigger {
                subscriber,
                dead_letter,
                tokens,
                ..
            } => {
                fields.extend(scene.place(SUBSCRIBER, subscriber, &tokens.subscriber));
                let of_sink = |sink| scene.place(DEAD_LETTER, sink, &tokens.dead_letter);
                fields.extend(dead_letter.iter().flat_map(of_sink));
                let shown = [&tokens.subscriber, &tokens.dead_letter];
                fields.extend(tokens::auth(&shown));
                conditions.push(tokens::identity(&shown, scene.options));
                let sinks = dead_letter.iter().chain([subscriber]);
                let missing: Vec<_> = sinks.filter_map(lacking).cloned().collect();
                scene.say_command(&mut conditions, &missing);
                conditions.push(dependency::condition(entry, scene));
                let plane = scene.plane("SubscriptionReady", "Subscribed", draft, entry);
                let is_new = plane.status == ConditionStatus::True;
                conditions.push(plane);
                conditions.extend(lanes::conditions(scene.lanes, &entry.uid, &entry.status, is_new));
            }
            Standing::EventPolicy { from, .. } => {
                fields.push(("from", json!(from)));
                conditions.push(scene.authentication());
            }
            Standing::Source { sink, token, missing } => {
                fields.extend(scene.place(SINK, sink, token));
                fields.extend(tokens::auth(&[token]));
                scene.say_command(&mut conditions, missing);
                conditions
                    .extend(Question::of(entry, scene.options).map(|question| scene.permission(&question)));
                conditions.push(scene.deployed(draft, entry));
            }
            Standing::KafkaSink { missing } => {
                scene.say_command(&mut conditions, missing);
                conditions.push(scene.topic(draft, entry));
            }
        }
        if !conditions.iter().any(|one| one.ty == "Ready") {
            conditions.push(Shown::sum(&conditions));
        }
        conditions.sort_by_key(|one| one.ty);
        Self {
            generation: entry.generation,
            conditions,
            fields,
        }
    }

    /// As it is written, when it stood like `before` until now.
    pub(crate) fn json(&self, before: &Value, now: &str) -> Value {
        let conditions = self.conditions.iter();
        let conditions: Vec<Value> = conditions
            .map(|one| one.json(&before["conditions"], now))
            .collect();
        let mut status = json!({"observedGeneration": self.generation, "conditions": conditions});
        for (name, value) in &self.fields {
            status[*name] = value.clone();
        }
        status
    }

    /// Whether a status like `before` says the same.
    pub(crate) fn is_said_by(&self, before: &Value) -> bool {
        let wanted = self.json(before, "");
        FIELDS
            .iter()
            .all(|field| wanted.get(*field) == before.get(*field))
    }
}

// === impl Scene ===

impl Scene<'_> {
    /// Whether producers have to log in: else policies decide nothing.
    fn authentication(&self) -> Shown {
        match self.options.default_mode() {
            Some(_) => Shown::met("AuthenticationEnabled", "Asked"),
            None => Shown::unmet(
                "AuthenticationEnabled",
                "NotAsked",
                "nobody has to say who they are, so the policy decides nothing: no access file (--access) asks",
            ),
        }
    }

    /// Says in the condition of a Broker's policies what holds without any.
    fn say_default(&self, conditions: &mut [Shown], policies: &[(ObjectName, bool)]) {
        let found = conditions.iter_mut().find(|one| one.ty == "EventPoliciesReady");
        let Some(condition) = found.filter(|one| one.status == ConditionStatus::True) else {
            return;
        };
        let (reason, message) = match self.options.default_mode() {
            None => (
                "NotAsked",
                "nobody has to say who they are, so that policies decide nothing (--access)".to_owned(),
            ),
            Some(mode) if policies.is_empty() => (
                "DefaultAuthorizationMode",
                format!("no EventPolicy is bound, and the default is {}", mode.as_str()),
            ),
            Some(_) => return,
        };
        (condition.reason, condition.message) = (reason.to_owned(), message);
    }

    /// Where a target is reached, who vouches for it, and whom tokens for it are for, as fields of a status.
    fn place(
        &self,
        [uri, certificates, audience]: [&'static str; 3],
        target: &Result<Target, NoTarget>,
        token: &ShownToken,
    ) -> Vec<(&'static str, Value)> {
        let of_broker = match target {
            Ok(Target::Broker(broker)) => self.options.audience(broker),
            Ok(_) | Err(_) => None,
        };
        let told = token.audience().map(str::to_owned).or(of_broker);
        let told = told.map(|told| (audience, json!(told)));
        let place = match target {
            Ok(Target::Http {
                uri: url,
                authorities,
            }) => {
                let vouching = authorities.iter().map(|one| (certificates, json!(one.pem())));
                [(uri, json!(url.to_string()))]
                    .into_iter()
                    .chain(vouching)
                    .collect()
            }
            Ok(Target::Broker(broker)) => vec![(uri, json!(self.options.public.url_of(broker)))],
            // A topic has no URL.
            Ok(Target::Kafka(_)) | Err(_) => return Vec::new(),
        };
        place.into_iter().chain(told).collect()
    }

    /// Whether the data plane runs this generation.
    pub(crate) fn plane(&self, ty: &'static str, reason: &str, draft: &Draft, entry: &Entry) -> Shown {
        let identity = (entry.uid.clone(), entry.generation);
        if self.applied.contains(&identity) {
            return Shown::met(ty, reason);
        }
        let what = &draft.key;
        let message = format!(
            "the mesh in effect does not have this generation of {what} yet{}",
            self.delay
        );
        Shown::unknown(ty, NOT_UPDATED, message)
    }

    /// Whether a source runs.
    fn deployed(&self, draft: &Draft, entry: &Entry) -> Shown {
        const TYPE: &str = "Deployed";
        let plane = self.plane(TYPE, "Running", draft, entry);
        if plane.status != ConditionStatus::True {
            return plane;
        }
        match self.source(draft) {
            Some(shown) if shown.state == SourceState::Ready => plane,
            Some(shown) => Shown::unmet(TYPE, "NotRunning", shown.reason.as_str()),
            None => Shown::unknown(TYPE, "Starting", format!("{} is starting", draft.key)),
        }
    }

    /// Whether the topic of a KafkaSink can be reached.
    fn topic(&self, draft: &Draft, entry: &Entry) -> Shown {
        const TYPE: &str = "TopicReady";
        let plane = self.plane(TYPE, "Reachable", draft, entry);
        if plane.status != ConditionStatus::True {
            return plane;
        }
        match self.sinks.of(&draft.key.name) {
            Some(status) if status.state == SinkState::Ready => plane,
            Some(status) => {
                let why = status.reason.clone().unwrap_or_default();
                Shown::unmet(TYPE, "NotReachable", why)
            }
            None => Shown::unknown(TYPE, "NotLookedAt", "the topic has not been looked at yet"),
        }
    }

    /// How a source runs.
    fn source(&self, draft: &Draft) -> Option<&running::Shown> {
        let Kind::Source(kind) = draft.key.kind else {
            return None;
        };
        let name = draft.key.name.clone();
        self.running.of(&SourceKey { kind, name })
    }

    /// Whether it is too early to say how a source or sink stands: it starts, or was not looked at, and its
    /// status is about this generation.
    pub(crate) fn is_early(&self, draft: &Draft, entry: &Entry) -> bool {
        let is_source = matches!(draft.standing, Standing::Source { sink: Ok(_), .. });
        let is_known = entry.status["observedGeneration"] == entry.generation;
        let is_sink = matches!(draft.standing, Standing::KafkaSink { .. });
        is_known
            && (is_source && self.source(draft).is_none()
                || is_sink && self.sinks.of(&draft.key.name).is_none())
    }

    /// Whether the account of an ApiServerSource may read what it reads.
    fn permission(&self, question: &Question) -> Shown {
        const TYPE: &str = "SufficientPermissions";
        match self.reviews.get(question) {
            Some(Ok(())) => Shown::met(TYPE, "Permitted"),
            Some(Err(why)) => Shown::unmet(TYPE, "InsufficientPermissions", why),
            None => {
                let message = "what its ServiceAccount may read has not been asked yet";
                Shown::unknown(TYPE, "NotReviewed", message)
            }
        }
    }

    /// Adds how to permit what is forbidden.
    pub(crate) fn say_command(&self, conditions: &mut [Shown], missing: &[MissingSecret]) {
        let forbidden = missing.iter().find(|one| one.why == NoSecret::Forbidden);
        let Some(MissingSecret { secret, .. }) = forbidden else {
            return;
        };
        let command = self.command("secret", "secrets", secret);
        let sentence = missing_message(missing);
        for about in conditions
            .iter_mut()
            .filter(|one| one.message.ends_with(&sentence))
        {
            about.message.push_str(&command);
        }
    }

    /// How to permit Millrace to read that object of that resource, in the order of a shell.
    pub(crate) fn command(&self, word: &str, resource: &str, object: &ObjectName) -> String {
        let (namespace, name) = (object.namespace(), object.name());
        let role = format!("millrace-{word}-{name}");
        let account = self.account.unwrap_or("NAMESPACE:ACCOUNT");
        format!(
            ". To permit it: kubectl -n {namespace} create role {role} --verb=get,list,watch --resource={resource} \
             --resource-name={name} && kubectl -n {namespace} create rolebinding {role} --role={role} \
             --serviceaccount={account}"
        )
    }
}

/// The secret that keeps events from their target.
fn lacking(target: &Result<Target, NoTarget>) -> Option<&MissingSecret> {
    match target {
        Err(NoTarget::NoSecret(missing)) => Some(missing),
        Ok(_) | Err(_) => None,
    }
}

/// What the condition says of the secret that is forbidden.
fn missing_message(missing: &[MissingSecret]) -> String {
    let forbidden = missing.iter().find(|one| one.why == NoSecret::Forbidden);
    forbidden.map(ToString::to_string).unwrap_or_default()
}
