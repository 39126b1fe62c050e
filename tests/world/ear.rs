//! Listens in on every node of a network: frames that repeat, and what goes over the clients' links. It knows no keys.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard};

use bauta::crypto::hash::blake3;
use bauta::limits::FRAME_LEN;
use bauta::net::Tap;
use bauta::wire::cell::{CircuitId, Command};

/// Of the aligned blocks those are kept whose first byte is a multiple of this: a block that occurs twice is kept twice
/// or not at all, wherever it stands.
const BLOCK_SAMPLE: u8 = 16;
const BLOCK_LEN: usize = 16;

/// What one circuit or question carried on a client's link, in order: whether it was sent, and what.
pub(crate) type Seen = Vec<(bool, Command)>;

/// The listener.
#[derive(Default)]
pub(crate) struct Ear {
    frames: Mutex<Frames>,
    cells: Mutex<BTreeMap<(SocketAddr, SocketAddr, CircuitId), Seen>>,
}

/// Frames that were sent.
#[derive(Default)]
pub(crate) struct Frames {
    pub(crate) sent: usize,
    pub(crate) received: usize,
    pub(crate) repeated: usize,
    pub(crate) blocks: usize,
    pub(crate) blocks_repeated: usize,
    seen: BTreeSet<[u8; 32]>,
    seen_blocks: BTreeSet<[u8; BLOCK_LEN]>,
}

impl Ear {
    pub(crate) fn frames(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock().unwrap()
    }

    /// What the links of one client carried since the last call. Destroy and credits are control of the link: left out.
    pub(crate) fn take(&self, client: IpAddr) -> Vec<Seen> {
        let mut cells = self.cells.lock().unwrap();
        let taken = cells.extract_if(.., |(local, _, _), _| local.ip() == client);
        let counted = |(_, seen): (_, Seen)| {
            let kept = |(_, command): &(bool, Command)| !matches!(command, Command::Destroy | Command::Credit);
            seen.into_iter().filter(kept).collect::<Seen>()
        };
        taken.map(counted).filter(|seen| !seen.is_empty()).collect()
    }

    /// Cells of one kind that a client sent since the last `take`.
    pub(crate) fn sent_by(&self, client: IpAddr, command: Command) -> usize {
        let cells = self.cells.lock().unwrap();
        let own = cells.iter().filter(|((local, _, _), _)| local.ip() == client);
        own.flat_map(|(_, seen)| seen).filter(|one| **one == (true, command)).count()
    }

    /// Relays' sockets that a client has a cell from or to since the last `take`.
    pub(crate) fn peers_of(&self, client: IpAddr) -> BTreeSet<SocketAddr> {
        let cells = self.cells.lock().unwrap();
        cells.keys().filter(|(local, _, _)| local.ip() == client).map(|(_, peer, _)| *peer).collect()
    }
}

impl Tap for Ear {
    fn frame(&self, _: SocketAddr, _: SocketAddr, sent: bool, frame: &[u8; FRAME_LEN]) {
        let mut frames = self.frames.lock().unwrap();
        if !sent {
            frames.received += 1;
            return;
        }
        frames.sent += 1;
        if !frames.seen.insert(blake3(&[frame])) {
            frames.repeated += 1;
        }
        let (blocks, _) = frame.as_chunks::<BLOCK_LEN>();
        for block in blocks.iter().filter(|block| block[0].is_multiple_of(BLOCK_SAMPLE)) {
            frames.blocks += 1;
            if !frames.seen_blocks.insert(*block) {
                frames.blocks_repeated += 1;
            }
        }
    }

    fn cell(&self, local: SocketAddr, peer: SocketAddr, sent: bool, command: Command, circuit: CircuitId) {
        // Clients alone have addresses from 127.220 on, and there is nothing else to see on relays' links.
        if matches!(local.ip(), IpAddr::V4(ip) if ip.octets()[1] > 200) {
            self.cells.lock().unwrap().entry((local, peer, circuit)).or_default().push((sent, command));
        }
    }
}
