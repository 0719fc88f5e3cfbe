//! Files that are removed, replaced or moved under the log: no event is acknowledged into them, and earlier
//! ones are still read.

use std::path::{Path, PathBuf};

use super::*;

fn on(folder: &Path) -> Log {
    let files = Folder::open(folder).unwrap();
    Log::open(Arc::new(files), options(), 0).unwrap().0
}

/// The segment that is being written.
fn newest(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "log"))
        .max()
        .unwrap()
}

async fn append(log: &Log, id: usize) -> Result<u64, LogError> {
    log.append(vec![event(id, 300)]).await
}

#[tokio::test]
async fn nothing_is_acknowledged_into_a_file_that_is_gone_and_a_new_one_is_begun() {
    let ways: [fn(&Path); 3] = [
        |file| std::fs::remove_file(file).unwrap(),
        |file| std::fs::rename(file, file.with_extension("aside")).unwrap(),
        // A copy of the same bytes is another file.
        |file| {
            let bytes = std::fs::read(file).unwrap();
            std::fs::remove_file(file).unwrap();
            std::fs::write(file, bytes).unwrap();
        },
    ];
    for (number, lose) in ways.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let log = on(folder.path());
        for id in 0..3 {
            append(&log, id).await.unwrap();
        }
        let reads_on = log.reader(0);
        lose(&newest(folder.path()));
        let refused = append(&log, 90).await;
        assert!(
            matches!(refused, Err(LogError::Gone { .. })),
            "way {number}: {refused:?}"
        );
        assert!(log.fault().is_some());
        let at = append(&log, 4).await.unwrap();
        // Events acknowledged before are still there to be delivered; refused ones are not.
        let (records, _) = read_all(&log, 0).await;
        assert_eq!(records, [(0, 0), (1, 1), (2, 2), (at, 4)], "way {number}");
        log.look_over().await.unwrap();
        assert_eq!(log.fault(), None);
        drop((log, reads_on));
        let (records, _) = read_all(&on(folder.path()), at).await;
        assert_eq!(records, [(at, 4)], "way {number}");
    }
}

#[tokio::test]
async fn a_segment_that_is_gone_is_noticed_without_an_append() {
    let folder = tempfile::tempdir().unwrap();
    let log = on(folder.path());
    for used in [false, true] {
        if used {
            append(&log, 0).await.unwrap();
        }
        std::fs::remove_file(newest(folder.path())).unwrap();
        log.look_over().await.unwrap();
        assert!(newest(folder.path()).exists(), "a new one is begun");
        let bases: Vec<_> = log.segments().iter().map(|segment| segment.base).collect();
        assert!(bases.is_sorted_by(|a, b| a < b), "{bases:?}");
    }
    append(&log, 1).await.unwrap();
    assert_eq!(read_all(&log, 0).await.0.len(), 2);
}

#[tokio::test]
async fn a_folder_that_was_moved_takes_nothing_until_it_is_back_whatever_stands_in_its_place() {
    let temp = tempfile::tempdir().unwrap();
    let (folder, away) = (temp.path().join("log"), temp.path().join("away"));
    std::fs::create_dir(&folder).unwrap();
    let log = on(&folder);
    append(&log, 0).await.unwrap();
    std::fs::rename(&folder, &away).unwrap();
    for replaced in [false, true] {
        if replaced {
            std::fs::create_dir(&folder).unwrap();
        }
        assert!(append(&log, 1).await.is_err());
        log.look_over().await.unwrap_err();
        let fault = log.fault().unwrap();
        assert!(fault.contains("moved, removed or replaced"), "{fault}");
    }
    assert_eq!(
        std::fs::read_dir(&folder).unwrap().count(),
        0,
        "nothing is written into another folder"
    );
    std::fs::remove_dir(&folder).unwrap();
    std::fs::rename(&away, &folder).unwrap();
    log.look_over().await.unwrap();
    assert_eq!(log.fault(), None);
    let at = append(&log, 2).await.unwrap();
    assert_eq!(read_all(&log, 0).await.0, [(0, 0), (at, 2)]);
}

#[tokio::test]
async fn a_sealed_segment_that_is_gone_costs_its_own_events_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(
        Arc::new(Folder::open(folder.path()).unwrap()),
        LogOptions {
            tail_bytes: 0,
            ..options()
        },
        0,
    )
    .unwrap()
    .0;
    for id in 0..40 {
        append(&log, id).await.unwrap();
    }
    let lost = log.segments()[1].clone();
    std::fs::remove_file(folder.path().join(super::super::header::file_name(lost.base))).unwrap();
    let (records, gaps) = read_all(&log, 0).await;
    let expected: Vec<_> = (0..40u64)
        .filter(|at| !(lost.base..lost.end).contains(at))
        .collect();
    assert_eq!(records.iter().map(|(at, _)| *at).collect::<Vec<_>>(), expected);
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].reason, GapReason::Corrupt);
    assert!(log.get(lost.base).unwrap().is_none());
    assert_eq!(log.metrics().corrupt_frames.get(), 1, "said once");
}
