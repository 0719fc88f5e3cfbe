//! Promise: one tenant never stops another. Whatever a hostile tenant does, all honest events are accepted, each comes once and
//! at the first attempt, nothing is parked, and `/healthz` is answered.
//!
//! Each test is a row of the table in `harness/neighbours/rows.rs`. The honest traffic runs before, while and after the attack
//! begins, and the attack goes on until everything honest has arrived. Counts are asserted, never times: what makes a producer
//! wait for as long as the attack lasts is seen because the attack does not end.

use millrace_tests::neighbours::{Honest, Neighbours, Row};

/// How much more memory than it has when it is quiet a mesh may take besides its budget, in MiB.
const ROOM_MIB: u64 = 64;
/// Events of the honest traffic before the attack, and at least so many while it goes on.
const BEFORE: usize = 20;
const MEANWHILE: usize = 150;

/// Honest traffic of at least so many events, and the attack of a row beside it.
async fn withstands(row: Row, events: usize) -> anyhow::Result<()> {
    let Some(neighbours) = Neighbours::start(row, Honest::start().await?, None).await? else {
        return Ok(());
    };
    let traffic = neighbours.traffic();
    traffic.more(BEFORE).await?;
    let quiet = neighbours.mesh().running().resident()?;
    let attack = neighbours.attack().await?;
    traffic.more(events).await?;
    attack.goes_on().await?;
    let outcome = traffic.stop().await;
    neighbours.is_unharmed(&outcome).await?;
    if let Some(budget) = row.budget_mib() {
        let used = neighbours.mesh().running().resident()?;
        let felt = attack.felt().await?;
        anyhow::ensure!(
            used <= quiet + budget + ROOM_MIB,
            "{used} MiB, {quiet} when quiet, with a budget of {budget}; {felt:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_that_cost_too_much_stop_nobody() -> anyhow::Result<()> {
    withstands(Row::CostlyFilters, MEANWHILE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_ordinary_paths_make_nobody_wait() -> anyhow::Result<()> {
    withstands(Row::OrdinaryPaths, MEANWHILE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_keep_nobody_out() -> anyhow::Result<()> {
    withstands(Row::IdleConnections, MEANWHILE).await
}
