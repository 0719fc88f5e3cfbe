//! A kubeconfig as data: read under the rule for named files, judged, and completed before a client is made
//! from it.
//!
//! kube would run the programs that a kubeconfig names, read its files, and repeat pieces of them in its
//! errors. So kube gets only what has been judged here: the cluster and the user of the current context, with
//! every file's content in place of its path. Errors name fields and never values.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Config;
use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, KubeconfigError as KubeError, NamedAuthInfo,
    NamedCluster, NamedContext,
};
use millrace_model::NamedFile;
use millrace_secrets::{SecretError, SecretReader};

/// Why a kubeconfig is not used.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// It cannot be read, or must not be.
    #[error("the kubeconfig: {0}")]
    File(#[source] SecretError),
    /// A file that it names cannot be read, or must not be.
    #[error("`{0}` in the kubeconfig: {1}")]
    Named(&'static str, #[source] SecretError),
    /// The file is something else.
    #[error("the file is not a kubeconfig")]
    NotOne,
    /// A field is missing, or its value cannot be used.
    #[error("the kubeconfig cannot be used: {0}")]
    Field(&'static str),
    /// It wants a program to be run.
    #[error(
        "the kubeconfig names a program to run (`exec`), which a document may not; \
         the flag --allow-kubeconfig-exec allows it"
    )]
    Exec,
    /// It wants a provider for which kube would run a program.
    #[error("the kubeconfig has an `auth-provider`, which is not supported; no flag allows it")]
    AuthProvider,
    /// It names a proxy.
    #[error(
        "the kubeconfig names a proxy (`proxy-url`), and none is used: the API server is called directly"
    )]
    Proxy,
}

// === impl KubeconfigError ===

impl KubeconfigError {
    /// Whether the files are at fault, and not the moment or the machine.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::File(error) | Self::Named(_, error) => error.is_refusal(),
            Self::NotOne | Self::Field(_) | Self::Exec | Self::AuthProvider | Self::Proxy => true,
        }
    }
}

/// Whether a source could use this kubeconfig: makes every check that comes before the API server is called.
///
/// # Errors
/// The error that the source would report.
pub async fn check_kubeconfig(file: &NamedFile, secrets: &SecretReader) -> Result<(), KubeconfigError> {
    load(file, secrets).await.map(drop)
}

/// The configuration of a client.
pub(super) async fn load(file: &NamedFile, secrets: &SecretReader) -> Result<Config, KubeconfigError> {
    let bytes = secrets.file(file).await.map_err(KubeconfigError::File)?;
    let text = String::from_utf8(bytes).map_err(|_| KubeconfigError::NotOne)?;
    // Parsing a megabyte of hostile YAML takes time, so it runs on a thread of its own.
    let parsed = tokio::task::spawn_blocking(move || {
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        Kubeconfig::from_yaml(text).map_err(|_| KubeconfigError::NotOne)
    });
    let whole = parsed.await.unwrap_or(Err(KubeconfigError::NotOne))?;
    let (mut cluster, mut user) = in_effect(whole)?;
    judge(&cluster, &user, secrets)?;
    let files = Files { file, secrets };
    files.embed_cluster(&mut cluster).await?;
    files.embed_user(&mut user).await?;
    config(cluster, user).await
}

/// The cluster and the user of the current context.
fn in_effect(whole: Kubeconfig) -> Result<(Cluster, AuthInfo), KubeconfigError> {
    let current = whole
        .current_context
        .ok_or(KubeconfigError::Field("it has no `current-context`"))?;
    let context = whole
        .contexts
        .into_iter()
        .find(|context| context.name == current)
        .and_then(|context| context.context)
        .ok_or(KubeconfigError::Field(
            "its `current-context` is none of its `contexts`",
        ))?;
    let cluster = whole
        .clusters
        .into_iter()
        .find(|cluster| cluster.name == context.cluster)
        .and_then(|cluster| cluster.cluster)
        .ok_or(KubeconfigError::Field(
            "the cluster of its context is none of its `clusters`",
        ))?;
    let user = whole
        .auth_infos
        .into_iter()
        .find(|user| Some(&user.name) == context.user.as_ref())
        .and_then(|user| user.auth_info);
    // As in kubectl: an anonymous user.
    Ok((cluster, user.unwrap_or_default()))
}

/// Refuses what no content of a file could make acceptable.
fn judge(cluster: &Cluster, user: &AuthInfo, secrets: &SecretReader) -> Result<(), KubeconfigError> {
    if user.auth_provider.is_some() {
        return Err(KubeconfigError::AuthProvider);
    }
    if user.exec.is_some() && !secrets.rule().allow_kubeconfig_exec {
        return Err(KubeconfigError::Exec);
    }
    if cluster.proxy_url.as_ref().is_some_and(|proxy| !proxy.is_empty()) {
        return Err(KubeconfigError::Proxy);
    }
    Ok(())
}

/// Reads the files that a kubeconfig names. Relative paths start at its folder. They are judged by the rule
/// of the document that named the kubeconfig.
struct Files<'a> {
    file: &'a NamedFile,
    secrets: &'a SecretReader,
}

// === impl Files ===

impl Files<'_> {
    async fn embed_cluster(&self, cluster: &mut Cluster) -> Result<(), KubeconfigError> {
        let path = cluster.certificate_authority.take();
        if cluster.certificate_authority_data.is_none() {
            let content = self.content("certificate-authority", path).await?;
            cluster.certificate_authority_data = content.map(|content| STANDARD.encode(content));
        }
        Ok(())
    }

    async fn embed_user(&self, user: &mut AuthInfo) -> Result<(), KubeconfigError> {
        let (certificate, key) = (user.client_certificate.take(), user.client_key.take());
        if user.client_certificate_data.is_none() {
            let content = self.content("client-certificate", certificate).await?;
            user.client_certificate_data = content.map(|content| STANDARD.encode(content));
        }
        if user.client_key_data.is_none() {
            let content = self.content("client-key", key).await?;
            user.client_key_data = content.map(|content| STANDARD.encode(content).into());
        }
        let token = user.token_file.take();
        if user.token.is_none()
            && let Some(content) = self.content("tokenFile", token).await?
        {
            let text = std::str::from_utf8(&content)
                .map_err(|_| KubeconfigError::Field("what its `tokenFile` holds is no text"))?;
            user.token = Some(text.trim().to_owned().into());
        }
        if let Some(exec) = &mut user.exec
            && let Some(command) = &exec.command
            && command.contains('/')
        {
            exec.command = Some(self.beside(command).to_string_lossy().into_owned());
        }
        Ok(())
    }

    async fn content(
        &self,
        field: &'static str,
        path: Option<String>,
    ) -> Result<Option<Vec<u8>>, KubeconfigError> {
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        let named = NamedFile {
            path: self.beside(&path),
            folder: self.file.folder.clone(),
        };
        match self.secrets.file(&named).await {
            Ok(content) => Ok(Some(content)),
            Err(error) => Err(KubeconfigError::Named(field, error)),
        }
    }

    fn beside(&self, path: &str) -> std::path::PathBuf {
        self.file.path.parent().unwrap_or(Path::new("")).join(path)
    }
}

/// The configuration of a client for this cluster and this user.
async fn config(cluster: Cluster, user: AuthInfo) -> Result<Config, KubeconfigError> {
    const NAME: &str = "current";
    // If a cluster names no proxy, kube reads one from the environment. So this one is named, and removed
    // again.
    const UNUSED: &str = "http://unused.invalid";
    let cluster = Cluster {
        proxy_url: Some(UNUSED.to_owned()),
        ..cluster
    };
    let name = || NAME.to_owned();
    let alone = Kubeconfig {
        current_context: Some(name()),
        contexts: vec![NamedContext {
            name: name(),
            context: Some(Context {
                cluster: name(),
                user: Some(name()),
                ..Context::default()
            }),
            ..NamedContext::default()
        }],
        clusters: vec![NamedCluster {
            name: name(),
            cluster: Some(cluster),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: name(),
            auth_info: Some(user),
            ..NamedAuthInfo::default()
        }],
        ..Kubeconfig::default()
    };
    let config = Config::from_custom_kubeconfig(alone, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| KubeconfigError::Field(words(&error)))?;
    // The server becomes the `source` of events, which many people read.
    if config
        .cluster_url
        .authority()
        .is_some_and(|whole| whole.as_str().contains('@'))
    {
        return Err(KubeconfigError::Field(
            "the `server` of its cluster holds a user, who belongs into its `users`",
        ));
    }
    if config.root_cert.as_ref().is_some_and(Vec::is_empty) {
        return Err(KubeconfigError::Field(
            "its `certificate-authority` holds no certificate",
        ));
    }
    config.proxy_url = None;
    Ok(config)
}

/// What kube finds wrong, without the parts that repeat content.
fn words(error: &KubeError) -> &'static str {
    match error {
        KubeError::MissingClusterUrl => "its cluster has no `server`",
        KubeError::ParseClusterUrl(_) => "the `server` of its cluster is no URL",
        KubeError::LoadCertificateAuthority(_) => "its `certificate-authority-data` is not base64",
        KubeError::ParseCertificates(_) => "its `certificate-authority` is no list of certificates in PEM",
        _ => "it is not as a kubeconfig must be",
    }
}

#[cfg(test)]
#[path = "kubeconfig_tests.rs"]
mod tests;
