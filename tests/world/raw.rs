//! A peer made of a socket and a link machine alone: it says exactly what a test has it say. It must not know nodes.

use std::net::{Ipv4Addr, SocketAddr};

use bauta::crypto::keys::DhSecret;
use bauta::limits::FRAME_LEN;
use bauta::link::{DownReason, Frame, Link, LinkEvent, Params, Timing};
use bauta::time::{Instant, UnixTime};
use bauta::wire::cell::{Cell, CircuitId, Command};
use bauta::wire::contact::Contact;
use bauta::wire::descriptor::VerifiedDescriptor;
use bauta::wire::hello::Hello;
use bauta::wire::message::{Answer, Ask, Assembler, cells_of};
use bauta::wire::network::{Network, VERSIONS};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::patiently;

/// Numbers that the dialler of a link opens have this bit.
const DIALLER_BIT: u32 = 1 << 31;

/// The peer.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    pub(crate) link: Link,
}

/// A circuit number that a dialler may open.
pub(crate) fn circuit(number: u32) -> CircuitId {
    CircuitId(number | DIALLER_BIT)
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) async fn connect_from(ip: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    socket.bind((ip, 0).into()).unwrap();
    let stream = patiently(socket.connect(to)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The far end has closed, in order or not, and said nothing before.
pub(crate) async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0; 1];
    matches!(patiently(stream.read(&mut byte)).await, Ok(0) | Err(_))
}

impl Raw {
    /// A connection whose first frame is not yet written. Every client has a fresh key: so has every seed.
    pub(crate) async fn connect(seed: u8, ip: Ipv4Addr, network: Network, to: &Contact) -> Self {
        let hello = Hello { versions: VERSIONS, descriptor: None };
        let secret = DhSecret::generate(&mut rng(u64::from(seed)));
        let params = Params { network, secret, hello, timing: Timing::default() };
        Self::connect_as(params, seed, ip, to).await
    }

    /// The same as whoever these say that it is.
    pub(crate) async fn connect_as(params: Params, seed: u8, ip: Ipv4Addr, to: &Contact) -> Self {
        let link = Link::dial(params, to.link_key, &mut rng(1_000 + u64::from(seed)), Instant::ZERO).unwrap();
        Self { stream: connect_from(ip, to.address.0).await, link }
    }

    /// A link that is up.
    pub(crate) async fn up(seed: u8, ip: Ipv4Addr, network: Network, to: &Contact) -> Self {
        Self::connect(seed, ip, network, to).await.established().await
    }

    /// The same link, once it is up.
    pub(crate) async fn established(mut self) -> Self {
        let raw = &mut self;
        raw.flush().await.unwrap();
        assert!(matches!(raw.event().await, Ok(Some(LinkEvent::Established { .. }))));
        raw.flush().await.unwrap();
        self
    }

    /// Writes whatever the link wants written.
    pub(crate) async fn flush(&mut self) -> std::io::Result<()> {
        let (mut frame, mut all): (Frame, Vec<u8>) = ([0; FRAME_LEN], Vec::new());
        while self.link.poll_frame(Instant::ZERO, &mut frame) {
            all.extend_from_slice(&frame);
        }
        patiently(self.stream.write_all(&all)).await
    }

    pub(crate) async fn send(&mut self, cells: impl IntoIterator<Item = Cell>) -> std::io::Result<()> {
        for cell in cells {
            self.link.push(cell).unwrap();
        }
        self.flush().await
    }

    /// What the next frame brings; `Err(None)` when the far end has closed.
    pub(crate) async fn event(&mut self) -> Result<Option<LinkEvent>, Option<DownReason>> {
        let mut frame: Frame = [0; FRAME_LEN];
        patiently(self.stream.read_exact(&mut frame)).await.map_err(|_| None)?;
        self.link.handle_frame(Instant::ZERO, &frame).map_err(Some)
    }

    /// The next cell; `None` when the far end has closed.
    pub(crate) async fn cell(&mut self) -> Option<Cell> {
        loop {
            match self.event().await {
                Ok(Some(LinkEvent::Cell(cell))) => return Some(cell),
                Ok(_) => {}
                Err(None) => return None,
                Err(Some(reason)) => panic!("{reason:?}"),
            }
        }
    }

    /// The next cell's command and circuit.
    pub(crate) async fn told(&mut self) -> Option<(Command, CircuitId)> {
        self.cell().await.map(|cell| (cell.command(), cell.circuit()))
    }

    /// Asks and waits for the answer; cells of other circuits are passed over.
    pub(crate) async fn ask(&mut self, number: u32, ask: &Ask) -> Answer {
        self.send(cells_of(circuit(number), Command::Ask, &ask.encode()).unwrap()).await.unwrap();
        let mut assembler = Assembler::default();
        loop {
            let cell = self.cell().await.expect("an answer");
            if (cell.command(), cell.circuit()) == (Command::Answer, circuit(number))
                && let Some(message) = assembler.push(cell.body()).unwrap()
            {
                return Answer::decode(&message).unwrap();
            }
        }
    }

    /// All relays that the peer knows.
    pub(crate) async fn members(&mut self, number: u32, network: &Network, now: UnixTime) -> Vec<VerifiedDescriptor> {
        let Answer::Members { descriptors, .. } = self.ask(number, &Ask::Members { after: None }).await else {
            panic!("not the members")
        };
        descriptors.into_iter().map(|signed| signed.verify(network, now).unwrap()).collect()
    }
}
