//! A list, read page by page: as much as fits into memory at once.

use kube::api::ListParams;
use kube::core::Request;
use millrace_model::source::api_server::ObjectKind;

use super::client::{Form, MAX_BODY, Origin, Trouble};
use super::object::Page;

/// A list that is being read.
pub(super) struct Pages<'a> {
    origin: &'a Origin,
    path: &'a str,
    selector: &'a str,
    kind: &'a ObjectKind,
    /// How many objects a page may have; fewer where they are large.
    size: u32,
    next: Option<String>,
    is_done: bool,
}

/// The objects of a page to begin with.
const SIZE: u32 = 500;

// === impl Pages ===

impl<'a> Pages<'a> {
    pub(super) fn new(origin: &'a Origin, path: &'a str, selector: &'a str, kind: &'a ObjectKind) -> Self {
        Self {
            origin,
            path,
            selector,
            kind,
            size: SIZE,
            next: None,
            is_done: false,
        }
    }

    /// The next page, if there is one.
    ///
    /// # Errors
    /// [`Trouble::Gone`] when reading took so long that the list has to be begun again.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, Trouble> {
        if self.is_done {
            return Ok(None);
        }
        let page = loop {
            match self.origin.get(&self.query()?, Form::Page, MAX_BODY).await {
                Err(Trouble::TooLarge(_)) if self.size > 1 => self.size = (self.size / 8).max(1),
                answer => break read(&answer?, self.kind)?,
            }
        };
        self.next.clone_from(&page.next);
        self.is_done = page.next.is_none();
        Ok(Some(page))
    }

    fn query(&self) -> Result<String, Trouble> {
        let mut params = ListParams::default().limit(self.size);
        if !self.selector.is_empty() {
            params = params.labels(self.selector);
        }
        if let Some(next) = &self.next {
            params = params.continue_token(next);
        }
        uri(Request::new(self.path).list(&params))
    }
}

/// The version at which the API server is now, as far as these objects go.
pub(super) async fn current(origin: &Origin, path: &str, kind: &ObjectKind) -> Result<String, Trouble> {
    let query = uri(Request::new(path).list(&ListParams::default().limit(1)))?;
    let answer = origin.get(&query, Form::Page, MAX_BODY).await?;
    Ok(read(&answer, kind)?.version)
}

/// Path and query of a request of `kube`'s.
pub(super) fn uri(
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<String, Trouble> {
    match request {
        Ok(request) => Ok(request.uri().to_string()),
        Err(error) => Err(Trouble::Failed(error.to_string())),
    }
}

fn read(body: &[u8], kind: &ObjectKind) -> Result<Page, Trouble> {
    Page::read(body, kind).map_err(|error| Trouble::Failed(format!("a list cannot be read: {error}")))
}
