//! The flags that say where connections may lead. `run`, `sources` and `dev` share them.

use clap::Args;
use millrace_delivery::egress::{Egress, Rule};

/// Where connections may lead.
#[derive(Args, Clone, Debug)]
pub(crate) struct EgressArgs {
    /// A place that connections to targets may lead to; with this flag, no other: a network (10.0.0.0/8), a
    /// host, *.example.com, `public` for publicly routable addresses, * for any, and :443 or :8000-8999
    /// behind it. Repeat it, or separate places by commas
    #[arg(
        long,
        value_name = "PLACE",
        env = "MILLRACE_EGRESS_ALLOW",
        value_delimiter = ','
    )]
    egress_allow: Vec<Rule>,
    /// A place that they may not lead to, whatever is allowed. Repeat it, or separate places by commas
    #[arg(
        long,
        value_name = "PLACE",
        env = "MILLRACE_EGRESS_DENY",
        value_delimiter = ','
    )]
    egress_deny: Vec<Rule>,
}

// === impl EgressArgs ===

impl EgressArgs {
    /// What these flags say.
    pub(crate) fn egress(&self) -> Egress {
        Egress {
            allow: self.egress_allow.clone(),
            deny: self.egress_deny.clone(),
        }
    }
}
