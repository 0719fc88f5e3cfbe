//! A kind of source that this build is without, and says so.

use tokio_util::sync::CancellationToken;

use crate::{Context, Feed, SourceError};

/// Stands for a kind that needs this cargo feature.
#[derive(Debug)]
pub(crate) struct LeftOut(pub(crate) &'static str);

#[async_trait::async_trait]
impl Feed for LeftOut {
    async fn run(&mut self, _: &Context, _: CancellationToken) -> Result<(), SourceError> {
        Err(SourceError::Unusable(format!(
            "this millrace was built without the feature `{}`, which this kind of source needs",
            self.0
        )))
    }
}
