//! A change is written down also if it is broken off before its answer.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::serve;

/// The lines of a log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    async fn until(&self, line: &str) {
        for _ in 0..500 {
            if String::from_utf8_lossy(&self.0.lock().unwrap()).contains(line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let said = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        panic!("{line} is not in {said}");
    }
}

#[tokio::test]
async fn a_change_that_is_broken_off_is_written_down_as_unknown() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false);
    // For all threads: lines of another test that were first met without a log would never be written.
    tracing::subscriber::set_global_default(lines.finish()).unwrap();
    let served = serve().await;
    served.ready.send(true).unwrap();
    served.change("DELETE", "/api/v1/brokers/shop/old").await;
    log.until("rows=\"shop/old\" outcome=\"done\" status=204 code=\"\"")
        .await;

    let mut waits = TcpStream::connect(served.address).await.unwrap();
    let request = format!(
        "DELETE /api/v1/brokers/shop/slow HTTP/1.1\r\nhost: {}\r\nmillrace-request: 1\r\n\r\n",
        served.address
    );
    waits.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    // The listener ends, and with it the connection.
    served.task.abort();
    log.until("who=\"anonymous\" action=\"brokers forget\" rows=\"shop/slow\" outcome=\"unknown\"")
        .await;
}
