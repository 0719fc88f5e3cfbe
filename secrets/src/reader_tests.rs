//! Tests of reading, on real files of every kind.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use parking_lot::Mutex;
use tokio::time::timeout;

use super::*;
use crate::rule::Folder;
use crate::turn::{AT_ONCE, OF_A_FOLDER};

/// A folder with documents, beside which there is more.
struct Home {
    home: tempfile::TempDir,
    reader: SecretReader,
}

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        fs::create_dir(home.path().join("docs")).expect("made");
        fs::create_dir(home.path().join("docs/data")).expect("made");
        let rule = SecretRule {
            folders: vec![Folder::OfDocument],
            data: vec![home.path().join("docs/data")],
            ..SecretRule::default()
        };
        let reader = SecretReader::new(rule);
        Self { home, reader }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn named(&self, path: &Path) -> Secret {
        Secret::File(NamedFile {
            path: path.to_owned(),
            folder: self.at("docs"),
        })
    }

    async fn read(&self, path: &str) -> Result<String, String> {
        let octets = self.reader.secret(&self.named(&self.at(path))).await;
        let octets = octets.map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&octets).into_owned())
    }
}

#[tokio::test]
async fn a_secret_has_no_line_break_at_its_end() {
    let place = Home::new();
    for (content, expected) in [("a b\n", "a b"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a")] {
        fs::write(place.at("docs/hook"), content).expect("written");
        assert_eq!(
            place.read("docs/hook").await,
            Ok(expected.to_owned()),
            "{content:?}"
        );
    }
}

#[tokio::test]
async fn links_count_by_where_they_lead() {
    let place = Home::new();
    fs::write(place.at("outside"), "hush").expect("written");
    fs::create_dir(place.at("docs/..2026")).expect("made");
    fs::write(place.at("docs/..2026/mounted"), "fine").expect("written");
    symlink("..2026", place.at("docs/..data")).expect("linked");
    symlink("..data/mounted", place.at("docs/mounted")).expect("linked");
    symlink("../outside", place.at("docs/out")).expect("linked");
    symlink("..", place.at("docs/up")).expect("linked");
    symlink(place.at("docs/mounted"), place.at("in")).expect("linked");
    symlink("data", place.at("docs/again")).expect("linked");
    symlink("round", place.at("docs/round")).expect("linked");
    fs::write(place.at("docs/data/state.db"), "hush").expect("written");

    // As Kubernetes mounts a Secret; and a link from elsewhere that leads inside.
    assert_eq!(place.read("docs/mounted").await, Ok("fine".to_owned()));
    assert_eq!(place.read("in").await, Ok("fine".to_owned()));
    for (path, expected) in [
        ("outside", "--secret-dir"),
        ("docs/out", "--secret-dir"),
        ("docs/../outside", "--secret-dir"),
        ("docs/up/outside", "--secret-dir"),
        ("docs/data/state.db", "the data folder"),
        ("docs/again/state.db", "the data folder"),
        ("docs/round", "symbolic links"),
        ("docs/none", "No such file"),
    ] {
        let error = place.read(path).await.expect_err(path);
        assert!(
            error.contains(expected) && !error.contains("hush"),
            "{path}: {error}"
        );
    }
}

#[tokio::test]
async fn a_link_that_changes_while_it_is_judged_leads_nowhere_else() {
    let place = Home::new();
    fs::create_dir(place.at("out")).expect("made");
    fs::create_dir(place.at("docs/in")).expect("made");
    fs::write(place.at("out/hook"), "hush").expect("written");
    fs::write(place.at("docs/in/hook"), "fine").expect("written");
    let is_over = Arc::new(AtomicBool::new(false));
    let (seen, docs) = (is_over.clone(), place.at("docs"));
    let author = std::thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            for target in ["in", "../out"] {
                symlink(target, docs.join("next")).expect("linked");
                fs::rename(docs.join("next"), docs.join("flips")).expect("replaced");
            }
        }
    });
    let (mut fine, mut refused) = (0, 0);
    // Each result was seen often enough that the change must have fallen between any two steps of the
    // reading.
    while fine < 300 || refused < 300 {
        match place.read("docs/flips/hook").await {
            Ok(content) => {
                assert_eq!(content, "fine");
                fine += 1;
            }
            Err(error) => {
                assert!(!error.contains("hush"), "{error}");
                refused += 1;
            }
        }
    }
    is_over.store(true, Ordering::Relaxed);
    author.join().expect("it ended");
}

#[tokio::test]
async fn of_places_that_are_not_open_nothing_is_told() {
    let place = Home::new();
    fs::write(place.at("there"), "hush").expect("written");
    fs::create_dir(place.at("dir")).expect("made");
    let kind = |path: &str| {
        let (place, path) = (&place, path.to_owned());
        async move {
            let error = place.read(&path).await.expect_err(&path);
            error.replace(&*place.at(&path).to_string_lossy(), "<path>")
        }
    };
    for (link, target) in [
        ("to-there", "../there"),
        ("to-dir", "../dir"),
        ("to-none", "../none"),
        ("to-below", "../there/below"),
        ("to-link", "to-none"),
        ("to-absolute", &*place.at("none").to_string_lossy()),
        ("to-up", "../docs/../none"),
        ("to-loop", "../loop"),
        ("to-open-end", "../none-either"),
    ] {
        symlink(target, place.at("docs").join(link)).expect("linked");
    }
    symlink("loop", place.at("loop")).expect("linked");
    symlink("none", place.at("none-either")).expect("linked");
    let there = kind("there").await;
    for path in [
        "none",
        "dir",
        "there/below",
        "none/below",
        "loop",
        "docs/to-there",
        "docs/to-dir",
        "docs/to-none",
        "docs/to-below",
        "docs/to-link",
        "docs/to-absolute",
        "docs/to-up",
        "docs/to-loop",
        "docs/to-open-end",
        "docs/to-none/below",
        "docs/to-dir/below",
    ] {
        assert_eq!(kind(path).await, there, "{path}");
    }
    let absent = place.read("/proc/self/fd/4000").await.expect_err("the kernel's");
    for path in ["/proc/self/exe", "/proc/self/fd/0", "/proc/self/cwd"] {
        let error = place.read(path).await.expect_err(path);
        assert_eq!(error.replace(path, "/proc/self/fd/4000"), absent);
    }
}

#[tokio::test]
async fn only_regular_files_within_the_bound_are_read() {
    let place = Home::new();
    let file = |name: &str, size: u64| {
        let file = File::create(place.at(name)).expect("made");
        file.set_len(size).expect("sized");
    };
    file("docs/largest", MAX_BYTES);
    file("docs/larger", MAX_BYTES + 1);
    file("docs/huge", 1 << 40);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.at("docs/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("made");
    let _socket = std::os::unix::net::UnixListener::bind(place.at("docs/socket")).expect("bound");
    fs::create_dir(place.at("docs/folder")).expect("made");
    symlink("/dev/zero", place.at("docs/zero")).expect("linked");
    symlink("/proc/self/environ", place.at("docs/environ")).expect("linked");

    let largest = place.reader.secret(&place.named(&place.at("docs/largest"))).await;
    assert_eq!(largest.map(|octets| octets.len() as u64).ok(), Some(MAX_BYTES));
    for (path, expected) in [
        ("docs/larger", "has more than 1024 KiB"),
        ("docs/huge", "has more than 1024 KiB"),
        ("docs/pipe", "is a pipe"),
        ("docs/socket", "is a socket"),
        ("docs/folder", "is a folder"),
        ("docs/zero", "--secret-dir"),
        ("docs/environ", "belongs to the kernel"),
    ] {
        let error = place.read(path).await.expect_err(path);
        assert!(error.contains(expected), "{path}: {error}");
    }
    let long = place.named(Path::new(&"/x".repeat(1 << 20)));
    let error = place
        .reader
        .secret(&long)
        .await
        .expect_err("too long")
        .to_string();
    assert!(error.ends_with("is too long") && error.len() < 1_000, "{error}");
}

#[tokio::test]
async fn variables_are_judged_by_their_name_before_they_are_looked_up() {
    let reader = SecretReader::new(SecretRule::default());
    let env = |name: &str| Secret::Env(name.to_owned());
    // Every process has this variable.
    let error = reader
        .secret(&env("PATH"))
        .await
        .expect_err("not open")
        .to_string();
    assert!(error.contains("--secret-env-prefix"), "{error}");
    let absent = env("MILLRACE_SECRET_THAT_NOBODY_HAS");
    let error = reader.secret(&absent).await.expect_err("not there").to_string();
    assert_eq!(
        error,
        "the environment has no variable MILLRACE_SECRET_THAT_NOBODY_HAS"
    );
    assert!(reader.judge(&absent).await.is_ok() && reader.judge(&env("PATH")).await.is_err());
}

/// A file that hangs cannot be made without a broken network file system, so the work is passed in. It counts
/// the threads that hang until `release` is dropped.
struct Hanging {
    begun: Arc<AtomicUsize>,
    release: Option<mpsc::Sender<()>>,
    released: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Hanging {
    fn new() -> Self {
        let (release, released) = mpsc::channel();
        Self {
            begun: Arc::default(),
            release: Some(release),
            released: Arc::new(Mutex::new(released)),
        }
    }

    async fn read(&self, place: &Home, folder: &str, file: &str) -> Result<(), SecretError> {
        let (begun, released) = (self.begun.clone(), self.released.clone());
        let hang = move |_: &SecretRule, _: &NamedFile| {
            begun.fetch_add(1, Ordering::Relaxed);
            let _ = released.lock().recv();
            Ok(())
        };
        let named = NamedFile {
            path: place.at(file),
            folder: place.at(folder),
        };
        place.reader.aside(&named, hang).await
    }

    /// Releases the threads, and returns how many have hung.
    async fn end(&mut self, place: &Home) -> usize {
        self.release = None;
        while place.reader.shared.turns.free() < AT_ONCE {
            tokio::task::yield_now().await;
        }
        self.begun.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn what_hangs_is_given_up_on_and_takes_no_second_thread_until_it_comes_back() {
    let place = Home::new();
    let mut hanging = Hanging::new();
    let error = hanging.read(&place, "docs", "docs/hangs").await;
    assert!(matches!(error, Err(SecretError::Late(_))), "{error:?}");
    let asked = Instant::now();
    let error = hanging.read(&place, "docs", "docs/hangs").await;
    assert!(matches!(error, Err(SecretError::Hangs(_))), "{error:?}");
    assert_eq!(asked.elapsed(), Duration::ZERO, "it is said at once");
    // Other files are read meanwhile.
    fs::write(place.at("docs/hook"), "fine").expect("written");
    tokio::time::resume();
    assert_eq!(place.read("docs/hook").await, Ok("fine".to_owned()));
    assert_eq!(hanging.end(&place).await, 1);
    let error = place.read("docs/hangs").await.expect_err("there is none");
    assert!(error.contains("No such file"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn one_file_takes_one_thread_however_many_ask_and_whoever_gives_up() {
    let place = Home::new();
    let mut hanging = Hanging::new();
    for _ in 0..50 {
        let given_up = timeout(
            Duration::from_millis(1),
            hanging.read(&place, "docs", "docs/hangs"),
        )
        .await;
        assert!(given_up.is_err(), "it hangs");
    }
    let (first, second) = tokio::join!(
        hanging.read(&place, "docs", "docs/hangs"),
        hanging.read(&place, "docs", "docs/hangs")
    );
    for answer in [first, second] {
        assert!(matches!(answer, Err(SecretError::Hangs(_))), "{answer:?}");
    }
    assert_eq!(hanging.end(&place).await, 1);
}

#[tokio::test]
async fn those_who_ask_at_the_same_time_all_get_the_secret() {
    let place = Home::new();
    fs::write(place.at("docs/hook"), "fine").expect("written");
    let (first, second, third) = tokio::join!(
        place.read("docs/hook"),
        place.read("docs/hook"),
        place.read("docs/hook")
    );
    for answer in [first, second, third] {
        assert_eq!(answer, Ok("fine".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn the_documents_of_one_folder_take_few_of_the_threads() {
    let place = Home::new();
    let mut hanging = Hanging::new();
    for number in 0..AT_ONCE {
        // Many spellings of one file count as one.
        let file = format!("docs/{}hangs", "x/../".repeat(number));
        let error = hanging.read(&place, "docs", &file).await;
        assert!(matches!(error, Err(SecretError::Late(_))), "{error:?}");
    }
    assert_eq!(place.reader.shared.turns.free(), AT_ONCE - OF_A_FOLDER);
    // Documents elsewhere are not affected.
    fs::create_dir(place.at("other")).expect("made");
    fs::write(place.at("other/hook"), "fine").expect("written");
    let other = NamedFile {
        path: place.at("other/hook"),
        folder: place.at("other"),
    };
    tokio::time::resume();
    assert_eq!(place.reader.file(&other).await.ok(), Some(b"fine".to_vec()));
    assert_eq!(hanging.end(&place).await, OF_A_FOLDER);
}
