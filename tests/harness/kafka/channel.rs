//! A Broker whose channel is on the broker.

use super::Kafka;
use crate::channel_server::ChannelServer;

// === impl Kafka ===

impl ChannelServer for Kafka {
    const BACKEND: &'static str = "kafka";

    async fn start() -> anyhow::Result<Option<Self>> {
        Self::start().await
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        self.kill().await
    }

    async fn restart(&mut self) -> anyhow::Result<()> {
        self.restart().await
    }

    fn servers(&self) -> String {
        self.bootstrap()
    }
}
