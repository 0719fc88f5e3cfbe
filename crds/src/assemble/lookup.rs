//! What a document refers to: another document, or what [`Resolve`] knows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millrace_event::ObjectName;
use millrace_model::auth::AccountToken;
use millrace_model::{
    Auth, Backend, ConfigLack, Credentials, JetStream, KafkaSink, KafkaTopics, MissingSecret, NoConfig,
    NoSecret, NoTarget, OtherAddresses, Reference, Secret, Target, Unresolved,
};

use super::relative::join;
use crate::document::auth::{AuthRef, Word};
use crate::document::broker::{BrokerDocument, ConfigRef};
use crate::document::destination::{Destination, Place, is_broker};
use crate::document::kafka_sink::is_kafka_sink;
use crate::document::kinds::Kind;
use crate::document::secret::SecretRef;
use crate::document::{Content, Document};
use crate::problem::shown;
use crate::resolve::{Resolve, Wanted};
use crate::status::{AudienceRefused, Configured, ShownToken};

/// The documents by name, and who knows the rest.
pub(super) struct Lookup<'a> {
    brokers: HashMap<&'a ObjectName, &'a Document>,
    secrets: HashMap<&'a ObjectName, &'a Document>,
    /// The sinks of Kafka; `None`: the document is invalid.
    kafka_sinks: HashMap<&'a ObjectName, Option<FoundSink>>,
    configs: HashMap<&'a ObjectName, &'a Document>,
    resolve: &'a dyn Resolve,
}

/// A sink of Kafka, one value for all that send there, and the secrets that it lacks.
type FoundSink = (Arc<KafkaSink>, Vec<MissingSecret>);

/// Whom tokens are for that are shown to a target; `None`: it asks for none.
type Audience = Result<Option<String>, AudienceRefused>;

/// Entries of a Secret.
type Entries = BTreeMap<&'static str, Secret>;

/// A target, and what deliveries there show.
pub(super) struct Proven {
    /// The target.
    pub(super) target: Result<Target, NoTarget>,
    /// A secret that is shown there and is nowhere.
    pub(super) missing: Option<MissingSecret>,
    pub(super) auth: Option<Arc<Auth>>,
    pub(super) token: ShownToken,
}

// === impl Proven ===

impl Proven {
    /// The target, if there is what is to be shown: nothing is sent unproven.
    pub(super) fn target(&self) -> Result<Target, NoTarget> {
        match &self.missing {
            Some(missing) => self
                .target
                .clone()
                .and_then(|_| Err(NoTarget::NoSecret(missing.clone()))),
            None => self.target.clone(),
        }
    }
}

// === impl Lookup ===

impl<'a> Lookup<'a> {
    pub(super) fn new(documents: &[&'a Document], resolve: &'a dyn Resolve) -> Self {
        let of = |wanted| {
            let mut named = HashMap::new();
            for document in documents {
                if let Some(key) = document.key.as_ref().filter(|key| key.kind == wanted) {
                    named.entry(&key.name).or_insert(*document);
                }
            }
            named
        };
        let mut lookup = Self {
            brokers: of(Kind::Broker),
            secrets: of(Kind::Secret),
            kafka_sinks: HashMap::new(),
            configs: of(Kind::Config),
            resolve,
        };
        let sinks = of(Kind::KafkaSink).into_iter();
        let sinks = sinks.map(|(name, document)| (name, lookup.read_kafka_sink(document)));
        lookup.kafka_sinks = sinks.collect();
        lookup
    }

    fn read_kafka_sink(&self, document: &Document) -> Option<FoundSink> {
        let Some(Content::KafkaSink(read)) = &document.content else {
            return None;
        };
        let mut missing = Vec::new();
        let sink = read.with_secrets(&mut |secret| self.secret(secret, &mut missing));
        Some((Arc::new(sink), missing))
    }

    /// A valid sink of Kafka among the documents, and the secrets that it lacks.
    pub(super) fn kafka_sink(&self, name: &ObjectName) -> Option<(&Arc<KafkaSink>, &[MissingSecret])> {
        let (sink, missing) = self.kafka_sinks.get(name)?.as_ref()?;
        Some((sink, missing))
    }

    /// The Broker that a Trigger reads, which is among the documents.
    pub(super) fn broker(&self, reference: &Reference) -> Result<&'a BrokerDocument, NoTarget> {
        let why = match self.brokers.get(&reference.name).map(|found| &found.content) {
            Some(Some(Content::Broker(broker))) => return Ok(broker),
            Some(_) => Unresolved::Invalid,
            None => Unresolved::NotFound,
        };
        Err(NoTarget::Unresolved(reference.clone(), why))
    }

    /// Where a Broker's channel is kept, with the entries of its Secret, and what comes of its `config`. What
    /// is not there of the Secret is not asked for: a login is in one Secret with all that it needs, or there
    /// is none.
    pub(super) fn backend(&self, config: Option<&Result<ConfigRef, String>>) -> (Backend, Configured) {
        let name = match config {
            None => return Default::default(),
            Some(Err(why)) => return (Backend::Embedded, Configured::Ignored(why.clone())),
            Some(Ok(config)) => &config.name,
        };
        let lacking = |why| {
            let config = name.clone();
            let lack = NoConfig { config, why };
            (Backend::Unknown(lack.to_string()), Configured::NoConfig(lack))
        };
        let Some(found) = self.configs.get(name) else {
            return self.resolve.config(name).map(lacking).unwrap_or_default();
        };
        let Some(Content::Config(read)) = &found.content else {
            let problem = found.problems.first().map(ToString::to_string);
            return lacking(ConfigLack::Invalid(problem.unwrap_or_default()));
        };
        if read.backend.is_embedded() {
            let why = format!(
                "the ConfigMap {name} is for Knative's own brokers: it is ignored, and the channel is on the local disk"
            );
            return (Backend::Embedded, Configured::Ignored(why));
        }
        let mut backend = read.backend.clone();
        let missing = read.secret.as_ref().and_then(|secret| match &mut backend {
            Backend::JetStream(on) => {
                (on.secrets, on.missing) = self.entries(secret, &JetStream::SECRETS);
                on.missing.clone()
            }
            Backend::Kafka(on) => {
                (on.secrets, on.missing) = self.entries(secret, &KafkaTopics::SECRETS);
                on.missing.clone()
            }
            Backend::Embedded | Backend::Unknown(_) => None,
        });
        let configured = missing.map_or(Configured::AsWritten, Configured::NoSecret);
        (backend, configured)
    }

    /// Those of the entries that a Secret has, and what is wrong with it.
    fn entries(&self, secret: &ObjectName, keys: &[&'static str]) -> (Entries, Option<MissingSecret>) {
        let mut found = Entries::new();
        for &key in keys {
            match self.entry(secret, key) {
                Ok(value) => drop(found.insert(key, Secret::Value(value))),
                Err(NoSecret::NoEntry) => {}
                Err(why) => {
                    let missing = MissingSecret {
                        secret: secret.clone(),
                        key: key.to_owned(),
                        why,
                    };
                    return (found, Some(missing));
                }
            }
        }
        (found, None)
    }

    /// Where a destination of a document in the namespace `home` leads, and whom tokens for it are for.
    fn target(&self, destination: &Destination, home: &str) -> Result<(Target, Audience), NoTarget> {
        let own_audience = destination.audience.clone();
        let (wanted, relative) = match &destination.place {
            Place::Url(uri) => {
                let target = Target::Http {
                    uri: uri.clone(),
                    authorities: destination.authorities.clone(),
                };
                return Ok((target, Ok(own_audience)));
            }
            Place::Resource(wanted, relative) => (wanted, relative),
        };
        let resource = &wanted.resource;
        let unresolved = |why| NoTarget::Unresolved(resource.clone(), why);
        if !self.resolve.may_refer(home, resource) {
            return Err(unresolved(Unresolved::OtherNamespace));
        }
        if is_broker(resource) && self.brokers.contains_key(&resource.name) {
            let broker = self.broker(resource)?;
            has_address(wanted).map_err(unresolved)?;
            return Ok((Target::Broker(broker.broker.name.clone()), Ok(None)));
        }
        if is_kafka_sink(resource) && self.kafka_sinks.contains_key(&resource.name) {
            no_address(wanted).map_err(unresolved)?;
            return Ok((self.topic(resource)?, Ok(None)));
        }
        let address = self.resolve.address(wanted).map_err(unresolved)?;
        // What the document says counts more than what the resource says.
        let audience = match own_audience {
            Some(own) => Ok(Some(own)),
            None => address.audience(resource, home),
        };
        let authorities = match &destination.authorities {
            Some(own) => Some(own.clone()),
            None => address
                .authorities
                .map_err(|why| unresolved(Unresolved::BadCertificates(why)))?,
        };
        let uri = join(&address.url, relative).map_err(unresolved)?;
        Ok((Target::Http { uri, authorities }, audience))
    }

    /// The topic of a sink of Kafka among the documents.
    fn topic(&self, reference: &Reference) -> Result<Target, NoTarget> {
        let unresolved = |why| Err(NoTarget::Unresolved(reference.clone(), why));
        match self.kafka_sink(&reference.name) {
            None => unresolved(Unresolved::Invalid),
            Some(_) if !cfg!(feature = "kafka") => unresolved(Unresolved::WithoutKafka),
            Some((sink, missing)) => match worst(missing.to_vec()) {
                Some(missing) => Err(NoTarget::NoSecret(missing)),
                None => Ok(Target::Kafka(Arc::clone(sink))),
            },
        }
    }

    /// A secret, or where it is found later. One that is nowhere is also noted in `missing`.
    pub(super) fn secret(&self, reference: &SecretRef, missing: &mut Vec<MissingSecret>) -> Secret {
        let (name, key) = match reference {
            SecretRef::Env(name) => return Secret::Env(name.clone()),
            SecretRef::File(file) => return Secret::File(file.clone()),
            SecretRef::Key(name, key) => (name, key),
        };
        match self.entry(name, key) {
            Ok(value) => Secret::Value(value),
            Err(why) => {
                let gap = MissingSecret {
                    secret: name.clone(),
                    key: shown(key),
                    why,
                };
                missing.push(gap.clone());
                Secret::Missing(gap)
            }
        }
    }

    /// What deliveries show, and the first of its secrets that is nowhere. One that has not been looked up
    /// yet is named only if there is no other.
    fn auth(&self, read: &AuthRef) -> (Auth, Option<MissingSecret>) {
        let mut missing = Vec::new();
        let auth = read.map(&mut |word| match word {
            Word::Plain(text) => Secret::Value(text.as_bytes().into()),
            Word::Secret(secret) => self.secret(secret, &mut missing),
        });
        (auth, worst(missing))
    }

    /// A target, and what deliveries there show. A document may name none.
    pub(super) fn proven(
        &self,
        destination: Option<&Destination>,
        home: &str,
        read: Option<&AuthRef>,
    ) -> Proven {
        let found = destination.map_or(Err(NoTarget::NotNamed), |to| self.target(to, home));
        let (target, audience) = match found {
            Ok((target, audience)) => (Ok(target), audience),
            Err(why) => (Err(why), Ok(None)),
        };
        let (auth, missing) = read.map(|read| self.auth(read)).unzip();
        let token = self.token(home, audience, auth.as_ref());
        Proven {
            target,
            missing: missing.flatten(),
            auth: with_token(auth, &token).map(Arc::new),
            token,
        }
    }

    /// The token that deliveries from the namespace `home` show to whoever has this audience.
    fn token(&self, home: &str, audience: Audience, auth: Option<&Auth>) -> ShownToken {
        let audience = match audience {
            Ok(Some(audience)) => audience,
            Ok(None) => return ShownToken::NoAudience,
            Err(why) => return ShownToken::AudienceRefused(why),
        };
        match self.resolve.account(home) {
            None => ShownToken::NoAccount(audience),
            // The header has one place, and the document says what stands there.
            Some(_) if auth.is_some_and(|auth| auth.credentials.is_some()) => {
                ShownToken::OtherCredentials(audience)
            }
            Some(account) => ShownToken::Of(Box::new(AccountToken { account, audience })),
        }
    }

    fn entry(&self, name: &ObjectName, key: &str) -> Result<Box<[u8]>, NoSecret> {
        match self.secrets.get(name).map(|found| &found.content) {
            Some(Some(Content::Secret(entries))) => {
                let value = entries.get(key).ok_or(NoSecret::NoEntry)?;
                Ok(value.into())
            }
            Some(_) => Err(NoSecret::Invalid),
            None => self.resolve.secret(name, key),
        }
    }
}

/// What is shown, with the token.
fn with_token(auth: Option<Auth>, token: &ShownToken) -> Option<Auth> {
    let ShownToken::Of(token) = token else { return auth };
    let (certificate, signing_keys) = auth
        .map(|auth| (auth.certificate, auth.signing_keys))
        .unwrap_or_default();
    Some(Auth {
        credentials: Some(Credentials::Account(token.clone())),
        certificate,
        signing_keys,
    })
}

/// Whether a Broker of the mesh has the address that is wanted. It is reached without any, so each name that
/// Knative gives to addresses of Brokers will do.
fn has_address(wanted: &Wanted) -> Result<(), Unresolved> {
    const NAMES: [&str; 2] = ["http", "https"];
    match &wanted.address {
        Some(name) if !NAMES.contains(&name.as_str()) => Err(Unresolved::from(OtherAddresses {
            wanted: shown(name),
            names: NAMES.map(str::to_owned).to_vec(),
        })),
        Some(_) | None => Ok(()),
    }
}

/// A sink of Kafka has no address, so none of a name.
fn no_address(wanted: &Wanted) -> Result<(), Unresolved> {
    match &wanted.address {
        Some(name) => Err(Unresolved::from(OtherAddresses {
            wanted: shown(name),
            names: Vec::new(),
        })),
        None => Ok(()),
    }
}

/// The first secret that is nowhere. One that has not been looked up yet only if there is no other.
fn worst(mut missing: Vec<MissingSecret>) -> Option<MissingSecret> {
    let known = missing.iter().position(|one| one.why != NoSecret::Pending);
    (!missing.is_empty()).then(|| missing.swap_remove(known.unwrap_or(0)))
}
