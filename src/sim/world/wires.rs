//! Dials and frames between nodes: latency, bandwidth, order, faults, and what either end learns of the other's end. With real
//! ciphers a link machine stands at each end; with tokens the same frames pass in the same order without them.

use super::actor::{Actor, Mind, State, Told};
use super::pipe::{End, Frame, Pipe, PipeNo, Side};
use super::queue::Event;
use super::{BREAK_WITHIN, BROKEN, Ciphers, Neighbour, NodeNo, SILENCE, Stop, World, draw, index};
use crate::crypto::keys::{DhKey, DhSecret};
use crate::limits::{DIAL_TIMEOUT, FRAME_LEN, HANDSHAKE_TIMEOUT};
use crate::link::{DownReason, Link, LinkEvent, Params};
use crate::node::io::{Input, LinkId, Output, Peer};
use crate::time::Duration;
use crate::wire::address::Address;
use crate::wire::cell::{Cell, Command};
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::hello::Hello;
use crate::wire::network::VERSIONS;

/// What becomes of a dial.
enum Answer {
    /// After a round trip there is a connection.
    Connects(NodeNo),
    /// After a round trip it is refused.
    Refused,
    /// Nothing is heard.
    Nothing,
}

impl World {
    /// Does what a node wants of links.
    pub(super) fn act(&mut self, no: NodeNo, output: Output, _mind: &mut Mind) {
        match output {
            Output::Send { link, cell } => self.send(no, link, cell),
            Output::Dial { link, address, link_key } => self.dial(no, link, address, link_key),
            Output::Close { link, .. } => self.close(no, link),
            Output::Descriptor(shown) => {
                let shown = self.known.descriptor(&self.network, shown.to_signed(), self.unix()).unwrap_or(*shown);
                if let Some(actor) = self.actors.get_mut(index(no)) {
                    actor.shown = Some(shown);
                }
            }
        }
    }

    fn dial(&mut self, from: NodeNo, link: LinkId, address: Address, wanted: DhKey) {
        self.counts.dials += 1;
        let Some(actor) = self.actor(from) else { return };
        let (life, group) = (actor.life, actor.group);
        let answer = self.answer(group, &address);
        let to = self.by_address.get(&address).copied();
        let one_way = to.map_or(Duration::ZERO, |to| self.one_way(from, to));
        let fail = |world: &mut Self, after: Duration| {
            let failed = Event::DialFailed { node: from, life, link, reason: DownReason::Unreachable };
            world.queue.plan(world.now + after, failed);
        };
        match answer {
            Answer::Nothing => fail(self, DIAL_TIMEOUT),
            Answer::Refused => fail(self, one_way * 2),
            Answer::Connects(to) => {
                let Some((actor, life_there)) = self.actor(from).zip(self.actor(to).map(|actor| actor.life)) else {
                    return;
                };
                let shows = actor.shown.clone();
                let key = match &actor.identity {
                    Some(identity) => identity.link.clone(),
                    None => DhSecret::generate(&mut self.rng),
                };
                let pipe = self.pipes.open(Pipe {
                    dialler: End::new(from, life, Some(link)),
                    accepter: End::new(to, life_there, None),
                    one_way,
                    wanted,
                    dialler_public: key.public(),
                    dialler_key: key,
                    dialler_shows: shows,
                    links: None,
                    held: Vec::new(),
                    drawn_at: None,
                });
                if let Some(actor) = self.actors.get_mut(index(from)) {
                    actor.links.insert(link, (pipe, Side::Dialler));
                }
                self.queue.plan(self.now + one_way * 2, Event::Connected { pipe });
            }
        }
    }

    fn answer(&mut self, from: super::Group, address: &Address) -> Answer {
        let Some((to, actor)) = self.by_address.get(address).and_then(|to| Some((*to, self.actor(*to)?))) else {
            return Answer::Nothing;
        };
        let (state, group) = (actor.state, actor.group);
        if self.faults.is_cut(from, group) || self.faults.is_cut(group, from) || state == State::Silent {
            return Answer::Nothing;
        }
        if draw::chance(&mut self.rng, self.faults.dial) {
            let is_silent = draw::chance(&mut self.rng, self.faults.dial_silent);
            return if is_silent { Answer::Nothing } else { Answer::Refused };
        }
        if state == State::Down { Answer::Refused } else { Answer::Connects(to) }
    }

    fn one_way(&self, from: NodeNo, to: NodeNo) -> Duration {
        self.options.internet.latency(from.0, to.0)
    }

    pub(super) fn on_connected(&mut self, no: PipeNo) {
        if !self.is_alive(no) {
            return self.fail_handshake(no, Duration::ZERO);
        }
        if self.options.ciphers == Ciphers::Tokens {
            return self.put(no, Side::Dialler, Frame::First);
        }
        let (network, timing, now) = (self.network, self.options.timing, self.now);
        let Some(pipe) = self.pipes.get_mut(no) else { return };
        let hello = |shown: Option<&VerifiedDescriptor>| Hello {
            versions: VERSIONS,
            descriptor: shown.map(VerifiedDescriptor::to_signed),
        };
        let ours =
            Params { network, secret: pipe.dialler_key.clone(), hello: hello(pipe.dialler_shows.as_ref()), timing };
        let wanted = pipe.wanted;
        let there = self.actors.get(index(pipe.accepter.node));
        let theirs = there.and_then(|actor| {
            let secret = actor.identity.as_ref()?.link.clone();
            Some(Params { network, secret, hello: hello(actor.shown.as_ref()), timing })
        });
        let Some(theirs) = theirs else { return self.fail_handshake(no, Duration::ZERO) };
        let dialling = Link::dial(ours, wanted, &mut self.rng, now);
        let accepting = Link::accept(theirs, &mut self.rng, now);
        match dialling {
            Ok(dialling) => pipe.links = Some(Box::new((dialling, accepting))),
            Err(_) => return self.fail_handshake(no, Duration::ZERO),
        }
        self.pump(no, Side::Dialler);
        self.pump(no, Side::Accepter);
    }

    /// Whether both ends live the life in which the connection was made.
    fn is_alive(&self, no: PipeNo) -> bool {
        let lives =
            |end: &End| self.actor(end.node).is_some_and(|actor| actor.life == end.life && actor.state == State::Up);
        self.pipes.get(no).is_some_and(|pipe| lives(&pipe.dialler) && lives(&pipe.accepter))
    }

    /// The dialler learns that there will be no link.
    fn fail_handshake(&mut self, no: PipeNo, after: Duration) {
        let now = self.now;
        if let Some(pipe) = self.pipes.get_mut(no) {
            pipe.accepter.is_closed = true;
            self.queue.plan(now + after, Event::Down { pipe: no, to: Side::Dialler, reason: DownReason::Handshake });
        }
    }

    // ---- cells ----

    fn send(&mut self, from: NodeNo, link: LinkId, cell: Cell) {
        let Some((no, side)) = self.actor(from).and_then(|actor| actor.links.get(&link)).copied() else { return };
        self.checks.cell(&self.pipes, no, side, &cell);
        if matches!(cell.command(), Command::Ask | Command::Answer) {
            self.counts.ask_frames += 1;
        }
        if matches!(cell.command(), Command::Build | Command::Ask) {
            self.draw_break(no);
        }
        match self.options.ciphers {
            Ciphers::Tokens => self.put(no, side, Frame::Cell(cell)),
            Ciphers::Real => {
                let machine = self.pipes.get_mut(no).and_then(|pipe| pipe.link_mut(side));
                if machine.is_some_and(|machine| machine.push(cell).is_ok()) {
                    self.pump(no, side);
                }
            }
        }
    }

    /// Once in a while a link in use breaks.
    fn draw_break(&mut self, no: PipeNo) {
        if self.faults.link <= 0.0 {
            return;
        }
        let now = self.now;
        let Some(pipe) = self.pipes.get_mut(no) else { return };
        if pipe.drawn_at.is_some_and(|at| at.until(now) < BREAK_WITHIN) {
            return;
        }
        pipe.drawn_at = Some(now);
        if draw::chance(&mut self.rng, self.faults.link) {
            let after = draw::within(&mut self.rng, BREAK_WITHIN);
            self.queue.plan(now + after, Event::Break { pipe: no });
        }
    }

    /// Puts a frame on its way from one side to the other.
    fn put(&mut self, no: PipeNo, from: Side, frame: Frame) {
        let now = self.now;
        let Some(pipe) = self.pipes.get_mut(no) else { return };
        let (sender, receiver) = (pipe.end(from).node, pipe.end(from.other()).node);
        if pipe.end(from).is_closed || pipe.end(from.other()).is_closed {
            return;
        }
        let one_way = pipe.one_way;
        let groups = self.actors.get(index(sender)).zip(self.actors.get(index(receiver)));
        let Some((out, into)) = groups.map(|(one, other)| (one.group, other.group)) else { return };
        if self.faults.is_cut(out, into) {
            pipe.held.push((from, frame));
            return;
        }
        let delay = one_way + self.faults.delay(out, into);
        let sending = self.options.internet.bytes_per_s(sender.0).map_or(Duration::ZERO, sending);
        let Some(actor) = self.actors.get_mut(index(sender)) else { return };
        self.counts.frames += 1;
        actor.sent_frames += 1;
        actor.uplink_free = actor.uplink_free.max(now) + sending;
        let end = pipe.end_mut(from.other());
        let arrives = (actor.uplink_free + delay).max(end.busy_until);
        end.busy_until = arrives;
        self.queue.plan(arrives, Event::Frame { pipe: no, to: from.other(), frame });
    }

    pub(super) fn on_frame(&mut self, no: PipeNo, to: Side, frame: Frame) {
        let Some(pipe) = self.pipes.get(no) else { return };
        let end = *pipe.end(to);
        let lives = self.actor(end.node).is_some_and(|actor| actor.life == end.life && actor.state == State::Up);
        if end.is_closed {
            return;
        }
        if !lives {
            return self.meets_nobody(no, to);
        }
        match frame {
            Frame::Cell(cell) if end.is_up => {
                if let Some(link) = end.link {
                    self.tell(end.node, Told::Io(Input::Cell { link, cell }));
                }
            }
            Frame::Cell(_) => (),
            Frame::Sealed(sealed) => self.on_sealed(no, to, &sealed),
            Frame::First => self.on_first(no),
            Frame::Second => {
                let shown = self.shown(no, Side::Accepter);
                let wanted = self.pipes.get(no).map(|pipe| pipe.wanted);
                self.put(no, Side::Dialler, Frame::Hello);
                if let Some((wanted, shown)) = wanted.zip(shown) {
                    self.link_up(no, Side::Dialler, wanted, Some(shown));
                }
            }
            Frame::Hello => {
                let (key, shown) = self
                    .pipes
                    .get(no)
                    .map_or((DhKey([0; 32]), None), |pipe| (pipe.dialler_public, pipe.dialler_shows.clone()));
                self.link_up(no, Side::Accepter, key, shown);
            }
        }
    }

    /// A frame came to where nobody is any more, and the connection was not up there yet.
    fn meets_nobody(&mut self, no: PipeNo, to: Side) {
        let Some(pipe) = self.pipes.get_mut(no) else { return };
        pipe.end_mut(to).is_closed = true;
        let (node, one_way) = (pipe.end(to).node, pipe.one_way);
        let is_silent = self.actor(node).is_some_and(|actor| actor.state == State::Silent);
        let after = if is_silent { SILENCE } else { one_way };
        let reason = if is_silent { DownReason::Silent } else { BROKEN };
        self.queue.plan(self.now + after, Event::Down { pipe: no, to: to.other(), reason });
    }

    /// Whom the dialler means is not who is there, perhaps: then nothing is ever answered.
    fn on_first(&mut self, no: PipeNo) {
        let Some(pipe) = self.pipes.get(no) else { return };
        let there = self.actor(pipe.accepter.node).and_then(|actor| actor.identity.as_ref());
        if there.is_some_and(|identity| identity.link.public() == pipe.wanted) {
            self.put(no, Side::Accepter, Frame::Second);
        } else {
            self.fail_handshake(no, HANDSHAKE_TIMEOUT);
        }
    }

    fn shown(&self, no: PipeNo, side: Side) -> Option<VerifiedDescriptor> {
        let end = self.pipes.get(no)?.end(side);
        self.actor(end.node)?.shown.clone()
    }

    /// One end learns that its link is up.
    fn link_up(&mut self, no: PipeNo, side: Side, link_key: DhKey, descriptor: Option<VerifiedDescriptor>) {
        let Some(pipe) = self.pipes.get_mut(no) else { return };
        let other = pipe.end(side.other()).node;
        let end = pipe.end_mut(side);
        let node = end.node;
        let Some(actor) = self.actors.get_mut(index(node)) else { return };
        let link = end.link.unwrap_or_else(|| actor.accept());
        (end.link, end.is_up) = (Some(link), true);
        actor.links.insert(link, (no, side));
        actor.links_most = actor.links_most.max(actor.links.len());
        if let Some(mask) = &mut actor.mask {
            mask.meet(link, Neighbour { link_key, relay: descriptor.as_ref().map(|one| one.key) });
        }
        let Some(address) = self.actors.get(index(other)).map(|actor| actor.address) else { return };
        let peer = Box::new(Peer { link_key, descriptor, address, dialled: side == Side::Dialler });
        self.tell(node, Told::Io(Input::LinkUp { link, peer }));
    }

    // ---- real link machines ----

    fn on_sealed(&mut self, no: PipeNo, to: Side, sealed: &crate::link::Frame) {
        let now = self.now;
        let Some(machine) = self.pipes.get_mut(no).and_then(|pipe| pipe.link_mut(to)) else { return };
        let event = machine.handle_frame(now, sealed);
        let is_dialler = to == Side::Dialler;
        match event {
            Ok(Some(LinkEvent::Cell(cell))) => {
                let end = self.pipes.get(no).map(|pipe| *pipe.end(to));
                if let Some((link, node)) = end.and_then(|end| Some((end.link?, end.node))) {
                    self.tell(node, Told::Io(Input::Cell { link, cell }));
                }
            }
            Ok(Some(LinkEvent::Established { link_key, hello })) => {
                self.pump(no, to);
                let unix = self.unix();
                let shown = hello.descriptor.and_then(|signed| self.known.descriptor(&self.network, signed, unix));
                if shown.is_some() || !is_dialler {
                    self.link_up(no, to, link_key, shown);
                }
            }
            Ok(None) => (),
            Err(reason) => return self.end(no, to, reason),
        }
        self.pump(no, to);
    }

    /// Everything that a link machine has to write.
    fn pump(&mut self, no: PipeNo, side: Side) {
        let now = self.now;
        let mut frame = Box::new([0; FRAME_LEN]);
        while self
            .pipes
            .get_mut(no)
            .and_then(|pipe| pipe.link_mut(side))
            .is_some_and(|one| one.poll_frame(now, &mut frame))
        {
            self.put(no, side, Frame::Sealed(core::mem::replace(&mut frame, Box::new([0; FRAME_LEN]))));
        }
        let Some(pipe) = self.pipes.get_mut(no) else { return };
        let wanted = pipe.link_mut(side).and_then(|machine| machine.poll_timeout());
        let end = pipe.end_mut(side);
        if let Some(at) = wanted.filter(|at| end.timer.is_none_or(|planned| *at < planned)) {
            end.timer = Some(at);
            self.queue.plan(at.max(now), Event::LinkTimer { pipe: no, side });
        }
    }

    pub(super) fn on_link_timer(&mut self, no: PipeNo, side: Side) {
        let now = self.now;
        let Some(pipe) = self.pipes.get_mut(no) else { return };
        let end = pipe.end_mut(side);
        if end.is_closed || end.timer.take().is_none_or(|at| at > now) {
            return;
        }
        let Some(machine) = pipe.link_mut(side) else { return };
        let due = machine.poll_timeout().is_some_and(|at| at <= now);
        match if due { machine.handle_timeout(now) } else { Ok(()) } {
            Ok(()) => self.pump(no, side),
            Err(reason) => self.end(no, side, reason),
        }
    }

    // ---- ends ----

    /// A node closes its end.
    fn close(&mut self, node: NodeNo, link: LinkId) {
        let removed = self.actors.get_mut(index(node)).and_then(|actor| actor.unlink(link));
        if let Some((no, side)) = removed {
            self.leave(no, side, Stop::Crash);
        }
    }

    /// One end is gone; the other learns of it, at once or by silence.
    pub(super) fn leave(&mut self, no: PipeNo, side: Side, how: Stop) {
        let now = self.now;
        let Some(pipe) = self.pipes.get_mut(no) else { return };
        pipe.end_mut(side).is_closed = true;
        pipe.held.retain(|(from, _)| *from == side);
        let (one_way, gone, other) = (pipe.one_way, *pipe.end(side), *pipe.end(side.other()));
        // Nobody knows of an accepted connection before it is up.
        if other.is_closed || other.link.is_none() {
            return self.close_pipe(no);
        }
        let is_cut = self.faults.is_cut(self.group_of(gone.node), self.group_of(other.node));
        let (at, reason) = match how {
            Stop::Crash if !is_cut => ((now + one_way).max(other.busy_until), BROKEN),
            Stop::Crash | Stop::Silent => (now + SILENCE, DownReason::Silent),
        };
        self.queue.plan(at, Event::Down { pipe: no, to: side.other(), reason });
    }

    /// A link machine has ended: its node learns why, the other end that it is closed.
    fn end(&mut self, no: PipeNo, side: Side, reason: DownReason) {
        // What it still says is said first.
        self.pump(no, side);
        let end = self.pipes.get(no).map(|pipe| *pipe.end(side));
        if let Some(end) = end.filter(|end| !end.is_closed) {
            self.leave(no, side, Stop::Crash);
            self.told_down(end, reason);
        }
    }

    pub(super) fn on_down(&mut self, no: PipeNo, to: Side, reason: DownReason) {
        let Some(pipe) = self.pipes.get_mut(no) else { return };
        let end = *pipe.end(to);
        if end.is_closed {
            return;
        }
        pipe.end_mut(to).is_closed = true;
        if pipe.end(to.other()).is_closed {
            self.close_pipe(no);
        }
        self.told_down(end, reason);
    }

    fn close_pipe(&mut self, no: PipeNo) {
        self.checks.pipe_gone(no);
        self.pipes.close(no);
    }

    fn told_down(&mut self, end: End, reason: DownReason) {
        let Some(actor) = self.actors.get_mut(index(end.node)).filter(|actor| actor.life == end.life) else { return };
        let Some(link) = end.link else { return };
        if actor.unlink(link).is_some() {
            self.tell(end.node, Told::Io(Input::LinkDown { link, reason }));
        }
    }

    /// A link breaks in the middle: both ends learn.
    pub(super) fn break_link(&mut self, no: PipeNo) {
        let Some(pipe) = self.pipes.get(no) else { return };
        let (now, one_way) = (self.now, pipe.one_way);
        for to in [Side::Dialler, Side::Accepter] {
            self.queue.plan(now + one_way / 2, Event::Down { pipe: no, to, reason: BROKEN });
        }
    }

    // ---- partitions ----

    /// Cuts or mends directions. What was under way in a cut direction waits; links that hear nothing for too long die of it.
    pub fn set_cut(&mut self, cut: impl IntoIterator<Item = (super::Group, super::Group)>) {
        self.faults.cut = cut.into_iter().collect();
        for no in self.pipes.numbers() {
            let Some(pipe) = self.pipes.get_mut(no) else { continue };
            for (side, frame) in core::mem::take(&mut pipe.held) {
                self.put(no, side, frame);
            }
            self.plan_silence(no);
        }
    }

    /// Ends that hear nothing from now on die of silence, unless the cut is mended before: looked at when it is over.
    fn plan_silence(&mut self, no: PipeNo) {
        let Some(pipe) = self.pipes.get(no) else { return };
        let (dialler, accepter) = (self.group_of(pipe.dialler.node), self.group_of(pipe.accepter.node));
        for (to, from, into) in [(Side::Dialler, accepter, dialler), (Side::Accepter, dialler, accepter)] {
            if self.faults.is_cut(from, into) {
                self.queue.plan(self.now + SILENCE, Event::Silence { pipe: no, to });
            }
        }
    }

    fn group_of(&self, no: NodeNo) -> super::Group {
        self.actor(no).map_or(0, |actor| actor.group)
    }

    /// Whether what is cut still is; mended in between, a link lives: what was held has come.
    pub(super) fn on_silence(&mut self, no: PipeNo, to: Side) {
        let Some(pipe) = self.pipes.get(no) else { return };
        let (from, into) = (self.group_of(pipe.end(to.other()).node), self.group_of(pipe.end(to).node));
        if self.faults.is_cut(from, into) {
            self.on_down(no, to, DownReason::Silent);
        }
    }
}

/// How long a frame keeps an uplink of so many bytes a second busy.
fn sending(bytes_per_s: u64) -> Duration {
    let micros = u64::try_from(FRAME_LEN).unwrap_or(u64::MAX) * 1_000_000 / bytes_per_s.max(1);
    Duration::from_micros(micros)
}

impl Actor {
    fn unlink(&mut self, link: LinkId) -> Option<(PipeNo, Side)> {
        if let Some(mask) = &mut self.mask {
            mask.part(link);
        }
        self.links.remove(&link)
    }

    /// A number for an accepted link.
    fn accept(&mut self) -> LinkId {
        let link = LinkId(self.next_accepted);
        self.next_accepted += 2;
        link
    }
}
