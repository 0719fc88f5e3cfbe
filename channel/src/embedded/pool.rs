//! The threads on which logs and state databases are written: bounded by cores, however many Brokers there
//! are.
//!
//! # Flow
//! What writes one file is a [`Station`]. Whoever gives it work calls it. A station that is called gets a
//! thread, which takes turns with it until nothing waits. Then the thread lingers: a call only wakes it, as
//! it would wake a thread of the station's own. It goes when the station rests or ends, or when others need
//! it.
//!
//! # Guarantees
//! - At most one thread serves a station.
//! - Work that was there before a call gets a turn after it.
//! - If more stations have work than there are threads, each gets one turn and goes to the end of the line.
//!   Nobody lingers then.
//! - A station never waits for another one to get a thread.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tracing::Span;
use tracing::span::Entered;

/// Threads for each core: most of the time they wait for a disk.
const PER_CORE: usize = 16;
/// The bounds of what that makes.
const BOUNDS: (usize, usize) = (16, 128);
/// Asking reads several files of the system, and each log that is opened has an empty pool at first.
static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));
/// A thread without a station ends after so long. The last one stays.
const IDLE: Duration = Duration::from_secs(5);

/// What works when it is called.
pub(crate) trait Station: Send + Sync {
    /// Whether a thread is with it.
    fn seat(&self) -> &Seat;
    /// Does one part of what waits. `false`: nothing waited.
    fn turn(&self) -> bool;
    /// How long a thread stays for more; `None`: until the seat is stirred. A wait without an end costs less.
    fn patience(&self) -> Option<Duration> {
        None
    }
    /// What is left to be done before the thread goes.
    fn pause(&self) {}
    /// A turn panicked: nothing may wait for it any more.
    fn broken(&self);
}

/// A station's place for a thread.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Log lines of the thread stand in it.
    span: Span,
    /// One of the constants below. A call is a single swap, as every append makes one.
    state: AtomicU8,
    /// Who sits there.
    sitter: Mutex<Option<Thread>>,
}

/// No thread is there, and none is to come.
const EMPTY: u8 = 0;
/// A thread is there, and has looked for work since the last call.
const SERVED: u8 = 1;
/// A thread is there or is to come, and will look for work.
const CALLED: u8 = 2;
/// A thread is there and sleeps until it is called.
const LINGERS: u8 = 3;

/// The threads. Cheap to clone: clones are the same pool. They end with the last one.
#[derive(Clone, Debug)]
pub struct Pool {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    desk: Mutex<Desk>,
    /// Something is in the line.
    arrived: Condvar,
    /// Stations are in the line although every thread is taken.
    short: AtomicBool,
    most: usize,
}

#[derive(Default)]
struct Desk {
    line: VecDeque<Arc<dyn Station>>,
    /// Who is served, by the number of the thread.
    served: HashMap<u64, Arc<dyn Station>>,
    threads: usize,
    /// Threads that wait for the line.
    idle: usize,
    /// The number of the next thread.
    next: u64,
    closed: bool,
}

// === impl Pool ===

impl Default for Pool {
    fn default() -> Self {
        Self::of((*CORES * PER_CORE).clamp(BOUNDS.0, BOUNDS.1))
    }
}

impl Pool {
    fn of(most: usize) -> Self {
        let inner = Arc::new(Inner {
            desk: Mutex::default(),
            arrived: Condvar::new(),
            short: AtomicBool::new(false),
            most,
        });
        Self {
            owner: Arc::new(Owner { inner }),
        }
    }

    /// Starts the first thread, which stays: work never finds none.
    pub(crate) fn begin(&self) -> io::Result<()> {
        let inner = &self.owner.inner;
        let mut desk = inner.desk.lock();
        if desk.threads > 0 {
            return Ok(());
        }
        inner.spawn(&mut desk)
    }

    /// Says that there is work for the station. Never blocks for long.
    pub(crate) fn call<S: Station + 'static>(&self, station: &Arc<S>) {
        let seat = station.seat();
        match seat.state.swap(CALLED, Ordering::SeqCst) {
            EMPTY => self.owner.inner.line_up(station.clone()),
            LINGERS => seat.wake(),
            _ => {}
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let desk = &mut *self.inner.desk.lock();
        desk.closed = true;
        self.inner.short.store(true, Ordering::SeqCst);
        for station in desk.served.values() {
            station.seat().stir();
        }
        self.inner.arrived.notify_all();
    }
}

// === impl Inner ===

impl Inner {
    /// Gets the station a thread: an idle one, a new one, one that lingers elsewhere, or the first that is
    /// free.
    fn line_up(self: &Arc<Self>, station: Arc<dyn Station>) {
        let mut desk = self.desk.lock();
        desk.line.push_back(station);
        if desk.line.len() <= desk.idle {
            self.arrived.notify_one();
            return;
        }
        if desk.threads < self.most {
            match self.spawn(&mut desk) {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, threads = desk.threads, "no thread for writing could be started; others take turns");
                }
            }
        }
        self.short.store(true, Ordering::SeqCst);
        let mut served = desk.served.values();
        served.find(|station| station.seat().stir());
    }

    fn spawn(self: &Arc<Self>, desk: &mut Desk) -> io::Result<()> {
        let (number, inner) = (desk.next, self.clone());
        thread::Builder::new()
            .name("channel-files".to_owned())
            .spawn(move || inner.run(number))?;
        desk.next += 1;
        desk.threads += 1;
        Ok(())
    }

    /// A thread's life.
    fn run(&self, number: u64) {
        let mut desk = self.desk.lock();
        loop {
            if let Some(station) = desk.line.pop_front() {
                if desk.line.is_empty() && !desk.closed {
                    self.short.store(false, Ordering::SeqCst);
                }
                desk.served.insert(number, station.clone());
                drop(desk);
                let has_more = self.serve(&*station);
                desk = self.desk.lock();
                let served = desk.served.remove(&number);
                if has_more {
                    desk.line.push_back(station);
                } else {
                    // The last one of a station may hold the last handle of the pool, whose end locks the
                    // desk.
                    MutexGuard::unlocked(&mut desk, || drop((served, station)));
                }
                continue;
            }
            if desk.closed {
                break;
            }
            desk.idle += 1;
            let waited = self.arrived.wait_for(&mut desk, IDLE);
            desk.idle -= 1;
            if waited.timed_out() && desk.line.is_empty() && desk.threads > 1 {
                break;
            }
        }
        desk.threads -= 1;
    }

    /// Serves a station until nothing waits, or others need the thread; then it says whether there is more to
    /// do.
    fn serve(&self, station: &dyn Station) -> bool {
        let _span = station.seat().enter();
        let served = catch_unwind(AssertUnwindSafe(|| self.serve_until(station)));
        // Its seat stays taken: it gets no thread again.
        served.unwrap_or_else(|_| {
            station.broken();
            false
        })
    }

    fn serve_until(&self, station: &dyn Station) -> bool {
        let seat = station.seat();
        *seat.sitter.lock() = Some(thread::current());
        loop {
            seat.state.swap(SERVED, Ordering::SeqCst);
            while station.turn() {
                if self.short.load(Ordering::SeqCst) {
                    return true;
                }
            }
            if seat.linger(station.patience(), &self.short) {
                continue;
            }
            station.pause();
            // With what was left done it may linger on.
            if station.patience().is_none() && !self.short.load(Ordering::SeqCst) {
                continue;
            }
            if seat.move_on(SERVED, EMPTY) {
                return false;
            }
        }
    }
}

// === impl Seat ===

impl Seat {
    /// A free place in the span of the caller, which is that of the Broker whose channel is being opened.
    pub(crate) fn new() -> Self {
        Self {
            span: Span::current(),
            state: AtomicU8::new(EMPTY),
            sitter: Mutex::default(),
        }
    }

    /// For work of the station on another thread than those of the pool.
    pub(crate) fn enter(&self) -> Entered<'_> {
        self.span.enter()
    }

    /// Waits for a call, at most so long, unless others need the thread; says whether one came.
    fn linger(&self, patience: Option<Duration>, short: &AtomicBool) -> bool {
        let until = patience.map(|patience| Instant::now() + patience);
        if self.move_on(SERVED, LINGERS) {
            // Who makes the threads short looks for those that linger afterwards.
            while self.state.load(Ordering::SeqCst) == LINGERS && !short.load(Ordering::SeqCst) {
                match until.map(|until| until.saturating_duration_since(Instant::now())) {
                    None => thread::park(),
                    Some(Duration::ZERO) => break,
                    Some(left) => thread::park_timeout(left),
                }
            }
        }
        self.state.swap(SERVED, Ordering::SeqCst) == CALLED
    }

    /// Makes the thread that is there look again whether it should stay; says whether it lingered. Does
    /// nothing if none is there.
    pub(crate) fn stir(&self) -> bool {
        let stirred = |state| matches!(state, SERVED | LINGERS).then_some(CALLED);
        let was = self
            .state
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, stirred);
        let lingered = was == Ok(LINGERS);
        if lingered {
            self.wake();
        }
        lingered
    }

    fn wake(&self) {
        if let Some(sitter) = &*self.sitter.lock() {
            sitter.unpark();
        }
    }

    fn move_on(&self, from: u8, to: u8) -> bool {
        let moved = self
            .state
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
        moved.is_ok()
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("line", &self.line.len())
            .field("threads", &self.threads)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;

    use super::*;

    /// Does what it is given, one number a turn.
    struct Counted {
        seat: Seat,
        given: Mutex<VecDeque<u32>>,
        done: mpsc::Sender<(usize, u32)>,
        name: usize,
        inside: AtomicUsize,
        has_ended: AtomicBool,
        /// As a log has the pool in its options.
        pool: Mutex<Option<Pool>>,
    }

    impl Station for Counted {
        fn seat(&self) -> &Seat {
            &self.seat
        }

        fn patience(&self) -> Option<Duration> {
            self.has_ended.load(Ordering::SeqCst).then_some(Duration::ZERO)
        }

        fn turn(&self) -> bool {
            assert_eq!(
                self.inside.fetch_add(1, Ordering::SeqCst),
                0,
                "one thread at a time"
            );
            let next = self.given.lock().pop_front();
            let was_one = next.is_some();
            if let Some(next) = next {
                assert!(next != u32::MAX, "asked to panic");
                self.done.send((self.name, next)).unwrap();
            }
            self.inside.fetch_sub(1, Ordering::SeqCst);
            was_one
        }

        fn broken(&self) {
            self.done.send((self.name, u32::MAX)).unwrap();
        }
    }

    fn stations(count: usize) -> (Vec<Arc<Counted>>, mpsc::Receiver<(usize, u32)>) {
        let (done, all) = mpsc::channel();
        let station = |name| {
            Arc::new(Counted {
                seat: Seat::new(),
                given: Mutex::default(),
                done: done.clone(),
                name,
                inside: AtomicUsize::new(0),
                has_ended: AtomicBool::new(false),
                pool: Mutex::default(),
            })
        };
        ((0..count).map(station).collect(), all)
    }

    fn give(pool: &Pool, station: &Arc<Counted>, numbers: impl IntoIterator<Item = u32>) {
        station.given.lock().extend(numbers);
        pool.call(station);
    }

    fn threads(pool: &Pool) -> usize {
        pool.owner.inner.desk.lock().threads
    }

    #[test]
    fn every_call_gets_a_turn_and_each_station_keeps_its_order() {
        let pool = Pool::of(3);
        let (stations, all) = stations(20);
        thread::scope(|scope| {
            for station in &stations {
                let pool = pool.clone();
                scope.spawn(move || {
                    for number in 0..200 {
                        give(&pool, station, [number]);
                        if number % 17 == 0 {
                            thread::yield_now();
                        }
                    }
                });
            }
        });
        let mut next = [0; 20];
        for (name, number) in all.iter().take(20 * 200) {
            assert_eq!(next[name], number, "station {name}");
            next[name] += 1;
        }
        assert!(threads(&pool) <= 3, "{}", threads(&pool));
    }

    #[test]
    fn a_station_with_much_to_do_lets_the_others_take_their_turns() {
        let pool = Pool::of(1);
        let (stations, all) = stations(3);
        // Both others are in the line before its first turn has ended.
        let held = stations[0].given.lock();
        pool.call(&stations[0]);
        for other in &stations[1..] {
            give(&pool, other, 0..3);
        }
        let mut held = held;
        held.extend(0..1_000);
        drop(held);
        let first: Vec<_> = all.iter().take(9).collect();
        let of = |name| first.iter().filter(|(by, _)| *by == name).count();
        assert_eq!([of(0), of(1), of(2)], [3, 3, 3], "{first:?}");
        assert_eq!(all.iter().take(997).filter(|(by, _)| *by == 0).count(), 997);
    }

    #[test]
    fn whoever_lingers_leaves_when_others_need_the_thread() {
        let pool = Pool::of(1);
        let (stations, all) = stations(200);
        for (name, station) in stations.iter().enumerate() {
            give(&pool, station, [1]);
            assert_eq!(all.recv_timeout(Duration::from_secs(60)), Ok((name, 1)));
        }
        assert_eq!(threads(&pool), 1);
    }

    #[test]
    fn a_thread_that_is_stirred_goes_where_nobody_wants_it_and_comes_back_at_a_call() {
        let pool = Pool::of(1);
        let (stations, all) = stations(1);
        for number in 0..200 {
            give(&pool, &stations[0], [number]);
            assert_eq!(all.recv_timeout(Duration::from_secs(60)), Ok((0, number)));
            stations[0].has_ended.store(number % 2 == 1, Ordering::SeqCst);
            stations[0].seat.stir();
        }
        let until = Instant::now() + Duration::from_secs(60);
        while !pool.owner.inner.desk.lock().served.is_empty() {
            assert!(Instant::now() < until, "it stays");
            thread::yield_now();
        }
    }

    #[test]
    fn a_station_that_panics_is_told_and_costs_no_other_its_thread() {
        let pool = Pool::of(1);
        let (stations, all) = stations(2);
        give(&pool, &stations[0], [1, u32::MAX, 2]);
        assert_eq!(
            [all.recv().unwrap(), all.recv().unwrap()],
            [(0, 1), (0, u32::MAX)]
        );
        give(&pool, &stations[1], [5]);
        assert_eq!(all.recv().unwrap(), (1, 5));
        assert_eq!(stations[0].given.lock().len(), 1, "it got no turn again");
    }

    #[test]
    fn the_threads_end_with_the_pool() {
        for last_in_a_station in [false, true] {
            let pool = Pool::of(4);
            pool.begin().unwrap();
            // One thread waits for the line, the other one lingers.
            let (stations, all) = stations(1);
            give(&pool, &stations[0], [1]);
            assert_eq!(all.recv_timeout(Duration::from_secs(60)), Ok((0, 1)));
            let inner = Arc::downgrade(&pool.owner.inner);
            if last_in_a_station {
                *stations[0].pool.lock() = Some(pool.clone());
                stations[0].has_ended.store(true, Ordering::SeqCst);
                let station = stations.into_iter().next().unwrap();
                station.seat.stir();
                drop(station);
            }
            drop(pool);
            let until = Instant::now() + Duration::from_secs(30);
            while inner.upgrade().is_some() {
                assert!(Instant::now() < until, "a thread holds it");
                thread::yield_now();
            }
        }
    }
}
