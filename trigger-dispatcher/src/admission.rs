//! Gives each trigger of a broker its lane: new ones, changed ones, and those that are gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millrace_channel::{Change, ChannelError, LaneSpec, LaneState};
use millrace_delivery::backoff;
use millrace_event::ObjectName;
use millrace_filter::text;
use millrace_model::{Mesh, Trigger};

use crate::alone::LONGEST_CALM;
use crate::lane::{Earlier, Halt, Inner, Lane};
use crate::serving::{Gate, Serving};
use crate::{orphans, progress};

/// Makes the lanes what the mesh says. When it returns, each trigger's start position is durable and every
/// event admitted from now on will be offered to it.
///
/// Nothing is read meanwhile. Before a new filter counts it is written down from where: what was read before
/// is judged by the old one, also after a crash.
pub(crate) async fn apply(serving: &Arc<Serving>, mesh: &Mesh) -> Result<(), ChannelError> {
    let mut gate = serving.gate.lock().await;
    let orphaned = !mesh.brokers.contains_key(&serving.broker);
    if orphaned && !serving.orphaned.load(Ordering::Relaxed) {
        serving.span.in_scope(|| {
            tracing::info!(
                "the broker is in no document any more; its triggers' debts are kept for the grace period"
            )
        });
    }
    serving.orphaned.store(orphaned, Ordering::Relaxed);
    let wanted: BTreeMap<ObjectName, Arc<Trigger>> = mesh
        .triggers_of(&serving.broker)
        .filter(|_| !orphaned)
        .map(|trigger| (trigger.name.clone(), trigger.clone()))
        .collect();
    orphan_missing(serving, &mut gate, &wanted).await?;
    let gone = orphaned.then(|| serving.steady());
    serving.channel.set_orphaned(gone).await?;
    let mut specs = Vec::new();
    let mut changed = Vec::new();
    for trigger in wanted.values() {
        match present(serving, trigger) {
            Some(lane) => changed.push((lane, trigger.clone())),
            None => specs.push(LaneSpec {
                trigger: trigger.name.clone(),
                uid: trigger.uid.clone(),
                resume: trigger.resume,
                filter: text::of(&trigger.filters),
                longest_wait: longest_wait(trigger),
            }),
        }
    }
    change(serving, &mut gate, changed).await?;
    // Where one that is back stands is known here exactly.
    let back = with_other_filters(&known(serving, &specs, &wanted));
    if !back.is_empty() {
        change_filters(serving, &mut gate, &back).await?;
    }
    if !specs.is_empty() {
        open(serving, &mut gate, specs, &wanted).await?;
    }
    Ok(())
}

/// The longest wait of any row. Work that is due later was postponed by a wrong clock: no policy makes an
/// event wait longer, and no suspicion does.
fn longest_wait(trigger: &Trigger) -> Duration {
    backoff::longest(&trigger.delivery).max(LONGEST_CALM)
}

/// The lane of a trigger, if it is there and not orphaned.
fn present(serving: &Serving, trigger: &Trigger) -> Option<Arc<Lane>> {
    let routes = serving.routes.lock();
    let lane = routes.lanes.get(routes.by_name.get(&trigger.name)?)?.clone();
    drop(routes);
    let orphaned = matches!(lane.inner.lock().halt, Some(Halt::Orphaned(_)));
    (!orphaned).then_some(lane)
}

/// Whether a lane is that trigger's own. One of the same name that a cluster has made anew is another
/// trigger.
fn is_of(lane: &Lane, trigger: &Trigger) -> bool {
    trigger.uid.is_none() || lane.inner.lock().settings.trigger.uid == trigger.uid
}

/// The lanes of triggers that are back and were gone while this process served them, with those triggers. One
/// that resumes is back in the place of another.
fn known(
    serving: &Serving,
    specs: &[LaneSpec],
    wanted: &BTreeMap<ObjectName, Arc<Trigger>>,
) -> Vec<(Arc<Lane>, Arc<Trigger>)> {
    let routes = serving.routes.lock();
    let known = specs.iter().filter_map(|spec| {
        let trigger = wanted.get(&spec.trigger)?;
        let lane = routes.lanes.get(routes.by_name.get(&spec.trigger)?)?;
        (is_of(lane, trigger) || trigger.resume).then(|| (lane.clone(), trigger.clone()))
    });
    known.collect()
}

/// Those whose trigger has other filters than before.
fn with_other_filters(lanes: &[(Arc<Lane>, Arc<Trigger>)]) -> Vec<(Arc<Lane>, Arc<Trigger>)> {
    let is_other = |(lane, trigger): &&(Arc<Lane>, Arc<Trigger>)| {
        lane.inner.lock().settings.trigger.filters != trigger.filters
    };
    lanes.iter().filter(is_other).cloned().collect()
}

/// Lanes whose trigger is gone stop where they are, durably.
async fn orphan_missing(
    serving: &Arc<Serving>,
    gate: &mut Gate,
    wanted: &BTreeMap<ObjectName, Arc<Trigger>>,
) -> Result<(), ChannelError> {
    let now = serving.steady();
    let mut missing = Vec::new();
    {
        let routes = serving.routes.lock();
        let gone: Vec<_> = routes
            .lanes
            .values()
            .filter(|lane| !wanted.get(&lane.name).is_some_and(|trigger| is_of(lane, trigger)))
            .cloned()
            .collect();
        let position = routes.position;
        for lane in gone {
            let mut inner = lane.inner.lock();
            match inner.halt {
                Some(Halt::Orphaned(_)) if inner.orphan_stored => continue,
                Some(Halt::Orphaned(since)) => {
                    missing.push((lane.clone(), since));
                    continue;
                }
                _ => inner.halt = Some(Halt::Orphaned(now)),
            }
            inner.leave_router(position);
            inner.drop_queue(&serving.common.budget, position);
            // Named one by one, so that they can be counted if the Trigger stays away and they are dropped.
            inner.name_queue(position);
            inner.drop_due(&serving.common.budget);
            serving.stir(&lane, &mut inner);
            gate.remove(lane.key);
            inner.indexed = false;
            inner.orphan_stored = false;
            missing.push((lane.clone(), now));
            serving
                .trigger_span(&lane.name)
                .in_scope(|| tracing::info!("the trigger is gone; its debts are kept for the grace period"));
        }
    }
    if !missing.is_empty() {
        progress::commit(serving).await?;
    }
    for (lane, since) in missing {
        serving
            .channel
            .set_lane_state(lane.id, LaneState::Orphaned(since))
            .await?;
        lane.inner.lock().orphan_stored = true;
    }
    Ok(())
}

/// Triggers that may have changed: a new filter counts from the next event read on, the rest from the next
/// attempt on.
async fn change(
    serving: &Arc<Serving>,
    gate: &mut Gate,
    changed: Vec<(Arc<Lane>, Arc<Trigger>)>,
) -> Result<(), ChannelError> {
    let others = with_other_filters(&changed);
    if !others.is_empty() {
        change_filters(serving, gate, &others).await?;
    }
    for (lane, trigger) in changed {
        if !lane.inner.lock().indexed {
            gate.insert(lane.key, trigger.compiled.clone());
            lane.inner.lock().indexed = true;
        }
        let settings = serving.settings(trigger);
        let mut inner = lane.inner.lock();
        if !Arc::ptr_eq(&inner.settings.trigger, &settings.trigger) {
            inner.settings = settings;
            serving.stir(&lane, &mut inner);
        }
    }
    Ok(())
}

/// Other filters for lanes that are served: written down before they count.
async fn change_filters(
    serving: &Arc<Serving>,
    gate: &mut Gate,
    changed: &[(Arc<Lane>, Arc<Trigger>)],
) -> Result<(), ChannelError> {
    let router = serving.routes.lock().position;
    for (lane, _) in changed {
        let mut inner = lane.inner.lock();
        inner.make_room_for_filter(router);
        serving.stir(lane, &mut inner);
    }
    progress::commit(serving).await?;
    let from = |lane: &Lane| serving.at(lane.inner.lock().has_read(router));
    let changes = changed.iter().map(|(lane, trigger)| Change::Filter {
        lane: lane.id,
        from: from(lane),
        filter: text::of(&trigger.filters),
    });
    serving.channel.commit(changes.collect()).await?;
    for (lane, trigger) in changed {
        let from = from(lane);
        gate.insert(lane.key, trigger.compiled.clone());
        let mut inner = lane.inner.lock();
        inner.replace_filter(from);
        inner.indexed = true;
        // Nothing may be judged in between by the filter that was replaced.
        inner.settings = serving.settings(trigger.clone());
        serving.stir(lane, &mut inner);
    }
    Ok(())
}

/// The earlier filters of a lane, ready to run. One that this version refuses is left out: the next one
/// judges in its place.
fn earlier(serving: &Serving, stored: &millrace_channel::Lane) -> Vec<Earlier> {
    let ready = stored.earlier.iter().filter_map(|one| {
        let compiled = text::compile(&one.filter)
            .inspect_err(|error| {
                serving.trigger_span(&stored.trigger).in_scope(|| {
                    tracing::error!(
                        %error,
                        until = %one.until,
                        "an earlier filter of the trigger cannot be used any more; the next one judges in its place"
                    )
                });
            })
            .ok()?;
        Some(Earlier {
            until: one.until,
            filter: Arc::new(compiled),
        })
    });
    ready.collect()
}

/// Opens the lanes of triggers that are new, or back.
async fn open(
    serving: &Arc<Serving>,
    gate: &mut Gate,
    specs: Vec<LaneSpec>,
    wanted: &BTreeMap<ObjectName, Arc<Trigger>>,
) -> Result<(), ChannelError> {
    for stored in serving.channel.open_lanes(specs).await? {
        let Some(trigger) = wanted.get(&stored.trigger) else {
            continue;
        };
        let settings = serving.settings(trigger.clone());
        let mut routes = serving.routes.lock();
        let known = routes
            .by_name
            .get(&stored.trigger)
            .and_then(|key| routes.lanes.get(key))
            .cloned();
        let lane = match known {
            Some(lane) if lane.id == stored.id => {
                lane.inner.lock().settings = settings;
                lane
            }
            other => {
                if let Some(replaced) = other {
                    gate.remove(replaced.key);
                    routes.lanes.remove(&replaced.key);
                    replaced
                        .inner
                        .lock()
                        .give_up(&serving.common.budget, serving.steady());
                }
                let key = routes.next_key;
                routes.next_key += 1;
                let router = routes.position;
                let inner = Inner::restore(
                    &stored,
                    settings,
                    router,
                    serving.suspects_below,
                    serving.steady(),
                );
                let share = serving.common.connector.share();
                let lane = Arc::new(Lane::new(&stored, key, share, inner));
                routes.lanes.insert(key, lane.clone());
                routes.by_name.insert(stored.trigger.clone(), key);
                lane
            }
        };
        gate.insert(lane.key, trigger.compiled.clone());
        let position = routes.position;
        drop(routes);
        let earlier = earlier(serving, &stored);
        let mut inner = lane.inner.lock();
        inner.judge_by(earlier);
        inner.indexed = true;
        inner.orphan_stored = false;
        set_halt(&mut inner, stored.state, position);
        if let Some(due) = stored.next_due {
            serving.schedule(lane.key, due);
        }
        serving.stir(&lane, &mut inner);
    }
    Ok(())
}

/// After a command: the numbers of rows, due times and states as they are stored now. Until they are taken
/// over nothing is committed and no lane is opened or set aside, or what was read here would be older than
/// what it replaces.
pub(crate) async fn refresh(serving: &Arc<Serving>) -> Result<(), ChannelError> {
    let mut gate = serving.gate.lock().await;
    let _committing = serving.committing.lock().await;
    let lanes = serving.channel.lanes().await?;
    orphans::take_over(serving, &mut gate, &lanes);
    for stored in lanes {
        let (lane, position) = {
            let routes = serving.routes.lock();
            let lane = routes
                .by_name
                .get(&stored.trigger)
                .and_then(|key| routes.lanes.get(key))
                .cloned();
            (lane, routes.position)
        };
        let Some(lane) = lane.filter(|lane| lane.id == stored.id) else {
            continue;
        };
        let mut inner = lane.inner.lock();
        if matches!(inner.halt, Some(Halt::Orphaned(_))) {
            let dropped = inner.deferred.get().saturating_sub(stored.deferred);
            serving.metrics.dropped.inc_by(dropped);
        }
        inner.deferred.set_stored(stored.deferred);
        inner.parked.set_stored(stored.parked);
        // Only the return of its trigger ends an orphan's wait.
        if !matches!(inner.halt, Some(Halt::Orphaned(_))) {
            set_halt(&mut inner, stored.state, position);
        }
        if let Some(due) = stored.next_due {
            serving.schedule(lane.key, due);
        }
        serving.stir(&lane, &mut inner);
    }
    Ok(())
}

fn set_halt(inner: &mut Inner, state: LaneState, router: u64) {
    inner.halt = match state {
        LaneState::Active => None,
        LaneState::Paused => Some(Halt::Paused),
        LaneState::Orphaned(since) => Some(Halt::Orphaned(since)),
    };
    if inner.halt.is_some() {
        inner.leave_router(router);
    }
}
