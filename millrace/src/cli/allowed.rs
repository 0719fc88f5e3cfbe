//! `millrace check --as SUBJECT`: whether somebody may send an event, and which policy says so.

use std::path::PathBuf;

use clap::Args;
use millrace_event::http::Limits;
use millrace_event::json::decode;
use millrace_event::{Event, ObjectName};
use millrace_model::Mesh;
use millrace_model::event_policy::{Beforehand, DefaultMode, From, Policies, Ruling, decide};
use serde_json::{Value, json};

use crate::cli::send::message;

/// What is asked beside the documents.
#[derive(Args, Clone, Debug)]
pub(crate) struct AllowedArgs {
    /// Say whether this sender may send to the Brokers, and which EventPolicy decides
    #[arg(long = "as", value_name = "SUBJECT")]
    subject: Option<String>,
    /// The event, as structured JSON; needed where a policy has filters
    #[arg(long, value_name = "FILE", requires = "subject")]
    event: Option<PathBuf>,
    /// Only this Broker
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "subject")]
    broker: Option<ObjectName>,
    /// What holds for Brokers without a policy, as `authorization.default` of the access file
    #[arg(long = "default", value_name = "MODE", requires = "subject", default_value = "allow-all",
          value_parser = parse_mode)]
    default: DefaultMode,
}

/// What is decided at one Broker.
pub(crate) struct Decided {
    broker: ObjectName,
    /// `None`: it needs the event.
    ruling: Option<Ruling>,
}

fn parse_mode(text: &str) -> Result<DefaultMode, String> {
    let known = DefaultMode::WORDS.iter().find(|(word, _)| *word == text);
    known
        .map(|(_, mode)| *mode)
        .ok_or_else(|| "`allow-all`, `allow-same-namespace` or `deny-all` is expected".to_owned())
}

// === impl AllowedArgs ===

impl AllowedArgs {
    /// What is decided at each Broker that is asked about; `None`: nothing is asked.
    ///
    /// # Errors
    /// The event cannot be read, or there is no such Broker. A sentence.
    pub(crate) fn decide(&self, mesh: &Mesh) -> Result<Option<Vec<Decided>>, String> {
        let Some(subject) = &self.subject else {
            return Ok(None);
        };
        let event = self.read()?;
        if let Some(broker) = self
            .broker
            .as_ref()
            .filter(|broker| !mesh.brokers.contains_key(broker))
        {
            return Err(format!("there is no Broker {broker} in these documents"));
        }
        let asked = mesh.brokers.keys();
        let asked = asked.filter(|name| self.broker.as_ref().is_none_or(|broker| broker == *name));
        let decided = asked.map(|broker| Decided {
            broker: broker.clone(),
            ruling: self.ruling(mesh, broker, subject, event.as_ref()),
        });
        Ok(Some(decided.collect()))
    }

    fn ruling(
        &self,
        mesh: &Mesh,
        broker: &ObjectName,
        subject: &str,
        event: Option<&Event>,
    ) -> Option<Ruling> {
        let policies = Policies::of(broker, mesh.policies.values());
        match policies.beforehand(broker, From::named(subject), self.default) {
            Beforehand::Decided(ruling) => Some(ruling),
            Beforehand::Asks(asked) => event.map(|event| decide(&asked, event)),
        }
    }

    fn read(&self) -> Result<Option<Event>, String> {
        let Some(file) = &self.event else {
            return Ok(None);
        };
        let text = message::read(file).map_err(|error| error.to_string())?;
        let event = decode(&text, &Limits::default());
        let event =
            event.map_err(|fault| format!("{} is no event as structured JSON: {fault}", file.display()))?;
        Ok(Some(event))
    }
}

// === impl Decided ===

impl Decided {
    /// A line for people.
    pub(crate) fn line(&self) -> String {
        let broker = &self.broker;
        match &self.ruling {
            Some(ruling) => format!("{broker}: {ruling}"),
            None => format!("{broker}: the filters of a policy decide; show the event with --event"),
        }
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let policy = match &self.ruling {
            Some(Ruling::AllowedBy(policy)) => Some(policy.to_string()),
            _ => None,
        };
        json!({
            "broker": self.broker.to_string(),
            "allowed": self.ruling.as_ref().map(Ruling::is_allowed),
            "policy": policy,
            "why": self.ruling.as_ref().map(ToString::to_string),
        })
    }

    /// Whether it may.
    pub(crate) fn is_allowed(&self) -> bool {
        self.ruling.as_ref().is_some_and(Ruling::is_allowed)
    }
}
