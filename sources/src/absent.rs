//! The feed of a kind that this build leaves out: it says so, and nothing else.

use tokio_util::sync::CancellationToken;

use crate::{Context, Feed, SourceError};

/// Holds the sentence that says what is left out.
#[derive(Debug)]
pub(crate) struct AbsentFeed(pub(crate) &'static str);

#[async_trait::async_trait]
impl Feed for AbsentFeed {
    async fn run(&mut self, context: &Context, shutdown: CancellationToken) -> Result<(), SourceError> {
        context.report.not_ready(self.0);
        shutdown.cancelled().await;
        Ok(())
    }
}
