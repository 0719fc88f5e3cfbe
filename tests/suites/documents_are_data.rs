//! Promise: a document is data. It names files and variables only where the operator opened them, runs no
//! program, and no error repeats what a file or a variable holds. What one document does holds up no other.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use millrace_tests::mesh::Setup;
use millrace_tests::named::{
    HUSH, MESH, assert_silent_and_stop, hook, kubeconfig, until_ready, until_refused, watch,
};
use millrace_tests::{process, wait_until};
use rustix::fs::{CWD, FileType, Mode};

/// A program in a kubeconfig that leaves a file where it runs.
const EXEC: &str =
    "exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: [-c, 'touch ran; exit 1']}";

fn pipe(path: &Path) -> anyhow::Result<()> {
    Ok(rustix::fs::mknodat(
        CWD,
        path,
        FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )?)
}

/// Runs `check` with these further arguments; returns its exit code and output.
async fn check(setup: &Setup, args: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let file = setup.file();
    let file = file.to_string_lossy();
    let args = [&["check", "-f", &*file], args].concat();
    let output = process::run(setup.folder(), &args, "").await?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
}

#[tokio::test]
async fn a_secret_comes_only_from_where_the_operator_opened_it() -> anyhow::Result<()> {
    let outside = tempfile::tempdir()?;
    let hush = outside.path().join("hush");
    fs::write(&hush, HUSH)?;
    // Credentials as systemd gives them to a service.
    let credentials = tempfile::tempdir()?;
    fs::write(credentials.path().join("hook"), "fine")?;
    let credential = credentials.path().join("hook").display().to_string();
    let setup = Setup::new(MESH)?
        .environment("CREDENTIALS_DIRECTORY", &credentials.path().to_string_lossy())
        .environment("AZURE_FEDERATED_TOKEN_FILE", "identity")
        .environment("HUSH", HUSH)
        .environment("MILLRACE_SECRET_HOOK", "fine");
    let home = setup.folder().to_owned();
    fs::write(home.join("hook"), "fine\n")?;
    fs::create_dir(home.join("..2026"))?;
    fs::write(home.join("..2026/mounted"), "fine")?;
    symlink("..2026/mounted", home.join("mounted"))?;
    symlink(&hush, home.join("link"))?;
    symlink(outside.path(), home.join("dir"))?;
    symlink("/dev/zero", home.join("zero"))?;
    pipe(&home.join("pipe"))?;
    fs::write(home.join("larger"), HUSH.repeat((1 << 20) / HUSH.len() + 1))?;
    fs::write(home.join("empty"), "")?;
    fs::write(home.join("identity"), HUSH)?;
    fs::create_dir(home.join("other"))?;
    fs::write(home.join("other/FORMAT"), "millrace data 1\n")?;
    fs::write(home.join("other/state.db"), HUSH)?;

    let hush = hush.display().to_string();
    let back = format!(
        "../{}/hush",
        outside.path().file_name().unwrap_or_default().display()
    );
    let file = |path: &str| format!("{{file: \"{path}\"}}");
    let closed = [
        ("outside", file(&hush), "--secret-dir"),
        ("back", file(&back), "--secret-dir"),
        ("link", file("link"), "--secret-dir"),
        ("dir", file("dir/hush"), "--secret-dir"),
        ("passwd", file("/etc/passwd"), "--secret-dir"),
        ("absent", file("/etc/no-such-file"), "--secret-dir"),
        ("home", file("."), "--secret-dir"),
        ("environ", file("/proc/self/environ"), "belongs to the kernel"),
        (
            "root",
            file("/proc/self/root/etc/passwd"),
            "belongs to the kernel",
        ),
        ("zero", file("zero"), "--secret-dir"),
        (
            "other-role",
            file("other/state.db"),
            "the data folder of Millrace",
        ),
        (
            "flag",
            "{env: MILLRACE_SECRET_DIR}".to_owned(),
            "is a flag of Millrace",
        ),
        ("pipe", file("pipe"), "pipe is a pipe"),
        ("folder", file("..2026"), "..2026 is a folder"),
        ("larger", file("larger"), "has more than 1024 KiB"),
        (
            "token",
            file("/var/run/secrets/kubernetes.io/serviceaccount/token"),
            "the service account of this pod",
        ),
        (
            "cloud",
            file("/run/secrets/eks.amazonaws.com/serviceaccount/token"),
            "the service account of this pod",
        ),
        ("variable", "{env: HUSH}".to_owned(), "--secret-env-prefix"),
        ("path", "{env: PATH}".to_owned(), "--secret-env-prefix"),
        (
            "absent-variable",
            "{env: NO_SUCH_VARIABLE}".to_owned(),
            "--secret-env-prefix",
        ),
    ];
    // Only `run` knows the data folder and its environment, and files missing here may exist there.
    let only_run = [
        ("data", file("data/FORMAT"), "the data folder of Millrace"),
        (
            "identity",
            file("identity"),
            "belongs to an identity of this process",
        ),
        ("gone", file("gone"), "No such file"),
        (
            "unset",
            "{env: MILLRACE_SECRET_UNSET}".to_owned(),
            "no variable MILLRACE_SECRET_UNSET",
        ),
        ("empty", file("empty"), "a secret is empty"),
    ];
    let open = [
        ("good-file", file("hook")),
        ("good-link", file("mounted")),
        ("good-credential", file(&credential)),
        ("good-variable", "{env: MILLRACE_SECRET_HOOK}".to_owned()),
    ];
    let mut text = MESH.to_owned();
    let good: String = open.iter().map(|(name, secret)| hook(name, secret)).collect();
    let bad = closed.iter().chain(&only_run);
    text += &(bad
        .map(|(name, secret, _)| hook(name, secret))
        .collect::<String>()
        + &good);
    setup.write(&text)?;

    let opened = credentials.path().to_string_lossy().into_owned();
    let (code, said) = check(&setup, &["--secret-dir", ".", "--secret-dir", &opened]).await?;
    assert_eq!(code, Some(3), "{said}");
    assert!(!said.contains(HUSH), "{said}");
    let refused: Vec<&str> = said.lines().filter(|line| line.ends_with("(not-open)")).collect();
    assert_eq!(refused.len(), closed.len(), "{said}");
    for ((name, _, reason), line) in closed.iter().zip(&refused) {
        assert!(
            line.contains(reason) && line.contains("spec.secrets[0]."),
            "{name}: {line}"
        );
    }

    let mut mesh = setup.start().await?;
    for (name, _, reason) in closed.iter().chain(&only_run) {
        until_refused(&mesh, name, reason).await?;
    }
    for (name, _) in &open {
        until_ready(&mesh, name).await?;
    }
    assert_silent_and_stop(&mut mesh).await
}

#[tokio::test]
async fn the_operator_opens_folders_and_prefixes_by_flags_or_variables() -> anyhow::Result<()> {
    let outside = tempfile::tempdir()?;
    fs::write(outside.path().join("hook"), "fine")?;
    let folder = outside.path().to_string_lossy().into_owned();
    let text = [
        MESH.to_owned(),
        hook("file", &format!("{{file: \"{folder}/hook\"}}")),
        hook("variable", "{env: HOOK_A}"),
        hook("own", "{file: mesh.yaml}"),
    ]
    .concat();
    let flags = ["--secret-dir", &folder, "--secret-env-prefix", "HOOK_"];
    let setup = || anyhow::Ok(Setup::new(&text)?.environment("HOOK_A", "fine"));
    let by_flags = setup()?.args(&flags);
    let by_variables = setup()?
        .environment("MILLRACE_SECRET_DIR", &folder)
        .environment("MILLRACE_SECRET_ENV_PREFIX", "OTHER_,HOOK_");
    for setup in [by_flags, by_variables] {
        let mut mesh = setup.start().await?;
        until_ready(&mesh, "file").await?;
        until_ready(&mesh, "variable").await?;
        // The flag replaces the default folders.
        until_refused(&mesh, "own", "--secret-dir").await?;
        assert_silent_and_stop(&mut mesh).await?;
    }
    let (code, said) = check(&setup()?, &flags).await?;
    assert_eq!((code, said.matches("(not-open)").count()), (Some(3), 1), "{said}");
    let both = [&flags[..], &["--secret-dir", "."]].concat();
    let (code, said) = check(&setup()?, &both).await?;
    assert_eq!(code, Some(0), "{said}");
    // An empty variable, perhaps left so by mistake, does not open everything.
    let empty = setup()?.args(&["--secret-env-prefix", ""]);
    let (status, said) = empty.fail().await?;
    assert_eq!(status.code(), Some(2), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_kubeconfig_runs_nothing_and_names_only_what_is_open() -> anyhow::Result<()> {
    let outside = tempfile::tempdir()?;
    let hush = outside.path().join("hush");
    fs::write(&hush, HUSH)?;
    let setup = Setup::new(MESH)?;
    let home = setup.folder().to_owned();
    pipe(&home.join("pipe"))?;
    fs::write(home.join("gone-wrong"), format!("{HUSH}: [{HUSH}"))?;
    fs::write(home.join("passwd"), format!("root:x:0:0:{HUSH}:/root:/bin/sh\n"))?;
    let hush = hush.display();
    let gcp = "auth-provider: {name: gcp, config: {cmd-path: /bin/sh, cmd-args: '-c touch${IFS}ran'}}";
    let written = [
        ("exec", kubeconfig("", EXEC), "--allow-kubeconfig-exec"),
        ("provider", kubeconfig("", gcp), "`auth-provider`"),
        (
            "proxy",
            kubeconfig("proxy-url: 'http://127.0.0.1:1'", ""),
            "`proxy-url`",
        ),
        (
            "token",
            kubeconfig("", &format!("tokenFile: \"{hush}\"")),
            "--secret-dir",
        ),
        (
            "key",
            kubeconfig("", &format!("client-key: \"{hush}\"")),
            "--secret-dir",
        ),
        (
            "certificate",
            kubeconfig("", "client-certificate: /etc/hostname"),
            "`client-certificate` in the kubeconfig",
        ),
        (
            "authority",
            kubeconfig("certificate-authority: /proc/self/environ", ""),
            "belongs to the kernel",
        ),
        (
            "back",
            kubeconfig("", "tokenFile: ../../../etc/hostname"),
            "--secret-dir",
        ),
    ];
    for (name, text, _) in &written {
        fs::write(home.join(name), text)?;
    }
    let named = [
        (
            "unclosed",
            "gone-wrong".to_owned(),
            "the file is not a kubeconfig",
        ),
        ("users", "passwd".to_owned(), "the file is not a kubeconfig"),
        ("outside", hush.to_string(), "--secret-dir"),
        (
            "environ",
            "/proc/self/environ".to_owned(),
            "belongs to the kernel",
        ),
        ("zero", "/dev/zero".to_owned(), "--secret-dir"),
        ("fifo", "pipe".to_owned(), "is a pipe"),
    ];
    let written = written
        .iter()
        .map(|(name, _, reason)| (*name, (*name).to_owned(), *reason));
    let all: Vec<_> = written.chain(named).collect();
    let text: String = all.iter().map(|(name, path, _)| watch(name, path)).collect();
    setup.write(&format!("{MESH}{text}"))?;

    let (code, said) = check(&setup, &[]).await?;
    assert_eq!(code, Some(3), "{said}");
    let refused: Vec<&str> = said.lines().filter(|line| line.ends_with("(not-open)")).collect();
    assert_eq!(refused.len(), all.len(), "{said}");
    for ((name, _, reason), line) in all.iter().zip(&refused) {
        assert!(
            line.contains(reason) && line.contains("spec.kubeconfig: "),
            "{name}: {line}"
        );
    }
    assert!(!said.contains(HUSH), "{said}");

    let mut mesh = setup.start().await?;
    for (name, _, reason) in &all {
        until_refused(&mesh, name, reason).await?;
    }
    assert_silent_and_stop(&mut mesh).await?;
    assert!(!home.join("ran").exists(), "a program was run");
    Ok(())
}

#[tokio::test]
async fn a_program_runs_only_if_the_operator_allows_it_and_its_output_is_not_repeated() -> anyhow::Result<()>
{
    let text = [MESH.to_owned(), watch("asks", "asks"), watch("hangs", "hangs")].concat();
    let setup = Setup::new(&text)?.args(&["--allow-kubeconfig-exec"]);
    let home = setup.folder().to_owned();
    let program = |script: &str| {
        kubeconfig(
            "",
            &format!(
                "exec: {{apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: [-c, '{script}']}}"
            ),
        )
    };
    fs::write(
        home.join("asks"),
        program(&format!("touch ran; echo {HUSH}; echo {HUSH} >&2; exit 1")),
    )?;
    // The program that was started is still running when the process should end.
    fs::write(
        home.join("hangs"),
        program("touch hanging; exec sleep 600 >/dev/null 2>&1 <&1"),
    )?;
    let mut mesh = setup.start().await?;
    until_refused(&mesh, "asks", "the program of the kubeconfig failed").await?;
    assert!(home.join("ran").exists());
    wait_until("the other program to hang", || async {
        Ok(home.join("hanging").exists().then_some(()))
    })
    .await?;
    // A program's standard error is its own output; it is not part of any error of ours.
    let said = mesh.admin().get("sources").await?.to_string();
    assert!(!said.contains(HUSH), "{said}");
    let status = mesh.stop().await?;
    assert_eq!(
        status.code(),
        Some(0),
        "a source that hangs while it starts holds up the end"
    );
    Ok(())
}
