//! One task per link, from dial or accept to its last report. It may wait; the owner never does.
//!
//! It must not know what cells mean. Every wait has a deadline.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout_at;

use super::link_session::Session;
use super::link_shell::LinkShell;
use crate::crypto::keys::{DhKey, DhSecret};
use crate::link::{DownReason, Link, Params};
use crate::node::io::{Input, LinkId};
use crate::wire::address::Address;
use crate::wire::cell::Cell;
use crate::wire::descriptor::SignedDescriptor;
use crate::wire::hello::Hello;
use crate::wire::network::VERSIONS;

/// One link's own.
pub(super) struct LinkTask {
    pub(super) id: LinkId,
    pub(super) shell: Arc<LinkShell>,
    /// Cells from the owner; closed when the link is to be.
    pub(super) cells: mpsc::Receiver<Cell>,
    /// Its share of the process's link budget.
    pub(super) permit: OwnedSemaphorePermit,
}

/// As whom this end speaks: `None` is a client.
pub(super) type Showing = Option<(DhSecret, SignedDescriptor)>;

impl LinkTask {
    /// Connects, shakes hands and carries cells until the link ends.
    pub(super) async fn dial(self, showing: Showing, address: Address, link_key: DhKey) {
        let (id, shell, permit) = (self.id, self.shell, self.permit);
        let ended = match connect(&shell, address.0).await {
            Ok(stream) => {
                let params = params(&shell, showing);
                match Link::dial(
                    params,
                    link_key,
                    &mut shell.runtime.entropy.generator(),
                    shell.runtime.clock.instant(),
                ) {
                    Ok(link) => Session::new(id, &shell, link, address, true).run(stream, self.cells).await,
                    Err(reason) => Some(reason),
                }
            }
            Err(reason) => Some(reason),
        };
        report(id, &shell, ended, permit).await;
    }

    /// Answers a handshake and carries cells until the link ends.
    pub(super) async fn accept(self, secret: DhSecret, shown: SignedDescriptor, stream: TcpStream, from: SocketAddr) {
        let (id, shell, permit) = (self.id, self.shell, self.permit);
        let params = params(&shell, Some((secret, shown)));
        let link = Link::accept(params, &mut shell.runtime.entropy.generator(), shell.runtime.clock.instant());
        let ended = match stream.set_nodelay(true) {
            Ok(()) => Session::new(id, &shell, link, Address(from), false).run(stream, self.cells).await,
            Err(_) => Some(DownReason::Handshake),
        };
        report(id, &shell, ended, permit).await;
    }
}

async fn report(id: LinkId, shell: &LinkShell, ended: Option<DownReason>, permit: OwnedSemaphorePermit) {
    drop(permit);
    if let Some(reason) = ended {
        // Fails only when the node is gone.
        let _ = shell.inbox.send(Input::LinkDown { link: id, reason }).await;
    }
}

fn params(shell: &LinkShell, showing: Showing) -> Params {
    let (secret, descriptor) = match showing {
        Some((secret, descriptor)) => (secret, Some(descriptor)),
        None => (DhSecret::generate(&mut shell.runtime.entropy.generator()), None),
    };
    let hello = Hello { versions: VERSIONS, descriptor };
    Params { network: shell.network, secret, hello, timing: shell.limits.timing }
}

async fn connect(shell: &LinkShell, to: SocketAddr) -> Result<TcpStream, DownReason> {
    // Whoever named it, and whatever was checked before: no packet leaves for somebody's private network.
    if !shell.network.may_reach(&Address(to)) {
        return Err(DownReason::Unreachable);
    }
    let clock = shell.runtime.clock;
    let end = clock.deadline(clock.instant() + shell.limits.dial_timeout);
    let attempt = async {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // On loopback the source says which relay dials: without this it would be 127.0.0.1.
        if let Some(ip) = shell.bind_ip {
            socket.bind(SocketAddr::new(ip, 0))?;
        }
        socket.set_nodelay(true)?;
        socket.connect(to).await
    };
    let connected: Result<io::Result<TcpStream>, _> = timeout_at(end, attempt).await;
    connected.ok().and_then(Result::ok).ok_or(DownReason::Unreachable)
}
