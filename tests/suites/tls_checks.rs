//! Promise: what common checks of TLS servers look for, such as testssl.sh, is not there: old versions, weak
//! suites, curves and signatures, compression, heartbeats, tickets, downgrades. What these checks ask for is.
//!
//! Clients of today cannot offer most of it, so it is offered byte by byte.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::ensure;
use millrace_tests::certificates::Authority;
use millrace_tests::documents::Documents;
use millrace_tests::hello::{Chosen, EXTENDED_MASTER_SECRET, Hello, RENEGOTIATION_INFO, Said};
use millrace_tests::mesh::Setup;
use millrace_tests::secured::Secured;

/// The suites of TLS 1.2 that have forward secrecy and authenticate what they encrypt.
const STRONG: [u16; 6] = [0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9];
/// Numbers that mean nothing, which servers must pass over (RFC 8701).
const GREASE: u16 = 0x4a4a;

const HANDSHAKE_FAILURE: u8 = 40;
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// What is chosen of this hello, which must be taken.
async fn chosen(hello: Hello, at: SocketAddr) -> anyhow::Result<Chosen> {
    match hello.say(at).await? {
        Said::Chosen(chosen) => Ok(chosen),
        other => anyhow::bail!("{other:?} to {hello:?}"),
    }
}

/// A protocol as ALPN has it.
fn alpn(name: &str) -> (u16, Vec<u8>) {
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    (16, [&[0, length + 1, length], name.as_bytes()].concat())
}

#[tokio::test]
async fn what_weakens_a_connection_is_not_taken_up_though_it_is_offered() -> anyhow::Result<()> {
    let secured = Secured::start(&[]).await?;
    let at = secured.listen()?;
    let heartbeat = (15, vec![1]);
    let (ticket, status) = ((35, Vec::new()), (5, vec![1, 0, 0, 0, 0]));
    let hello = Hello {
        suites: vec![GREASE, 0xc02b],
        compression: vec![1, 0],
        groups: vec![GREASE, 29],
        more: vec![(GREASE, vec![0]), heartbeat, ticket, status],
        ..Hello::default()
    };
    let chosen = chosen(hello, at).await?;
    assert_eq!((chosen.version, chosen.suite), (0x0303, 0xc02b));
    assert_eq!(chosen.compression, 0);
    // Who could have had TLS 1.3 sees that somebody took it away.
    assert_eq!(&chosen.random_end, b"DOWNGRD\x01");
    for wanted in [RENEGOTIATION_INFO, EXTENDED_MASTER_SECRET] {
        ensure!(chosen.extensions.contains(&wanted), "{wanted}: {chosen:?}");
    }
    let known = [RENEGOTIATION_INFO, EXTENDED_MASTER_SECRET, 11];
    ensure!(
        chosen.extensions.iter().all(|one| known.contains(one)),
        "a heartbeat, a ticket, a stapled answer, or what nobody knows: {chosen:?}"
    );
    Ok(())
}

#[tokio::test]
async fn only_strong_versions_suites_groups_and_signatures_are_taken() -> anyhow::Result<()> {
    let secured = Secured::start(&[]).await?;
    let at = secured.listen()?;
    let usual = Hello::default();
    // All numbers of suites that are given away, and around them.
    let given = (0..0x0200).chain(0xc000..0xc200).chain(0xcc00..0xcd00);
    let weak: Vec<u16> = given.filter(|suite| !STRONG.contains(suite)).collect();
    let failure = |hello: Hello| async move {
        let said = hello.say(at).await?;
        anyhow::Ok(said == Said::Alert(HANDSHAKE_FAILURE))
    };
    ensure!(
        failure(Hello {
            suites: weak.clone(),
            ..usual.clone()
        })
        .await?,
        "a weak suite"
    );
    // Small and binary curves, those that few trust, and finite fields.
    for group in (1..23).chain(26..29).chain([0x0100, 0x0101, 0xff01]) {
        let hello = Hello {
            groups: vec![group],
            ..usual.clone()
        };
        ensure!(failure(hello).await?, "group {group}");
    }
    // MD5, SHA-1 and SHA-224, by RSA, DSA and ECDSA; and any by DSA.
    for signature in [0x0101, 0x0201, 0x0202, 0x0203, 0x0301, 0x0303, 0x0402, 0x0602] {
        let hello = Hello {
            signatures: vec![signature],
            ..usual.clone()
        };
        ensure!(failure(hello).await?, "signature {signature:#06x}");
    }
    for version in [0x0002, 0x0300, 0x0301, 0x0302] {
        let hello = Hello {
            version,
            suites: [weak.as_slice(), &STRONG].concat(),
            ..usual.clone()
        };
        let said = hello.say(at).await?;
        ensure!(!matches!(said, Said::Chosen(_)), "{version:#06x}: {said:?}");
    }
    let squeezed = Hello {
        compression: vec![1],
        ..usual.clone()
    };
    let said = squeezed.say(at).await?;
    ensure!(
        !matches!(said, Said::Chosen(_)),
        "without an uncompressed form: {said:?}"
    );
    // What is strong is taken, and more of what is weak beside it changes nothing.
    for group in [29, 23, 24] {
        let hello = Hello {
            suites: [weak.as_slice(), &[0xc02c]].concat(),
            groups: vec![1, 26, group],
            signatures: vec![0x0203, 0x0403],
            ..usual.clone()
        };
        assert_eq!(chosen(hello, at).await?.suite, 0xc02c, "group {group}");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_speaks_another_protocol_is_told_so() -> anyhow::Result<()> {
    let secured = Secured::start(&[]).await?;
    let at = secured.listen()?;
    for (protocol, is_spoken) in [
        ("h2", true),
        ("http/1.1", true),
        ("spdy/3", false),
        ("ftp", false),
    ] {
        let more = vec![alpn(protocol)];
        let said = Hello {
            more,
            ..Hello::default()
        }
        .say(at)
        .await?;
        match said {
            Said::Chosen(chosen) if is_spoken => assert!(chosen.extensions.contains(&16), "{protocol}"),
            other => assert_eq!((other, is_spoken), (Said::Alert(NO_APPLICATION_PROTOCOL), false)),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_session_is_resumed_only_where_no_client_shows_a_certificate() -> anyhow::Result<()> {
    let secured = Secured::start(&[]).await?;
    let folder = tempfile::tempdir()?;
    let authority = Authority::make(folder.path(), "ca")?;
    let setup = Setup::new(Documents::broker().text())?;
    let plain = setup
        .args(&authority.server("server")?.listening())
        .start()
        .await?;
    for (at, resumes) in [(secured.listen()?, false), (plain.address("listenTls")?, true)] {
        let connect = at.to_string();
        let output = Command::new("openssl")
            .args(["s_client", "-tls1_2", "-reconnect", "-connect", &connect])
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(said.contains("New, TLSv1.2"), "{said}");
        assert_eq!(said.contains("Reused, TLSv1.2"), resumes, "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn answers_are_not_compressed() -> anyhow::Result<()> {
    let secured = Secured::start(&[]).await?;
    let admin = format!("https://{}/metrics", secured.mesh.address("adminTls")?);
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--dump-header",
            "-",
            "--output",
            "/dev/null",
        ])
        .args(["-H", "accept-encoding: gzip, deflate, br, zstd", "--cacert"])
        .arg(&secured.authority.file)
        .arg(admin)
        .output()?;
    let said = String::from_utf8(output.stdout)?.to_ascii_lowercase();
    ensure!(
        said.contains("200") && !said.contains("content-encoding"),
        "{said}"
    );
    Ok(())
}
