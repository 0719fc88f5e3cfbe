//! The streams of a partition when a Broker is opened: what is missing is made, what is there must have our
//! shape.

use async_nats::jetstream::Context;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, Info};

use crate::error::OpenError;
use crate::fence::Store;
use crate::names::Names;
use crate::options::Options;
use crate::shape;

/// Refuses a Broker that was made with another number of partitions; tells whether one of this number has
/// been made to its end: partition 0 is made last.
pub(crate) async fn is_made(context: &Context, first: &Names) -> Result<bool, OpenError> {
    let mut is_made = false;
    for stream in [&first.of_other_number, &first.state, &first.events] {
        let Some(info) = existing(context, stream).await? else {
            continue;
        };
        if let Some(there) = shape::partitions(&info.config, first)
            && there != first.partitions
        {
            return Err(OpenError::OtherPartitions {
                broker: first.broker.clone(),
                there,
                wanted: first.partitions,
            });
        }
        is_made |= *stream != first.of_other_number;
    }
    Ok(is_made)
}

/// Makes what is missing, the state with its progress first, and looks at the shape of what is there. Without
/// a progress beside a stream of events the state is lost, and never new. Gives the events and the state.
pub(crate) async fn prepare(
    context: &Context,
    names: &Names,
    options: &Options,
    store: &Store,
    is_made: bool,
) -> Result<(Info, Info), OpenError> {
    let has_events = existing(context, &names.events).await?;
    if let Some(info) = &has_events {
        refuse_other(&info.config, &shape::events(names, options))?;
    }
    // Where others of the Broker's partitions are there, so was this one.
    let may_have_lost = has_events.is_some() || (is_made && names.partitions > 1);
    let state = match existing(context, &names.state).await? {
        Some(info) => info,
        None if may_have_lost && !options.rebuild_state => return Err(state_lost(names)),
        None => make_state(context, names, options).await?,
    };
    refuse_other(&state.config, &shape::state(names, options))?;
    if !store.has_progress().await? {
        if may_have_lost && !options.rebuild_state {
            return Err(state_lost(names));
        }
        let first = has_events
            .as_ref()
            .map_or(1, |info| info.state.first_sequence.max(1));
        store.begin(first).await?;
    }
    let events = match has_events {
        Some(info) => info,
        None => make(context, shape::events(names, options)).await?,
    };
    let replicas = events.config.num_replicas.min(state.config.num_replicas);
    match shape::falls_short(options.durability, replicas) {
        Some(reason) => Err(OpenError::NotDurableEnough(reason)),
        None => Ok((events, state)),
    }
}

/// The stream of members and leases.
pub(crate) async fn owners(context: &Context, names: &Names, options: &Options) -> Result<(), OpenError> {
    let wanted = shape::owners(names, options);
    match existing(context, &names.owners).await? {
        Some(info) => refuse_other(&info.config, &wanted),
        None => make(context, wanted).await.map(drop),
    }
}

fn state_lost(names: &Names) -> OpenError {
    OpenError::StateLost {
        events: names.events.clone(),
        state: names.state.clone(),
    }
}

async fn existing(context: &Context, stream: &str) -> Result<Option<Info>, OpenError> {
    match context.get_stream(stream).await {
        Ok(stream) => Ok(Some(stream.cached_info().clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Ok(None)
            }
            GetStreamErrorKind::JetStream(error) => Err(OpenError::Unsuitable(error.to_string())),
            _ => Err(OpenError::Unreachable(format!(
                "JetStream does not answer: {error}"
            ))),
        },
    }
}

async fn make(context: &Context, config: Config) -> Result<Info, OpenError> {
    let name = config.name.clone();
    try_make(context, config)
        .await
        .map_err(|error| not_made(&name, &error))
}

/// Without a bound, or with a wide one where the account demands one.
async fn make_state(context: &Context, names: &Names, options: &Options) -> Result<Info, OpenError> {
    match try_make(context, shape::state(names, options)).await {
        Ok(info) => Ok(info),
        Err(error) if demands_bound(&error) => make(context, shape::bounded_state(names, options)).await,
        Err(error) => Err(not_made(&names.state, &error)),
    }
}

async fn try_make(context: &Context, config: Config) -> Result<Info, CreateStreamError> {
    let name = config.name.clone();
    let made = context.create_stream(config).await?;
    tracing::info!(stream = name, "a stream was made");
    Ok(made.cached_info().clone())
}

fn demands_bound(error: &CreateStreamError) -> bool {
    matches!(error.kind(), CreateStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STREAM_MAX_BYTES_REQUIRED)
}

fn not_made(stream: &str, error: &CreateStreamError) -> OpenError {
    OpenError::Unsuitable(format!("the stream {stream} cannot be made: {error}"))
}

fn refuse_other(is: &Config, wanted: &Config) -> Result<(), OpenError> {
    match shape::difference(is, wanted) {
        Some(reason) => Err(OpenError::OtherShape {
            stream: is.name.clone(),
            reason,
        }),
        None => Ok(()),
    }
}
