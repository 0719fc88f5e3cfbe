//! Tests of reading, on real files of every kind.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use super::*;
use crate::rule::Folder;

/// A folder with documents, beside which there is more.
struct Place {
    home: tempfile::TempDir,
    reader: SecretReader,
}

impl Place {
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
    let place = Place::new();
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
    let place = Place::new();
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
    let place = Place::new();
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
    // Both have been seen often enough that the change fell between every two steps of the reading.
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
    let place = Place::new();
    fs::write(place.at("there"), "hush").expect("written");
    fs::create_dir(place.at("dir")).expect("made");
    let kind = |path: &str| {
        let (place, path) = (&place, path.to_owned());
        async move {
            let error = place.read(&path).await.expect_err(&path);
            error.replace(&*place.at(&path).to_string_lossy(), "<path>")
        }
    };
    let there = kind("there").await;
    for path in ["none", "dir", "there/below", "none/below"] {
        assert_eq!(kind(path).await, there, "{path}");
    }
}

#[tokio::test]
async fn only_regular_files_within_the_bound_are_read() {
    let place = Place::new();
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
    // Every process has this one.
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

/// A file that hangs cannot be made without a broken network file system, so the work is given here.
#[tokio::test(start_paused = true)]
async fn what_hangs_is_given_up_on_and_takes_no_second_thread_until_it_comes_back() {
    let place = Place::new();
    let file = NamedFile {
        path: place.at("docs/hangs"),
        folder: place.at("docs"),
    };
    let (release, released) = mpsc::channel::<()>();
    let hang = move |_: &SecretRule, _: &NamedFile| {
        let _ = released.recv();
        Ok(())
    };
    let error = place.reader.aside(&file, hang).await.expect_err("it hangs");
    assert!(matches!(error, SecretError::Late(_)), "{error}");
    let error = place.reader.file(&file).await.expect_err("it still hangs");
    assert!(matches!(error, SecretError::Hangs(_)), "{error}");
    // Others are read meanwhile.
    fs::write(place.at("docs/hook"), "fine").expect("written");
    tokio::time::resume();
    assert_eq!(place.read("docs/hook").await, Ok("fine".to_owned()));
    drop(release);
    while place.reader.shared.threads.available_permits() < AT_ONCE {
        tokio::task::yield_now().await;
    }
    let error = place.reader.file(&file).await.expect_err("there is none");
    assert!(matches!(error, SecretError::Unreadable { .. }), "{error}");
}
