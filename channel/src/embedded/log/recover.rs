//! Opening: which segments there are, where the last one ends, and what a crash or damage left in it.
//!
//! Only the last segment is read whole. Of the others the header and the first frame's time are enough: a
//! segment's header also says where the one before it ended.

use std::io;
use std::sync::Arc;

use millrace_event::{Clock, Timestamp};

use super::active::Active;
use super::damage;
use super::files::{Files, LogFile};
use super::frame;
use super::header::{self, Decoded, HEAD_BYTES, Head};
use super::ids::{self, Ids};
use super::metrics::LogMetrics;
use super::segment::{Bounds, Segment};
use super::survey::Survey;
use super::torn::torn_at;
use super::walk::{Damage, Extent};

use super::{Corruption, LogError, LogOptions, Recovery, io_error};

/// A log's folder after recovery.
#[derive(Debug)]
pub(super) struct Recovered {
    /// All segments in order; the last is `active`'s.
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) active: Active,
    /// Where the events end; at most the next offset.
    pub(super) end: u64,
    pub(super) next: u64,
    pub(super) recovery: Recovery,
}

/// A segment's file as it was found.
#[derive(Debug)]
struct SegmentFile {
    name: String,
    base: u64,
    head: Option<Head>,
    bytes: u64,
    first_time: Option<Timestamp>,
}

/// Recovers the folder.
pub(super) fn recover(
    files: &dyn Files,
    options: &LogOptions,
    metrics: &LogMetrics,
    at_least: u64,
) -> Result<Recovered, LogError> {
    let names = files
        .list()
        .map_err(|error| io_error("list", "the folder", &error))?;
    let mut found = find_segments(files, &names)?;
    drop_unborn(files, &mut found)?;
    let mut recovery = Recovery::default();
    for headless in found.iter().filter(|found| found.head.is_none()) {
        recovery.corrupt.push(headless.report(files, metrics)?);
    }
    let Some(last) = found.pop() else {
        return begin(files, &options.clock, Vec::new(), recovery, at_least, at_least);
    };
    let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(found.len() + 1);
    for (index, this) in found.iter().enumerate() {
        segments.push(Arc::new(
            this.sealed_before(found.get(index + 1).unwrap_or(&last)),
        ));
    }
    take_indexes(files, &names, &segments);
    let mut active = open_last(files, options.ended_cleanly, metrics, &last, &mut recovery)?;
    let end = active.segment.end();
    if at_least > end {
        recovery.skipped = Some((end, at_least));
    }
    // A segment whose frames are not in one run, or whose header is lost, is not written on.
    if at_least > end || active.segment.marker().is_none() {
        active.make_sure(files)?;
        active.segment.seal();
        if active.segment.is_empty() {
            remove(files, &active.segment.name)?;
        } else {
            segments.push(active.segment);
        }
        return begin(files, &options.clock, segments, recovery, end, at_least.max(end));
    }
    if !active.is_trusted() {
        let synced = files.sync_dir();
        synced.map_err(|error| io_error("sync", "the folder", &error))?;
    }
    segments.push(Arc::clone(&active.segment));
    Ok(Recovered {
        segments,
        active,
        end,
        next: end,
        recovery,
    })
}

/// Goes on with a new segment.
fn begin(
    files: &dyn Files,
    clock: &Clock,
    mut segments: Vec<Arc<Segment>>,
    recovery: Recovery,
    end: u64,
    next: u64,
) -> Result<Recovered, LogError> {
    let head = Head {
        marker: fastrand::u32(..),
        base: next,
        previous_end: end,
        created: clock.now(),
    };
    let active = Active::create(files, &head)?;
    segments.push(Arc::clone(&active.segment));
    Ok(Recovered {
        segments,
        active,
        end,
        next,
        recovery,
    })
}

fn find_segments(files: &dyn Files, names: &[String]) -> Result<Vec<SegmentFile>, LogError> {
    let mut found = Vec::new();
    for name in names {
        if let Some(base) = header::base_of(name) {
            found.push(SegmentFile::read(files, name.clone(), base)?);
        }
    }
    found.sort_unstable_by_key(|found| found.base);
    Ok(found)
}

/// Notes which segments have an index that is theirs and of this form, and removes those of segments that are
/// gone.
fn take_indexes(files: &dyn Files, names: &[String], segments: &[Arc<Segment>]) {
    for name in names {
        let Some(base) = ids::base_of(name) else { continue };
        match segments.binary_search_by_key(&base, |segment| segment.base) {
            Ok(index) => {
                let segment = &segments[index];
                let is_good = |file: Arc<dyn LogFile>| matches!(Ids::open(&*file, segment), Ok(Some(_)));
                if files.open(name).is_ok_and(is_good) {
                    segment.set_indexed();
                }
            }
            // It does no harm where it cannot be removed.
            Err(_) => drop(files.remove(name)),
        }
    }
}

/// A segment is given its header before its first frame: a last file without one was never used.
fn drop_unborn(files: &dyn Files, found: &mut Vec<SegmentFile>) -> Result<(), LogError> {
    while let Some(last) = found.pop_if(|last| last.head.is_none() && last.bytes <= HEAD_BYTES as u64) {
        tracing::info!(
            file = last.name,
            "a segment that was being created when the process ended is removed"
        );
        remove(files, &last.name)?;
    }
    Ok(())
}

fn remove(files: &dyn Files, name: &str) -> Result<(), LogError> {
    files
        .remove(name)
        .map_err(|error| io_error("remove", name, &error))
}

// === impl SegmentFile ===

impl SegmentFile {
    fn read(files: &dyn Files, name: String, base: u64) -> Result<Self, LogError> {
        let (start, bytes) = read_start(files, &name).map_err(|error| io_error("read", &name, &error))?;
        let head = match Head::decode(&start) {
            Decoded::Good(head) if head.base == base => Some(head),
            Decoded::Later(version) => return Err(LogError::Format { file: name, version }),
            Decoded::Good(_) | Decoded::Damaged => None,
        };
        let first = start
            .get(HEAD_BYTES..)
            .and_then(|bytes| frame::parse_header(bytes).ok());
        let first_time = first
            .filter(|(frame, _)| frame.offset == base && head.is_none_or(|head| head.marker == frame.marker))
            .map(|(frame, _)| frame.time);
        Ok(Self {
            name,
            base,
            head,
            bytes,
            first_time,
        })
    }

    /// When it began, as far as can be told.
    fn began(&self) -> Timestamp {
        self.first_time
            .or(self.head.map(|head| head.created))
            .unwrap_or_default()
    }

    /// Both copies of its header are damaged. Its frames are found all the same; the file is copied whole, in
    /// case they are not.
    fn report(&self, files: &dyn Files, metrics: &LogMetrics) -> Result<Corruption, LogError> {
        let file = files
            .open(&self.name)
            .map_err(|error| io_error("open", &self.name, &error))?;
        let damage = Damage {
            at: 0,
            bytes: self.bytes,
            from: self.base,
            to: self.base,
        };
        damage::set_aside(files, metrics, &self.name, &*file, &damage);
        Ok(corruption(&self.name, &damage))
    }

    /// As a sealed segment that ends where `next` says.
    fn sealed_before(&self, next: &Self) -> Segment {
        let end = next
            .head
            .map_or(next.base, |head| head.previous_end.clamp(self.base, next.base));
        Segment::found(Bounds {
            base: self.base,
            marker: self.head.map(|head| head.marker),
            end,
            bytes: self.bytes,
            first_time: self.began(),
            last_time: next
                .head
                .map_or(next.began(), |head| head.created)
                .max(self.began()),
        })
    }
}

/// A file's header with that of its first frame, as far as it has them, and its length.
fn read_start(files: &dyn Files, name: &str) -> io::Result<(Vec<u8>, u64)> {
    let file = files.open(name)?;
    let mut start = vec![0; HEAD_BYTES + frame::HEADER_BYTES];
    let read = file.read_at(&mut start, 0)?;
    start.truncate(read);
    Ok((start, file.length()?))
}

/// Reads the last segment, cuts a torn tail, sets damage aside, and syncs it: what it holds may never have
/// been synced, unless it is whole and the last run `ended_cleanly`.
fn open_last(
    files: &dyn Files,
    ended_cleanly: bool,
    metrics: &LogMetrics,
    last: &SegmentFile,
    recovery: &mut Recovery,
) -> Result<Active, LogError> {
    let fault = |operation| move |error: io::Error| io_error(operation, &last.name, &error);
    let file = files.open(&last.name).map_err(fault("open"))?;
    let mut extent = Extent {
        marker: last.head.map(|head| head.marker),
        bytes: last.bytes,
        until: None,
    };
    let mut survey = Survey::of(&*file, extent, last.base).map_err(fault("read"))?;
    if let Some(torn) = torn_at(&*file, &survey).map_err(fault("read"))? {
        extent.bytes = torn;
        survey = Survey::of(&*file, extent, last.base).map_err(fault("read"))?;
    }
    // Without its header nothing of it is cut: it is not written on either.
    if last.head.is_some() && survey.end_byte < last.bytes {
        let torn_bytes = last.bytes - survey.end_byte;
        tracing::warn!(
            file = last.name,
            at = survey.end_byte,
            torn_bytes,
            "cut a torn tail that a crash left in the log"
        );
        metrics.torn_bytes.inc_by(torn_bytes);
        recovery.torn_bytes += torn_bytes;
        file.set_len(survey.end_byte).map_err(fault("cut"))?;
    }
    // Only what ends with the mark, or holds nothing, is known to have been synced.
    let is_known = survey.marked || survey.end == last.base;
    let is_trusted = ended_cleanly && is_known && survey.end_byte == last.bytes;
    if !is_trusted {
        file.sync_data().map_err(fault("sync"))?;
    }
    let segment = last_segment(last, &survey, &file);
    for damage in &survey.damages {
        if segment.first_sight(damage) {
            damage::set_aside(files, metrics, &last.name, &*file, damage);
        }
        recovery.corrupt.push(corruption(&last.name, damage));
    }
    let active = Active::found(Arc::new(segment), file, survey.end_byte, survey.marked);
    Ok(if is_trusted { active.trusted() } else { active })
}

fn last_segment(last: &SegmentFile, survey: &Survey, file: &Arc<dyn LogFile>) -> Segment {
    let (first_time, last_time) = survey.times.unwrap_or((last.began(), last.began()));
    let bounds = Bounds {
        base: last.base,
        marker: last.head.map(|head| head.marker),
        end: survey.end,
        bytes: survey.end_byte,
        first_time,
        last_time,
    };
    Segment::written(bounds, survey.entries.clone(), file)
}

fn corruption(file: &str, damage: &Damage) -> Corruption {
    Corruption {
        file: file.to_owned(),
        at_byte: damage.at,
        from_offset: damage.from,
        to_offset: damage.to,
    }
}
