//! Requests as other clients make them, without what our own client adds: paths made of a kind, objects as
//! they are, and the API's answer or refusal.

use http::{Method, Request};
use serde_json::{Value, json};

use super::Kube;

/// An object of the namespace `shop` without a `spec`, as `kn` and other programs in Go write its head.
pub fn head(api_version: &str, kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "status": {},
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": null},
    })
}

/// Where the objects of this one's kind and namespace are. The plural is the kind with an `s`, as `kn` makes
/// it, or with `ies` for a `y`.
pub fn collection(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&object["apiVersion"]);
    let root = if version.contains('/') { "apis" } else { "api" };
    let kind = text(&object["kind"]).to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(begin) => format!("{begin}ies"),
        None => format!("{kind}s"),
    };
    let namespace = text(&object["metadata"]["namespace"]);
    format!("/{root}/{version}/namespaces/{namespace}/{plural}")
}

/// Where this object is.
pub fn path(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    format!("{}/{name}", collection(object))
}

// === impl Kube ===

impl Kube {
    /// Sends any request; a body of `null` is none.
    ///
    /// # Errors
    /// When the API refuses it, or does not answer.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> kube::Result<Value> {
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(body);
        self.client
            .request(request.map_err(kube::Error::HttpError)?)
            .await
    }

    /// Gets what is at a path.
    ///
    /// # Errors
    /// When there is nothing, or the API does not answer.
    pub async fn get(&self, path: &str) -> kube::Result<Value> {
        self.send(Method::GET, path, &Value::Null).await
    }

    /// Creates an object by POST.
    ///
    /// # Errors
    /// When the API refuses it, or does not answer.
    pub async fn create(&self, object: &Value) -> kube::Result<Value> {
        self.send(Method::POST, &collection(object), object).await
    }

    /// Asks what would become of an object that is created.
    ///
    /// # Errors
    /// When the API would refuse it, or does not answer.
    pub async fn would_create(&self, object: &Value) -> kube::Result<Value> {
        let path = format!("{}?dryRun=All", collection(object));
        self.send(Method::POST, &path, object).await
    }

    /// Replaces an object by PUT.
    ///
    /// # Errors
    /// When the API refuses it, or does not answer.
    pub async fn replace(&self, object: &Value) -> kube::Result<Value> {
        self.send(Method::PUT, &path(object), object).await
    }

    /// Asks what would become of an object that is replaced.
    ///
    /// # Errors
    /// When the API would refuse it, or does not answer.
    pub async fn would_replace(&self, object: &Value) -> kube::Result<Value> {
        let path = format!("{}?dryRun=All", path(object));
        self.send(Method::PUT, &path, object).await
    }
}

/// In which words the API refuses something.
///
/// # Errors
/// When it does not.
pub fn refusal(answer: kube::Result<Value>) -> anyhow::Result<String> {
    match answer {
        Ok(object) => anyhow::bail!("it is taken: {object}"),
        Err(kube::Error::Api(status)) => Ok(status.message),
        Err(error) => Err(error.into()),
    }
}
