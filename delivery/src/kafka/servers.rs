//! Which servers of a cluster may be connected to: those that a document names, and those that they name.
//!
//! All calls block.

use millrace_kafka::ClientLog;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::metadata::Metadata;
use std::sync::Arc;

use crate::guard::Guard;
use crate::servers::{Unfit, judge};

/// Judges servers.
#[derive(Clone, Debug)]
pub struct Servers {
    guard: Guard,
}

/// The context of a client that only asks: it joins no group, and connects to no server but those that it was
/// given.
#[derive(Debug)]
pub struct Asking(pub Arc<ClientLog>);

// === impl Servers ===

impl Servers {
    /// Judges by this guard.
    pub fn new(guard: Guard) -> Self {
        Self { guard }
    }

    /// The servers that a client may be given, of those that a document names. One that has no address, or
    /// that cannot be judged now, is left out.
    ///
    /// # Errors
    /// When one is refused, or none has an address.
    pub fn of_document(&self, servers: &[String]) -> Result<Vec<String>, Unfit> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for server in servers {
            let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
            match judge(&self.guard, host, port.parse().unwrap_or_default()) {
                Ok(()) => found.push(server.clone()),
                Err(Unfit::Refused(why)) => return Err(Unfit::Refused(format!("`bootstrapServers`: {why}"))),
                Err(Unfit::NotFound(why) | Unfit::Unknown(why)) => missing.push(why),
            }
        }
        if found.is_empty() {
            let why = format!("the brokers cannot be reached: {}", missing.join("; "));
            return Err(Unfit::NotFound(why));
        }
        Ok(found)
    }

    /// Judges all servers of an answer.
    ///
    /// # Errors
    /// When one is refused, or cannot be judged now.
    pub fn all_of(&self, metadata: &Metadata) -> Result<(), Unfit> {
        for broker in metadata.brokers() {
            let port = u16::try_from(broker.port()).unwrap_or_default();
            let named = |why| format!("a broker that the others name: {why}");
            match judge(&self.guard, broker.host(), port) {
                // A server without an address is never connected to.
                Ok(()) | Err(Unfit::NotFound(_)) => {}
                Err(Unfit::Refused(why)) => return Err(Unfit::Refused(named(why))),
                Err(Unfit::Unknown(why)) => return Err(Unfit::Unknown(named(why))),
            }
        }
        Ok(())
    }
}

// === impl Asking ===

impl ClientContext for Asking {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.line(level, facility, text);
    }
}

impl ConsumerContext for Asking {}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(own: &str) -> Servers {
        Servers::new(Guard {
            refuse: vec![own.parse().expect("an address")],
            ..Guard::default()
        })
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn one_refused_server_refuses_all() {
        let servers = servers("127.0.0.1:9090");
        for name in [
            "169.254.169.254:80",
            "[::ffff:169.254.169.254]:80",
            "localhost:9090",
        ] {
            let error = servers.of_document(&list(&["127.0.0.1:9092", name]));
            let error = error.expect_err(name);
            let begin = format!("`bootstrapServers`: {name}: connections to ");
            assert!(
                matches!(&error, Unfit::Refused(why) if why.starts_with(&begin)),
                "{error}"
            );
        }
        let good = list(&["127.0.0.1:9092", "[::1]:9092", "10.0.0.1:9092"]);
        assert_eq!(servers.of_document(&good), Ok(good));
    }

    #[test]
    fn a_server_without_an_address_is_left_out_and_one_has_to_be_left() {
        let servers = servers("127.0.0.1:9090");
        let all = list(&["nowhere.invalid:9092", "127.0.0.1:9092"]);
        assert_eq!(servers.of_document(&all), Ok(list(&["127.0.0.1:9092"])));
        let error = servers.of_document(&all[..1]).expect_err("none is left");
        let begin = "the brokers cannot be reached: name not found: nowhere.invalid";
        assert!(
            matches!(&error, Unfit::NotFound(why) if why.starts_with(begin)),
            "{error}"
        );
    }
}
