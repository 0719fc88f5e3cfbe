//! Where producers reach the Brokers, as their statuses say it.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use millrace_event::ObjectName;
use serde_json::{Value, json};

/// Where producers reach the ingress: a Broker's address is one of these with `/namespace/name`. Inert data.
#[derive(Clone, Debug)]
pub struct Public {
    /// The address.
    pub url: Uri,
    /// That of the same ingress by https, where `url` is by http.
    pub tls: Option<Uri>,
    /// Who vouches for the one by https.
    pub authorities: Vouching,
}

/// Gives the certificates, in PEM, of those who vouch for the ingress, if producers are to be told.
#[derive(Clone)]
pub struct Vouching(pub Arc<dyn Fn() -> Option<String> + Send + Sync>);

// === impl Public ===

impl Public {
    /// Reached there, and by nothing else.
    pub fn at(url: Uri) -> Self {
        Self {
            url,
            tls: None,
            authorities: Vouching(Arc::new(|| None)),
        }
    }

    /// The fields of a Broker's status that say where it is reached. Of two addresses `address` is the one by
    /// http, and the list begins with the one by https, as Knative's does while it allows both.
    pub(crate) fn fields(&self, broker: &ObjectName, audience: Option<&str>) -> Vec<(&'static str, Value)> {
        let address = |base: &Uri| self.address(base, broker, audience);
        let first = address(&self.url);
        let Some(tls) = &self.tls else {
            return vec![("address", first)];
        };
        let all = json!([address(tls), first]);
        vec![("address", first), ("addresses", all)]
    }

    /// The URL of a Broker.
    pub(crate) fn url_of(&self, broker: &ObjectName) -> String {
        below(&self.url, broker)
    }

    fn address(&self, base: &Uri, broker: &ObjectName, audience: Option<&str>) -> Value {
        let scheme = base.scheme_str().unwrap_or("http");
        let mut address = json!({"name": scheme, "url": below(base, broker)});
        if scheme == "https"
            && let Some(authorities) = self.authorities.now()
        {
            address["CACerts"] = authorities.into();
        }
        if let Some(audience) = audience {
            address["audience"] = audience.into();
        }
        address
    }
}

fn below(base: &Uri, broker: &ObjectName) -> String {
    format!("{}/{broker}", base.to_string().trim_end_matches('/'))
}

// === impl Vouching ===

impl Vouching {
    /// The certificates as they are now.
    pub(crate) fn now(&self) -> Option<String> {
        (self.0)()
    }
}

impl fmt::Debug for Vouching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Vouching").field(&self.now().is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_name_and_only_https_has_who_vouches_for_it() {
        let (http, https) = (
            Uri::from_static("http://mill.svc"),
            Uri::from_static("https://mill.svc:8443/"),
        );
        let broker = ObjectName::new("shop", "default");
        let of_http = json!({"name": "http", "url": "http://mill.svc/shop/default"});
        let of_https =
            json!({"name": "https", "url": "https://mill.svc:8443/shop/default", "CACerts": "PEM"});
        let public = |url: &Uri, tls: Option<&Uri>| Public {
            url: url.clone(),
            tls: tls.cloned(),
            authorities: Vouching(Arc::new(|| Some("PEM".to_owned()))),
        };
        let fields = |public: Public| public.fields(&broker, None);
        assert_eq!(fields(public(&http, None)), [("address", of_http.clone())]);
        assert_eq!(fields(public(&https, None)), [("address", of_https.clone())]);
        assert_eq!(
            fields(public(&http, Some(&https))),
            [
                ("address", of_http.clone()),
                ("addresses", json!([of_https, of_http]))
            ]
        );
        let unvouched = Public::at(https.clone()).fields(&broker, Some("me"));
        let expected =
            json!({"name": "https", "url": "https://mill.svc:8443/shop/default", "audience": "me"});
        assert_eq!(unvouched, [("address", expected)]);
    }
}
