//! The flags by which `millrace run` takes its documents from a cluster instead of files.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use http::Uri;
use millrace_event::ObjectName;

use crate::cli::values::{parse_name, parse_namespace, parse_url};

/// Documents from a cluster.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClusterArgs {
    /// Serve the Brokers, Triggers and sources of a Kubernetes cluster instead of files
    #[arg(long)]
    pub(crate) kubernetes: bool,
    /// The kubeconfig of the cluster, where this does not run in one of its pods
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Also serve Brokers that name no class
    #[arg(long, requires = "kubernetes")]
    pub(crate) default_class: bool,
    /// A namespace whose objects are served, instead of all. Repeat it, or separate names by commas
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "MILLRACE_WATCH_NAMESPACES",
        value_delimiter = ',',
        value_parser = parse_namespace,
        requires = "kubernetes"
    )]
    pub(crate) watch_namespace: Vec<String>,
    /// Where producers reach --listen: the address of a Broker is this with /NAMESPACE/NAME [default: the
    /// address of --listen, if that is loopback]
    #[arg(
        long,
        value_name = "URL",
        env = "MILLRACE_PUBLIC_URL",
        value_parser = parse_url,
        requires = "kubernetes"
    )]
    pub(crate) public_url: Option<Uri>,
    /// Where producers reach --listen-tls, if --public-url is where they reach --listen: Brokers have both
    /// addresses
    #[arg(
        long,
        value_name = "URL",
        env = "MILLRACE_PUBLIC_URL_TLS",
        value_parser = parse_url,
        requires = "public_url"
    )]
    pub(crate) public_url_tls: Option<Uri>,
    /// The authorities, in PEM, that vouch for the certificate of --listen-tls: Brokers have them beside
    /// their address by https. A changed file counts without a restart
    #[arg(
        long,
        value_name = "FILE",
        env = "MILLRACE_PUBLIC_CA",
        requires = "public_url"
    )]
    pub(crate) public_ca: Option<PathBuf>,
    /// The domain of the cluster's Services [default: the `search` line of /etc/resolv.conf that begins with
    /// svc., else cluster.local]
    #[arg(
        long,
        value_name = "DOMAIN",
        env = "MILLRACE_CLUSTER_DOMAIN",
        requires = "kubernetes"
    )]
    pub(crate) cluster_domain: Option<String>,
    /// A Broker to create where there is none; ready only once it is served
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        env = "MILLRACE_ENSURE_BROKER",
        value_parser = parse_name,
        requires = "kubernetes"
    )]
    pub(crate) ensure_broker: Option<ObjectName>,
    /// A ServiceAccount of which deliveries show tokens to targets with an audience (OpenID Connect), from
    /// the Triggers and sources of its namespace; one for each namespace. Repeat it, or separate names by
    /// commas
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        env = "MILLRACE_OIDC_SERVICE_ACCOUNTS",
        value_delimiter = ',',
        value_parser = parse_name,
        requires = "kubernetes"
    )]
    pub(crate) oidc_service_account: Vec<ObjectName>,
    /// Where references of objects may lead
    #[arg(
        long,
        value_enum,
        default_value_t,
        env = "MILLRACE_REFS",
        requires = "kubernetes"
    )]
    pub(crate) refs: Refs,
}

/// Where references may lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Refs {
    /// To every namespace, as in Knative
    #[default]
    Any,
    /// Within a namespace
    SameNamespace,
}

// === impl ClusterArgs ===

#[cfg(feature = "kubernetes")]
impl ClusterArgs {
    /// What is served of which cluster, by a process that listens there.
    ///
    /// # Errors
    /// A sentence, when the flags do not make sense.
    pub(crate) fn config(
        &self,
        listen: Option<std::net::SocketAddr>,
    ) -> Result<crate::run::cluster::ClusterConfig, String> {
        if self.public_url.is_none() && !listen.is_some_and(|listen| listen.ip().is_loopback()) {
            let listen = listen.map_or("off".to_owned(), |listen| listen.to_string());
            return Err(format!(
                "--kubernetes with --listen {listen} needs --public-url: the URL under which producers reach it, \
                 which becomes the address of each Broker"
            ));
        }
        self.check_schemes()?;
        let mut accounts = std::collections::BTreeMap::new();
        for account in &self.oidc_service_account {
            let before = accounts.insert(account.namespace().to_owned(), account.clone());
            if let Some(before) = before.filter(|before| before != account) {
                return Err(format!(
                    "--oidc-service-account names {before} and {account}, and deliveries from a namespace are one account's"
                ));
            }
        }
        Ok(crate::run::cluster::ClusterConfig {
            kubeconfig: self.kubeconfig.clone(),
            default_class: self.default_class,
            namespaces: self.watch_namespace.clone(),
            public_url: self.public_url.clone(),
            public_url_tls: self.public_url_tls.clone(),
            public_ca: self.public_ca.clone(),
            domain: self.cluster_domain.clone(),
            ensure_broker: self.ensure_broker.clone(),
            same_namespace: self.refs == Refs::SameNamespace,
            accounts,
        })
    }

    /// Whether each address is by the scheme that its flag is for.
    fn check_schemes(&self) -> Result<(), String> {
        let is_https = |url: &Uri| url.scheme_str() == Some("https");
        let by_https = self.public_url.as_ref().is_some_and(is_https);
        match &self.public_url_tls {
            Some(url) if !is_https(url) => Err(format!("--public-url-tls {url}: an https URL is expected")),
            Some(_) if by_https => Err(
                "--public-url-tls is the address by https beside one by http, and --public-url is by https already"
                    .to_owned(),
            ),
            None if self.public_ca.is_some() && !by_https => Err(
                "--public-ca is for an address by https: --public-url-tls, or an https --public-url".to_owned(),
            ),
            Some(_) | None => Ok(()),
        }
    }
}
