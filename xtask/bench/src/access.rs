//! What it costs to ask who calls and whether they may: https, a token of the access file, one of an
//! issuer, and an EventPolicy with many entries, beside an ingress that asks nothing. In turns; the figures
//! are ratios of runs of one round.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::caller::{Caller, SERVER, Tls};
use crate::contender::{Contender, MeshFolder, built};
use crate::documents;
use crate::issuer::{Issuer, SUBJECT};
use crate::load::Shape;
use crate::measure::{self, Run};
use crate::options::Options;
use crate::report::{Report, Should, Target};
use crate::sink::Sink;

/// Entries of the EventPolicy.
const ENTRIES: usize = 1_000;

/// How the load calls, and what Millrace asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Plain,
    Https,
    Token,
    TokenAndPolicy,
    Jwt,
    JwtAndPolicy,
}

const CASES: [(Case, &str); 6] = [
    (Case::Plain, "plain"),
    (Case::Https, "https"),
    (Case::Token, "a token of the access file"),
    (Case::TokenAndPolicy, "the same, a policy of 1 000 entries"),
    (Case::Jwt, "a token of an issuer"),
    (Case::JwtAndPolicy, "the same, a policy of 1 000 entries"),
];

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let issuer = Issuer::up()?;
    let mut runs = [const { Vec::new() }; CASES.len()];
    for _ in 0..options.rounds {
        for ((case, _), runs) in CASES.into_iter().zip(&mut runs) {
            runs.push(one(case, &issuer, options)?);
        }
    }
    let to_plain = |case: Case, figure: fn(&Run) -> f64| {
        let ratios = runs[case as usize].iter().zip(&runs[Case::Plain as usize]);
        measure::median_of(ratios.map(|(one, plain)| figure(one) / figure(plain)).collect())
    };
    let cpu = |name, case, should| Target {
        name,
        is: to_plain(case, |run| run.cpu),
        should,
    };
    let rate = |name, case| Target {
        name,
        is: to_plain(case, |run| run.rate),
        should: Should::Be,
    };
    let targets = [
        cpu("CPU an event, https to plain", Case::Https, Should::AtMost(1.4)),
        cpu("CPU an event, token to plain", Case::Token, Should::Be),
        cpu(
            "CPU an event, token and policy to plain",
            Case::TokenAndPolicy,
            Should::Be,
        ),
        cpu("CPU an event, issuer's token to plain", Case::Jwt, Should::Be),
        cpu(
            "CPU an event, issuer's token and policy to plain",
            Case::JwtAndPolicy,
            Should::AtMost(1.05),
        ),
        rate("events/s, https to plain", Case::Https),
        rate("events/s, issuer's token and policy to plain", Case::JwtAndPolicy),
    ];
    let rows: Vec<_> = CASES
        .iter()
        .zip(&runs)
        .map(|((_, name), runs)| ((*name).to_owned(), measure::median(runs)))
        .collect();
    report.add("Who calls, and whether they may, one trigger", &rows, &targets);
    Ok(())
}

fn one(case: Case, issuer: &Issuer, options: &Options) -> anyhow::Result<Run> {
    let sink = Sink::up()?;
    let documents = match case {
        Case::Plain | Case::Https | Case::Token | Case::Jwt => documents::triggers(1, 1, sink.address()),
        Case::TokenAndPolicy => {
            let sender = format!("system:millrace:token:{SUBJECT}");
            documents::policy(ENTRIES, &sender, sink.address())
        }
        Case::JwtAndPolicy => documents::policy(ENTRIES, SUBJECT, sink.address()),
    };
    let place = MeshFolder::new(&options.data, &documents)?;
    let (flags, caller) = match case {
        Case::Plain => (Vec::new(), Caller::default()),
        Case::Https => https(place.path())?,
        Case::Token | Case::TokenAndPolicy => {
            let (entry, token) = token()?;
            asking(place.path(), &json!({ "tokens": [entry] }), &token)?
        }
        Case::Jwt | Case::JwtAndPolicy => {
            let issuers = json!({ "issuers": [issuer.entry()] });
            asking(place.path(), &issuers, &issuer.token)?
        }
    };
    let contender = Contender::start_with(&flags, &place)?;
    measure::run_as(&caller, Shape::Event, (&contender, &sink), 1, options.run)
}

/// The flags of a Millrace with a certificate, and a caller that trusts it.
fn https(folder: &Path) -> anyhow::Result<(Vec<String>, Caller)> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![SERVER.to_owned()])?.self_signed(&key)?;
    let files = [folder.join("server.pem"), folder.join("server.key")];
    fs::write(&files[0], certificate.pem())?;
    fs::write(&files[1], key.serialize_pem())?;
    let [certificate, key] = files.each_ref().map(|file| file.display().to_string());
    let flags = [
        "--listen-tls",
        "127.0.0.1:0",
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    let caller = Caller {
        tls: Some(Tls::trusting(&files[0])?),
        ..Caller::default()
    };
    Ok((flags.map(str::to_owned).to_vec(), caller))
}

/// The flags of a Millrace that asks who calls, and a caller with this token.
fn asking(folder: &Path, authentication: &Value, token: &str) -> anyhow::Result<(Vec<String>, Caller)> {
    let file = folder.join("access.yaml");
    // JSON is YAML.
    fs::write(&file, json!({ "authentication": authentication }).to_string())?;
    let flags = vec!["--access".to_owned(), file.display().to_string()];
    let caller = Caller {
        authorization: Some(format!("Bearer {token}")),
        ..Caller::default()
    };
    Ok((flags, caller))
}

/// A token for the Broker of the benchmark, with its entry in an access file.
fn token() -> anyhow::Result<(Value, String)> {
    let mut command = Command::new(built()?);
    command.args([
        "access",
        "token",
        "--name",
        SUBJECT,
        "--broker",
        "bench/default",
        "-o",
        "json",
    ]);
    let made = command.output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout)?;
    let token = made["token"].as_str().context("no token")?;
    Ok((made["entry"].clone(), token.to_owned()))
}
