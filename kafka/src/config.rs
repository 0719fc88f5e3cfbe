//! How librdkafka is told how to reach a cluster.

use rdkafka::ClientConfig;

use crate::Access;

/// The settings that are the same for every client.
const SETTINGS: &[(&str, &str)] = &[
    ("client.id", "millrace"),
    // Topics that appear are found within this time.
    ("topic.metadata.refresh.interval.ms", "10000"),
    ("allow.auto.create.topics", "false"),
    ("socket.keepalive.enable", "true"),
    // The cluster is not told how we are doing; measuring it takes time for each record.
    ("enable.metrics.push", "false"),
    // What the process has no name for is told by poll.
    ("log.connection.close", "false"),
];

/// The settings of every client that has this access. The servers are missing: they are judged first, by
/// whoever makes the client.
pub fn client(access: &Access) -> ClientConfig {
    let mut config = ClientConfig::new();
    let settings = SETTINGS.iter().copied();
    let settings = settings.chain([("security.protocol", access.protocol())]);
    let settings = settings.chain(access.tls.iter().flat_map(|tls| tls.settings()));
    let settings = settings.chain(access.login.iter().flat_map(|login| login.settings()));
    for (name, value) in settings {
        config.set(name, value);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Login, Tls};

    fn told(access: &Access, expected: &[(&str, Option<&str>)]) {
        let config = client(access);
        for (name, value) in expected {
            assert_eq!(config.get(name), *value, "{name}");
        }
    }

    fn login() -> Login {
        let login = Login::new("SCRAM-SHA-512".to_owned(), "me".to_owned(), " p ".to_owned());
        login.expect("a mechanism that there is")
    }

    #[test]
    fn encryption_and_login_give_the_protocol() {
        for (tls, login, expected) in [
            (None, None, "plaintext"),
            (Some(Tls::default()), None, "ssl"),
            (None, Some(login()), "sasl_plaintext"),
            (Some(Tls::default()), Some(login()), "sasl_ssl"),
        ] {
            told(
                &Access { tls, login },
                &[
                    ("security.protocol", Some(expected)),
                    ("client.id", Some("millrace")),
                ],
            );
        }
    }

    #[test]
    fn secrets_are_told_in_librdkafkas_words() {
        let pem = |name: &str| format!("PEM of the {name}");
        let tls = Tls {
            authorities: Some(pem("authorities")),
            identity: Some((pem("certificate"), pem("key"))),
        };
        let access = Access {
            tls: Some(tls),
            login: Some(login()),
        };
        told(
            &access,
            &[
                ("ssl.ca.pem", Some("PEM of the authorities")),
                ("ssl.ca.location", None),
                ("ssl.certificate.pem", Some("PEM of the certificate")),
                ("ssl.key.pem", Some("PEM of the key")),
                ("sasl.mechanism", Some("SCRAM-SHA-512")),
                ("sasl.username", Some("me")),
                ("sasl.password", Some(" p ")),
            ],
        );
        let access = Access {
            tls: Some(Tls::default()),
            login: None,
        };
        told(
            &access,
            &[
                ("ssl.ca.pem", None),
                ("ssl.ca.location", Some("probe")),
                ("ssl.key.pem", None),
                ("sasl.mechanism", None),
            ],
        );
    }
}
