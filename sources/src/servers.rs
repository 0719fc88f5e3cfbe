//! Which servers a source with a foreign client may connect to: judging one without blocking a task.

use millrace_delivery::guard::Guard;
use millrace_delivery::servers::{Unfit, judge};

use crate::Lookups;

/// As [`judge`], for a task. A lookup that nobody waits for any more keeps its place until it ends.
pub(crate) async fn judge_apart(
    lookups: &Lookups,
    guard: Guard,
    host: String,
    port: u16,
) -> Result<(), Unfit> {
    let broken = |_| Unfit::Unknown("the lookup of its name broke down".to_owned());
    let place = lookups.place().await;
    let judged = tokio::task::spawn_blocking(move || {
        let verdict = judge(&guard, &host, port);
        drop(place);
        verdict
    });
    judged.await.map_err(broken)?
}
