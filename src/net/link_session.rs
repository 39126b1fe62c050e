//! A connected link: moves frames between socket and link machine, cells between machine and owner.
//!
//! It must not know what cells mean. Every wait ends at a deadline.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout_at};

use super::frame_buffer::{ReadBuffer, WriteBuffer};
use super::link_shell::LinkShell;
use super::tap::may_log_keys;
use crate::crypto::keys::DhKey;
use crate::limits::{FRAMES_PER_WRITE_MAX, LINK_FLUSH_TIMEOUT};
use crate::link::{DownReason, Link, LinkEvent};
use crate::node::io::{Input, LinkId, Peer};
use crate::time::{Instant, earlier};
use crate::wire::address::Address;
use crate::wire::cell::Cell;
use crate::wire::descriptor::{SignedDescriptor, VerifiedDescriptor};

type Verdict = Result<Option<VerifiedDescriptor>, DownReason>;
type Verifying = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// A link under way, apart from its socket.
pub(super) struct Session<'a> {
    id: LinkId,
    shell: &'a Arc<LinkShell>,
    link: Link,
    ends: Option<(SocketAddr, SocketAddr)>,
    address: Address,
    dialled: bool,
    read: ReadBuffer,
    write: WriteBuffer,
    /// Cells on their way from the owner to the link; empty between two steps.
    batch: Vec<Cell>,
    /// What the owner has no room for yet: nothing more is read meanwhile.
    waiting: Option<Input>,
    /// The peer's descriptor is being verified: nothing more is read meanwhile.
    verifying: Option<(DhKey, Verifying)>,
    /// The end of handshake and verification, until the owner was told of the link.
    up_by: Option<Instant>,
    /// Since when the socket has taken nothing of what is to be written.
    stalled_since: Option<Instant>,
    /// The owner wants no more of this link; what waits is written until then.
    flush_by: Option<Instant>,
}

impl<'a> Session<'a> {
    pub(super) fn new(id: LinkId, shell: &'a Arc<LinkShell>, link: Link, address: Address, dialled: bool) -> Self {
        Self {
            id,
            shell,
            link,
            ends: None,
            address,
            dialled,
            read: ReadBuffer::new(),
            write: WriteBuffer::default(),
            batch: Vec::new(),
            waiting: None,
            verifying: None,
            up_by: Some(shell.runtime.clock.instant() + shell.limits.timing.handshake),
            stalled_since: None,
            flush_by: None,
        }
    }

    /// Carries the link to its end. Why it ended; `None` when the owner wanted it.
    pub(super) async fn run(mut self, mut stream: TcpStream, mut cells: mpsc::Receiver<Cell>) -> Option<DownReason> {
        self.ends = stream.local_addr().ok().map(|local| (local, self.address.0));
        if let (Some(tap), Some((local, peer))) = (&self.shell.tap, self.ends)
            && tap.logs_keys()
            && may_log_keys(&self.shell.network, [local, peer])
        {
            self.link.expose_keys();
        }
        let (mut reader, mut writer) = stream.split();
        let ended = loop {
            match self.step(&mut reader, &mut writer, &mut cells).await {
                Ok(true) => {}
                Ok(false) => break None,
                Err(reason) => break Some(reason),
            }
        };
        if ended.is_some() {
            self.say_last_words(&mut writer).await;
        }
        // An error says that the peer has closed before us.
        let _ = writer.shutdown().await;
        ended
    }

    fn now(&self) -> Instant {
        self.shell.runtime.clock.instant()
    }

    /// Does what can be done at once, then waits for one thing. `false` when the link is closed as the owner wanted.
    async fn step(
        &mut self,
        reader: &mut ReadHalf<'_>,
        writer: &mut WriteHalf<'_>,
        cells: &mut mpsc::Receiver<Cell>,
    ) -> Result<bool, DownReason> {
        self.take_frames()?;
        self.fill_write();
        self.tap_keys();
        if self.flush_by.is_some() && self.write.is_empty() {
            return Ok(false);
        }
        let deadline = self.deadline();
        let at = self.shell.runtime.clock.deadline(deadline.unwrap_or(Instant::from_micros(u64::MAX)));
        let may_read = self.waiting.is_none() && self.verifying.is_none() && self.flush_by.is_none();
        let inbox = &self.shell.inbox;
        let mut batch = core::mem::take(&mut self.batch);
        tokio::select! {
            read = reader.read(self.read.room()), if may_read => self.have_read(read)?,
            written = writer.write(self.write.pending()), if !self.write.is_empty() => self.have_written(written)?,
            count = cells.recv_many(&mut batch, FRAMES_PER_WRITE_MAX), if self.flush_by.is_none() => {
                if count == 0 {
                    self.flush_by = Some(self.now() + LINK_FLUSH_TIMEOUT);
                }
                self.queue(&mut batch)?;
            }
            room = inbox.reserve(), if self.waiting.is_some() => match (room, self.waiting.take()) {
                (Ok(room), Some(input)) => room.send(input),
                _ => return Ok(false),
            },
            verdict = verdict(&mut self.verifying), if self.verifying.is_some() => self.verified(verdict)?,
            () = sleep_until(at) => return self.handle_timeout(),
        }
        self.batch = batch;
        Ok(true)
    }

    fn deadline(&self) -> Option<Instant> {
        let stall = self.stalled_since.map(|since| since + self.shell.limits.write_stall_max);
        let own = earlier(self.up_by, earlier(stall, self.flush_by));
        earlier(self.link.poll_timeout(), own)
    }

    fn handle_timeout(&mut self) -> Result<bool, DownReason> {
        let now = self.now();
        let is_over = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        if is_over(self.flush_by) {
            return Ok(false);
        }
        self.link.handle_timeout(now)?;
        // A timer of the link: for a while it has sent nothing.
        self.read.rest();
        self.write.rest();
        if is_over(self.up_by) {
            return Err(DownReason::Handshake);
        }
        if is_over(self.stalled_since.map(|since| since + self.shell.limits.write_stall_max)) {
            return Err(DownReason::Silent);
        }
        Ok(true)
    }

    /// Gives the machine what was read, until something has to be waited for.
    fn take_frames(&mut self) -> Result<(), DownReason> {
        while self.waiting.is_none() && self.verifying.is_none() && self.flush_by.is_none() {
            let now = self.now();
            let Some(frame) = self.read.next_frame() else { return Ok(()) };
            if let (Some(tap), Some((local, peer))) = (&self.shell.tap, self.ends) {
                tap.frame(local, peer, false, frame);
            }
            match self.link.handle_frame(now, frame)? {
                None => {}
                Some(LinkEvent::Established { link_key, hello }) => {
                    self.verifying = Some((link_key, Box::pin(verify(Arc::clone(self.shell), hello.descriptor))));
                }
                Some(LinkEvent::Cell(cell)) => {
                    self.tap_cell(&cell, false);
                    self.tell(Input::Cell { link: self.id, cell });
                }
            }
        }
        Ok(())
    }

    /// Hands something to the owner, or keeps it until there is room. A node that is gone ends this task soon.
    fn tell(&mut self, input: Input) {
        if let Err(mpsc::error::TrySendError::Full(input)) = self.shell.inbox.try_send(input) {
            self.waiting = Some(input);
        }
    }

    fn verified(&mut self, verdict: Verdict) -> Result<(), DownReason> {
        let descriptor = verdict?;
        if let Some((link_key, _)) = self.verifying.take() {
            let peer = Peer { link_key, descriptor, address: self.address, dialled: self.dialled };
            self.up_by = None;
            self.tell(Input::LinkUp { link: self.id, peer: Box::new(peer) });
        }
        Ok(())
    }

    fn queue(&mut self, batch: &mut Vec<Cell>) -> Result<(), DownReason> {
        for cell in batch.drain(..) {
            self.tap_cell(&cell, true);
            self.link.push(cell).map_err(|_| DownReason::Limit)?;
        }
        Ok(())
    }

    fn tap_keys(&mut self) {
        if let (Some(tap), Some(exposed)) = (&self.shell.tap, self.link.take_exposed()) {
            tap.keys(&exposed);
        }
    }

    fn tap_cell(&self, cell: &Cell, sent: bool) {
        if let (Some(tap), Some((local, peer))) = (&self.shell.tap, self.ends) {
            tap.cell(local, peer, sent, cell.command(), cell.circuit());
        }
    }

    fn fill_write(&mut self) {
        if !self.link.has_frame() {
            return;
        }
        let now = self.now();
        let (link, tap, ends) = (&mut self.link, &self.shell.tap, self.ends);
        self.write.fill(|frame| {
            let there = link.poll_frame(now, frame);
            if let (true, Some(tap), Some((local, peer))) = (there, tap, ends) {
                tap.frame(local, peer, true, frame);
            }
            there
        });
        if !self.write.is_empty() && self.stalled_since.is_none() {
            self.stalled_since = Some(now);
        }
    }

    fn have_read(&mut self, read: io::Result<usize>) -> Result<(), DownReason> {
        match read {
            // To whoever was not for us bytes go on being taken, and are overwritten by the next: a socket that stops taking, or that
            // is closed with bytes unread, would tell how many it takes to be refused.
            Ok(len) if len > 0 && self.link.is_mute() => Ok(()),
            Ok(len) if len > 0 => {
                self.read.filled(len);
                Ok(())
            }
            _ if self.link.is_mute() => Err(DownReason::Identity),
            _ if self.up_by.is_some() => Err(DownReason::Handshake),
            _ => Err(DownReason::Closed),
        }
    }

    fn have_written(&mut self, written: io::Result<usize>) -> Result<(), DownReason> {
        match written {
            Ok(len) if len > 0 => {
                self.write.written(len);
                self.stalled_since = None;
                Ok(())
            }
            _ if self.up_by.is_some() => Err(DownReason::Handshake),
            _ => Err(DownReason::Closed),
        }
    }

    /// A machine that ended may still have something to say: to which versions we would have spoken.
    async fn say_last_words(&mut self, writer: &mut WriteHalf<'_>) {
        if !self.link.has_frame() {
            return;
        }
        let end = self.shell.runtime.clock.deadline(self.now() + LINK_FLUSH_TIMEOUT);
        let _ = timeout_at(end, async {
            writer.write_all(self.write.pending()).await?;
            self.write.written(usize::MAX / 2);
            self.fill_write();
            writer.write_all(self.write.pending()).await
        })
        .await;
    }
}

async fn verdict(verifying: &mut Option<(DhKey, Verifying)>) -> Verdict {
    match verifying {
        Some((_, verdict)) => verdict.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Verifies a shown descriptor in the pool: signature and identity puzzle are dear.
async fn verify(shell: Arc<LinkShell>, shown: Option<SignedDescriptor>) -> Verdict {
    let Some(shown) = shown else { return Ok(None) };
    let (network, now) = (shell.network, shell.runtime.clock.now().unix);
    let (answer_in, answer) = oneshot::channel();
    let place = shell.runtime.pool.reserve().await.ok_or(DownReason::Limit)?;
    place.send(Box::new(move |_, puzzles| {
        let verified = shown.verify_with(&network, now, |solution, network, key, difficulty| {
            puzzles.check(solution, network, key, difficulty)
        });
        // Fails only when the link has ended meanwhile.
        let _ = answer_in.send(verified);
    }));
    match answer.await {
        Ok(Ok(verified)) => Ok(Some(verified)),
        Ok(Err(refused)) => {
            tracing::debug!(%refused, "a peer's descriptor is not believed");
            Err(DownReason::Identity)
        }
        Err(_) => Err(DownReason::Identity),
    }
}
