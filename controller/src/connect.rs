//! The connection to the API server, and whose rights it has.

use std::path::Path;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

/// A client of the API server.
#[derive(Clone)]
pub struct Connection {
    pub(crate) client: Client,
}

/// Why there is no client. The contents of a kubeconfig are not repeated.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig {0} cannot be used: it is unreadable, invalid, or names a file that is")]
    Kubeconfig(String),
    /// There is no cluster around.
    #[error("this does not run in a pod of a cluster: give --kubeconfig FILE")]
    NoCluster,
    /// The certificates or credentials do not fit.
    #[error("no client can be made with these certificates and credentials")]
    Unusable,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// Makes a client from a kubeconfig or, without one, for the cluster of this pod. Nothing is asked of the API
/// server yet.
///
/// # Errors
/// When the kubeconfig, or what the pod has, makes no client.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Connection, ConnectError> {
    let config = match kubeconfig {
        Some(file) => {
            let unusable = || ConnectError::Kubeconfig(file.display().to_string());
            let read = Kubeconfig::read_from(file).map_err(|_| unusable())?;
            let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
            config.map_err(|_| unusable())?
        }
        None => Config::incluster().map_err(|_| ConnectError::NoCluster)?,
    };
    let client = Client::try_from(config).map_err(|_| ConnectError::Unusable)?;
    Ok(Connection { client })
}

/// The ServiceAccount that this process is to the API server, as `namespace:name`; `None` when it is somebody
/// else, or the server does not say.
pub(crate) async fn account(client: &Client) -> Option<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let answer = api
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .ok()?;
    let user = answer.status?.user_info?.username?;
    user.strip_prefix("system:serviceaccount:").map(str::to_owned)
}
