//! Large groups: the buffer that the writer makes can go past the page cache, and what did so is there again.

use std::io;

use parking_lot::Mutex;

use super::super::direct;
use super::*;

/// A folder that remembers which large writes could go past the page cache.
#[derive(Debug)]
struct Watched(Folder, Arc<Mutex<Vec<bool>>>);

#[derive(Debug)]
struct WatchedFile(Arc<dyn LogFile>, Arc<Mutex<Vec<bool>>>);

impl Files for Watched {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(WatchedFile(self.0.create(name)?, self.1.clone())))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(WatchedFile(self.0.open(name)?, self.1.clone())))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
    fn check_place(&self) -> io::Result<()> {
        self.0.check_place()
    }
    fn check_writable(&self) -> io::Result<()> {
        self.0.check_writable()
    }
}

impl LogFile for WatchedFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if bytes.len() > 300_000 {
            self.1.lock().push(direct::is_large(bytes, at));
        }
        self.0.write_at(bytes, at)
    }
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
    fn is_gone(&self) -> bool {
        self.0.is_gone()
    }
}

#[tokio::test]
async fn large_groups_are_written_past_the_page_cache_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let written = Arc::default();
    let files = Arc::new(Watched(
        Folder::open(folder.path()).unwrap().past_cache(),
        Arc::clone(&written),
    ));
    let options = LogOptions {
        segment_bytes: 4 << 20,
        tail_bytes: 0,
        ..options()
    };
    let mut expected = Vec::new();
    for life in 0..2 {
        let (log, recovery) = Log::open(Arc::clone(&files) as Arc<dyn Files>, options.clone(), 0).unwrap();
        assert_eq!(recovery, Recovery::default(), "life {life}");
        // Small ones between, so that the large ones begin anywhere in a block.
        for (number, bytes) in [7, 400_000, 301_111, 90, 1 << 20, 13, 5_000, 777_777]
            .into_iter()
            .enumerate()
        {
            let id = life * 10 + number;
            expected.push((log.append(vec![event(id, bytes)]).await.unwrap(), id));
        }
        assert_eq!(read_all(&log, 0).await.0, expected);
        log.close().await.unwrap();
    }
    assert_eq!(*written.lock(), [true; 8]);
}
