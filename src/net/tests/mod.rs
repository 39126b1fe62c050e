//! Nodes over real loopback sockets, with a machine that does what it is told and tells what it meets.

mod durable;
mod hostile;
mod owner;

use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::crypto::CryptoRng;
use crate::crypto::keys::{DhKey, DhSecret, IdentitySecret};
use crate::crypto::puzzle::solve;
use crate::limits::FRAME_LEN;
use crate::link::{DownReason, Frame, Link, LinkEvent, Params, Timing};
use crate::node::io::{Input, LinkId, Output};
use crate::node::machine::{Machine, MachineInput, MachineOutput, Puzzles};
use crate::time::{Duration, Instant, Now};
use crate::wire::address::Address;
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::descriptor::{Descriptor, VerifiedDescriptor};
use crate::wire::hello::Hello;
use crate::wire::network::{Network, VERSIONS};

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a store says that refuses.
const REFUSED: u64 = u64::MAX;

/// Does what it is told. A forward cell is answered by its backward twin.
#[derive(Default)]
struct Puppet {
    outputs: VecDeque<MachineOutput<Self>>,
    now: Option<Now>,
    worked: std::collections::BTreeSet<u64>,
    stored: u64,
    /// Cells poured out and come back, in order.
    echoed: Option<u32>,
}

enum Order {
    Output(Output),
    Jobs(u64),
    TellWorked,
    TellStored,
    Pour(LinkId, u32),
    TellEchoed,
    Ops(u64),
    Events(u64),
}

#[derive(Debug, PartialEq)]
enum Told {
    Up {
        link: LinkId,
        key: DhKey,
        relay: bool,
        from: SocketAddr,
        dialled: bool,
    },
    Down(LinkId, DownReason),
    Cell(LinkId, Cell),
    /// So many jobs were done, each once and rightly.
    Worked(usize),
    /// So many operations were answered, in order and rightly.
    Stored(u64),
    Number(u64),
}

impl Machine for Puppet {
    type Command = Order;
    type Event = Told;
    type Job = u64;
    type Done = u64;
    type StoreOp = u64;
    type StoreResult = u64;

    fn handle(&mut self, now: Now, input: MachineInput<Self>) {
        assert!(self.now.is_none_or(|before| before.instant <= now.instant));
        self.now = Some(now);
        match input {
            MachineInput::Node(Input::Timeout) => {}
            MachineInput::Node(Input::LinkUp { link, peer }) => {
                let relay = peer.descriptor.is_some();
                self.tell(Told::Up { link, key: peer.link_key, relay, from: peer.address.0, dialled: peer.dialled });
            }
            MachineInput::Node(Input::LinkDown { link, reason }) => self.tell(Told::Down(link, reason)),
            MachineInput::Node(Input::Cell { cell, .. }) if self.echoed.is_some() => {
                assert_eq!(cell.body().first_chunk(), self.echoed.map(u32::to_be_bytes).as_ref());
                self.echoed = self.echoed.map(|count| count + 1);
            }
            MachineInput::Command(Order::Pour(link, count)) => {
                self.echoed = Some(0);
                self.outputs.extend((0..count).map(|n| {
                    let mut cell = cell(0);
                    *cell.body_mut().first_chunk_mut().unwrap() = n.to_be_bytes();
                    MachineOutput::Node(Output::Send { link, cell })
                }));
            }
            MachineInput::Command(Order::TellEchoed) => self.tell(Told::Number(self.echoed.unwrap().into())),
            MachineInput::Node(Input::Cell { link, cell }) => {
                if cell.command() == Command::Forward {
                    let mut twin = Cell::new(cell.circuit(), Command::Backward);
                    *twin.body_mut() = *cell.body();
                    self.outputs.push_back(MachineOutput::Node(Output::Send { link, cell: twin }));
                }
                self.tell(Told::Cell(link, cell));
            }
            MachineInput::Worked { id, done } => assert!(done == id + 1 && self.worked.insert(id)),
            MachineInput::Stored { result: REFUSED, .. } => (),
            MachineInput::Stored { id, result } => {
                assert_eq!((id, result), (self.stored, 2 * id));
                self.stored += 1;
            }
            MachineInput::Command(Order::TellWorked) => self.tell(Told::Worked(self.worked.len())),
            MachineInput::Command(Order::TellStored) => self.tell(Told::Stored(self.stored)),
            MachineInput::Command(Order::Output(output)) => self.outputs.push_back(MachineOutput::Node(output)),
            MachineInput::Command(Order::Jobs(count)) => {
                self.outputs.extend((0..count).map(|id| MachineOutput::Work { id, job: id }));
            }
            MachineInput::Command(Order::Ops(count)) => {
                self.outputs.extend((0..count).map(|id| MachineOutput::Store { id, op: id }));
            }
            MachineInput::Command(Order::Events(count)) => {
                self.outputs.extend((0..count).map(|n| MachineOutput::Event(Told::Number(n))));
            }
        }
    }

    fn poll_output(&mut self) -> Option<MachineOutput<Self>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn run_job(job: u64, _: &mut dyn CryptoRng, _: &dyn Puzzles) -> u64 {
        job + 1
    }
}

impl Puppet {
    fn tell(&mut self, told: Told) {
        self.outputs.push_back(MachineOutput::Event(told));
    }
}

/// One running node.
struct Played {
    handle: NodeHandle<Puppet>,
    address: SocketAddr,
    key: DhKey,
}

fn network() -> Network {
    Network::named("shell", 0)
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

async fn patiently<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it should have happened by now")
}

/// Lets other tasks run until it is so.
async fn until(is_so: impl Fn() -> bool) {
    patiently(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn descriptor(network: &Network, seed: u64, link_key: DhKey, address: SocketAddr) -> VerifiedDescriptor {
    let secret = IdentitySecret::generate(&mut rng(seed));
    let descriptor = Descriptor {
        key: secret.public(),
        solution: solve(&network.id, &secret.public(), network.difficulty, 0, 1_000).unwrap(),
        link_key,
        onion_epoch: 1,
        onion_key: link_key,
        address: Address(address),
        family: [0; 8],
        versions: VERSIONS,
        issued: Clock::unix().to_wire(),
        effort: 0,
    };
    descriptor.sign(network, &secret)
}

/// A relay on 127.`seed`.0.1 that dials from there.
async fn relay(runtime: &Arc<Runtime>, seed: u8, limits: ShellLimits) -> Played {
    relay_of(network(), runtime, seed, limits, None).await
}

async fn relay_of(
    network: Network,
    runtime: &Arc<Runtime>,
    seed: u8,
    limits: ShellLimits,
    tap: Option<Arc<dyn Tap>>,
) -> Played {
    let ip = IpAddr::V4(Ipv4Addr::new(127, seed, 0, 1));
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let secret = DhSecret::generate(&mut rng(seed.into()));
    let key = secret.public();
    let mut config = ShellConfig::new(network, LinkIdentity::Relay { secret });
    (config.listener, config.bind_ip, config.limits, config.tap) = (Some(listener), Some(ip), limits, tap);
    let handle = spawn_node(Arc::clone(runtime), Puppet::default(), config, Box::new(|_, op| op * 2));
    let own = Box::new(descriptor(&network, seed.into(), key, address));
    let mut played = Played { handle, address, key };
    played.order(Output::Descriptor(own)).await;
    // The descriptor is in place once what was asked after it is answered.
    played.handle.commands.send(Order::Events(1)).await.unwrap();
    assert_eq!(played.told().await, Told::Number(0));
    played
}

impl Played {
    async fn order(&self, output: Output) {
        assert!(self.handle.commands.send(Order::Output(output)).await.is_ok());
    }

    async fn told(&mut self) -> Told {
        patiently(self.handle.events.recv()).await.unwrap()
    }

    async fn dial(&mut self, link: u64, address: SocketAddr, link_key: DhKey) -> Told {
        self.order(Output::Dial { link: LinkId(link), address: Address(address), link_key }).await;
        self.told().await
    }

    async fn send(&self, link: u64, cell: Cell) {
        self.order(Output::Send { link: LinkId(link), cell }).await;
    }

    fn count(&self, kind: DownKind) -> u64 {
        self.handle.counts().get(&kind).copied().unwrap_or(0)
    }
}

fn cell(mark: u8) -> Cell {
    let mut cell = Cell::new(CircuitId(7), Command::Forward);
    cell.body_mut().fill(mark);
    cell
}

/// A peer that is no node: a socket and a link machine, moved by hand.
struct Raw {
    stream: TcpStream,
    link: Link,
}

fn raw_params() -> Params {
    let hello = Hello { versions: VERSIONS, descriptor: None };
    Params { network: network(), secret: DhSecret::generate(&mut rng(77)), hello, timing: Timing::default() }
}

async fn connect_from(ip: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((ip, 0).into()).unwrap();
    patiently(socket.connect(to)).await.unwrap()
}

/// The far end has closed, in order or not.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0; 1];
    matches!(patiently(stream.read(&mut byte)).await, Ok(0) | Err(_))
}

impl Raw {
    async fn connect(ip: Ipv4Addr, to: &Played, params: Params) -> Self {
        let link = Link::dial(params, to.key, &mut rng(78), Instant::ZERO).unwrap();
        Self { stream: connect_from(ip, to.address).await, link }
    }

    async fn write_all(&mut self) {
        let mut frame: Frame = [0; FRAME_LEN];
        while self.link.poll_frame(Instant::ZERO, &mut frame) {
            patiently(self.stream.write_all(&frame)).await.unwrap();
        }
    }

    async fn read_one(&mut self) -> Result<Option<LinkEvent>, DownReason> {
        let mut frame: Frame = [0; FRAME_LEN];
        patiently(self.stream.read_exact(&mut frame)).await.unwrap();
        self.link.handle_frame(Instant::ZERO, &frame)
    }

    async fn shake_hands(&mut self) {
        self.write_all().await;
        assert!(matches!(self.read_one().await, Ok(Some(LinkEvent::Established { .. }))));
        self.write_all().await;
    }
}

/// An honest client on this address gets an answer.
async fn is_served(node: &mut Played, ip: Ipv4Addr) {
    let mut raw = Raw::connect(ip, node, raw_params()).await;
    raw.shake_hands().await;
    raw.link.push(cell(9)).unwrap();
    raw.write_all().await;
    let answer = raw.read_one().await.unwrap();
    assert!(matches!(answer, Some(LinkEvent::Cell(cell)) if cell.body()[0] == 9));
    drop(raw);
    let mut seen = Vec::new();
    while !matches!(seen.last(), Some(Told::Down(..))) {
        seen.push(node.told().await);
    }
    assert!(matches!(seen.first(), Some(Told::Up { relay: false, dialled: false, .. })), "{seen:?}");
}
