//! Draws scripts: all of one follows from a seed and a number. Pure; it must not know what any of them does to a target.
//!
//! Source: spec/fuzzing.md §2.

use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};

use crate::crypto::hash::blake3;
use crate::limits::{
    ASKS_PER_CLIENT_LINK_BURST, CELL_LEN, CREDIT_MAX, CREDIT_START, FRAME_LEN, FUZZ_PREFIXES, FUZZ_SCRIPT_LINKS_MAX,
    MESSAGE_LEN_MAX,
};
use crate::probe::script::{As, First, Greeting, LinkNo, Order, Packet, Question, Script, Step};

/// Numbers of circuits and questions that a script uses: few, so that they meet.
const NUMBERS: u32 = 6;
/// Build packets of a flood.
const FLOOD_MAX: u32 = 96;
/// Bits of a frame.
const FRAME_BITS: u32 = 2_064 * 8;
/// Bytes of a drawn message, in most cases.
const MESSAGE_USUAL: u32 = 300;

const QUESTIONS: [Question; 5] =
    [Question::Members, Question::Life, Question::Find, Question::Store, Question::Differences];
const PACKETS: [Packet; 10] = [
    Packet::Right,
    Packet::Old,
    Packet::Early,
    Packet::Kind,
    Packet::Reserved,
    Packet::Nowhere,
    Packet::Back,
    Packet::Garbage,
    Packet::Noise,
    Packet::Hint,
];
/// What a script is about, each as likely as it stands here often.
const THEMES: [fn(&mut Draw); 20] = [
    Draw::openings,
    Draw::openings,
    Draw::openings,
    Draw::garbage,
    Draw::greetings,
    Draw::greetings,
    Draw::cells,
    Draw::cells,
    Draw::cells,
    Draw::messages,
    Draw::messages,
    Draw::messages,
    Draw::circuits,
    Draw::circuits,
    Draw::circuits,
    Draw::frames,
    Draw::frames,
    Draw::pieces,
    Draw::credits,
    Draw::floods,
];

/// The script of a seed and a number.
#[must_use]
pub fn script(seed: u64, number: u64) -> Script {
    let key = blake3(&[b"bauta/1 fuzz", &seed.to_be_bytes(), &number.to_be_bytes()]);
    let mut draw = Draw { rng: ChaCha20Rng::from_seed(key), steps: Vec::new() };
    let seed = draw.rng.next_u64();
    draw.push(Step::Seed(seed));
    let theme = *draw.one_of(&THEMES);
    theme(&mut draw);
    Script(draw.steps)
}

struct Draw {
    rng: ChaCha20Rng,
    steps: Vec<Step>,
}

impl Draw {
    fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Evenly below `count`, which is not 0: its bias is below one in a million.
    fn below(&mut self, count: u32) -> u32 {
        self.rng.next_u32() % count.max(1)
    }

    fn is(&mut self, one_in: u32) -> bool {
        self.below(one_in) == 0
    }

    fn len_below(&mut self, count: u32) -> usize {
        usize::try_from(self.below(count)).unwrap_or(0)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = self.len_below(u32::try_from(all.len()).unwrap_or(1));
        #[expect(clippy::indexing_slicing, reason = "below its length; no list here is empty")]
        &all[at]
    }

    fn prefix(&mut self) -> u8 {
        u8::try_from(self.below(u32::from(FUZZ_PREFIXES))).unwrap_or(0)
    }

    fn who(&mut self) -> As {
        if self.is(3) { As::Relay } else { As::Client }
    }

    fn number(&mut self) -> u32 {
        1 + self.below(NUMBERS)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    fn up(&mut self, link: LinkNo) -> As {
        let (who, prefix) = (self.who(), self.prefix());
        self.push(Step::Up(link, who, prefix));
        who
    }

    fn connect(&mut self, link: LinkNo) {
        let (who, prefix) = (self.who(), self.prefix());
        self.push(Step::Connect(link, who, prefix));
    }

    /// Bits of the next frame flipped, or a piece of it alone.
    fn spoil(&mut self, link: LinkNo) {
        if self.is(3) {
            let len = self.len_below(2_064);
            self.push(Step::Cut(link, len));
        }
        for _ in 0..self.below(3) {
            let bit = self.below(FRAME_BITS);
            self.push(Step::Flip(link, bit));
        }
    }

    /// First frames, right and wrong; sent again, copied, in pieces; and what comes after them.
    fn openings(&mut self) {
        self.connect(0);
        if self.is(8) {
            self.push(Step::Slow(0, 700, 2));
        }
        if !self.is(3) {
            self.spoil(0);
            if self.is(2) {
                self.push(Step::Check(0));
            }
        }
        let first = *self.one_of(&[First::Right, First::Right, First::Payload, First::Network, First::Key]);
        self.push(Step::First(0, first));
        match self.below(5) {
            0 => self.push(Step::Again(0)),
            1 => {
                // A recorded first frame, from somewhere else.
                self.connect(1);
                self.push(Step::Copy(1, 0));
                self.push(Step::Answer(0));
            }
            2 => {
                let len = self.len_below(3 * 2_064);
                self.push(Step::Noise(0, len));
            }
            3 => self.push(Step::Half(0)),
            _ => self.push(Step::Answer(0)),
        }
    }

    /// Bytes that are no handshake.
    fn garbage(&mut self) {
        self.connect(0);
        let len = *self.one_of(&[1, 31, FRAME_LEN - 1, FRAME_LEN, FRAME_LEN + 1, 3 * FRAME_LEN]);
        self.push(Step::Noise(0, len));
        if self.is(2) {
            self.push(Step::Half(0));
        }
    }

    /// First cells.
    fn greetings(&mut self) {
        self.connect(0);
        self.push(Step::First(0, First::Right));
        if !self.is(6) {
            self.push(Step::Answer(0));
        }
        if self.is(3) {
            self.spoil(0);
        }
        let greeting = match self.below(5) {
            0 => Greeting::Right,
            1 => {
                let [low, high] = [self.below(4), self.below(256)].map(|one| u8::try_from(one).unwrap_or(0));
                Greeting::Versions(low, high)
            }
            2 => Greeting::Stranger,
            3 => {
                let len = self.len_below(400);
                Greeting::Body(self.bytes(len))
            }
            _ => {
                // A descriptor of drawn bytes behind a right beginning.
                let mut body = self.bytes(240);
                body.iter_mut().zip([1, 1, 1]).for_each(|(to, from)| *to = from);
                Greeting::Body(body)
            }
        };
        if self.is(5) {
            let cell = self.cell();
            self.push(Step::Cell(0, cell));
        }
        self.push(Step::Hello(0, greeting.clone()));
        match self.below(3) {
            0 => self.push(Step::Hello(0, greeting)),
            1 => self.push(Step::Ask(0, 1, Question::Life)),
            _ => (),
        }
    }

    /// A cell of which each field is likely to be near what it should be.
    fn cell(&mut self) -> Vec<u8> {
        let high = if self.is(4) { 0 } else { 1_u32 << 31 };
        let circuit = if self.is(8) { 0 } else { self.number() | high };
        let command = u8::try_from(self.below(13)).unwrap_or(0);
        let mut cell = circuit.to_be_bytes().to_vec();
        let odd = if self.is(6) { 1 } else { 0 };
        let suite = if command == 1 { 1 } else { odd };
        cell.extend([command, suite, u8::from(self.is(12)), u8::from(self.is(12))]);
        let len = self.len_below(u32::try_from(CELL_LEN).unwrap_or(0) - 8);
        match self.below(4) {
            0 => (),
            1 => cell.extend(self.bytes(len)),
            2 => {
                // A message of its own length, or nearly.
                let message = self.message();
                let said = u32::try_from(message.len()).unwrap_or(0) + if self.is(4) { 1 } else { 0 };
                cell.extend(said.to_be_bytes());
                cell.extend(message.into_iter().take(CELL_LEN - 12));
            }
            _ => cell.extend(self.below(600).to_be_bytes()),
        }
        cell
    }

    fn cells(&mut self) {
        self.up(0);
        for _ in 0..=self.below(6) {
            let cell = self.cell();
            self.push(Step::Cell(0, cell));
        }
        self.push(Step::Ask(0, 9, Question::Life));
    }

    /// The bytes of a question, likely with something wrong in them.
    fn message(&mut self) -> Vec<u8> {
        let question = *self.one_of(&QUESTIONS);
        let mut message = crate::probe::script::question_bytes(question, &mut self.rng);
        for _ in 0..self.below(3) {
            let at = self.len_below(u32::try_from(message.len()).unwrap_or(1));
            let bit = self.below(8);
            if let Some(byte) = message.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        match self.below(6) {
            0 => message.truncate(self.len_below(MESSAGE_USUAL)),
            1 => {
                let len = self.len_below(MESSAGE_USUAL);
                message.extend(self.bytes(len));
            }
            2 if self.is(4) => message.resize(self.len_below(u32::try_from(MESSAGE_LEN_MAX / 8).unwrap_or(1)), 7),
            _ => (),
        }
        message
    }

    /// Questions, right and wrong, under numbers that meet.
    fn messages(&mut self) {
        self.up(0);
        for _ in 0..=self.below(8) {
            let number = self.number();
            if self.is(2) {
                let question = *self.one_of(&QUESTIONS);
                self.push(Step::Ask(0, number, question));
            } else {
                let message = self.message();
                self.push(Step::Message(0, number, message));
            }
        }
        if self.is(8) {
            // More than a client may ask at once.
            for number in 0..ASKS_PER_CLIENT_LINK_BURST + 8 {
                self.push(Step::Ask(0, 100 + number, Question::Life));
            }
        }
    }

    /// Circuits in any order: built, replayed, fed, ended at once.
    fn circuits(&mut self) {
        self.up(0);
        self.up(1);
        for _ in 0..=self.below(10) {
            let (link, number) = (LinkNo::from(self.is(4)), self.number());
            let step = match self.below(9) {
                0..=3 => {
                    let hops = u8::try_from(1 + self.below(4)).unwrap_or(1);
                    Step::Build(link, number, hops, *self.one_of(&PACKETS))
                }
                4 => Step::Repeat(link, number),
                5 => Step::Forward(link, number),
                6 => Step::Destroy(link, number),
                7 => Step::Credit(link, number, 1 + self.rng.next_u32() % CREDIT_MAX),
                _ => Step::Wait(u64::from(self.below(60))),
            };
            self.push(step);
        }
    }

    /// Frames out of order, sent again, flipped, cut off, on a link that is up.
    fn frames(&mut self) {
        self.up(0);
        self.push(Step::Ask(0, 1, Question::Members));
        match self.below(4) {
            0 => self.push(Step::Again(0)),
            1 => {
                self.push(Step::Hold(0));
                for number in 2..4 + self.below(4) {
                    self.push(Step::Ask(0, number, Question::Life));
                }
                let order = *self.one_of(&[Order::Forth, Order::Back]);
                self.push(Step::Release(0, order));
            }
            2 => {
                self.up(1);
                self.push(Step::Copy(1, 0));
            }
            _ => self.spoil(0),
        }
        self.push(Step::Ask(0, 8, Question::Life));
        if self.is(3) {
            self.push(Step::Half(0));
        }
    }

    /// Bytes that come slowly, and links that end in the middle.
    fn pieces(&mut self) {
        if self.is(2) {
            self.connect(0);
            self.push(Step::Slow(0, 300, 5));
            self.push(Step::First(0, First::Right));
            self.push(Step::Answer(0));
            self.push(Step::Hello(0, Greeting::Right));
        } else {
            self.up(0);
            self.push(Step::Slow(0, 400, 5));
        }
        self.push(Step::Ask(0, 1, Question::Life));
        let len = self.len_below(2_064);
        self.push(Step::Cut(0, len));
        self.push(Step::Ask(0, 2, Question::Members));
        let end = if self.is(2) { Step::Half(0) } else { Step::Close(0) };
        self.push(end);
    }

    /// More credits, and more cells, than there may be.
    fn credits(&mut self) {
        self.up(0);
        self.push(Step::Build(0, 1, 1, Packet::Right));
        match self.below(4) {
            0 => self.push(Step::Credit(0, 1, 0)),
            1 => {
                self.push(Step::Wait(50));
                self.push(Step::Credit(0, 1, CREDIT_MAX));
            }
            2 => {
                let count = self.rng.next_u32();
                self.push(Step::Credit(0, 2, count));
            }
            _ => {
                self.push(Step::Wait(200));
                for _ in 0..CREDIT_START + 8 {
                    self.push(Step::Forward(0, 1));
                }
            }
        }
    }

    /// Many handshakes, many links, many packets, all of them right.
    fn floods(&mut self) {
        let links = u8::try_from(FUZZ_SCRIPT_LINKS_MAX).unwrap_or(1);
        match self.below(4) {
            0 => {
                let prefix = self.prefix();
                for link in 0..links {
                    self.push(Step::Connect(link, As::Client, prefix));
                    self.push(Step::First(link, First::Right));
                }
            }
            1 => {
                for link in 0..links / 2 {
                    self.up(link);
                }
                self.push(Step::Wait(100));
            }
            choice => {
                self.up(0);
                let hops = u8::try_from(1 + self.below(3)).unwrap_or(1);
                for number in 0..FLOOD_MAX {
                    self.push(Step::Build(0, 1_000 + number, hops, Packet::Right));
                    if choice == 2 {
                        self.push(Step::Destroy(0, 1_000 + number));
                    }
                }
                self.push(Step::Wait(300));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::limits::{FUZZ_BUILDS_BURST, FUZZ_CONNECTS_PER_S, FUZZ_SCRIPT_LEN_MAX, FUZZ_SCRIPT_STEPS_MAX};

    #[test]
    fn a_script_follows_from_its_seed_and_number_keeps_the_caps_and_survives_being_text() {
        let mut seen = BTreeSet::new();
        for number in 0..2_000 {
            let drawn = script(7, number);
            assert_eq!(drawn, script(7, number));
            let text = drawn.to_string();
            assert_eq!(text.parse(), Ok(drawn.clone()), "{text}");
            assert!(drawn.0.len() <= FUZZ_SCRIPT_STEPS_MAX && text.len() <= FUZZ_SCRIPT_LEN_MAX);
            let (connects, builds) = drawn.cost();
            assert!((1..=FUZZ_CONNECTS_PER_S).contains(&connects) && builds <= FUZZ_BUILDS_BURST);
            let links: BTreeSet<_> = drawn.0.iter().filter_map(Step::link).collect();
            assert!(links.len() <= FUZZ_SCRIPT_LINKS_MAX);
            seen.insert(text);
        }
        assert_eq!(seen.len(), 2_000);
        assert_ne!(script(8, 0), script(7, 0));
    }

    #[test]
    fn every_step_is_drawn_sooner_or_later() {
        let words: BTreeSet<String> = (0..2_000)
            .flat_map(|number| script(1, number).0)
            .map(|step| step.to_string().split(' ').next().unwrap_or_default().to_owned())
            .collect();
        // What they bring about is judged without being expected, and `bytes` are for people.
        for word in [
            "seed", "connect", "first", "answer", "hello", "up", "noise", "cell", "ask", "message", "build", "repeat",
            "forward", "credit", "destroy", "again", "copy", "flip", "check", "cut", "hold", "release", "slow", "half",
            "close", "wait",
        ] {
            assert!(words.contains(word), "{word}");
        }
    }
}
