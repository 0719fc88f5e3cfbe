//! Tokens of ServiceAccounts that deliveries show (OpenID Connect): how the API server is asked for them, and
//! what the status of a Trigger says of them.
//!
//! Millrace makes no ServiceAccount, and asks only for tokens of those that the operator names. So whoever
//! writes Triggers gains nobody's identity but that of their own namespace, for the audience of a target.
//! What the owner of a target may say of its audience is with [`AudienceRefused`].

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use millrace_crds::{AudienceRefused, ShownToken};
use millrace_model::auth::AccountToken;
use serde_json::{Value, json};

use crate::condition::Shown;
use crate::connect::Connection;
use crate::options::Options;

/// How long a token is to be valid, as with Knative.
const LIFETIME: i64 = 3_600;
const TYPE: &str = "OIDCIdentityCreated";

/// Asks the API server for tokens.
#[derive(Clone)]
pub struct TokenRequests {
    client: Client,
}

// === impl TokenRequests ===

impl TokenRequests {
    /// Asks by that connection.
    pub fn new(connection: &Connection) -> Self {
        let client = connection.client.clone();
        Self { client }
    }

    /// A new token, and how long it is valid from now on.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    pub async fn ask(&self, wanted: &AccountToken) -> Result<(String, Duration), String> {
        let AccountToken { account, audience } = wanted;
        let api: Api<k8s_openapi::api::core::v1::ServiceAccount> =
            Api::namespaced(self.client.clone(), account.namespace());
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![audience.clone()],
                expiration_seconds: Some(LIFETIME),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let answer = api
            .create_token_request(account.name(), &PostParams::default(), &request)
            .await
            .map_err(|error| refusal(&error))?;
        // The server may grant less. How long it is says nothing about anybody's clock.
        let lifetime = answer.spec.expiration_seconds.unwrap_or(LIFETIME);
        let token = answer.status.map(|status| status.token);
        let token = token.filter(|token| !token.is_empty());
        let token = token.ok_or("the answer of the API server has none")?;
        Ok((token, Duration::from_secs(lifetime.unsigned_abs())))
    }
}

impl std::fmt::Debug for TokenRequests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRequests").finish_non_exhaustive()
    }
}

/// Why there is no token. What else a server says is not repeated.
fn refusal(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            "Millrace may not ask for it: a Role has to allow create on serviceaccounts/token of that name \
             (oidc.serviceAccounts of the chart)"
                .to_owned()
        }
        kube::Error::Api(status) if status.code == 404 => "there is no such ServiceAccount".to_owned(),
        kube::Error::Api(status) => format!("the API server answers {}", status.code),
        _ => "the API server cannot be asked".to_owned(),
    }
}

/// As whom deliveries are made, as a field of a status.
pub(crate) fn auth(tokens: &[&ShownToken]) -> Option<(&'static str, Value)> {
    let token = shown(tokens)?;
    Some(("auth", json!({"serviceAccountName": token.account.name()})))
}

/// What the condition of a Trigger says. It is met in any case: where no token is shown, none is needed to go
/// on, and whoever wants one refuses the delivery.
pub(crate) fn identity(tokens: &[&ShownToken], options: &Options) -> Shown {
    let find = |is: fn(&ShownToken) -> bool| tokens.iter().any(|token| is(token));
    let (reason, message) = if options.accounts.is_empty() {
        let why = "deliveries show no token of OpenID Connect: Millrace runs without --oidc-service-account";
        ("NotEnabled", why.to_owned())
    } else if let Some(token) = shown(tokens) {
        let why = format!("deliveries show tokens of the ServiceAccount {}", token.account);
        ("TokensShown", why)
    } else if find(|token| matches!(token, ShownToken::OtherCredentials(_))) {
        let why = "deliveries show the credentials that an annotation names, and no token of OpenID Connect";
        ("OtherCredentials", why.to_owned())
    } else if find(|token| matches!(token, ShownToken::NoAccount(_))) {
        let why =
            "deliveries show no token: --oidc-service-account names no ServiceAccount of this namespace";
        ("NoServiceAccount", why.to_owned())
    } else if let Some(refused) = tokens.iter().find_map(|token| refused(token)) {
        let whose = match refused {
            AudienceRefused::OtherNamespace => "is in another namespace",
            AudienceRefused::OtherBroker => "names the audience of a Broker that it is not",
        };
        let why = format!(
            "deliveries show no token: a target {whose}, so its status cannot say whom tokens are for. The \
             document can, by `audience`"
        );
        ("AudienceRefused", why)
    } else {
        let why = "deliveries show no token: no target names an audience";
        ("NoAudience", why.to_owned())
    };
    let mut condition = Shown::met(TYPE, reason);
    condition.message = message;
    condition
}

fn shown<'a>(tokens: &[&'a ShownToken]) -> Option<&'a AccountToken> {
    tokens.iter().find_map(|token| match token {
        ShownToken::Of(token) => Some(&**token),
        ShownToken::NoAudience
        | ShownToken::AudienceRefused(_)
        | ShownToken::NoAccount(_)
        | ShownToken::OtherCredentials(_) => None,
    })
}

fn refused(token: &ShownToken) -> Option<AudienceRefused> {
    match token {
        ShownToken::AudienceRefused(why) => Some(*why),
        ShownToken::NoAudience
        | ShownToken::NoAccount(_)
        | ShownToken::OtherCredentials(_)
        | ShownToken::Of(_) => None,
    }
}
