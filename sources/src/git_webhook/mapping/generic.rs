//! Anything that posts JSON: attributes come from where the document says, or are what a webhook without any
//! says.

use std::borrow::Cow;
use std::cell::OnceCell;

use http::header::CONTENT_TYPE;
use millrace_event::ObjectName;
use millrace_filter::jsonpath::{Document, JsonPath};
use millrace_model::source::GitWebhook;
use millrace_model::source::git_webhook::{Field, From, Verification};

use super::Call;
use super::draft::{Draft, hash};
use crate::SourceError;

/// The type where the document says nothing, or nothing is found.
const PLAIN_TYPE: &str = "dev.millrace.webhook";

/// Where the attributes come from.
#[derive(Debug)]
pub(in super::super) struct Generic {
    plain_source: String,
    /// Whether the sender has an id of its own for each message, as Standard Webhooks demands.
    has_ids: bool,
    ty: Option<Value>,
    source: Option<Value>,
    subject: Option<Value>,
    id: Option<Value>,
    time: Option<Value>,
    extensions: Vec<(String, Value)>,
}

/// Where the value of one attribute comes from.
#[derive(Debug)]
struct Value {
    found: Lookup,
    prefix: String,
    default: Option<String>,
}

/// What values are taken from: a call, with its data laid out when the first path looks into it.
struct Origin<'a, 'c> {
    call: &'c Call<'a>,
    document: OnceCell<Document>,
}

#[derive(Debug)]
enum Lookup {
    Here(String),
    Header(String),
    Path(JsonPath),
    BodyHash,
}

// === impl Generic ===

impl Generic {
    pub(super) fn new(spec: &GitWebhook, name: &ObjectName) -> Result<Self, SourceError> {
        let fields = &spec.event;
        let value = |field: &Option<Field>| field.as_ref().map(Value::new).transpose();
        let mut extensions = Vec::with_capacity(fields.extensions.len());
        for (name, field) in &fields.extensions {
            extensions.push((name.clone(), Value::new(field)?));
        }
        Ok(Self {
            plain_source: format!(
                "/apis/sources.millrace.dev/v1alpha1/namespaces/{}/gitwebhooksources/{}",
                name.namespace(),
                name.name()
            ),
            has_ids: spec.verification == Verification::StandardWebhooks,
            ty: value(&fields.ty)?,
            source: value(&fields.source)?,
            subject: value(&fields.subject)?,
            id: value(&fields.id)?,
            time: value(&fields.time)?,
            extensions,
        })
    }

    /// The number of paths that look into the data.
    pub(super) fn paths(&self) -> usize {
        let own = [&self.ty, &self.source, &self.subject, &self.id, &self.time];
        let own = own.into_iter().flatten();
        let extensions = self.extensions.iter().map(|(_, value)| value);
        let is_path = |value: &&Value| matches!(value.found, Lookup::Path(_));
        own.chain(extensions).filter(is_path).count()
    }

    /// What the call says.
    pub(super) fn draft<'a>(&'a self, call: &Call<'a>) -> Draft<'a> {
        let origin = Origin {
            call,
            document: OnceCell::new(),
        };
        let of = |value: &'a Option<Value>| value.as_ref().and_then(|value| value.of(&origin));
        let mut draft = Draft::new(PLAIN_TYPE.to_owned(), self.plain_source.as_str());
        if let Some(ty) = of(&self.ty) {
            draft.ty = ty;
        }
        draft.source = of(&self.source);
        draft.subject = of(&self.subject);
        draft.time = of(&self.time);
        let own_id = || {
            let id = call.signed_id().filter(|_| self.has_ids);
            id.map(Cow::Borrowed)
        };
        draft.id = of(&self.id).or_else(own_id);
        for (name, value) in &self.extensions {
            draft
                .extensions
                .extend(value.of(&origin).map(|value| (name.as_str(), value)));
        }
        if let Some(content_type) = call.header(CONTENT_TYPE.as_str()) {
            draft.content_type = content_type.into();
        }
        draft
    }
}

// === impl Origin ===

impl Origin<'_, '_> {
    fn document(&self) -> &Document {
        self.document
            .get_or_init(|| Document::of(self.call.payload.document()))
    }
}

// === impl Value ===

impl Value {
    fn new(field: &Field) -> Result<Self, SourceError> {
        let found = match &field.from {
            From::Const(text) => Lookup::Here(text.clone()),
            From::Header(name) => Lookup::Header(name.clone()),
            From::JsonPath(path) => {
                Lookup::Path(JsonPath::new(path).map_err(|error| SourceError::Unusable(error.to_string()))?)
            }
            From::BodyHash => Lookup::BodyHash,
        };
        Ok(Self {
            found,
            prefix: field.prefix.clone(),
            default: field.default.clone(),
        })
    }

    fn of<'a>(&'a self, origin: &Origin<'a, '_>) -> Option<Cow<'a, str>> {
        let call = origin.call;
        let found = match &self.found {
            Lookup::Here(text) => Some(Cow::Borrowed(text.as_str())),
            Lookup::Header(name) => call.header(name).map(Cow::Borrowed),
            Lookup::Path(path) => origin.document().first_text(path).map(Cow::Owned),
            Lookup::BodyHash => Some(hash(call.data).into()),
        };
        match found.filter(|text| !text.is_empty()) {
            Some(text) if self.prefix.is_empty() => Some(text),
            Some(text) => Some(format!("{}{text}", self.prefix).into()),
            None => self.default.as_deref().map(Cow::Borrowed),
        }
    }
}
