//! What a new owner does before anything else: it looks for a loss, and notes that it has begun.

use super::servers::{Entry, Servers};
use super::state::{State, Write};
use crate::ChannelError;

/// What was found at a claim.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) claim: u64,
    pub(super) state: State,
    /// The last owner has not ended by itself.
    pub(super) is_unclean: bool,
    /// The log has lost events that it had acknowledged.
    pub(super) has_lost: bool,
}

/// Takes the partition over. If the log does not have what state remembers of it, reading begins again behind
/// the newest event that is as it was. What is read from there on has new positions.
///
/// Until the first record is stored nothing has been attempted: a claim that fails may be made again.
pub(super) async fn claim(servers: &dyn Servers) -> Result<Claimed, ChannelError> {
    let (claim, mut state) = servers.claim().await?;
    let is_unclean = state.progress.is_used && !state.progress.is_clean;
    let lanes = state.lanes.clone();
    let first = first_lost(servers, &mut state).await?;
    if let Some(first) = first {
        state.rewind(first);
    }
    state.progress.is_used = true;
    state.progress.is_clean = false;
    // Lanes first: a crash in between leaves the progress by which the loss is found again.
    let changed = state
        .lanes
        .iter()
        .filter(|(id, lane)| lanes.get(id) != Some(lane));
    let changed = changed.map(|(id, lane)| Write::Lane(*id, Some(lane.clone())));
    let writes: Vec<_> = changed.chain([state.progress()]).collect();
    let mut rest = writes.as_slice();
    while !rest.is_empty() {
        let (chunk, others) = rest.split_at(servers.fits(rest));
        servers.write(claim, chunk).await?;
        rest = others;
    }
    Ok(Claimed {
        claim,
        state,
        is_unclean,
        has_lost: first.is_some(),
    })
}

/// The number from which on the log has something else than was read, or nothing.
async fn first_lost(servers: &dyn Servers, state: &mut State) -> Result<Option<u64>, ChannelError> {
    let known = known_prints(servers, state).await?;
    if known < state.progress.prints.as_pairs().len() {
        state.progress.prints.truncate(known);
        let last = state.progress.prints.newest();
        return Ok(Some(last.map_or(servers.ends().start, |last| last + 1)));
    }
    if !has_lost_above(servers, state).await? {
        return Ok(None);
    }
    Ok(Some(state.progress.epochs.number(state.progress.router)))
}

/// How many of the oldest fingerprints fit what the log has. What has been deleted is taken to have fitted if
/// it is the newest: then everything that was read is settled and gone.
async fn known_prints(servers: &dyn Servers, state: &State) -> Result<usize, ChannelError> {
    let prints = state.progress.prints.as_pairs();
    let oldest = servers.ends().start;
    for (index, (number, print)) in prints.iter().enumerate().rev() {
        if *number < oldest {
            let is_newest = index + 1 == prints.len();
            return Ok(if is_newest { prints.len() } else { 0 });
        }
        let found = servers.get(&[*number]).await?.into_iter().next().flatten();
        if found.is_some_and(|entry| entry.print == *print) {
            return Ok(index + 1);
        }
    }
    Ok(0)
}

/// Whether something is named that the log does not have any more, above what fingerprints tell: a position
/// behind its end, or an event for which a row was stored without progress. Such a row must not stand for
/// another event that has its number now.
async fn has_lost_above(servers: &dyn Servers, state: &State) -> Result<bool, ChannelError> {
    let epochs = &state.progress.epochs;
    if state.highest_read() > epochs.position(servers.ends().end) {
        return Ok(true);
    }
    let above = state.debts.iter().filter_map(|((_, offset), debt)| {
        let copy = debt.event.as_ref()?;
        (*offset >= state.progress.router).then_some((*offset, copy))
    });
    let (offsets, copies): (Vec<_>, Vec<_>) = above.unzip();
    if offsets.iter().any(|offset| !epochs.has(*offset)) {
        return Ok(true);
    }
    let numbers: Vec<_> = offsets.iter().map(|offset| epochs.number(*offset)).collect();
    let found = servers.get(&numbers).await?;
    let mut pairs = found.iter().zip(copies);
    Ok(pairs.any(|(found, copy)| {
        let is_it =
            |entry: &Entry| entry.appended == copy.appended && entry.event.as_ref() == Some(&copy.event);
        !found.as_ref().is_some_and(is_it)
    }))
}
