//! Promise: one tenant never stops another. Whatever a hostile tenant does, all honest events are accepted,
//! each comes once and at the first attempt, nothing is parked, `/healthz` is answered, and memory stays
//! within the budget.
//!
//! Each test is a row of the table in `harness/neighbours/rows.rs`. The honest traffic runs before, while and
//! after the attack begins, and the attack goes on until all honest events have arrived. Counts are asserted,
//! never times. A producer that waited as long as the attack lasts would be noticed, because the attack does
//! not end.

use millrace_tests::neighbours::{Honest, Neighbours, Row};

/// Memory that a mesh may ever take besides its budget and what it holds when it is quiet, in MiB.
const ROOM_MIB: u64 = 64;
/// Events of the honest traffic before the attack, and at least so many while it goes on.
const BEFORE: usize = 20;
const MEANWHILE: usize = 150;

/// Runs honest traffic of at least so many events beside the attack of a row.
async fn withstands(row: Row, events: usize) -> anyhow::Result<()> {
    let Some(neighbours) = Neighbours::start(row, Honest::start().await?, None).await? else {
        return Ok(());
    };
    let traffic = neighbours.traffic();
    traffic.more(BEFORE).await?;
    let quiet = neighbours.mesh().running().resident()?;
    let attack = neighbours.attack().await?;
    traffic.more(events).await?;
    attack.lasts().await?;
    attack.goes_on().await?;
    let outcome = traffic.stop().await;
    neighbours.is_unharmed(&outcome).await?;
    let used = neighbours.mesh().running().most_resident()?;
    let felt = attack.felt().await?;
    anyhow::ensure!(
        used <= quiet + Row::BUDGET_MIB + ROOM_MIB,
        "{used} MiB, {quiet} when quiet; {felt:?}"
    );
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_triggers_leave_descriptors_to_the_others() -> anyhow::Result<()> {
    withstands(Row::DeadTriggers, MEANWHILE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_stall_stay_within_the_budget() -> anyhow::Result<()> {
    withstands(Row::StalledReplies, MEANWHILE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_events_of_hung_subscribers_stay_within_the_budget() -> anyhow::Result<()> {
    withstands(Row::HungSubscribers, MEANWHILE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_do_not_come_make_nobody_wait() -> anyhow::Result<()> {
    withstands(Row::SlowBodies, MEANWHILE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_calls_make_no_signed_call_wait() -> anyhow::Result<()> {
    withstands(Row::SilentCalls, MEANWHILE).await
}

/// Many events: if each had to wait for the silent name server, a Trigger with 32 attempts at a time would
/// not finish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_host_names_make_nobody_wait() -> anyhow::Result<()> {
    withstands(Row::DeadNames, 5 * MEANWHILE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_fills_the_volume_is_the_one_that_is_refused() -> anyhow::Result<()> {
    withstands(Row::FullVolume, MEANWHILE).await
}

/// Until the Trigger is gone its debts are a reason to refuse, so the traffic begins after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_debts_of_a_removed_trigger_do_not_turn_producers_away() -> anyhow::Result<()> {
    let neighbours = Neighbours::start(Row::Orphan, Honest::start().await?, None).await?;
    let Some(neighbours) = neighbours else {
        return Ok(());
    };
    let attack = neighbours.attack().await?;
    let traffic = neighbours.traffic();
    traffic.more(MEANWHILE).await?;
    attack.goes_on().await?;
    let outcome = traffic.stop().await;
    neighbours.is_unharmed(&outcome).await
}
