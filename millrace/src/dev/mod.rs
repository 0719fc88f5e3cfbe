//! `millrace dev`: a broker, an echo subscriber and a sample trigger, with every event shown as it passes.
//!
//! [`echo`] is the subscriber, [`show`] prints the lines; the rest is what `millrace run` is made of.

mod echo;
pub(crate) mod show;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use millrace_admin::LogFilter;
use millrace_crds::load_text;
use millrace_serve::Listener;
use tokio_util::sync::CancellationToken;

use crate::cli::exit::Exit;
use crate::cli::out;
use crate::role::config::RoleConfig;
use crate::role::{Live as _, Role as _, signal};
use show::Show;

/// Serves the sample mesh until Ctrl-C.
pub(crate) async fn dev(config: RoleConfig, log: Arc<dyn LogFilter>) -> anyhow::Result<Exit> {
    let echo = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let documents = sample(echo.address());
    let Some(mesh) = load_text(&documents).mesh else {
        anyhow::bail!("the sample mesh is invalid; this is a defect of Millrace");
    };
    let show = Show::new();
    let node = match crate::run::build(&config, Some(show), log)? {
        Ok(node) => node,
        Err(exit) => return Ok(exit),
    };
    let addresses = node.addresses();
    let echo_shutdown = CancellationToken::new();
    let echo_task = tokio::spawn(echo::serve(echo, echo_shutdown.clone()));
    let running = node.start(std::future::ready(mesh)).await?;
    out::data(&greeting(
        &addresses.ingress_url(),
        &addresses.admin_url(),
        &config,
    ));
    let mut ended = signal::Ended::listen(config.drain_timeout)?;
    ended.asked().await;
    out::data("\nstopping");
    running.stop().await?;
    echo_shutdown.cancel();
    echo_task.await?;
    Ok(Exit::Ok)
}

/// The documents of the sample mesh, as a user would write them.
fn sample(echo: SocketAddr) -> String {
    format!(
        "\
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {{name: default, namespace: default}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: hello, namespace: default}}
spec:
  broker: default
  filters: [{{prefix: {{type: hello}}}}]
  subscriber: {{uri: \"http://{echo}/\"}}
"
    )
}

fn greeting(listen: &str, admin: &str, config: &RoleConfig) -> String {
    format!(
        "\
Millrace is ready.
  broker   {listen}/default/default
  trigger  default/hello takes events whose type begins with \"hello\" to an echo subscriber
  admin    {admin}/
  data     {}

Send it an event (in another terminal):

  curl -i {listen}/default/default -H 'ce-specversion: 1.0' -H 'ce-type: hello.world' \\
    -H 'ce-source: /my/laptop' -H 'ce-id: 1' -H 'content-type: application/json' -d '{{\"hello\":\"world\"}}'

Events show here as they pass. Ctrl-C stops.
",
        config.data.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_mesh_is_valid() {
        let loaded = load_text(&sample(SocketAddr::from((Ipv4Addr::LOCALHOST, 9001))));
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        assert!(loaded.mesh.is_some());
    }
}
