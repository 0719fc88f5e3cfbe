//! The simulated backend keeps the contract, however small its chunks are.

use std::sync::Arc;

use super::*;
use crate::Change;
use crate::conformance::{self, Backend};

/// Where one is kept: in the servers, as long as this lives.
struct Servers(Simulated);

#[async_trait::async_trait]
impl Backend for Servers {
    async fn open(&mut self) -> Arc<dyn Channel> {
        self.0.open()
    }

    async fn open_elsewhere(&mut self) -> Option<Arc<dyn Channel>> {
        Some(self.0.open())
    }

    fn cut(&mut self, chunks: usize) -> bool {
        self.0.cut_off(chunks);
        true
    }

    fn cut_append(&mut self, steps: usize) -> bool {
        self.0.cut_append(steps);
        true
    }

    async fn lose_suffix(&mut self, from: Position) -> bool {
        self.0.lose_suffix(from);
        true
    }
}

async fn conforms(chunk: usize, atomic_batch: bool, latency: Duration) {
    let mut seed = 0;
    conformance::all(|| {
        seed += 1;
        Servers(Simulated::new(Options {
            seed,
            chunk,
            atomic_batch,
            latency,
            ..Options::default()
        }))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn keeps_the_contract_record_by_record() {
    conforms(1, false, Duration::from_millis(40)).await;
}

#[tokio::test(start_paused = true)]
async fn keeps_the_contract_in_chunks() {
    conforms(3, true, Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_sent_again_before_anything_else() {
    let servers = Simulated::new(Options::default());
    let channel = servers.open();
    let lane = conformance::lane(&*channel, "a").await;
    let p = conformance::append(&*channel, &["0"]).await;
    let row = conformance::work(lane, p[0], 2, 5);
    for is_stored in [true, false] {
        servers.cut_once(0, is_stored);
        let (put, done) = (Change::Put(row.clone()), Change::Complete(row.key));
        let (put, done) = tokio::join!(channel.commit(vec![put]), channel.commit(vec![done]));
        put.and(done).unwrap();
        assert_eq!(conformance::rows(&*channel, lane).await, []);
    }
    drop(channel);
    assert_eq!(conformance::rows(&*servers.open(), lane).await, []);
}

/// A repair that is given up half done must not make the servers' word count: they have lost what is known
/// here.
#[tokio::test(start_paused = true)]
async fn lost_state_is_stored_again_even_if_that_is_interrupted() {
    let servers = Simulated::new(Options {
        chunk: 1,
        ..Options::default()
    });
    let channel = servers.open();
    let lane = conformance::lane(&*channel, "a").await;
    let p = conformance::append(&*channel, &["0", "1", "2"]).await;
    let rows: Vec<_> = p.iter().map(|at| conformance::work(lane, *at, 1, 5)).collect();
    let before = servers.shared.server.lock().state.clone();
    for row in &rows {
        channel.commit(vec![Change::Put(row.clone())]).await.unwrap();
    }
    let given_up = |chunks| {
        servers.cut_off(chunks);
        let put = channel.commit(vec![Change::Put(rows[0].clone())]);
        tokio::time::timeout(Duration::from_secs(5), put)
    };
    given_up(0).await.unwrap_err();
    servers.shared.server.lock().restore_state(before);
    // The lane and a row are stored again; then nothing more.
    given_up(2).await.unwrap_err();
    servers.shared.server.lock().cut = None;
    channel.commit(vec![Change::Put(rows[0].clone())]).await.unwrap();
    assert_eq!(servers.rows(), rows);
    assert_eq!(conformance::rows(&*channel, lane).await, rows);
}
