//! `millrace check`: everything that is wrong with documents, as `run` would see them, or a cluster.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use http::Uri;
use millrace_crds::{External, Loaded, Named, load, load_for_cluster, read};
use millrace_delivery::auth::signing_flaw;
use millrace_delivery::guard::Guard;
use millrace_secrets::SecretReader;
use millrace_sources::secret_flaw;
use serde_json::json;

use crate::cli::allowed::{AllowedArgs, Decided};
use crate::cli::exit::Exit;
use crate::cli::opened::OpenedArgs;
use crate::cli::out::{self, Output, count};

/// `millrace check`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CheckArgs {
    /// A file or folder of documents; repeat it for more; `-` is the standard input
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    /// Judge the documents as a cluster would: what its API server refuses, and what is stored and then not
    /// Ready
    #[arg(long)]
    kubernetes: bool,
    #[command(flatten)]
    allowed: AllowedArgs,
    #[command(flatten)]
    opened: OpenedArgs,
}

/// The result of looking at something that a document names.
enum Looked {
    /// A source can use it, or could on another machine that has it.
    Fine,
    /// No source on any machine may or can use it.
    Refused(String),
    /// It does not exist on this machine, or never works: the author should know.
    Warned(String),
}

/// Checks the documents and says what is wrong with them.
pub(crate) async fn check(args: &CheckArgs, output: Output) -> Exit {
    let (files, mut loaded) = match read(&args.files) {
        Ok(inputs) => {
            let documents = inputs.iter().filter(|input| input.passed_over.is_none());
            let load = if args.kubernetes { load_for_cluster } else { load };
            (documents.count(), load(&inputs))
        }
        Err(error) => (
            0,
            Loaded {
                problems: error.problems,
                ..Loaded::default()
            },
        ),
    };
    look_at_external(&mut loaded, &SecretReader::new(args.opened.rule(Vec::new()))).await;
    let valid = loaded.mesh.as_ref().filter(|_| loaded.problems.is_empty());
    let decided = match valid.map(|mesh| args.allowed.decide(mesh)).transpose() {
        Ok(decided) => decided.flatten(),
        Err(error) => {
            out::remark(&format!("error: {error}"));
            return Exit::Invalid;
        }
    };
    match output {
        Output::Table => {
            show(files, &loaded);
            for one in decided.iter().flatten() {
                out::data(&one.line());
            }
        }
        Output::Json => out::json(&json!({
            "decided": decided.iter().flatten().map(Decided::json).collect::<Vec<_>>(),
            "valid": valid.is_some(),
            "files": files,
            "brokers": valid.map(|mesh| mesh.brokers.len()),
            "triggers": valid.map(|mesh| mesh.triggers.len()),
            "sources": valid.map(|mesh| mesh.sources.len()),
            "kafkaSinks": valid.map(|mesh| mesh.kafka_sinks.len()),
            "problems": loaded.problems,
            "remarks": loaded.remarks,
        })),
    }
    let is_refused = decided.iter().flatten().any(|one| !one.is_allowed());
    match valid.is_some() {
        true if is_refused => Exit::Failed,
        true => Exit::Ok,
        false => Exit::Invalid,
    }
}

/// Adds what is wrong with the files and variables that the documents name. `run` does not refuse documents
/// for that: only the source or Trigger that names them does not work.
async fn look_at_external(loaded: &mut Loaded, secrets: &SecretReader) {
    for external in std::mem::take(&mut loaded.external) {
        match look(&external, secrets).await {
            Looked::Fine => {}
            Looked::Refused(why) => loaded.problems.push(external.refused(why)),
            Looked::Warned(why) => loaded.remarks.push(external.remark(why)),
        }
    }
}

async fn look(external: &External, secrets: &SecretReader) -> Looked {
    let (why, is_refusal) = match &external.named {
        Named::Secret(secret) => match secrets.judge(secret).await {
            Ok(()) => return Looked::Fine,
            Err(error) => (error.to_string(), error.is_refusal()),
        },
        Named::WebhookSecret(forge, verification, secret) => {
            // A secret that cannot be read is reported at its own field.
            let Ok(value) = secrets.secret(secret).await else {
                return Looked::Fine;
            };
            return match secret_flaw(*forge, verification, &value) {
                Some(flaw) => Looked::Refused(flaw.to_owned()),
                None => Looked::Fine,
            };
        }
        Named::SigningSecret(secret) => {
            let Ok(value) = secrets.secret(secret).await else {
                return Looked::Fine;
            };
            return match signing_flaw(&value) {
                Some(flaw) => Looked::Refused(flaw.to_owned()),
                None => Looked::Fine,
            };
        }
        Named::Target(url) => {
            return match never(url) {
                Some(why) => Looked::Warned(why),
                None => Looked::Fine,
            };
        }
        #[cfg(feature = "kubernetes")]
        Named::Kubeconfig(file) => match millrace_sources::check_kubeconfig(file, secrets).await {
            Ok(()) => return Looked::Fine,
            Err(error) => (error.to_string(), error.is_refusal()),
        },
        #[cfg(not(feature = "kubernetes"))]
        Named::Kubeconfig(_) => return Looked::Fine,
    };
    if is_refusal {
        Looked::Refused(why)
    } else {
        Looked::Warned(why)
    }
}

/// Why nothing is ever sent to that URL, where its host is an address.
fn never(url: &Uri) -> Option<String> {
    let host = url.host()?.trim_matches(['[', ']']);
    let address: IpAddr = host.parse().ok()?;
    let port = url.port_u16().unwrap_or_default();
    let refused = Guard::default().check((address, port).into()).err()?;
    Some(format!("{refused}, so no event ever gets there"))
}

fn show(files: usize, loaded: &Loaded) {
    for remark in &loaded.remarks {
        out::remark(&format!("{remark} (warning)"));
    }
    for problem in &loaded.problems {
        out::remark(&problem.to_string());
    }
    let Some(mesh) = loaded.mesh.as_ref().filter(|_| loaded.problems.is_empty()) else {
        let problems = count(loaded.problems.len(), "problem");
        out::remark(&match loaded.mesh {
            None => format!("{problems}: nothing of it is valid until they are mended"),
            Some(_) => format!("{problems}: the rest would be served, but not the sources named here"),
        });
        return;
    };
    if mesh.brokers.is_empty() {
        let but = if mesh.sources.is_empty() {
            ""
        } else {
            "; `millrace sources` does not"
        };
        out::remark(&format!(
            "there is no Broker in these documents: `millrace run` needs one{but} (warning)"
        ));
    }
    let mut kinds = vec![
        count(mesh.brokers.len(), "Broker"),
        count(mesh.triggers.len(), "Trigger"),
    ];
    if !mesh.sources.is_empty() {
        kinds.push(count(mesh.sources.len(), "source"));
    }
    if !mesh.kafka_sinks.is_empty() {
        kinds.push(count(mesh.kafka_sinks.len(), "KafkaSink"));
    }
    if !mesh.policies.is_empty() {
        let policies = match mesh.policies.len() {
            1 => "1 EventPolicy".to_owned(),
            many => format!("{many} EventPolicies"),
        };
        kinds.push(policies);
    }
    out::data(&format!(
        "valid: {} in {}",
        kinds.join(", "),
        count(files, "file")
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_that_is_never_connected_to_is_warned_of_where_it_stands() {
        let trigger = |uri: &str, sink: &str| {
            format!(
                "{{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {{name: b}}}}\n---\n\
                 apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t}}\n\
                 spec: {{broker: b, subscriber: {{uri: \"{uri}\"}}, delivery: {{deadLetterSink: {{uri: \"{sink}\"}}}}}}\n"
            )
        };
        let secrets = SecretReader::new(millrace_secrets::SecretRule::default());
        for (uri, why) in [
            (
                "http://169.254.169.254/latest",
                Some("a cloud's metadata service"),
            ),
            ("http://169.254.1.1:8080/", Some("link-local")),
            ("https://[fe80::1]/", Some("link-local")),
            ("http://0.0.0.0:80/", Some("names no machine")),
            ("http://224.0.0.1/", Some("multicast")),
            ("http://[::ffff:169.254.169.254]/", Some("metadata")),
            ("http://127.0.0.1:9001/", None),
            ("http://10.0.0.1/", None),
            ("http://metadata.example/", None),
        ] {
            for (subscriber, sink, path) in [
                (uri, "http://a/", "spec.subscriber.uri"),
                ("http://a/", uri, "spec.delivery.deadLetterSink.uri"),
            ] {
                let mut loaded = millrace_crds::load_text(&trigger(subscriber, sink));
                look_at_external(&mut loaded, &secrets).await;
                assert!(loaded.problems.is_empty(), "{uri}: {:?}", loaded.problems);
                let said: Vec<_> = loaded
                    .remarks
                    .iter()
                    .map(|remark| (&*remark.path, &*remark.message))
                    .collect();
                match (why, &said[..]) {
                    (None, []) => {}
                    (Some(why), [(at, message)]) => {
                        assert!(*at == path && message.contains(why), "{uri}: {at}: {message}");
                    }
                    (_, said) => panic!("{uri}: {said:?}"),
                }
            }
        }
    }
}
