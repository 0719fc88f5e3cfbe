//! Looking events up by id: found wherever they are, by an index that is made anew when it is not there or
//! damaged.

use super::super::ids;
use super::*;

/// Ten ids twice, one after the other and in batches, over several segments.
async fn filled(disk: &Disk) -> Log {
    let (log, _) = open(disk, &options());
    for round in 0..2 {
        for id in 0..8 {
            log.append(vec![event(id, 700)]).await.unwrap();
        }
        log.append(vec![event(8, 10), event(9, 10), event(8, 10)])
            .await
            .unwrap();
        assert_eq!(log.head(), 11 * (round + 1));
    }
    assert!(log.segments().len() > 3);
    log
}

fn indexes(disk: &Disk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.retain(|name| name.ends_with(".ids"));
    names
}

/// How many segments were indexed.
fn index_all(log: &Log) -> usize {
    let made = std::iter::from_fn(|| log.index_next().unwrap().then_some(()));
    made.count()
}

#[track_caller]
fn assert_all_are_found(log: &Log) {
    for id in 0..8_u64 {
        assert_eq!(log.find(&id.to_string(), None, 10), Ok(vec![id, id + 11]), "{id}");
    }
    assert_eq!(log.find("8", Some("/log"), 10), Ok(vec![8, 10, 19, 21]));
    assert_eq!(log.find("8", None, 3), Ok(vec![10, 19, 21]), "the newest");
    assert_eq!(log.find("9", Some("/other"), 10), Ok(vec![]));
    assert_eq!(log.find("10", None, 10), Ok(vec![]));
}

#[tokio::test]
async fn an_event_is_found_by_its_id_with_and_without_an_index() {
    let disk = Disk::new(1);
    let log = filled(&disk).await;
    let sealed = log.segments().len() - 1;
    assert_eq!(index_all(&log), sealed);
    assert_eq!(index_all(&log), 0, "once");
    assert_eq!(indexes(&disk).len(), sealed);
    assert_all_are_found(&log);
    for name in indexes(&disk) {
        disk.remove(&name).unwrap();
    }
    assert_all_are_found(&log);
    // Segments without the wanted event were indexed too: that could not be known before.
    assert_eq!(indexes(&disk).len(), sealed);
}

#[tokio::test]
async fn an_index_is_the_same_whether_its_ids_were_collected_or_read() {
    let bytes = |disk: &Disk| -> Vec<Vec<u8>> {
        let content = |name: &String| {
            let file = disk.open(name).unwrap();
            let mut bytes = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
            file.read_at(&mut bytes, 0).unwrap();
            bytes
        };
        indexes(disk).iter().map(content).collect()
    };
    let disk = Disk::new(1);
    let log = filled(&disk).await;
    assert_all_are_found(&log);
    assert!(log.may_index_without_reading());
    index_all(&log);
    assert!(!log.may_index_without_reading());
    let collected = bytes(&disk);
    for name in indexes(&disk) {
        disk.remove(&name).unwrap();
    }
    assert_all_are_found(&log);
    assert_eq!(bytes(&disk), collected);
}

#[tokio::test]
async fn an_event_among_many_of_its_id_is_found_by_its_source() {
    let disk = Disk::new(1);
    let options = LogOptions {
        segment_bytes: 16 << 20,
        ..options()
    };
    let (log, _) = open(&disk, &options);
    let of = |source| event(7, 0).edit().attribute("source", source).build().unwrap();
    log.append(vec![of("/other")]).await.unwrap();
    assert_eq!(log.find("7", Some("/other"), 10), Ok(vec![0]));
    for _ in 0..2_100 {
        log.append(vec![event(7, 0)]).await.unwrap();
    }
    for batch in [vec!["/a", "/b"], vec!["/a"], vec!["/c"]] {
        log.append(batch.into_iter().map(of).collect()).await.unwrap();
    }
    // Others before and behind it in the order of the index.
    log.append((100..400).map(|id| event(id, 0)).collect())
        .await
        .unwrap();
    assert_eq!(log.segments().len(), 1);
    let assert_found = || {
        assert_eq!(log.find("7", Some("/other"), 10), Ok(vec![0]));
        assert_eq!(log.find("7", Some("/a"), 10), Ok(vec![2_101, 2_103]));
        assert_eq!(log.find("7", Some("/log"), 3), Ok(vec![2_098, 2_099, 2_100]));
        assert_eq!(log.find("7", None, 5), Ok((2_100..2_105).collect()));
    };
    assert_found();
    log.roll().await.unwrap();
    log.append(vec![event(8, 0)]).await.unwrap();
    assert_eq!(log.segments().len(), 2);
    assert_found();
    assert_eq!(index_all(&log), 1);
    assert_found();
    // Made by the look-up, of what it reads, and then read itself.
    disk.remove(&indexes(&disk)[0]).unwrap();
    assert_found();
    assert_found();
}

#[tokio::test]
async fn an_index_of_another_form_is_made_anew_by_the_upkeep() {
    let disk = Disk::new(1);
    let log = filled(&disk).await;
    index_all(&log);
    log.close().await.unwrap();
    drop(log);
    let file = disk.open(&indexes(&disk)[1]).unwrap();
    let mut good = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
    file.read_at(&mut good, 0).unwrap();
    let mut old = good[..64].to_vec();
    old[8] = 1;
    let checksum = crc32c::crc32c(&old[..60]);
    old[60..].copy_from_slice(&checksum.to_le_bytes());
    file.write_at(&old, 0).unwrap();
    let (log, _) = open(&disk, &options());
    assert_eq!(index_all(&log), 1);
    assert_all_are_found(&log);
    let mut mended = vec![0; good.len()];
    disk.open(&indexes(&disk)[1])
        .unwrap()
        .read_at(&mut mended, 0)
        .unwrap();
    assert_eq!(mended, good);
}

#[tokio::test]
async fn ids_that_are_held_in_memory_are_bounded() {
    let disk = Disk::new(1);
    let log = filled(&disk).await;
    let held = |log: &Log| -> usize {
        let segments = log.inner.shared.segments();
        segments.iter().map(|segment| segment.collected()).sum()
    };
    assert_eq!(held(&log), 22);
    let written = log
        .inner
        .shared
        .segments()
        .last()
        .map_or(0, |segment| segment.collected());
    log.inner.shared.bound_collected(6);
    assert!((1..=6 + written).contains(&held(&log)), "{}", held(&log));
    assert_all_are_found(&log);
    index_all(&log);
    assert_eq!(held(&log), written, "only of the one that is written");
    let segment = log.inner.shared.segments().pop().unwrap();
    let many = (0..1 << 19).map(|_| (ids::Candidate { offset: 0, at: 0 }, 7));
    segment.collect(many);
    assert_eq!(held(&log), 0);
    assert_all_are_found(&log);
}

#[tokio::test]
async fn an_index_damaged_in_any_bit_is_made_anew() {
    let disk = Disk::new(1);
    let log = filled(&disk).await;
    index_all(&log);
    let name = indexes(&disk).remove(0);
    let file = disk.open(&name).unwrap();
    let mut good = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
    file.read_at(&mut good, 0).unwrap();
    let first_block = 64..64 + 4 * 12;
    for at in (0..64).chain(first_block).chain([4_155, 4_159]) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        disk.open(&name).unwrap().write_at(&bad, 0).unwrap();
        assert_all_are_found(&log);
        let mut mended = vec![0; good.len()];
        disk.open(&name).unwrap().read_at(&mut mended, 0).unwrap();
        assert_eq!(mended, good, "byte {at}");
    }
    disk.open(&name).unwrap().set_len(100).unwrap();
    assert_all_are_found(&log);
}

#[tokio::test]
async fn an_index_goes_with_its_segment_and_is_found_again_after_opening() {
    let disk = Disk::new(1);
    let log = filled(&disk).await;
    index_all(&log);
    let made = indexes(&disk);
    let second = log.segments()[1].base;
    log.delete_before(second).unwrap();
    assert_eq!(indexes(&disk), made[1..]);
    assert_eq!(log.find("0", None, 10), Ok(vec![11]));
    log.close().await.unwrap();
    drop(log);
    // A crash between the two removals leaves an index without a segment.
    disk.create(&ids::file_name(0)).unwrap();
    let (log, _) = open(&disk, &options());
    assert_eq!(indexes(&disk), made[1..]);
    assert_eq!(index_all(&log), 0);
    assert_eq!(log.find("0", None, 10), Ok(vec![11]));
}

#[tokio::test]
async fn damage_in_a_segment_costs_the_look_up_only_what_it_holds() {
    let disk = Disk::new(1);
    let log = filled(&disk).await;
    index_all(&log);
    let name = format!("{:020}.log", log.segments()[0].base);
    disk.open(&name).unwrap().write_at(&[0xff; 40], 300).unwrap();
    assert_eq!(log.find("0", None, 10), Ok(vec![11]));
    assert_eq!(log.find("1", None, 10), Ok(vec![1, 12]));
}
