//! The task between a client node and its calls: outcomes to whoever waits, guards to the state directory.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::stored::{self, StoredMembers};
use super::{KEPT_FILE, Shared, lock, sample_of};
use crate::disk::{StateDir, StateError};
use crate::limits::PATHS_REMEMBERED_MAX;
use crate::net::{NodeHandle, Runtime};
use crate::node::{ClientCommand, ClientEvent, ClientNode, Kept};
use crate::wire::network::Network;

/// Runs until the client is dropped or stopped, then ends the node.
pub(super) async fn serve(
    mut handle: NodeHandle<ClientNode>,
    shared: Arc<Shared>,
    state: StateDir,
    mut known: Option<Kept>,
    mut stopped: oneshot::Receiver<()>,
    (network, runtime): (Network, Arc<Runtime>),
) {
    let state = Arc::new(state);
    let mut writing = JoinSet::new();
    loop {
        let event = tokio::select! {
            _ = &mut stopped => break,
            event = handle.events.recv() => event,
        };
        match event {
            None => break,
            Some(ClientEvent::Ready { guard, .. }) => {
                remember(&mut lock(&shared.guards_used), guard);
                shared.guard.send_replace(Some(guard));
            }
            Some(ClientEvent::Path(path)) => remember(&mut lock(&shared.paths), path),
            Some(ClientEvent::Asking { bootstraps }) => *lock(&shared.bootstraps_asked) += bootstraps,
            Some(ClientEvent::Joined(joined)) => {
                // What has not settled would serve for hours.
                if joined.settled
                    && let Some(members) = StoredMembers::new(&joined.members, &network, &runtime)
                {
                    let state = Arc::clone(&state);
                    writing.spawn_blocking(move || stored::write(&state, &members));
                }
                *lock(&shared.joined) = Some(joined);
            }
            Some(ClientEvent::GuardDoubted(of)) => tracing::warn!(
                circuits = of.begun,
                finished = of.finished,
                "the guard lets too many circuits fail, or most relays are out of reach"
            ),
            Some(ClientEvent::Sight(sight)) => remember(&mut lock(&shared.sights), sight),
            Some(ClientEvent::Done { id, outcome }) => {
                if let Some(waiting) = lock(&shared.waiting).remove(&id) {
                    // Whoever waited may be gone.
                    let _ = waiting.send(outcome);
                }
            }
            Some(ClientEvent::Keep(kept)) => match keep(&state, known.clone(), kept.clone()).await {
                Ok(now_kept) => {
                    let foreign = (now_kept != kept).then(|| now_kept.clone());
                    *lock(&shared.sample) = sample_of(&now_kept);
                    known = Some(now_kept);
                    if handle.commands.send(ClientCommand::Kept(foreign)).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    // Without its state a client would draw new guards each time: it stops instead.
                    *lock(&shared.state_error) = Some(error);
                    break;
                }
            },
        }
    }
    lock(&shared.waiting).clear();
    handle.shutdown().await;
    // The next process shall find it whole.
    while writing.join_next().await.is_some() {}
    shared.ended.send_replace(true);
}

/// The oldest makes room: a client may run for months.
fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= PATHS_REMEMBERED_MAX {
        list.pop_front();
    }
    list.push_back(item);
}

/// Writes what the node says, unless another process has written since: then that holds. Counts alone are no reason: of two processes
/// over one guard either has seen what it does.
async fn keep(state: &Arc<StateDir>, known: Option<Kept>, wanted: Kept) -> Result<Kept, StateError> {
    let state = Arc::clone(state);
    let path = state.path().to_owned();
    let update = move || {
        state.update(KEPT_FILE, |held: Option<Kept>| match held {
            Some(held) if known.as_ref().is_none_or(|known| !held.is_same_but_for_counts(known)) => held,
            _ => wanted,
        })
    };
    tokio::task::spawn_blocking(update)
        .await
        .unwrap_or_else(|stopped| Err(StateError::Io { path, source: std::io::Error::other(stopped) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::guards::SampledGuard;
    use crate::membership::path_bias::GuardCircuits;

    fn kept(key: u8, begun: u32) -> Kept {
        let circuits = GuardCircuits { begun, ..GuardCircuits::default() };
        let mut kept = Kept::default();
        kept.guards.guards.push(SampledGuard { key: [key; 32], sampled: 1, confirmed: true, down: false, circuits });
        kept
    }

    #[tokio::test]
    async fn what_another_process_sampled_holds_and_what_it_counted_alone_does_not() {
        let home = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDir::open(home.path().join("state")).unwrap());
        let first = keep(&state, None, kept(1, 0)).await.unwrap();
        assert!(first == kept(1, 0));
        // The other one counted: this one's count is written over it, and no guard is dialled anew for it.
        state.write(KEPT_FILE, &kept(1, 5)).unwrap();
        assert!(keep(&state, Some(first.clone()), kept(1, 3)).await.unwrap() == kept(1, 3));
        state.write(KEPT_FILE, &kept(2, 0)).unwrap();
        assert!(keep(&state, Some(first), kept(1, 4)).await.unwrap() == kept(2, 0));
    }
}
