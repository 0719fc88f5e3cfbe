//! Hostile connections: many, each opened with a few bytes and then held. When the server ends one, it is
//! opened again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Mesh;
use crate::client::connect;

use super::{Counts, HOSTILE_PEER};

/// The pause before a connection that was ended is opened again.
const AGAIN: Duration = Duration::from_millis(50);

/// Connections to be held.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    /// How many.
    pub(super) count: usize,
    /// Each begins with these bytes.
    pub(super) opening: Bytes,
}

// === impl Hold ===

impl Hold {
    /// Holds them, in tasks that end when they are dropped.
    pub(super) fn run(&self, mesh: &Mesh, counts: &Arc<Counts>, tasks: &mut JoinSet<()>) {
        let address = mesh.listen();
        for _ in 0..self.count {
            let (opening, counts) = (self.opening.clone(), counts.clone());
            tasks.spawn(async move {
                loop {
                    if let Ok(stream) = connect(address, Some(HOSTILE_PEER)).await {
                        counts.opened.fetch_add(1, Ordering::Relaxed);
                        counts.open.fetch_add(1, Ordering::Relaxed);
                        until_ended(stream, &opening).await;
                        counts.open.fetch_sub(1, Ordering::Relaxed);
                    }
                    // A hostile pace, which is the test's choice; nothing is waited for.
                    tokio::time::sleep(AGAIN).await;
                }
            });
        }
    }
}

/// Sends the opening and reads whatever comes, until the server ends it.
async fn until_ended(mut stream: TcpStream, opening: &[u8]) {
    if stream.write_all(opening).await.is_err() {
        return;
    }
    let mut answer = [0; 1024];
    while stream.read(&mut answer).await.is_ok_and(|read| read > 0) {}
}
