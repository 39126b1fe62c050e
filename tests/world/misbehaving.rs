//! Relays that do not do what they should: a machine around the real one that tampers with what goes in and comes out, and
//! stores that lie. What each does can be changed while it runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use bauta::cli::local::{Launch, Launched, Launching};
use bauta::crypto::CryptoRng;
use bauta::dht::store::{MemoryStore, StoreOp, StoreResult};
use bauta::limits::MESSAGE_LEN_MAX;
use bauta::net::spawn_node;
use bauta::node::Relay;
use bauta::node::io::{Input, LinkId, Output};
use bauta::node::machine::{Machine, MachineInput, MachineOutput, Puzzles};
use bauta::record::VerifiedValue;
use bauta::time::{Instant, Now, UnixTime};
use bauta::wire::cell::{Cell, CircuitId, Command};
use bauta::wire::message::{Answer, Ask, Assembler, cells_of};
use bauta::wire::network::Network;
use bauta::wire::record::{ChunkBytes, Expiry, RecordBytes, Value};

/// What a relay does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Behaviour {
    /// As it should.
    Honest,
    /// It answers no find and no store.
    SilentStorer,
    /// It answers every find and store with a refusal.
    RefusingStorer,
    /// It flips a bit of every value that it gives out.
    ForgingStorer,
    /// It answers a find with cells that never end.
    EndlessStorer,
    /// It signs that it stores, and that it has nothing.
    LyingStorer,
    /// It keeps the first record of each place and answers it for ever, whatever it says it stored.
    StaleStorer,
    /// As an exit it passes on no value but the oldest that it was shown, whatever the storers say.
    WithholdingExit,
    /// As an exit it hears every record with a bit flipped, and none of its own store: as if all storers forged.
    MishearingExit,
    /// As an exit it takes requests and says nothing more.
    MuteExit,
    /// As an exit it has chunks stored as shortly as they can be.
    ShorteningExit,
}

/// What every relay does, and the first records that were ever kept.
pub(crate) struct Behaviours {
    network: Network,
    all: Mutex<Vec<Behaviour>>,
    first: Mutex<BTreeMap<[u8; 20], VerifiedValue>>,
}

impl Behaviours {
    pub(crate) fn new(network: Network, relays: usize) -> Self {
        Self { network, all: Mutex::new(vec![Behaviour::Honest; relays]), first: Mutex::default() }
    }

    pub(crate) fn set(&self, index: usize, behaviour: Behaviour) {
        self.all.lock().unwrap()[index] = behaviour;
    }

    pub(crate) fn set_all(&self, behaviour: Behaviour) {
        self.all.lock().unwrap().fill(behaviour);
    }

    fn of(&self, index: usize) -> Behaviour {
        self.all.lock().unwrap()[index]
    }

    fn first_like(&self, record: &RecordBytes) -> Option<RecordBytes> {
        let key = record.fields().ok()?.key;
        let first = self.first.lock().unwrap();
        first.values().find_map(|value| match value.value() {
            Value::Signed(old) if old.fields().ok()?.key == key => Some(old.clone()),
            _ => None,
        })
    }
}

/// Starts every relay of a network inside a wrapper that follows its behaviour.
pub(crate) fn launch(behaviours: Arc<Behaviours>) -> Launch {
    Arc::new(move |Launching { runtime, index, relay, shell, store }| {
        let wrapped = Misbehaving {
            relay,
            index,
            behaviours: Arc::clone(&behaviours),
            ready: VecDeque::new(),
            given: BTreeMap::new(),
            taken: BTreeMap::new(),
            asking: BTreeMap::new(),
            now: UnixTime(0),
            own_puts: BTreeMap::new(),
            is_asked: false,
            own_gets: BTreeSet::new(),
        };
        let behaviours = Arc::clone(&behaviours);
        let apply = Box::new(move |now, op| store_as(&behaviours, index, &store, now, op));
        Launched::from(spawn_node(runtime, wrapped, shell, apply))
    })
}

fn store_as(
    behaviours: &Behaviours,
    index: usize,
    store: &Mutex<MemoryStore>,
    now: UnixTime,
    op: StoreOp,
) -> StoreResult {
    if let StoreOp::Put { value, .. } = &op {
        behaviours.first.lock().unwrap().entry(value.location().0).or_insert_with(|| value.clone());
    }
    match (behaviours.of(index), op) {
        (Behaviour::LyingStorer, StoreOp::Get { .. }) => StoreResult::Value(None),
        (Behaviour::LyingStorer | Behaviour::StaleStorer, StoreOp::Put { .. }) => StoreResult::Kept,
        (Behaviour::StaleStorer, StoreOp::Get { location, .. }) => {
            StoreResult::Value(behaviours.first.lock().unwrap().get(&location.0).cloned())
        }
        (_, op) => store.lock().unwrap().apply(now, op),
    }
}

/// A relay and what stands between it and the world.
struct Misbehaving {
    relay: Relay,
    index: usize,
    behaviours: Arc<Behaviours>,
    ready: VecDeque<MachineOutput<Self>>,
    /// Answers on their way out, and in.
    given: BTreeMap<(LinkId, CircuitId), Assembler>,
    taken: BTreeMap<(LinkId, CircuitId), Assembler>,
    /// Questions on their way out.
    asking: BTreeMap<(LinkId, CircuitId), Assembler>,
    now: UnixTime,
    /// Chunks on their way into its own store, by when they end.
    own_puts: BTreeMap<u64, Expiry>,
    /// Whether the last input was a question of another node: what is got from the store meanwhile is for it.
    is_asked: bool,
    /// What this relay as an exit asked its own store.
    own_gets: BTreeSet<u64>,
}

impl Misbehaving {
    /// Cells of an answer as this relay's behaviour has it.
    fn give(&mut self, link: LinkId, cell: Cell) {
        let behaviour = self.behaviours.of(self.index);
        let assembler = self.given.entry((link, cell.circuit())).or_default();
        let Ok(Some(message)) = assembler.push(cell.body()) else { return };
        let circuit = cell.circuit();
        self.given.remove(&(link, circuit));
        let cells = match (behaviour, Answer::decode(&message).unwrap()) {
            (Behaviour::SilentStorer, Answer::Found { .. } | Answer::Stored { .. }) => Vec::new(),
            (Behaviour::RefusingStorer, Answer::Found { .. } | Answer::Stored { .. }) => {
                cells_of(circuit, Command::Answer, &Answer::Refused.encode()).unwrap()
            }
            (Behaviour::EndlessStorer, Answer::Found { .. }) => endless(circuit),
            (Behaviour::ForgingStorer, Answer::Found { statement, contacts, value }) => {
                let forged = Answer::Found { statement, contacts, value: value.map(flipped) };
                cells_of(circuit, Command::Answer, &forged.encode()).unwrap()
            }
            _ => cells_of(circuit, Command::Answer, &message).unwrap(),
        };
        self.ready.extend(cells.into_iter().map(|cell| MachineOutput::Node(Output::Send { link, cell })));
    }

    /// An answer to this relay as an exit, as far as it lets itself hear it.
    fn take(&mut self, now: Now, link: LinkId, cell: &Cell) {
        let circuit = cell.circuit();
        let assembler = self.taken.entry((link, circuit)).or_default();
        let Ok(Some(message)) = assembler.push(cell.body()) else { return };
        self.taken.remove(&(link, circuit));
        let message = match Answer::decode(&message) {
            Ok(Answer::Found { statement, contacts, value: Some(Value::Signed(record)) }) => {
                let value = match self.behaviours.of(self.index) {
                    Behaviour::MishearingExit => Some(flipped(Value::Signed(record))),
                    _ => self.behaviours.first_like(&record).map(Value::Signed),
                };
                Answer::Found { statement, contacts, value }.encode()
            }
            _ => message,
        };
        for cell in cells_of(circuit, Command::Answer, &message).unwrap() {
            Machine::handle(&mut self.relay, now, MachineInput::Node(Input::Cell { link, cell }));
        }
    }
}

impl Misbehaving {
    /// A question of this relay, chunks in it shortened.
    fn ask(&mut self, link: LinkId, cell: &Cell) {
        let circuit = cell.circuit();
        let assembler = self.asking.entry((link, circuit)).or_default();
        let Ok(Some(message)) = assembler.push(cell.body()) else { return };
        self.asking.remove(&(link, circuit));
        let message = match Ask::decode(&message) {
            Ok(Ask::Store { nonce, expected, value: Value::Hashed(chunk), account }) => {
                let value = Value::Hashed(shortened(chunk, self.now));
                Ask::Store { nonce, expected, value, account }.encode()
            }
            _ => message,
        };
        let cells = cells_of(circuit, Command::Ask, &message).unwrap();
        self.ready.extend(cells.into_iter().map(|cell| MachineOutput::Node(Output::Send { link, cell })));
    }

    /// What it stores itself; it signs for that as others do for what they are asked.
    fn own_op(&mut self, id: u64, op: StoreOp) -> StoreOp {
        match op {
            StoreOp::Put { value, expected } => match value.clone().into_value() {
                Value::Hashed(chunk) => {
                    let short = Value::Hashed(shortened(chunk, self.now));
                    let value = VerifiedValue::check(&self.behaviours.network, short, self.now).unwrap();
                    self.own_puts.insert(id, value.expiry());
                    StoreOp::Put { value, expected }
                }
                Value::Signed(_) => StoreOp::Put { value, expected },
            },
            op => op,
        }
    }
}

fn shortened(chunk: ChunkBytes, now: UnixTime) -> ChunkBytes {
    ChunkBytes { expiry: Expiry::at_least(UnixTime(now.0 + 1)), ..chunk }
}

/// More cells than any message has, none of them the last.
fn endless(circuit: CircuitId) -> Vec<Cell> {
    let mut cells = cells_of(circuit, Command::Answer, &[0xee; MESSAGE_LEN_MAX]).unwrap();
    let more = cells[1].clone();
    cells.extend(std::iter::repeat_n(more, 1_000));
    cells
}

fn flipped(value: Value) -> Value {
    match value {
        Value::Signed(mut record) => {
            record.0[500] ^= 1;
            Value::Signed(record)
        }
        Value::Hashed(mut chunk) => {
            chunk.bytes[0] ^= 1;
            Value::Hashed(chunk)
        }
    }
}

impl Machine for Misbehaving {
    type Command = <Relay as Machine>::Command;
    type Event = <Relay as Machine>::Event;
    type Job = <Relay as Machine>::Job;
    type Done = <Relay as Machine>::Done;
    type StoreOp = StoreOp;
    type StoreResult = StoreResult;

    fn handle(&mut self, now: Now, input: MachineInput<Self>) {
        let behaviour = self.behaviours.of(self.index);
        self.now = now.unix;
        let withholds = behaviour == Behaviour::WithholdingExit;
        let forges = behaviour == Behaviour::MishearingExit;
        self.is_asked =
            matches!(&input, MachineInput::Node(Input::Cell { cell, .. }) if cell.command() == Command::Ask);
        let input = match input {
            MachineInput::Node(Input::Cell { link, cell })
                if cell.command() == Command::Answer && (withholds || forges) =>
            {
                return self.take(now, link, &cell);
            }
            MachineInput::Stored { id, result: StoreResult::Value(Some(held)) }
                if withholds && self.own_gets.remove(&id) =>
            {
                let first = self.behaviours.first.lock().unwrap().get(&held.location().0).cloned();
                MachineInput::Stored { id, result: StoreResult::Value(first) }
            }
            MachineInput::Stored { id, result: StoreResult::Value(_) } if forges && self.own_gets.remove(&id) => {
                MachineInput::Stored { id, result: StoreResult::Value(None) }
            }
            MachineInput::Stored { id, result: StoreResult::Kept } if self.own_puts.contains_key(&id) => {
                let until = self.own_puts.remove(&id).unwrap();
                MachineInput::Stored { id, result: StoreResult::KeptLonger { until } }
            }
            MachineInput::Node(input) => MachineInput::Node(input),
            MachineInput::Stored { id, result } => MachineInput::Stored { id, result },
            MachineInput::Worked { id, done } => MachineInput::Worked { id, done },
            MachineInput::Command(command) => MachineInput::Command(command),
        };
        Machine::handle(&mut self.relay, now, input);
    }

    fn poll_output(&mut self) -> Option<MachineOutput<Self>> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            let is_mute = self.behaviours.of(self.index) == Behaviour::MuteExit;
            let shortens = self.behaviours.of(self.index) == Behaviour::ShorteningExit;
            return Some(match Machine::poll_output(&mut self.relay)? {
                MachineOutput::Node(Output::Send { link, cell }) => match cell.command() {
                    Command::Answer => {
                        self.give(link, cell);
                        continue;
                    }
                    Command::Ask if shortens => {
                        self.ask(link, &cell);
                        continue;
                    }
                    Command::Reply0 | Command::Backward if is_mute => continue,
                    _ => MachineOutput::Node(Output::Send { link, cell }),
                },
                MachineOutput::Node(output) => MachineOutput::Node(output),
                MachineOutput::Store { id, op } => {
                    if matches!(op, StoreOp::Get { .. }) && !self.is_asked {
                        self.own_gets.insert(id);
                    }
                    MachineOutput::Store { id, op: if shortens { self.own_op(id, op) } else { op } }
                }
                MachineOutput::Work { id, job } => MachineOutput::Work { id, job },
                MachineOutput::Event(event) => MachineOutput::Event(event),
            });
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Machine::poll_timeout(&self.relay)
    }

    fn is_short(job: &Self::Job) -> bool {
        Relay::is_short(job)
    }

    fn run_job(job: Self::Job, rng: &mut dyn CryptoRng, puzzles: &dyn Puzzles) -> Self::Done {
        <Relay as Machine>::run_job(job, rng, puzzles)
    }
}
