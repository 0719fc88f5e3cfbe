//! Tests of what a kubeconfig becomes, and that no error repeats a piece of one.

use std::fs;

use millrace_secrets::{Folder, SecretRule};

use super::*;

/// A secret that no error may show.
const HUSH: &str = "hush-hush";

/// A folder with a kubeconfig, whose cluster and user have these fields.
fn place(cluster: &str, user: &str) -> (tempfile::TempDir, NamedFile) {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: k, user: u}}}}],
          clusters: [{{name: k, cluster: {{server: 'https://127.0.0.1:1', {cluster}}}}}],
          users: [{{name: other, user: {{exec: {{command: /bin/false}}}}}}, {{name: u, user: {{{user}}}}}]}}"
    );
    fs::create_dir(folder.path().join("docs")).expect("made");
    fs::write(folder.path().join("outside"), HUSH).expect("written");
    fs::write(folder.path().join("docs/token"), format!("{HUSH}\n")).expect("written");
    fs::write(folder.path().join("docs/kubeconfig"), text).expect("written");
    let named = NamedFile {
        path: folder.path().join("docs/kubeconfig"),
        folder: folder.path().join("docs"),
    };
    (folder, named)
}

fn reader(allow_kubeconfig_exec: bool) -> SecretReader {
    SecretReader::new(SecretRule {
        folders: vec![Folder::OfDocument],
        allow_kubeconfig_exec,
        ..SecretRule::default()
    })
}

#[tokio::test]
async fn what_would_run_a_program_or_use_a_proxy_is_refused_in_words() {
    let exec = "exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: [hush-hush]}";
    for (cluster, user, expected) in [
        ("", exec, "--allow-kubeconfig-exec"),
        (
            "",
            "auth-provider: {name: gcp, config: {cmd-path: /bin/sh}}",
            "`auth-provider`",
        ),
        (
            "",
            "auth-provider: {name: oidc, config: {id-token: hush-hush}}",
            "`auth-provider`",
        ),
        ("proxy-url: 'http://hush-hush:3128'", "", "`proxy-url`"),
    ] {
        let (_folder, file) = place(cluster, user);
        let error = load(&file, &reader(false)).await.expect_err(user);
        assert!(error.is_refusal());
        let error = error.to_string();
        assert!(error.contains(expected) && !error.contains(HUSH), "{error}");
    }
    let (_folder, file) = place("", exec);
    let config = load(&file, &reader(true)).await.expect("the operator allows it");
    assert!(config.auth_info.exec.is_some());
    let (_folder, file) = place("", "auth-provider: {name: gcp}");
    load(&file, &reader(true)).await.expect_err("no flag allows this");
}

#[tokio::test]
async fn files_that_it_names_are_put_into_it_under_the_same_rule() {
    let (_folder, file) = place("", "tokenFile: token");
    let config = load(&file, &reader(false)).await.expect("it is open");
    assert!(config.auth_info.token_file.is_none() && config.proxy_url.is_none());
    // Debug output does not show the token, so that it is there is checked here.
    assert!(config.auth_info.token.is_some());

    for (cluster, user, field) in [
        ("", "tokenFile: ../outside", "tokenFile"),
        ("", "client-certificate: ../outside", "client-certificate"),
        ("", "client-key: ../outside", "client-key"),
        ("certificate-authority: ../outside", "", "certificate-authority"),
        (
            "certificate-authority: /proc/self/environ",
            "",
            "certificate-authority",
        ),
        ("", "tokenFile: /dev/zero", "tokenFile"),
    ] {
        let (_folder, file) = place(cluster, user);
        let error = load(&file, &reader(false)).await.expect_err(field);
        assert!(error.is_refusal());
        let error = error.to_string();
        assert!(
            error.starts_with(&format!("`{field}` in the kubeconfig: ")) && !error.contains(HUSH),
            "{error}"
        );
    }
    // Inline data takes precedence over a file, which is then not read.
    let (_folder, file) = place("", "token: abc, tokenFile: ../outside");
    load(&file, &reader(false)).await.expect("the file is not needed");
}

#[tokio::test]
async fn no_error_repeats_a_piece_of_the_file() {
    let (folder, file) = place("", "");
    for text in [
        "hush-hush".to_owned(),
        "root:x:0:0:hush-hush:/root:/bin/sh\n".to_owned(),
        "A=hush-hush\0B=hush-hush\0".to_owned(),
        "{apiVersion: hush-hush".to_owned(),
        "clusters: hush-hush".to_owned(),
        "current-context: hush-hush".to_owned(),
        "current-context: hush-hush\ncontexts: [{name: hush-hush, context: {cluster: hush-hush}}]".to_owned(),
        config_with("server: 'hush-hush hush-hush'"),
        config_with("server: 'https://hush:hush@a'"),
        config_with("server: 'https://hush-hush@a:6443/b'"),
        config_with("server: 'https://a', certificate-authority-data: hush-hush!"),
        config_with("server: 'https://a', certificate-authority-data: aHVzaC1odXNo"),
        config_with("certificate-authority-data: aHVzaC1odXNo"),
        bomb(),
        String::new(),
    ] {
        fs::write(folder.path().join("docs/kubeconfig"), &text).expect("written");
        let error = load(&file, &reader(false)).await.expect_err(&text);
        assert!(error.is_refusal());
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}

/// A short text that becomes a large document once every alias is expanded.
fn bomb() -> String {
    let mut text = "extensions:\n- {name: a0, extension: &a0 [hush-hush]}\n".to_owned();
    for level in 1..40 {
        let before = vec![format!("*a{}", level - 1); 9].join(", ");
        text += &format!("- {{name: a{level}, extension: &a{level} [{before}]}}\n");
    }
    text
}

fn config_with(cluster: &str) -> String {
    format!(
        "{{current-context: c, contexts: [{{name: c, context: {{cluster: k}}}}], clusters: [{{name: k, cluster: {{{cluster}}}}}]}}"
    )
}
