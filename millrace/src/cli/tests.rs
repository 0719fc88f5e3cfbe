//! Which command lines make sense, and what `check` makes of documents.

use super::*;

fn parse(line: &[&str]) -> Result<Cli, clap::Error> {
    Cli::read([&["millrace"], line].concat())
}

fn run(line: &[&str]) -> serving::RunArgs {
    match parse(line).unwrap_or_else(|error| panic!("{error}")).command {
        Command::Run(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn command_lines_that_make_sense_are_taken() {
    let lines: &[&[&str]] = &[
        &["run", "-f", "mesh.yaml"],
        &[
            "run",
            "-f",
            "a",
            "--file",
            "b",
            "--data",
            "d",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "[::1]:0",
            "--admin-allowed-hosts",
            "millrace.example,tunnel:9090",
        ],
        &[
            "run",
            "-f",
            "a",
            "--durability",
            "os",
            "--max-event-bytes",
            "2MiB",
            "--drain-timeout",
            "PT5S",
            "--orphan-grace",
            "0s",
            "--rebuild-state",
        ],
        &["dev"],
        &["dev", "--listen", "localhost:0", "--log-format", "json"],
        &["check", "-f", "a", "--output", "json"],
        &["send", "--type", "a"],
        &["send", "event.json", "--mode", "binary", "--retry", "3"],
        &["brokers", "--admin", "http://127.0.0.1:1"],
        &["brokers", "shop/default", "-o", "json"],
        &["brokers", "forget", "shop/default", "shop/dead"],
        &["triggers", "--admin", "http://127.0.0.1:1"],
        &["triggers", "shop/ship", "-o", "json"],
        &["parked", "list", "--trigger", "shop/ship", "--output", "json"],
        &["log-level", "--admin", "http://127.0.0.1:1"],
        &["log-level", "info,millrace_delivery=debug", "-o", "json"],
        &["parked", "show", "x"],
        &["parked", "redrive", "x", "y"],
        &["parked", "redrive", "--all"],
        &["parked", "drop", "--trigger", "shop/ship"],
        &["explain", "--id", "1"],
        &["explain", "--broker", "shop/default", "--id", "1"],
        &[
            "explain",
            "--broker",
            "shop/default",
            "--id",
            "1",
            "--source",
            "/s",
            "--trigger",
            "shop/ship",
            "--position",
            "7",
        ],
        &["explain", "-f", "a", "--event", "-"],
        &[
            "explain",
            "-f",
            "a",
            "-f",
            "b",
            "--event",
            "e.json",
            "--broker",
            "shop/default",
            "--trigger",
            "shop/ship",
        ],
        &["explain", "--trigger", "new.yaml", "--over", "1h"],
        &[
            "explain",
            "--trigger",
            "new.yaml",
            "--over",
            "1h",
            "--broker",
            "shop/default",
            "--limit",
            "5",
        ],
        &["tail"],
        &[
            "tail",
            "--broker",
            "shop/default",
            "--filter",
            "type=a",
            "--filter",
            "{prefix: {source: /s}}",
            "-o",
            "json",
        ],
        &["run", "-f", "a", "--history-bytes", "0"],
        &["version"],
        &["completion", "bash"],
        &["--admin", "http://127.0.0.1:1", "triggers"],
        &["parked", "--admin", "http://127.0.0.1:1", "list"],
        &[
            "explain",
            "--broker",
            "b",
            "--id",
            "-1",
            "--source",
            "-x",
            "--admin",
            "http://127.0.0.1:1",
        ],
        &[
            "send",
            "--type",
            "-a",
            "--data",
            "-5",
            "--id",
            "-1",
            "--subject",
            "-x",
            "--source",
            "-s",
        ],
        &[
            "send",
            "--type",
            "a",
            "--data",
            "--data",
            "--ext",
            "-x=1",
            "--time",
            "-1",
            "--content-type",
            "-",
        ],
    ];
    for line in lines {
        assert!(
            parse(line).is_ok(),
            "{line:?}: {}",
            parse(line)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        );
    }
}

#[test]
fn command_lines_that_make_no_sense_are_refused() {
    let lines: &[&[&str]] = &[
        &[],
        &["run"],
        &["run", "-f", "a", "--listen", "8080"],
        &["run", "-f", "a", "--durability", "none"],
        &["run", "-f", "a", "--drain-timeout", "30"],
        &[
            "run",
            "-f",
            "a",
            "--admin-allowed-hosts",
            "http://millrace.example",
        ],
        &["run", "-f", "a", "--max-event-bytes", "0"],
        &["check"],
        &["send", "--ext", "x"],
        &["send", "event.json", "--type", "a"],
        &["send", "--type", "a", "--data", "x", "--data-file", "y"],
        &["parked"],
        &["parked", "redrive"],
        &["parked", "drop", "x", "--all"],
        &["parked", "list", "--limit", "0"],
        &["explain"],
        &["explain", "--broker", "shop/default"],
        &["explain", "-f", "a"],
        &["explain", "--event", "e.json"],
        &["explain", "--over", "1h"],
        &[
            "explain",
            "--broker",
            "shop/default",
            "--id",
            "1",
            "--over",
            "1h",
            "--trigger",
            "a",
        ],
        &["explain", "-f", "a", "--event", "e.json", "--source", "/s"],
        &["explain", "-f", "a", "--event", "e.json", "--position", "1"],
        &["explain", "--over", "1h", "--trigger", "a", "--source", "/s"],
        &["tail", "--filter", "type"],
        &["run", "-f", "a", "--admin", "http://127.0.0.1:1"],
        &["--admin", "http://127.0.0.1:1", "run", "-f", "a"],
        &["sources", "-f", "a", "--admin", "http://127.0.0.1:1"],
        &["dev", "--admin", "http://127.0.0.1:1"],
        &["check", "-f", "a", "--admin", "http://127.0.0.1:1"],
        &["send", "--type", "a", "--admin", "http://127.0.0.1:1"],
        &["backup", "d", "--admin", "http://127.0.0.1:1"],
        &["version", "--admin", "http://127.0.0.1:1"],
        &[
            "explain",
            "-f",
            "a",
            "--event",
            "e",
            "--admin",
            "http://127.0.0.1:1",
        ],
        &["send", "event.json", "--id", "1"],
        &["send", "event.json", "--source", "/s"],
        &["send", "event.json", "--ext", "a=b"],
        &["send", "--data", "x"],
        &["send", "--id", "7"],
        &["send", "--ext", "a=b", "-"],
        &["completion", "cobol"],
        &["serve"],
    ];
    for line in lines {
        assert!(parse(line).is_err_and(|error| error.exit_code() == 2), "{line:?}");
    }
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let args = run(&["run", "-f", "mesh.yaml"]);
    let config = args.serving.config(args.data).expect("they go together");
    assert_eq!(config.data.to_str(), Some("./millrace-data"));
    assert_eq!(
        (config.doors.listen, config.doors.admin_listen),
        ("127.0.0.1:8080".parse().ok(), "127.0.0.1:9090".parse().ok())
    );
    assert!(config.admin_allowed_hosts.is_empty());
    assert_eq!((config.max_event_bytes, config.rebuild_state), (1 << 20, false));
    assert_eq!(
        (config.drain_timeout.as_secs(), config.orphan_grace.as_secs()),
        (30, 86_400)
    );
}

#[test]
fn other_machines_are_let_in_only_when_it_is_said() {
    for (flag, address) in [
        ("--listen", "0.0.0.0:0"),
        ("--listen", "[::]:0"),
        ("--admin-listen", "192.0.2.1:9090"),
    ] {
        let closed = run(&["run", "-f", "a", flag, address]);
        assert!(
            closed
                .serving
                .config("d".into())
                .is_err_and(|message| message.contains("--allow-anonymous")),
            "{flag} {address}"
        );
        let open = run(&["run", "-f", "a", flag, address, "--allow-anonymous"]);
        assert!(open.serving.config("d".into()).is_ok(), "{flag} {address}");
    }
    let both = run(&[
        "run",
        "-f",
        "a",
        "--listen",
        "127.0.0.1:1",
        "--admin-listen",
        "127.0.0.1:1",
    ]);
    assert!(both.serving.config("d".into()).is_err());
}

#[test]
fn http_and_https_are_had_apart_and_together() {
    let pair = ["--tls-cert", "c.pem", "--tls-key", "k.pem"];
    let made = |flags: &[&str]| {
        let line: Vec<&str> = ["run", "-f", "a"].iter().chain(flags).copied().collect();
        let cli = parse(&line).map_err(|error| error.to_string())?;
        let Command::Run(args) = cli.command else {
            unreachable!("{line:?}");
        };
        args.serving.config("d".into()).map(|config| config.doors)
    };
    let with = |flags: &[&'static str]| made(&[&pair[..], flags].concat());
    let both = with(&["--listen-tls", "127.0.0.1:8443"]).expect("they go together");
    assert!(both.listen.is_some() && both.listen_tls.is_some() && both.admin_listen_tls.is_none());
    let one = with(&["--listen-tls", "[::1]:0", "--listen", "off"]).expect("they go together");
    assert!(one.listen.is_none() && one.tls.is_some());
    let admin = with(&["--admin-listen-tls", "127.0.0.1:0", "--admin-listen", "off"]);
    assert!(admin.is_ok_and(|doors| doors.admin_listen.is_none()));

    assert!(made(&["--listen-tls", "127.0.0.1:8443"]).is_err_and(|error| error.contains("--tls-cert")));
    assert!(with(&[]).is_err_and(|error| error.contains("--listen-tls")));
    assert!(made(&["--listen", "off"]).is_err_and(|error| error.contains("--listen-tls")));
    assert!(made(&["--tls-cert", "c.pem"]).is_err_and(|error| error.contains("--tls-key")));
    let clients = ["--listen-tls", "127.0.0.1:0", "--tls-clients", "required"];
    assert!(with(&clients).is_err_and(|error| error.contains("--tls-client-ca")));
    assert!(with(&["--listen-tls", "127.0.0.1:8080"]).is_err_and(|error| error.contains("its own")));
    assert!(with(&["--listen-tls", "0.0.0.0:0"]).is_err_and(|error| error.contains("--allow-anonymous")));
}

#[test]
fn run_takes_nothing_that_it_cannot_watch() {
    let cli = parse(&["run", "-f", "-"]).expect("the parser takes it");
    assert_eq!(cli.execute().expect("refused"), Exit::Usage);
}

#[test]
fn check_tells_valid_documents_from_others_by_its_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mesh.yaml");
    let file = path.to_str().expect("a path").to_owned();
    let cases = [
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}",
            Exit::Ok,
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: B}}",
            Exit::Invalid,
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Trigger, metadata: {name: t}, spec: {broker: lost, subscriber: {uri: \"http://a/\"}}}",
            Exit::Ok,
        ),
    ];
    for (text, exit) in cases {
        std::fs::write(&path, text).expect("written");
        for output in ["table", "json"] {
            let cli = parse(&["check", "-f", &file, "--output", output]).expect("it makes sense");
            assert_eq!(cli.execute().expect("checked"), exit, "{text}");
        }
    }
    let cli = parse(&["check", "-f", "no/such/file.yaml"]).expect("it makes sense");
    assert_eq!(cli.execute().expect("checked"), Exit::Invalid);
}
