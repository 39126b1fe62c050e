//! What a relay does with the cells of a circuit, and what it refuses: one real relay, both of its neighbours played by hand.

use super::*;
use crate::crypto::nk::Initiator;
use crate::limits::{
    BATCH_CHUNKS, BODY_LEN, BUILDS_PER_LINK_BURST, CIRCUIT_DATA_LEN_MAX, CIRCUITS_PER_LINK_MAX, EXIT_OPERATIONS_MAX,
    ONION_KEY_LIFE_S, SLOT_CELLS,
};
use crate::membership::fixture::signed;
use crate::onion::{Built, Circuit};
use crate::wire::message::Assembler;
use crate::wire::record::ChunkName;

pub(super) const CLIENT: LinkId = LinkId(1_000_001);
const OTHER_CLIENT: LinkId = LinkId(1_000_003);
pub(super) const NEXT: LinkId = LinkId(1_000_005);
/// Numbers with this bit are chosen by who dialled the link.
const DIALLER_BIT: u32 = 1 << 31;
/// The circuit that tests build from the client's side.
pub(super) const INWARD: CircuitId = CircuitId(DIALLER_BIT | 1);

pub(super) struct Played {
    pub(super) relay: Relay,
    pub(super) now: Now,
    rng: ChaCha20Rng,
    pub(super) store: MemoryStore,
    /// Packets that were opened, or tried to be.
    peeled: usize,
    /// Finds and stores that the relay has asked of the next one, and what it has answered, each whole.
    pub(super) asks: Vec<(CircuitId, Ask)>,
    answers: Vec<Answer>,
    joined: Assembler,
    /// Whom it has dialled.
    pub(super) dials: Vec<Address>,
}

/// What a relay says on links to clients and to the next relay.
pub(super) type Said = Vec<(LinkId, Cell)>;

fn commands(said: &Said) -> Vec<(LinkId, Command)> {
    said.iter().map(|(link, cell)| (*link, cell.command())).collect()
}

impl Played {
    /// A relay with two clients, and a link to a relay of number 50 that it dialled.
    pub(super) fn new() -> Self {
        let mut world = World::new();
        world.start(store_of(&[]));
        let relay_of_test = world.relays[0].take().unwrap();
        let mut played = Self {
            now: world.time(),
            relay: relay_of_test,
            rng: ChaCha20Rng::seed_from_u64(3),
            store: MemoryStore::new(9, 99_999),
            peeled: 0,
            asks: Vec::new(),
            answers: Vec::new(),
            joined: Assembler::default(),
            dials: Vec::new(),
        };
        played.up(CLIENT, None, false);
        played.up(OTHER_CLIENT, None, false);
        played.up(NEXT, Some(relay(50)), true);
        played
    }

    fn up(&mut self, link: LinkId, descriptor: Option<VerifiedDescriptor>, dialled: bool) {
        let of_client = || Address("127.0.0.1:9".parse().unwrap());
        let of_link = || DhKey(blake3(&[&link.0.to_be_bytes()]));
        let address = descriptor.as_ref().map_or_else(of_client, |relay| relay.address);
        let link_key = descriptor.as_ref().map_or_else(of_link, |relay| relay.link_key);
        let peer = Peer { link_key, descriptor, address, dialled };
        self.take(Input::LinkUp { link, peer: Box::new(peer) });
    }

    pub(super) fn take(&mut self, input: Input) -> Said {
        self.relay.handle(self.now, input);
        let mut said = Said::new();
        while let Some(effect) = self.relay.poll_effect() {
            match effect {
                Effect::Work { id, job } => {
                    self.peeled += usize::from(matches!(job, work::Job::Peel { .. }));
                    let done = work::run(job, &Solved, &mut self.rng);
                    self.relay.handle_worked(self.now, id, done);
                }
                Effect::Store { id, op } => {
                    let result = self.store.apply(self.now.unix, op);
                    self.relay.handle_stored(self.now, id, result);
                }
                Effect::Io(Output::Send { link, cell }) => match cell.command() {
                    Command::Ask => {
                        let whole = Assembler::default().push(cell.body()).unwrap();
                        let ask = whole.map(|whole| Ask::decode(&whole).unwrap());
                        let ask = ask.filter(|ask| matches!(ask, Ask::Find { .. } | Ask::Store { .. }));
                        self.asks.extend(ask.filter(|_| link == NEXT).map(|ask| (cell.circuit(), ask)));
                    }
                    Command::Answer => {
                        if let Some(whole) = self.joined.push(cell.body()).unwrap() {
                            self.answers.push(Answer::decode(&whole).unwrap());
                            self.joined = Assembler::default();
                        }
                    }
                    _ => said.push((link, cell)),
                },
                Effect::Io(Output::Dial { address, .. }) => self.dials.push(address),
                Effect::Io(_) | Effect::Event(_) => (),
            }
        }
        said
    }

    pub(super) fn cell(&mut self, link: LinkId, cell: Cell) -> Said {
        self.take(Input::Cell { link, cell })
    }

    /// What comes back to a question that the other end of this link asks.
    pub(super) fn asked(&mut self, link: LinkId, circuit: CircuitId, ask: &Ask) -> Vec<Answer> {
        self.answers.clear();
        for cell in cells_of(circuit, Command::Ask, &ask.encode()).unwrap() {
            self.cell(link, cell);
        }
        core::mem::take(&mut self.answers)
    }

    /// A packet over this relay and then these.
    pub(super) fn packet(&mut self, then: &[VerifiedDescriptor], request: &[u8]) -> Built {
        let path = [&[self.relay.descriptor().clone()], then].concat();
        build(&network(), &path, request, self.now.unix, &mut self.rng).unwrap()
    }

    pub(super) fn build(&mut self, link: LinkId, circuit: CircuitId, built: &Built) -> Said {
        self.cell(link, Cell::build(circuit, built.suite, built.hint, built.body))
    }

    /// A body for this relay as an exit, with such a routing and length of the request.
    fn sealed(&mut self, kind: u8, last: u8, request_len: u16, late_s: u64) -> [u8; BODY_LEN] {
        let own = self.relay.descriptor();
        let parts = [&b"bauta/1 onion"[..], &[1], &network().id, &own.key.0, &own.onion_epoch.to_be_bytes()];
        let layer = Initiator::new(&parts.concat(), &own.onion_key, &mut self.rng).unwrap();
        let time = u32::try_from(self.now.unix.0 + late_s).unwrap();
        let mut text = [&[kind][..], &[0; 20], &time.to_be_bytes(), &[0; 6], &[last]].concat();
        text.extend(request_len.to_be_bytes());
        text.resize(1_992, 0);
        let ephemeral = layer.ephemeral();
        let (tag, _) = layer.seal(&mut text);
        [&ephemeral.0[..], &tag, &text].concat().try_into().unwrap()
    }

    /// A circuit through to the next relay, and its number there.
    fn passed(&mut self) -> CircuitId {
        let built = self.packet(&[relay(50)], b"");
        let said = self.build(CLIENT, INWARD, &built);
        assert_eq!(commands(&said), [(NEXT, Command::Build)]);
        said[0].1.circuit()
    }

    /// A circuit that ends here.
    fn ending(&mut self, request: &ExitRequest) -> Circuit {
        let built = self.packet(&[], &request.encode());
        let said = self.build(CLIENT, INWARD, &built);
        assert_eq!(commands(&said), [(CLIENT, Command::Reply0)]);
        let Ok(Reply0::Exit(circuit, _)) = built.building.open_reply0(said[0].1.body()) else { panic!("the exit's") };
        circuit
    }

    /// One on which a batch of chunks is sent: empty slots wait for the first.
    fn fetching(&mut self, chunks: Vec<ChunkName>) -> Circuit {
        self.ending(&ExitRequest::FetchChunks { nonce: Nonce([1; 16]), chunks })
    }

    /// One on which a batch of chunks is expected.
    fn storing(&mut self) -> Circuit {
        let (nonce, expiry) = (Nonce([1; 16]), Expiry::at_least(UnixTime(ISSUED.0 + 86_400)));
        let chunks = vec![(ChunkName { hash: [1; 32], index: 0 }, 7)];
        self.ending(&ExitRequest::PutChunks { nonce, expiry, chunks, payments: Vec::new() })
    }

    fn forward(&mut self, circuit: &mut Circuit, len: usize) -> Vec<(LinkId, Command)> {
        let mut cell = Cell::new(INWARD, Command::Forward);
        *cell.body_mut() = circuit.seal_forward(&vec![7; len], &mut self.rng).unwrap();
        let said = commands(&self.cell(CLIENT, cell));
        said.into_iter().filter(|(_, command)| *command != Command::Credit).collect()
    }
}

// [ONION-W-013] [ONION-W-027]
#[test]
fn the_packet_passed_on_has_suite_and_hint_of_the_next_relay_and_a_number_of_its_own() {
    let mut played = Played::new();
    let next = signed(Descriptor { onion_epoch: ISSUED.to_wire() + 7, ..*relay(50) }, 50);
    assert_ne!(next.onion_hint(), 0);
    let built = played.packet(&[next.clone(), relay(51)], b"");
    let said = played.build(CLIENT, INWARD, &built);
    let (link, cell) = &said[0];
    assert_eq!((*link, cell.command(), cell.suite(), cell.hint()), (NEXT, Command::Build, 1, next.onion_hint()));
    assert_eq!((built.suite, built.hint), (1, played.relay.descriptor().onion_hint()));
    let again = played.packet(&[relay(50)], b"");
    let other = played.build(CLIENT, CircuitId(DIALLER_BIT | 2), &again)[0].1.circuit();
    assert!(cell.circuit() != INWARD && other != cell.circuit() && other != CircuitId(DIALLER_BIT | 2));
}

// [ONION-R-003]
#[test]
fn a_forward_cell_before_the_first_reply_ends_the_circuit() {
    let mut played = Played::new();
    played.passed();
    let said = played.cell(CLIENT, Cell::new(INWARD, Command::Forward));
    assert_eq!(commands(&said), [(CLIENT, Command::Destroy), (NEXT, Command::Destroy)]);
}

// [ONION-R-043]
#[test]
fn a_forward_cell_that_does_not_open_ends_the_circuit_on_both_sides_at_a_relay_and_at_an_exit() {
    let mut played = Played::new();
    let outward = played.passed();
    let reply = Cell::new(outward, Command::Reply0);
    assert_eq!(commands(&played.cell(NEXT, reply)), [(CLIENT, Command::Reply0)]);
    let said = played.cell(CLIENT, Cell::new(INWARD, Command::Forward));
    assert_eq!(commands(&said), [(CLIENT, Command::Destroy), (NEXT, Command::Destroy)]);

    let mut played = Played::new();
    let _ = played.storing();
    let said = played.cell(CLIENT, Cell::new(INWARD, Command::Forward));
    assert_eq!(commands(&said), [(CLIENT, Command::Destroy)]);
}

// [ONION-R-005]
#[test]
fn destroy_from_the_client_goes_on_towards_the_exit_and_the_circuit_is_forgotten() {
    let mut played = Played::new();
    let outward = played.passed();
    let said = played.cell(CLIENT, Cell::new(INWARD, Command::Destroy));
    assert!(commands(&said).contains(&(NEXT, Command::Destroy)));
    assert!(said.iter().all(|(link, cell)| *link != NEXT || cell.circuit() == outward));
    assert!(played.relay.circuits.is_empty());
    assert!(played.cell(NEXT, Cell::new(outward, Command::Reply0)).is_empty());
}

// [ONION-R-031]
#[test]
fn one_first_reply_passes_and_later_cells_behind_it_alone() {
    for (before, then) in [
        (None, vec![(CLIENT, Command::Reply0), (CLIENT, Command::Destroy), (NEXT, Command::Destroy)]),
        (Some(Command::Reply0), vec![(CLIENT, Command::Backward)]),
    ] {
        let mut played = Played::new();
        let outward = played.passed();
        if let Some(before) = before {
            played.cell(NEXT, Cell::new(outward, before));
        }
        assert_eq!(commands(&played.cell(NEXT, Cell::new(outward, Command::Backward))), then);
    }
    let mut played = Played::new();
    let outward = played.passed();
    assert_eq!(played.cell(NEXT, Cell::new(outward, Command::Reply0)).len(), 1);
    let said = played.cell(NEXT, Cell::new(outward, Command::Reply0));
    assert_eq!(commands(&said), [(CLIENT, Command::Destroy), (NEXT, Command::Destroy)]);
}

// [ONION-R-022]
#[test]
fn a_packet_that_may_not_come_is_refused_before_anything_is_computed() {
    let mut played = Played::new();
    let built = played.packet(&[relay(50)], b"");
    // That half of the numbers is the relay's own.
    let said = played.build(CLIENT, CircuitId(1), &built);
    assert_eq!((commands(&said), played.peeled), (vec![(CLIENT, Command::Destroy)], 0));
    played.passed();
    let other = played.packet(&[relay(50)], b"");
    let said = played.build(CLIENT, INWARD, &other);
    let both = vec![(CLIENT, Command::Destroy), (NEXT, Command::Destroy)];
    assert_eq!((commands(&said), played.peeled), (both, 1), "the number is in use");
    for _ in 4..BUILDS_PER_LINK_BURST {
        played.relay.links.take_build(played.now.instant, CLIENT);
    }
    let said = played.build(CLIENT, CircuitId(DIALLER_BIT | 2), &other);
    assert_eq!((commands(&said), played.peeled), (vec![(NEXT, Command::Build)], 2), "the last of the allowance");
    let said = played.build(CLIENT, CircuitId(DIALLER_BIT | 3), &other);
    assert_eq!((commands(&said), played.peeled), (vec![(CLIENT, Command::Destroy)], 2), "one too many");

    for number in 1..=u32::try_from(CIRCUITS_PER_LINK_MAX).unwrap() {
        let number = CircuitId(DIALLER_BIT | number);
        assert!(played.relay.links.accept_circuit(played.now.instant, OTHER_CLIENT, number, CIRCUITS_PER_LINK_MAX));
    }
    let said = played.build(OTHER_CLIENT, CircuitId(DIALLER_BIT | 0x00ff_ffff), &other);
    assert_eq!((commands(&said), played.peeled), (vec![(OTHER_CLIENT, Command::Destroy)], 2), "too many on the link");
}

// [ONION-R-022]
#[test]
fn a_packet_under_a_number_in_use_ends_what_is_there_and_both_ends_agree() {
    let mut played = Played::new();
    let is_free = |played: &mut Played, link, number| !played.relay.links.close_circuit(link, number);
    // From the side of the client, while the next relay is being asked and after that; when the allowance is used up, too.
    for round in 0..3 {
        let built = played.packet(&[relay(50)], b"");
        let said = played.build(CLIENT, INWARD, &built);
        let outward = said.iter().find(|(link, _)| *link == NEXT).map(|(_, cell)| cell.circuit()).unwrap();
        if round == 2 {
            while played.relay.links.take_build(played.now.instant, CLIENT) {}
        }
        let peeled = played.peeled;
        let other = played.packet(&[relay(50)], b"");
        let said = played.build(CLIENT, INWARD, &other);
        assert_eq!(commands(&said), [(CLIENT, Command::Destroy), (NEXT, Command::Destroy)]);
        assert_eq!((said[0].1.circuit(), said[1].1.circuit()), (INWARD, outward));
        assert_eq!(played.peeled, peeled, "nothing is computed");
        assert!(played.relay.circuits.is_empty());
        assert!(is_free(&mut played, CLIENT, INWARD) && is_free(&mut played, NEXT, outward));
        let late = played.cell(NEXT, Cell::new(outward, Command::Backward));
        assert!(late.is_empty(), "what is gone says nothing more: {late:?}");
    }
    played.now.instant = played.now.instant + Duration::from_secs(60);

    // From the side of the exit, under the number that the relay has drawn: the client is told how far it came.
    let built = played.packet(&[relay(50)], b"");
    let said = played.build(CLIENT, INWARD, &built);
    let outward = said.iter().find(|(link, _)| *link == NEXT).map(|(_, cell)| cell.circuit()).unwrap();
    let other = played.packet(&[relay(50)], b"");
    let said = played.build(NEXT, outward, &other);
    assert_eq!(commands(&said), [(CLIENT, Command::Reply0), (CLIENT, Command::Destroy), (NEXT, Command::Destroy)]);
    assert!(played.relay.circuits.is_empty());
    assert!(is_free(&mut played, CLIENT, INWARD) && is_free(&mut played, NEXT, outward));

    // Both numbers are free again, and the links serve.
    let built = played.packet(&[relay(50)], b"");
    assert_eq!(commands(&played.build(CLIENT, INWARD, &built)), [(NEXT, Command::Build)]);
}

// [ONION-R-016] [ONION-R-019] [ONION-R-023] [ONION-R-024] [ONION-W-037] [ONION-R-046] [ONION-R-047] [ONION-R-049]
#[test]
fn a_packet_that_does_not_open_or_came_before_is_answered_with_destroy_alone() {
    let mut played = Played::new();
    let alone = |link| vec![(link, Command::Destroy)];
    let mut number = 1;
    let mut send = |played: &mut Played, link, (suite, hint, body): (u8, u8, [u8; BODY_LEN])| {
        number += 1;
        commands(&played.cell(link, Cell::build(CircuitId(DIALLER_BIT | number), suite, hint, body)))
    };
    let Built { body, suite, hint, .. } = played.packet(&[relay(50)], b"");
    assert_eq!(send(&mut played, CLIENT, (2, hint, body)), alone(CLIENT), "a suite of nobody");
    assert_eq!(send(&mut played, CLIENT, (suite, hint ^ 1, body)), alone(CLIENT), "a hint of no key");
    let mut changed = body;
    changed[700] ^= 1;
    assert_eq!(send(&mut played, CLIENT, (suite, hint, changed)), alone(CLIENT), "a changed byte");
    assert_eq!(send(&mut played, CLIENT, (suite, hint, body)), [(NEXT, Command::Build)]);
    // One memory for all links, and for all that the relay is on circuits.
    assert_eq!(send(&mut played, CLIENT, (suite, hint, body)), alone(CLIENT), "it came before");
    assert_eq!(send(&mut played, OTHER_CLIENT, (suite, hint, body)), alone(OTHER_CLIENT), "by another link");
    let request = ExitRequest::Find { location: crate::keyspace::Id([7; 20]), nonce: Nonce([1; 16]) };
    let Built { body, .. } = played.packet(&[], &request.encode());
    assert_ne!(send(&mut played, CLIENT, (suite, hint, body)), alone(CLIENT));
    assert_eq!(send(&mut played, OTHER_CLIENT, (suite, hint, body)), alone(OTHER_CLIENT), "to the exit");

    for (kind, last, request_len, late, what) in [
        (9, 0, 0, 0, "a kind of none"),
        (2, 1, 0, 0, "a byte that has no meaning"),
        (2, 0, 1_959, 0, "a request beyond its frame"),
        (2, 0, 0, 1, "a time to the second"),
        (2, 0, 0, 1_200, "a time two buckets ahead"),
    ] {
        let body = played.sealed(kind, last, request_len, late);
        assert_eq!(send(&mut played, CLIENT, (suite, hint, body)), alone(CLIENT), "{what}");
    }
}

// [ONION-R-026] [ONION-W-034]
#[test]
fn the_next_relay_is_a_member_and_neither_the_relay_itself_nor_the_one_before_nor_another_than_was_meant() {
    const BEFORE: LinkId = LinkId(1_000_007);
    let mut played = Played::new();
    played.up(BEFORE, Some(relay(60)), false);
    let own = played.relay.descriptor().clone();
    // It names the link key and the address of another.
    let mut phantom = described(70, [10, 70, 0, 1]);
    (phantom.link_key, phantom.address) = (relay(50).link_key, relay(50).address);
    let phantom = signed(phantom, 70);
    played.relay.on_descriptors(played.now, vec![phantom.clone()]);
    assert!(
        played.relay.members.by_id(&phantom.id()).is_some() && played.relay.members.by_id(&relay(60).id()).is_some()
    );
    let not_reached = |link| [(link, Command::Reply0), (link, Command::Destroy)];
    for (link, next) in [(CLIENT, relay(99)), (CLIENT, own), (BEFORE, relay(60)), (CLIENT, phantom)] {
        let built = played.packet(std::slice::from_ref(&next), b"");
        let said = played.build(link, CircuitId(DIALLER_BIT | 1), &built);
        assert_eq!(commands(&said), not_reached(link), "{:?}", next.address);
        let opened = built.building.open_reply0(said[0].1.body());
        assert!(matches!(opened, Ok(Reply0::NotReached { hops: 1 })));
    }
    let built = played.packet(&[relay(60)], b"");
    let said = played.build(CLIENT, INWARD, &built);
    assert_eq!(commands(&said), [(BEFORE, Command::Build)], "from elsewhere there is nothing against it");
}

// [REQ-R-004]
#[test]
fn a_request_that_cannot_be_read_ends_the_circuit() {
    let find = ExitRequest::Find { location: crate::keyspace::Id([7; 20]), nonce: Nonce([1; 16]) }.encode();
    let name = ChunkName { hash: [1; 32], index: 0 };
    let twice = ExitRequest::Look { nonce: Nonce([1; 16]), chunks: vec![name, name] }.encode();
    let another_kind = [&[8][..], &find[1..]].concat();
    for request in [Vec::new(), another_kind, [&find[..], &[0]].concat(), find[..30].to_vec(), twice] {
        let mut played = Played::new();
        let built = played.packet(&[], &request);
        assert_eq!(commands(&played.build(CLIENT, INWARD, &built)), [(CLIENT, Command::Destroy)], "{request:?}");
        assert!(played.asks.is_empty());
    }
}

// [REQ-R-005]
#[test]
fn an_exit_that_has_as_many_requests_as_it_works_on_refuses_one_more() {
    let mut played = Played::new();
    let (nonce, expiry) = (Nonce([1; 16]), Expiry::at_least(UnixTime(ISSUED.0 + 86_400)));
    let chunks = vec![(ChunkName { hash: [1; 32], index: 0 }, 7)];
    let request = ExitRequest::PutChunks { nonce, expiry, chunks, payments: Vec::new() }.encode();
    for number in 0..=EXIT_OPERATIONS_MAX {
        let link = LinkId(2_000_001 + 2 * u64::try_from(number / 500).unwrap());
        if number % 500 == 0 {
            played.up(link, None, false);
        }
        let built = played.packet(&[], &request);
        let circuit = CircuitId(DIALLER_BIT | u32::try_from(number + 1).unwrap());
        let answer = if number < EXIT_OPERATIONS_MAX { Command::Reply0 } else { Command::Destroy };
        assert_eq!(commands(&played.build(link, circuit, &built)), [(link, answer)], "{number}");
    }
}

// [REQ-R-007] [REQ-W-008]
#[test]
fn a_batch_is_answered_once_all_of_it_has_come_and_a_cell_less_full_one_too_many_and_one_unasked_for_end_it() {
    let all = BATCH_CHUNKS * SLOT_CELLS;
    for (full, then_len) in [(0, CIRCUIT_DATA_LEN_MAX - 1), (0, 0), (all, CIRCUIT_DATA_LEN_MAX)] {
        let mut played = Played::new();
        let mut circuit = played.storing();
        for cell in 1..=full {
            let said = played.forward(&mut circuit, CIRCUIT_DATA_LEN_MAX);
            let expected = if cell == all { BATCH_CHUNKS } else { 0 };
            assert_eq!(said, vec![(CLIENT, Command::Backward); expected], "after {cell}");
        }
        assert_eq!(played.forward(&mut circuit, then_len), [(CLIENT, Command::Destroy)], "{full}, {then_len}");
    }
    let mut played = Played::new();
    let chunks = vec![ChunkName { hash: [1; 32], index: 0 }];
    let mut circuit = played.fetching(chunks);
    assert_eq!(played.forward(&mut circuit, CIRCUIT_DATA_LEN_MAX), [(CLIENT, Command::Destroy)]);
}

// [DHT-R-001]
#[test]
fn only_who_was_dialled_is_in_the_table() {
    let mut played = Played::new();
    played.up(LinkId(1_000_007), Some(relay(60)), false);
    let target = crate::keyspace::Id([7; 20]);
    let known: Vec<_> = played.relay.table.closest(&target, 20).into_iter().map(|one| one.id).collect();
    assert_eq!(known, [relay(50).id()]);
    assert!(played.relay.members.by_id(&relay(60).id()).is_some());
}

// [ONION-W-008]
#[test]
fn a_new_onion_key_stands_in_a_new_descriptor_at_once() {
    let mut played = Played::new();
    let before = played.relay.descriptor().clone();
    for (seconds, is_new) in [(ONION_KEY_LIFE_S - 1, false), (ONION_KEY_LIFE_S + 5, true)] {
        played.now.instant = Instant::ZERO + Duration::from_secs(seconds);
        played.now.unix = UnixTime(ISSUED.0 + seconds);
        played.take(Input::Timeout);
        let now = played.relay.descriptor();
        assert_eq!((now.onion_key != before.onion_key, now.onion_epoch != before.onion_epoch), (is_new, is_new));
        assert_eq!((now.onion_key, now.onion_epoch), played.relay.onion.public());
    }
}
