//! A disk for tests that keeps apart what has been synced and what has not, and can lose power, fail or be
//! full at any operation.
//!
//! A crash keeps of each file's unsynced sectors none, all, the first ones or any of them, and of the
//! folder's unsynced entries any. A failed sync drops the dirty mark as Linux does: the sectors look written
//! and are not, and the next sync says that all is well.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::files::{Files, LogFile};

const SECTOR: usize = 512;

/// The disk; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    state: Arc<Mutex<State>>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskFault {
    None,
    /// Power goes in the middle of that operation; everything fails until [`Disk::crash`].
    CutAt(u64),
    /// That operation fails, and none after it.
    FailAt(u64),
}

#[derive(Debug)]
struct State {
    contents: HashMap<u64, Content>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    created: u64,
    operations: u64,
    fault: DiskFault,
    off: bool,
    /// Handles of an older life are dead.
    life: u64,
    capacity: u64,
    random: fastrand::Rng,
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Debug)]
struct Handle {
    disk: Disk,
    id: u64,
    life: u64,
}

// === impl Disk ===

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        let state = State {
            contents: HashMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            created: 0,
            operations: 0,
            fault: DiskFault::None,
            off: false,
            life: 0,
            capacity: u64::MAX,
            random: fastrand::Rng::with_seed(seed),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub(super) fn set_fault(&self, fault: DiskFault) {
        self.state.lock().fault = fault;
    }

    /// Writes beyond so many bytes in all fail with `StorageFull`.
    pub(super) fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity = bytes;
    }

    /// Writing operations and syncs so far.
    pub(super) fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    pub(super) fn is_off(&self) -> bool {
        self.state.lock().off
    }

    /// Loses what is not synced and turns the power on again, without faults.
    pub(super) fn crash(&self) {
        let mut state = self.state.lock();
        let State {
            contents,
            names,
            durable_names,
            random,
            ..
        } = &mut *state;
        let all: BTreeSet<String> = names.keys().chain(durable_names.keys()).cloned().collect();
        for name in all {
            if names.get(&name) != durable_names.get(&name) && random.bool() {
                match names.get(&name) {
                    Some(id) => durable_names.insert(name, *id),
                    None => durable_names.remove(&name),
                };
            }
        }
        *names = durable_names.clone();
        for content in contents.values_mut() {
            content.crash(random);
        }
        state.life += 1;
        state.off = false;
        state.fault = DiskFault::None;
    }

    /// Turns the power on again without losing anything: as if only the process had ended.
    pub(super) fn revive(&self) {
        let mut state = self.state.lock();
        state.life += 1;
        state.off = false;
        state.fault = DiskFault::None;
    }

    /// The names of the files, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        self.state.lock().names.keys().cloned().collect()
    }

    /// A file's bytes.
    pub(super) fn bytes_of(&self, name: &str) -> Vec<u8> {
        let state = self.state.lock();
        state.contents[&state.names[name]].now.clone()
    }

    /// Changes a file behind everybody's back, durably.
    pub(super) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        let id = state.names[name];
        let content = state.contents.get_mut(&id).unwrap();
        change(&mut content.now);
        content.durable = content.now.clone();
        content.dirty.clear();
    }

    fn handle(&self, id: u64, life: u64) -> Arc<dyn LogFile> {
        Arc::new(Handle {
            disk: self.clone(),
            id,
            life,
        })
    }
}

impl Files for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.powered()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let mut state = self.state.lock();
        state.operate()?;
        let id = match state.names.get(name) {
            Some(id) => *id,
            None => {
                state.created += 1;
                state.created
            }
        };
        state.names.insert(name.to_owned(), id);
        let content = state.contents.entry(id).or_default();
        content.now.clear();
        content.dirty.clear();
        Ok(self.handle(id, state.life))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let state = self.state.lock();
        state.powered()?;
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(id, state.life))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operate()?;
        state
            .names
            .remove(name)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operate()?;
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn check_place(&self) -> io::Result<()> {
        self.state.lock().powered()
    }

    fn check_writable(&self) -> io::Result<()> {
        self.state.lock().powered()
    }
}

// === impl State ===

impl State {
    fn powered(&self) -> io::Result<()> {
        if self.off {
            Err(io::Error::other("the power is off"))
        } else {
            Ok(())
        }
    }

    /// Counts an operation; fails if it is the one that is to fail.
    fn operate(&mut self) -> io::Result<()> {
        self.powered()?;
        let this = self.operations;
        self.operations += 1;
        match self.fault {
            DiskFault::CutAt(at) if at == this => {
                self.off = true;
                Err(io::Error::other("the power has gone"))
            }
            DiskFault::FailAt(at) if at == this => Err(io::Error::other("an error of the device")),
            DiskFault::None | DiskFault::CutAt(_) | DiskFault::FailAt(_) => Ok(()),
        }
    }

    fn room(&self) -> usize {
        let used: usize = self.names.values().map(|id| self.contents[id].now.len()).sum();
        usize::try_from(self.capacity)
            .unwrap_or(usize::MAX)
            .saturating_sub(used)
    }
}

// === impl Content ===

impl Content {
    fn write(&mut self, bytes: &[u8], at: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = at + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[at..end].copy_from_slice(bytes);
        self.dirty.extend(at / SECTOR..=(end - 1) / SECTOR);
    }

    /// Writes what is dirty, and only that.
    fn sync(&mut self) {
        self.durable.resize(self.now.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.now.len());
            self.durable[range.clone()].copy_from_slice(&self.now[range]);
        }
    }

    /// What the disk holds after the power went.
    fn crash(&mut self, random: &mut fastrand::Rng) {
        let kept: BTreeSet<usize> = match random.u8(0..4) {
            0 => BTreeSet::new(),
            1 => self.dirty.clone(),
            2 => self
                .dirty
                .iter()
                .copied()
                .take(random.usize(0..=self.dirty.len()))
                .collect(),
            _ => self.dirty.iter().copied().filter(|_| random.bool()).collect(),
        };
        let length = match kept.last() {
            // A length is never kept without some of what made the file grow, nor the other way round.
            Some(last) => self
                .now
                .len()
                .min((last + 1) * SECTOR)
                .max(self.durable.len().min(self.now.len())),
            None if self.now.len() < self.durable.len() && random.bool() => self.now.len(),
            None => self.durable.len(),
        };
        let mut bytes = std::mem::take(&mut self.durable);
        bytes.resize(length, 0);
        for sector in kept {
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.now.len()).min(length);
            if range.start < range.end {
                bytes[range.clone()].copy_from_slice(&self.now[range]);
            }
        }
        self.now = bytes.clone();
        self.durable = bytes;
        self.dirty.clear();
    }
}

// === impl Handle ===

impl Handle {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state.lock();
        if state.life != self.life {
            return Err(io::Error::other("a handle from before the crash"));
        }
        act(&mut state)
    }
}

impl LogFile for Handle {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.with(|state| {
            state.powered()?;
            let done = state.operate();
            let at = usize::try_from(at).unwrap();
            let growth = (at + bytes.len()).saturating_sub(state.contents[&self.id].now.len());
            let fits = bytes.len() - growth.saturating_sub(state.room());
            // A write that fails has done a part of its work.
            let part = if done.is_err() {
                state.random.usize(0..=fits)
            } else {
                fits
            };
            state
                .contents
                .get_mut(&self.id)
                .unwrap()
                .write(&bytes[..part], at);
            done?;
            if part < bytes.len() {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        })
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.with(|state| {
            state.powered()?;
            let now = &state.contents[&self.id].now;
            let start = usize::try_from(at).unwrap().min(now.len());
            let read = buffer.len().min(now.len() - start);
            buffer[..read].copy_from_slice(&now[start..start + read]);
            Ok(read)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state| {
            state.powered()?;
            let done = state.operate();
            let off = state.off;
            let content = state.contents.get_mut(&self.id).unwrap();
            match done {
                Ok(()) => content.sync(),
                Err(_) if off => {}
                Err(_) => content.dirty.clear(),
            }
            done
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.with(|state| {
            state.operate()?;
            let content = state.contents.get_mut(&self.id).unwrap();
            let length = usize::try_from(length).unwrap();
            content.now.resize(length, 0);
            content.dirty.retain(|sector| sector * SECTOR < length);
            Ok(())
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.with(|state| {
            state.powered()?;
            Ok(state.contents[&self.id].now.len() as u64)
        })
    }

    fn is_gone(&self) -> bool {
        let state = self.disk.state.lock();
        !state.off && !state.names.values().any(|id| *id == self.id)
    }
}
