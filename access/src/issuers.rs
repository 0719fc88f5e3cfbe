//! The entry of an issuer in the access file.
//!
//! ```yaml
//! authentication:
//!   issuers:
//!     - issuer: https://id.example.org
//!       subjects:
//!         - {sub: "system:serviceaccount:shop:*", brokers: ["shop/*"]}
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::entry::{check_name, grants, limit};
use crate::jwt::Algorithm;
use crate::jwt::discovery;
use crate::jwt::issuer::{Issuer, IssuerKeys, KeySource, Subject};
use crate::limits::Limit;
use crate::limits::wire::WireLimit;

/// The most issuers of a file.
const MAX: usize = 16;
/// How much clocks may differ at most.
const MAX_SKEW: Duration = Duration::from_secs(300);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3_600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct WireIssuer {
    issuer: String,
    jwks_uri: Option<String>,
    ca_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    #[serde(default)]
    audiences: Vec<String>,
    algorithms: Option<Vec<String>>,
    clock_skew: Option<String>,
    refresh_every: Option<String>,
    refresh_pause: Option<String>,
    keep_keys: Option<String>,
    #[serde(default)]
    subject_prefix: String,
    #[serde(default)]
    subjects: Vec<WireSubject>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSubject {
    sub: String,
    #[serde(default)]
    brokers: Vec<String>,
    admin: Option<String>,
    limit: Option<WireLimit>,
}

/// Reads the entries.
///
/// # Errors
/// A sentence, with the place.
pub(crate) fn read(entries: Vec<WireIssuer>, usual: Option<&Arc<Limit>>) -> Result<Vec<Issuer>, String> {
    if entries.len() > MAX {
        return Err(format!("issuers: there are more than {MAX}"));
    }
    let mut issuers: Vec<Issuer> = Vec::new();
    for (nth, entry) in entries.into_iter().enumerate() {
        let at = |why: String| format!("issuers[{nth}].{why}");
        let name = entry.issuer.clone();
        if issuers.iter().any(|one| one.keys.source().issuer == name) {
            return Err(at("issuer: another entry has it already".to_owned()));
        }
        let issuer = entry.read(usual).map_err(at)?;
        if issuers.iter().any(|one| one.prefix == issuer.prefix) {
            return Err(at(
                "subjectPrefix: another issuer has it already, so that two could vouch for one name"
                    .to_owned(),
            ));
        }
        issuers.push(issuer);
    }
    // A subject may be spelled so that its name is that of somebody behind a longer prefix.
    let prefixes: Vec<_> = issuers.iter().map(|one| one.prefix.clone()).collect();
    for issuer in &mut issuers {
        let own = &issuer.prefix;
        let longer = prefixes.iter().filter(|one| *one != own && one.starts_with(own));
        issuer.of_others = longer.cloned().collect();
    }
    Ok(issuers)
}

// === impl WireIssuer ===

impl WireIssuer {
    fn read(self, usual_limit: Option<&Arc<Limit>>) -> Result<Issuer, String> {
        discovery::checked(&self.issuer).map_err(|why| format!("issuer: {why}"))?;
        let keys = self.jwks_uri.as_deref().map(discovery::checked).transpose();
        let keys = keys.map_err(|why| format!("jwksUri: {why}"))?;
        for (nth, audience) in self.audiences.iter().enumerate() {
            check_name(audience).map_err(|why| format!("audiences[{nth}].{why}"))?;
        }
        if !self.subject_prefix.is_empty() {
            check_name(&self.subject_prefix).map_err(|why| format!("subjectPrefix.{why}"))?;
        }
        let within = |field, text: &Option<String>, usual, least, most| {
            let Some(text) = text else { return Ok(usual) };
            duration(text)
                .filter(|time| (least..=most).contains(time))
                .ok_or_else(|| {
                    format!("{field}: a time from {least:?} to {most:?} is expected, as in 30s or 10m")
                })
        };
        let usual = Duration::from_secs;
        let pause = within(
            "refreshPause",
            &self.refresh_pause,
            usual(30),
            SECOND,
            60 * 60 * SECOND,
        )?;
        let source = KeySource {
            keys,
            authorities: self.ca_file,
            token: self.token_file,
            algorithms: algorithms(self.algorithms.as_deref())?,
            every: within("refreshEvery", &self.refresh_every, usual(600), pause, DAY)?,
            pause,
            keep: within("keepKeys", &self.keep_keys, DAY, SECOND, 30 * DAY)?,
            issuer: self.issuer,
        };
        let skew = within("clockSkew", &self.clock_skew, usual(30), Duration::ZERO, MAX_SKEW)?;
        let subjects = self.subjects.into_iter().enumerate().map(|(nth, subject)| {
            subject
                .read(!self.audiences.is_empty(), usual_limit)
                .map_err(|why| format!("subjects[{nth}].{why}"))
        });
        let subjects = subjects.collect::<Result<Vec<_>, _>>()?;
        if subjects.is_empty() {
            return Err("subjects: nobody is named, so that no token would be good for anything".to_owned());
        }
        Ok(Issuer {
            keys: Arc::new(IssuerKeys::new(source)),
            audiences: self.audiences,
            skew,
            prefix: self.subject_prefix,
            of_others: Vec::new(),
            subjects,
        })
    }
}

// === impl WireSubject ===

impl WireSubject {
    fn read(self, has_audiences: bool, usual: Option<&Arc<Limit>>) -> Result<Subject, String> {
        check_name(&self.sub).map_err(|why| format!("sub.{why}"))?;
        let prefix = self.sub.strip_suffix('*').map(str::to_owned);
        let is_prefix = prefix.is_some();
        let name = prefix.unwrap_or(self.sub);
        if name.contains('*') {
            return Err("sub: a `*` may only stand at the end".to_owned());
        }
        if self.admin.is_some() && !has_audiences {
            return Err(
                "admin: no token could be for the admin side, as the issuer's entry has no `audiences`"
                    .to_owned(),
            );
        }
        let limit = limit(self.limit, usual)?;
        Ok(Subject {
            name,
            is_prefix,
            grants: Arc::new(grants(&self.brokers, self.admin.as_deref(), limit)?),
        })
    }
}

fn algorithms(names: Option<&[String]>) -> Result<Vec<Algorithm>, String> {
    let Some(names) = names else {
        return Ok(Algorithm::USUAL.to_vec());
    };
    let read = names.iter().enumerate().map(|(nth, name)| {
        let known = Algorithm::ALL.map(Algorithm::name).join(", ");
        Algorithm::named(name).ok_or_else(|| format!("algorithms[{nth}]: one of {known} is expected"))
    });
    let read = read.collect::<Result<Vec<_>, _>>()?;
    match read.is_empty() {
        true => Err("algorithms: at least one is expected".to_owned()),
        false => Ok(read),
    }
}

fn duration(text: &str) -> Option<Duration> {
    let time: jiff::SignedDuration = text.parse().ok()?;
    time.try_into().ok()
}

#[cfg(test)]
mod tests {
    use crate::file::AccessFile;

    #[test]
    fn an_entry_that_makes_no_sense_is_refused_with_its_place() {
        let entry =
            |more: &str| format!("authentication: {{issuers: [{{issuer: 'https://id.example', {more}}}]}}");
        let subjects = "subjects: [{sub: '*', brokers: ['*']}]";
        let table = [
            (entry(subjects), ""),
            (
                entry(&format!(
                    "{subjects}, algorithms: [ES384, EdDSA], clockSkew: 0s, audiences: [m]"
                )),
                "",
            ),
            (
                entry(&format!("{subjects}, clockSkew: 1h")),
                "issuers[0].clockSkew",
            ),
            (
                entry(&format!("{subjects}, clockSkew: soon")),
                "issuers[0].clockSkew",
            ),
            (
                entry(&format!("{subjects}, algorithms: [HS256]")),
                "issuers[0].algorithms[0]",
            ),
            (
                entry(&format!("{subjects}, algorithms: [none]")),
                "issuers[0].algorithms[0]",
            ),
            (
                entry(&format!("{subjects}, algorithms: []")),
                "issuers[0].algorithms",
            ),
            (
                entry(&format!("{subjects}, refreshPause: 1ms")),
                "issuers[0].refreshPause",
            ),
            (
                entry(&format!("{subjects}, refreshEvery: 1s")),
                "issuers[0].refreshEvery",
            ),
            (
                entry(&format!("{subjects}, keepKeys: 9999h")),
                "issuers[0].keepKeys",
            ),
            (
                entry(&format!("{subjects}, jwksUri: 'http://id.example/k'")),
                "issuers[0].jwksUri",
            ),
            (
                entry(&format!("{subjects}, audiences: ['']")),
                "issuers[0].audiences[0]",
            ),
            (entry(&format!("{subjects}, other: 1")), "other"),
            (entry("subjects: []"), "issuers[0].subjects"),
            (entry("subjects: [{sub: '*'}]"), "issuers[0].subjects[0].brokers"),
            (
                entry("subjects: [{sub: 'a*b', brokers: ['*']}]"),
                "issuers[0].subjects[0].sub",
            ),
            (
                entry("subjects: [{sub: '', brokers: ['*']}]"),
                "issuers[0].subjects[0].sub",
            ),
            (
                entry("subjects: [{sub: a, admin: read}]"),
                "issuers[0].subjects[0].admin",
            ),
            (
                format!(
                    "authentication: {{issuers: [{{issuer: 'https://a', {subjects}}}, {{issuer: 'https://a', {subjects}}}]}}"
                ),
                "issuers[1].issuer",
            ),
            (
                format!(
                    "authentication: {{issuers: [{{issuer: 'https://a', {subjects}}}, {{issuer: 'https://b', {subjects}}}]}}"
                ),
                "issuers[1].subjectPrefix",
            ),
            (
                format!("authentication: {{issuers: [{{issuer: 'http://a', {subjects}}}]}}"),
                "issuers[0].issuer",
            ),
        ];
        for (text, expected) in table {
            let said = AccessFile::parse(&text).err().unwrap_or_default();
            assert_eq!(said.is_empty(), expected.is_empty(), "{text}: {said}");
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
