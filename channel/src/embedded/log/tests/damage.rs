//! Damage costs the frames that it touches and nothing else, and is told from what a crash leaves.

use proptest::prelude::*;

use super::*;

const FIRST: &str = "00000000000000000000.log";

/// A log of `events` single appends of different sizes, in one segment or several, closed or not.
async fn written(events: usize, segment_bytes: u64, closed: bool) -> Disk {
    let disk = Disk::new(1);
    let (log, _) = open(
        &disk,
        &LogOptions {
            segment_bytes,
            ..options()
        },
    );
    for id in 0..events {
        log.append(vec![event(id, id * 37 % 400)]).await.unwrap();
    }
    if !closed {
        // As after a kill: without the mark of a clean end.
        disk.set_fault(super::super::simulated::DiskFault::CutAt(disk.operations()));
        drop(log);
        disk.revive();
    }
    disk
}

/// Where the frames of a segment begin, by the parser itself.
fn frames_of(bytes: &[u8]) -> Vec<(usize, frame::Frame)> {
    let mut at = 128;
    let mut frames = Vec::new();
    while let Ok(frame) = frame::parse(&bytes[at..], None) {
        frames.push((at, frame));
        at += frame.length;
    }
    frames
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

#[tokio::test]
async fn a_damaged_frame_in_the_last_segment_is_set_aside_and_the_rest_is_served() {
    let disk = written(20, 1 << 20, false).await;
    let (at, frame) = frames_of(&disk.bytes_of(FIRST))[7];
    disk.damage(FIRST, |bytes| bytes[at + 50] ^= 0x10);
    let whole = disk.bytes_of(FIRST);
    for opening in 0..2 {
        let options = LogOptions {
            segment_bytes: 1 << 20,
            tail_bytes: 0,
            ..options()
        };
        let (log, recovery) = open(&disk, &options);
        let at_byte = at as u64;
        let found = Corruption {
            file: FIRST.to_owned(),
            at_byte,
            from_offset: 7,
            to_offset: 8,
        };
        assert_eq!(recovery.corrupt, [found], "opening {opening}");
        assert_eq!(log.metrics().corrupt_frames.get(), 1);
        assert_eq!(
            disk.bytes_of(&format!("{FIRST}.corrupt-{at}")),
            whole[at..at + frame.length]
        );
        let (records, gaps) = read_all(&log, 0).await;
        assert_eq!(records.len(), 19 + opening);
        assert_eq!(
            gaps,
            [Gap {
                from: reader::position(7),
                to: reader::position(8),
                reason: GapReason::Corrupt
            }]
        );
        assert!(log.get(7).unwrap().is_none());
        assert_eq!(log.append(vec![event(77, 1)]).await, Ok(20 + opening as u64));
    }
}

#[tokio::test]
async fn damage_in_a_sealed_segment_is_found_when_it_is_read() {
    let disk = written(60, SEGMENT, true).await;
    let frames = frames_of(&disk.bytes_of(FIRST));
    let (at, frame) = frames[3];
    let last = frames.last().unwrap();
    disk.damage(FIRST, |bytes| {
        bytes[at] ^= 1;
        bytes.truncate(last.0 + 10);
    });
    let (log, recovery) = open(
        &disk,
        &LogOptions {
            tail_bytes: 0,
            ..options()
        },
    );
    assert_eq!(recovery, Recovery::default());
    for _ in 0..2 {
        let (records, gaps) = read_all(&log, 0).await;
        assert_eq!(records.len(), 58);
        let found: Vec<_> = gaps
            .iter()
            .map(|gap| (gap.from.offset, gap.to.offset, gap.reason))
            .collect();
        let (first, end) = (frame.offset, last.1.end());
        assert_eq!(
            found,
            [
                (first, first + 1, GapReason::Corrupt),
                (end - 1, end, GapReason::Corrupt)
            ]
        );
        assert_eq!(
            log.metrics().corrupt_frames.get(),
            2,
            "counted once, however often it is read"
        );
    }
    assert_eq!(
        disk.names()
            .iter()
            .filter(|name| name.contains("corrupt"))
            .count(),
        2
    );
}

#[tokio::test]
async fn damage_to_the_last_event_is_told_from_a_torn_tail_after_a_clean_end() {
    for (closed, corrupt, torn) in [(true, 1, false), (false, 0, true)] {
        let disk = written(5, 1 << 20, closed).await;
        let (at, _) = frames_of(&disk.bytes_of(FIRST))[4];
        disk.damage(FIRST, |bytes| bytes[at + 40] ^= 4);
        let (log, recovery) = open(&disk, &options());
        assert_eq!(
            (recovery.corrupt.len(), recovery.torn_bytes > 0),
            (corrupt, torn),
            "closed: {closed}"
        );
        assert_eq!(read_all(&log, 0).await.0.len(), 4);
    }
}

#[tokio::test]
async fn a_segment_without_its_header_is_read_all_the_same() {
    for (segment_bytes, events) in [(SEGMENT, 60), (1 << 20, 60)] {
        let disk = written(events, segment_bytes, true).await;
        disk.damage(FIRST, |bytes| bytes[..128].fill(0));
        let (log, recovery) = open(
            &disk,
            &LogOptions {
                tail_bytes: 0,
                ..options()
            },
        );
        assert_eq!(recovery.corrupt.len(), 1);
        assert_eq!(read_all(&log, 0).await.0.len(), events);
        assert_eq!(log.append(vec![event(events, 1)]).await, Ok(events as u64));
    }
}

#[tokio::test]
async fn a_frame_within_an_events_data_is_not_taken_for_one() {
    let disk = written(3, 1 << 20, true).await;
    // The best that a producer can do: a frame of this very format, with a marker that it has to guess.
    let mut forged = Vec::new();
    let stamp = frame::Stamp {
        marker: 1,
        offset: 5,
        time: Timestamp(0),
        synced: u32::MAX,
    };
    frame::encode(&mut forged, stamp, [event(666, 1).stored().as_ref()].into_iter());
    let (log, _) = open(&disk, &options());
    let carrier = event(3, 0).edit().data(DataForm::Bytes, &forged).build().unwrap();
    log.append(vec![carrier]).await.unwrap();
    log.append(vec![event(4, 1)]).await.unwrap();
    log.close().await.unwrap();
    let (at, _) = frames_of(&disk.bytes_of(FIRST))
        .into_iter()
        .find(|(_, frame)| frame.offset == 3 && frame.count == 1)
        .unwrap();
    disk.damage(FIRST, |bytes| bytes[at + 4] ^= 1);
    let (log, _) = open(&disk, &options());
    let ids: Vec<usize> = read_all(&log, 0).await.0.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, [0, 1, 2, 4]);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_costs_itself_only() {
    let disk = Disk::new(1);
    let (log, _) = open(&disk, &options());
    log.append((0..3).map(|id| event(id, 9)).collect()).await.unwrap();
    drop(log);
    disk.damage(FIRST, |bytes| {
        let marker = frame::u32_at(bytes, 128).unwrap();
        let stored: Vec<Bytes> = (0..3)
            .map(|id| {
                if id == 1 {
                    Bytes::from_static(b"?")
                } else {
                    event(id, 9).stored().clone()
                }
            })
            .collect();
        bytes.truncate(128);
        let stamp = frame::Stamp {
            marker,
            offset: 0,
            time: Timestamp(0),
            synced: 128,
        };
        frame::encode(bytes, stamp, stored.iter().map(AsRef::as_ref));
    });
    let (log, _) = open(&disk, &options());
    let (records, gaps) = read_all(&log, 0).await;
    assert_eq!(records, [(0, 0), (2, 2)]);
    assert_eq!(gaps[0].reason, GapReason::Corrupt);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_truncation_keeps_the_beginning(cut in any::<prop::sample::Index>(), closed in any::<bool>()) {
        block_on(async {
            let disk = written(15, 1 << 20, closed).await;
            let bytes = disk.bytes_of(FIRST);
            let cut = cut.index(bytes.len());
            let whole = frames_of(&bytes).into_iter().filter(|(at, frame)| frame.count > 0 && at + frame.length <= cut).count();
            disk.damage(FIRST, |bytes| bytes.truncate(cut));
            let (log, recovery) = open(&disk, &options());
            assert!(recovery.corrupt.is_empty(), "{recovery:?}");
            let ids: Vec<_> = read_all(&log, 0).await.0.into_iter().map(|(_, id)| id).collect();
            assert_eq!(ids, (0..whole).collect::<Vec<_>>());
            assert_eq!(log.append(vec![event(99, 1)]).await, Ok(whole as u64));
        });
    }

    #[test]
    fn any_flipped_bit_costs_one_frame_at_most(at in any::<prop::sample::Index>(), bit in 0..8_u8, several in any::<bool>(), closed in any::<bool>()) {
        block_on(async {
            let disk = written(30, if several { SEGMENT } else { 1 << 20 }, closed).await;
            let names = disk.names();
            let total: usize = names.iter().map(|name| disk.bytes_of(name).len()).sum();
            let mut at = at.index(total);
            let name = names.iter().find(|name| {
                let length = disk.bytes_of(name).len();
                if at < length { true } else { at -= length; false }
            }).unwrap();
            let hit = frames_of(&disk.bytes_of(name)).into_iter().find(|(start, frame)| (*start..start + frame.length).contains(&at));
            disk.damage(name, |bytes| bytes[at] ^= 1_u8 << bit);
            let (log, _) = open(&disk, &LogOptions { tail_bytes: 0, ..options() });
            let ids: Vec<_> = read_all(&log, 0).await.0.into_iter().map(|(_, id)| id).collect();
            let lost = hit.filter(|(_, frame)| frame.count > 0).map(|(_, frame)| usize::try_from(frame.offset).unwrap());
            assert_eq!(ids, (0..30).filter(|id| Some(*id) != lost).collect::<Vec<_>>());
            assert!(log.append(vec![event(99, 1)]).await.is_ok());
        });
    }

    #[test]
    fn anything_in_the_folder_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..2000), keep in 0..200_usize) {
        block_on(async {
            let disk = written(3, 1 << 20, true).await;
            disk.damage(FIRST, |file| {
                file.truncate(keep.min(file.len()));
                file.extend_from_slice(&bytes);
            });
            let (log, _) = open(&disk, &options());
            read_all(&log, log.oldest()).await;
            assert!(log.append(vec![event(99, 1)]).await.is_ok());
        });
    }
}
