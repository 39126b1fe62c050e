//! Accepts sockets for one node and turns away, at once and counted, what is over a limit. It must not know handshakes.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::admission::Admission;
use super::counts::Counts;
use super::runtime::Runtime;
use crate::limits::ACCEPT_BACKOFF;
use crate::link::DownReason;
use crate::wire::address::Address;

/// A socket that may start its handshake.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) from: SocketAddr,
    pub(super) permit: OwnedSemaphorePermit,
}

/// Runs until the node is gone.
pub(super) async fn listen(
    listener: TcpListener,
    runtime: Arc<Runtime>,
    accepted: mpsc::Sender<Accepted>,
    counts: Arc<Counts>,
) {
    let mut admission = Admission::new(runtime.clock.instant());
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(kind = ?error.kind(), "cannot accept");
                let again = runtime.clock.instant() + ACCEPT_BACKOFF;
                tokio::time::sleep_until(runtime.clock.deadline(again)).await;
                continue;
            }
        };
        let permit =
            if admission.admit(runtime.clock.instant(), &Address(from)) { runtime.take_inbound_link() } else { None };
        let Some(permit) = permit else {
            counts.add(DownReason::Limit);
            continue;
        };
        if accepted.send(Accepted { stream, from, permit }).await.is_err() {
            return;
        }
    }
}
