//! Where sources without a Broker beside them send to, as Knative tells it to the programs that it starts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use millrace_model::{Authorities, Mesh, NoTarget, Source, Target};
use serde::Deserialize;

use crate::role::config::SINK_TIMEOUT;

/// What `K_SINK`, `K_CA_CERTS`, `K_CE_OVERRIDES` and `K_SINK_TIMEOUT` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sinks {
    /// The place of every `sink`.
    pub(crate) sink: Option<Uri>,
    /// Who vouches for it.
    pub(crate) authorities: Option<Authorities>,
    /// Extensions that every event gets, after those of its source.
    pub(crate) overrides: Vec<(String, String)>,
    /// How long one request may take.
    pub(crate) timeout: Duration,
}

/// `K_CE_OVERRIDES`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Overrides {
    #[serde(default)]
    extensions: BTreeMap<String, String>,
}

// === impl Sinks ===

impl Sinks {
    /// Reads all but the certificates; an empty text is as good as none.
    ///
    /// # Errors
    /// A sentence that names the one that does not make sense.
    pub(crate) fn parse(
        sink: Option<&str>,
        overrides: Option<&str>,
        timeout: Option<&str>,
    ) -> Result<Self, String> {
        let given = |text: Option<&str>| {
            text.map(str::trim)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let sink = given(sink).map(|text| millrace_crds::url(&text).map_err(|why| format!("K_SINK: {why}")));
        let overrides =
            given(overrides).map(|text| extensions(&text).map_err(|why| format!("K_CE_OVERRIDES: {why}")));
        let timeout = given(timeout).map(|text| match text.parse() {
            Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
            _ => Err("K_SINK_TIMEOUT: a number of seconds from 1 to 3600 is expected"),
        });
        Ok(Self {
            sink: sink.transpose()?,
            authorities: None,
            overrides: overrides.transpose()?.unwrap_or_default(),
            timeout: timeout.transpose()?.unwrap_or(SINK_TIMEOUT),
        })
    }

    /// The same, and who vouches for `K_SINK`. An empty text is as good as none.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the certificates.
    pub(crate) fn vouched_for_by(self, certificates: Option<&str>) -> Result<Self, String> {
        let given = certificates.filter(|text| !text.trim().is_empty());
        let authorities = given.map(millrace_crds::authorities).transpose();
        let authorities = authorities.map_err(|why| format!("K_CA_CERTS: {why}"))?;
        Ok(Self { authorities, ..self })
    }

    /// The sources of a mesh, each with the sink that it has here. Brokers and Triggers are left out: they
    /// are not here.
    pub(crate) fn apply(&self, mesh: Mesh) -> Mesh {
        let sources = mesh.sources.into_iter().map(|(key, source)| {
            let source = Source {
                sink: self.sink_of(&source),
                // It was meant for the sink that the document names, and not for another one.
                sink_auth: source.sink_auth.clone().filter(|_| self.sink.is_none()),
                overrides: [source.overrides.as_slice(), &self.overrides].concat(),
                ..(*source).clone()
            };
            (key, Arc::new(source))
        });
        Mesh {
            sources: sources.collect(),
            kafka_sinks: mesh.kafka_sinks,
            ..Mesh::default()
        }
    }

    fn sink_of(&self, source: &Source) -> Result<Target, NoTarget> {
        match (&self.sink, &source.sink) {
            (Some(sink), _) => Ok(Target::Http {
                uri: sink.clone(),
                authorities: self.authorities.clone(),
            }),
            (None, Ok(target @ (Target::Http { .. } | Target::Kafka(_)))) => Ok(target.clone()),
            (None, Ok(Target::Broker(broker))) => Err(NoTarget::NoBrokersHere(Ok(broker.clone()))),
            (None, Err(why)) => Err(NoTarget::NoBrokersHere(Err(Box::new(why.clone())))),
        }
    }
}

fn extensions(text: &str) -> Result<Vec<(String, String)>, String> {
    let Overrides { extensions } = serde_json::from_str(text)
        .map_err(|error| format!("{{\"extensions\": {{\"name\": \"text\"}}}} is expected: {error}"))?;
    for (name, value) in &extensions {
        millrace_crds::check_override(name, value)?;
    }
    Ok(extensions.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_crds::load_text;

    const DOCUMENTS: &str = "\
{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: here}}
---
apiVersion: sources.millrace.dev/v1alpha1
kind: CronSource
metadata: {name: a}
spec: {schedule: '@daily', ceOverrides: {extensions: {team: a, own: b}}, sink: {uri: 'http://10.0.0.1/in'}}
---
apiVersion: sources.millrace.dev/v1alpha1
kind: CronSource
metadata: {name: b}
spec: {schedule: '@daily', sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: here}}}
---
apiVersion: sources.millrace.dev/v1alpha1
kind: CronSource
metadata: {name: c}
spec: {schedule: '@daily'}
";

    fn sinks(sinks: &Sinks) -> Vec<String> {
        let mesh = sinks.apply(load_text(DOCUMENTS).mesh.expect("valid"));
        assert!(mesh.brokers.is_empty());
        let sinks = mesh.sources.values().map(|source| match &source.sink {
            Ok(target) => target.to_string(),
            Err(why) => format!("none: {why}"),
        });
        sinks.collect()
    }

    #[test]
    fn k_sink_takes_the_place_of_every_sink_and_without_it_only_urls_will_do() {
        let given = Sinks::parse(Some("http://broker.example/shop/default"), None, None).expect("valid");
        let all = sinks(&given);
        assert_eq!(all.len(), 3);
        assert!(
            all.iter()
                .all(|sink| sink == "http://broker.example/shop/default"),
            "{all:?}"
        );
        let all = sinks(&Sinks::parse(Some(""), None, None).expect("valid"));
        assert_eq!(all[0], "http://10.0.0.1/in");
        assert!(
            all[1]
                .starts_with("none: its sink is the Broker default/here: `millrace sources` has no Brokers"),
            "{all:?}"
        );
        assert!(all[2].starts_with("none: it has no `sink`"), "{all:?}");
    }

    #[test]
    fn who_vouches_for_k_sink_vouches_for_no_other() {
        const PEM: &str = include_str!("../../../crds/tests/data/authority.pem");
        let of = |sink: Option<&str>, certificates: Option<&str>| {
            let sinks = Sinks::parse(sink, None, None).expect("valid");
            let sinks = sinks.vouched_for_by(certificates).expect("valid");
            let mesh = sinks.apply(load_text(DOCUMENTS).mesh.expect("valid"));
            let first = mesh.sources.values().next().expect("a source");
            match &first.sink {
                Ok(Target::Http { authorities, .. }) => authorities.clone(),
                other => panic!("{other:?}"),
            }
        };
        let given = Some(Authorities::new(PEM));
        assert_eq!(of(Some("https://broker.example/"), Some(PEM)), given);
        assert_eq!(of(Some("https://broker.example/"), Some("\n")), None);
        assert_eq!(of(None, Some(PEM)), None, "a sink of the document");
        let sinks = Sinks::parse(None, None, None).expect("valid");
        let error = sinks
            .vouched_for_by(Some("trust me"))
            .expect_err("no certificate");
        assert!(
            error.starts_with("K_CA_CERTS: a certificate in PEM is expected"),
            "{error}"
        );
    }

    #[test]
    fn overrides_come_after_those_of_the_source() {
        let given = Sinks::parse(None, Some(r#"{"extensions": {"team": "z"}}"#), Some("5")).expect("valid");
        assert_eq!(given.timeout, Duration::from_secs(5));
        let mesh = given.apply(load_text(DOCUMENTS).mesh.expect("valid"));
        let first = mesh.sources.values().next().expect("a source");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            first.overrides,
            [pair("team", "a"), pair("own", "b"), pair("team", "z")]
        );
    }

    #[test]
    fn what_does_not_make_sense_is_refused_by_name() {
        for (sink, overrides, timeout, expected) in [
            (Some("broker"), None, None, "K_SINK: an absolute URL"),
            (None, Some("team=a"), None, "K_CE_OVERRIDES: {\"extensions\""),
            (
                None,
                Some(r#"{"extensions": {"Team": "a"}}"#),
                None,
                "K_CE_OVERRIDES: an attribute's name",
            ),
            (
                None,
                Some(r#"{"extensions": {"id": "a"}}"#),
                None,
                "K_CE_OVERRIDES: `ceOverrides` sets extensions",
            ),
            (None, None, Some("0"), "K_SINK_TIMEOUT: a number of seconds"),
            (None, None, Some("1m"), "K_SINK_TIMEOUT: a number of seconds"),
        ] {
            let error = Sinks::parse(sink, overrides, timeout).expect_err(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
