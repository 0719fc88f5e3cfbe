//! The connection to the API server: login, short answers of a bounded size, and streams.
//!
//! Bodies are read here and not by `kube`'s own helpers, because those read without a bound and give objects
//! that were decoded: an event is to carry the object as the server wrote it.

use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use kube::client::{AuthError, Body};
use kube::{Client, Config};
use millrace_delivery::servers::Unfit;
use millrace_model::NamedFile;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::kubeconfig;
use crate::servers::judge_apart;
use crate::{Context, SourceError};

/// A client of one API server.
pub(super) struct Origin {
    client: Client,
    /// The server's URL without a slash at its end.
    url: String,
    /// One list is read at a time, since its page lies in memory.
    pub(super) lists: Semaphore,
    /// Objects are read whole, and not only their metadata.
    is_whole: bool,
}

/// What an answer is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// What the API server itself has to say.
    Answer,
    /// A page of objects.
    Page,
    /// Changes of objects.
    Changes,
}

/// Why the API server did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It rejects the credentials.
    #[error("the API server does not accept the credentials: {0}")]
    Unauthorized(String),
    /// The account may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such kind (yet).
    #[error("{0}")]
    Missing(String),
    /// The version from which to go on is no longer kept.
    #[error("the API server no longer keeps the changes since then")]
    Gone,
    /// The answer is larger than is read.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// What the API server says where it refuses something.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) code: u16,
    message: String,
}

/// The most bytes of a short answer and of a page.
pub(super) const MAX_BODY: usize = 64 << 20;
/// How long a short answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a text of the API server's is repeated, in characters.
const SHOWN: usize = 300;
const JSON: &str = "application/json";
/// Objects without all that does not lie in their `metadata`, from a server that can leave it out.
const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

// === impl Origin ===

impl Origin {
    /// The API server of a kubeconfig, or of the cluster that this runs in. Nothing is asked of it yet.
    pub(super) async fn new(
        kubeconfig: Option<&NamedFile>,
        context: &Context,
        is_whole: bool,
    ) -> Result<Self, SourceError> {
        let config = match kubeconfig {
            Some(file) => {
                let config = kubeconfig::load(file, &context.secrets).await;
                let config = config.map_err(|error| SourceError::Unusable(error.to_string()))?;
                judge(context, &config.cluster_url).await?;
                config
            }
            None => Config::incluster().map_err(|error| {
                let why = chain(&error);
                SourceError::Unusable(format!(
                    "no `kubeconfig` is given, and this does not run in a cluster: {why}"
                ))
            })?,
        };
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = client(config).await?;
        Ok(Self {
            client,
            url,
            lists: Semaphore::new(1),
            is_whole,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// A short answer.
    pub(super) async fn get(&self, path: &str, form: Form, max: usize) -> Result<Bytes, Trouble> {
        let answer = async {
            let body = self.send(path, form).await?;
            collect(body, max).await
        };
        tokio::time::timeout(TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    /// An answer that goes on.
    pub(super) async fn stream(&self, path: &str, form: Form) -> Result<Body, Trouble> {
        let body = tokio::time::timeout(TIMEOUT, self.send(path, form)).await;
        body.unwrap_or_else(|_| Err(late()))
    }

    async fn send(&self, path: &str, form: Form) -> Result<Body, Trouble> {
        let accept = match form {
            Form::Page if !self.is_whole => METADATA_LIST,
            Form::Changes if !self.is_whole => METADATA,
            Form::Answer | Form::Page | Form::Changes => JSON,
        };
        let request = Request::get(path)
            .header(header::ACCEPT, accept)
            .body(Body::empty())
            .map_err(|error| Trouble::Failed(error.to_string()))?;
        let answer = self.client.send(request).await;
        let answer = answer
            .map_err(|error| Trouble::Failed(format!("the API server is not reached: {}", chain(&error))))?;
        let (head, body) = answer.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let body = collect(body, MAX_BODY).await.unwrap_or_default();
        let status: Status = serde_json::from_slice(&body).unwrap_or_default();
        Err(refusal(head.status.as_u16(), &status))
    }
}

fn late() -> Trouble {
    Trouble::Failed(format!("no answer within {} s", TIMEOUT.as_secs()))
}

/// What a refusal means.
pub(super) fn refusal(code: u16, status: &Status) -> Trouble {
    let said = if status.message.is_empty() {
        format!("it answers {code}")
    } else {
        status.message.chars().take(SHOWN).collect()
    };
    match StatusCode::from_u16(code) {
        Ok(StatusCode::UNAUTHORIZED) => Trouble::Unauthorized(said),
        Ok(StatusCode::FORBIDDEN) => Trouble::Forbidden(said),
        Ok(StatusCode::NOT_FOUND) => Trouble::Missing(said),
        Ok(StatusCode::GONE) => Trouble::Gone,
        _ => Trouble::Failed(said),
    }
}

/// Whether the API server of a kubeconfig may be connected to. The process's own cluster always may.
async fn judge(context: &Context, url: &Uri) -> Result<(), SourceError> {
    let host = url.host().unwrap_or_default().to_owned();
    let is_plain = url.scheme() == Some(&Scheme::HTTP);
    let port = url.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
    let judged = judge_apart(&context.lookups, context.guard.clone(), host, port);
    match tokio::time::timeout(TIMEOUT, judged).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Unfit::Refused(why))) => {
            let why = format!("the `server` of the kubeconfig: {why}");
            Err(SourceError::Unusable(why))
        }
        Ok(Err(Unfit::NotFound(why) | Unfit::Unknown(why))) => {
            let why = format!("the API server is not reached: {why}");
            Err(SourceError::Origin(why))
        }
        Err(_) => {
            let why = "the API server is not reached: its name is not looked up in time";
            Err(SourceError::Origin(why.to_owned()))
        }
    }
}

/// Makes a client, on a thread of its own: that may run the program of the kubeconfig, if the operator allows
/// it.
async fn client(config: Config) -> Result<Client, SourceError> {
    let made = tokio::task::spawn_blocking(move || Client::try_from(config));
    let unusable = |why: &str| SourceError::Unusable(format!("the API server's client: {why}"));
    match tokio::time::timeout(TIMEOUT, made).await {
        Ok(Ok(Ok(client))) => Ok(client),
        Ok(Ok(Err(error))) => Err(unusable(no_client(&error))),
        Ok(Err(_)) => Err(unusable("making it broke down")),
        Err(_) => Err(unusable("the program of the kubeconfig does not end")),
    }
}

/// Why there is no client, without repeating what a file holds or a program prints.
fn no_client(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Auth(error) => no_credentials(error),
        kube::Error::RustlsTls(_) => "the certificates or the key cannot be used",
        _ => "it cannot be made with these settings",
    }
}

/// Why there are no credentials.
fn no_credentials(error: &AuthError) -> &'static str {
    match error {
        AuthError::AuthExecStart(_) => "the program of the kubeconfig cannot be started",
        AuthError::AuthExecRun { .. } => "the program of the kubeconfig failed",
        AuthError::AuthExecParse(_)
        | AuthError::ExecPluginFailed
        | AuthError::MalformedTokenExpirationDate(_)
        | AuthError::UnrefreshableTokenResponse => "the program of the kubeconfig gave no credentials",
        AuthError::ReadTokenFile(..) => "the token of the service account cannot be read",
        AuthError::InvalidBearerToken(_) => "the token has characters that no token has",
        AuthError::InvalidBasicAuth(_) => "name and password have characters that cannot be sent",
        _ => "there are no credentials",
    }
}

async fn collect(body: Body, max: usize) -> Result<Bytes, Trouble> {
    match Limited::new(body, max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Trouble::TooLarge(max)),
        Err(error) => Err(Trouble::Failed(format!("the answer broke off: {error}"))),
    }
}

/// An error with its causes, in one sentence. Output of a program and contents of a file with credentials are
/// left out.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    if let Some(error) = causes.find_map(|error| error.downcast_ref::<AuthError>()) {
        return no_credentials(error).to_owned();
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.chars().take(SHOWN).collect()
}
