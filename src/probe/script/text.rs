//! Scripts as text: a word for each step, then what it takes, apart by spaces; `#` begins a comment. Nothing else is read.
//!
//! Source: spec/fuzzing.md §3.

use std::fmt;
use std::str::{FromStr, SplitWhitespace};

use super::{As, Expected, First, Greeting, Order, Packet, Question, Script, Step};
use crate::limits::{
    CELL_LEN, FRAME_LEN, FUZZ_PAUSE_MAX, FUZZ_PREFIXES, FUZZ_SCRIPT_LEN_MAX, FUZZ_SCRIPT_LINKS_MAX,
    FUZZ_SCRIPT_STEPS_MAX, MESSAGE_LEN_MAX,
};
use crate::wire::hex;

/// Longest bytes that one step writes as they are.
const BYTES_MAX: usize = 64 * FRAME_LEN;

/// A text that is no script.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    /// A line.
    #[error("line {0}: {1}")]
    Line(usize, String),
    /// The whole is too long.
    #[error("a script has at most {FUZZ_SCRIPT_LEN_MAX} bytes and {FUZZ_SCRIPT_STEPS_MAX} steps")]
    Long,
}

/// Words that stand for values, in both directions.
macro_rules! words {
    ($type:ty: $($word:literal $value:path),+) => {
        impl $type {
            const WORDS: &[(&str, Self)] = &[$(($word, $value)),+];

            fn word(self) -> &'static str {
                Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
            }
        }
    };
}
words!(As: "client" As::Client, "relay" As::Relay);
words!(First: "right" First::Right, "payload" First::Payload, "network" First::Network, "key" First::Key);
words!(Question: "members" Question::Members, "life" Question::Life, "find" Question::Find, "store" Question::Store,
    "differences" Question::Differences);
words!(Packet: "right" Packet::Right, "old" Packet::Old, "early" Packet::Early, "kind" Packet::Kind,
    "reserved" Packet::Reserved, "nowhere" Packet::Nowhere, "back" Packet::Back, "garbage" Packet::Garbage,
    "noise" Packet::Noise, "hint" Packet::Hint);
words!(Order: "forth" Order::Forth, "back" Order::Back);

/// The words of one line.
struct Line<'a>(SplitWhitespace<'a>);

type Read<T> = Result<T, String>;

impl<'a> Line<'a> {
    fn word(&mut self) -> Read<&'a str> {
        self.0.next().ok_or_else(|| "it ends too early".to_owned())
    }

    fn number<T: FromStr + PartialOrd + fmt::Display>(&mut self, max: T) -> Read<T> {
        let word = self.word()?;
        let number = word.parse().ok().filter(|number| *number <= max);
        number.ok_or_else(|| format!("{word:?} is no number from 0 to {max}"))
    }

    fn link(&mut self) -> Read<u8> {
        self.number(u8::try_from(FUZZ_SCRIPT_LINKS_MAX - 1).unwrap_or(u8::MAX))
    }

    fn one_of<T: Copy>(&mut self, words: &[(&str, T)]) -> Read<T> {
        let word = self.word()?;
        let found = words.iter().find(|(known, _)| *known == word);
        let all = || words.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
        found.map(|(_, value)| *value).ok_or_else(|| format!("{word:?} is none of {}", all()))
    }

    fn bytes(&mut self, max: usize) -> Read<Vec<u8>> {
        let Some(word) = self.0.next() else { return Ok(Vec::new()) };
        let pairs = word.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            hex::decode::<1>(pair).ok().map(|[byte]| byte)
        });
        let bytes: Option<Vec<u8>> = pairs.collect();
        let bytes = bytes.ok_or_else(|| "what should be bytes is not hexadecimal".to_owned())?;
        if bytes.len() > max { Err(format!("more than {max} bytes")) } else { Ok(bytes) }
    }

    fn pause(&mut self) -> Read<u64> {
        self.number(u64::try_from(FUZZ_PAUSE_MAX.as_millis()).unwrap_or(u64::MAX))
    }

    fn greeting(&mut self) -> Read<Greeting> {
        match self.word()? {
            "right" => Ok(Greeting::Right),
            "stranger" => Ok(Greeting::Stranger),
            "versions" => Ok(Greeting::Versions(self.number(u8::MAX)?, self.number(u8::MAX)?)),
            "body" => self.bytes(CELL_LEN).map(Greeting::Body),
            other => Err(format!("{other:?} is none of right, stranger, versions, body")),
        }
    }

    fn expected(&mut self) -> Read<Expected> {
        match self.word()? {
            "silent" => self.pause().map(Expected::Silent),
            "closed" => Ok(Expected::Closed),
            "answered" => self.number(u32::MAX).map(Expected::Answered),
            "replied" => self.number(u32::MAX).map(Expected::Replied),
            "destroyed" => self.number(u32::MAX).map(Expected::Destroyed),
            other => Err(format!("{other:?} is none of silent, closed, answered, replied, destroyed")),
        }
    }

    fn step(&mut self) -> Read<Step> {
        let step = match self.word()? {
            "salt" => {
                let word = self.word()?;
                Step::Salt(hex::decode(word).map_err(|_| "a salt has 32 hexadecimal digits".to_owned())?)
            }
            "seed" => Step::Seed(self.number(u64::MAX)?),
            "connect" => Step::Connect(self.link()?, self.one_of(As::WORDS)?, self.number(FUZZ_PREFIXES - 1)?),
            "first" => Step::First(self.link()?, self.one_of(First::WORDS)?),
            "answer" => Step::Answer(self.link()?),
            "hello" => Step::Hello(self.link()?, self.greeting()?),
            "up" => Step::Up(self.link()?, self.one_of(As::WORDS)?, self.number(FUZZ_PREFIXES - 1)?),
            "bytes" => Step::Bytes(self.link()?, self.bytes(BYTES_MAX)?),
            "noise" => Step::Noise(self.link()?, self.number(BYTES_MAX)?),
            "cell" => Step::Cell(self.link()?, self.bytes(CELL_LEN)?),
            "ask" => Step::Ask(self.link()?, self.number(u32::MAX)?, self.one_of(Question::WORDS)?),
            "message" => Step::Message(self.link()?, self.number(u32::MAX)?, self.bytes(MESSAGE_LEN_MAX)?),
            "build" => {
                let (link, number, hops) = (self.link()?, self.number(u32::MAX)?, self.number(5)?);
                Step::Build(link, number, hops, self.one_of(Packet::WORDS)?)
            }
            "repeat" => Step::Repeat(self.link()?, self.number(u32::MAX)?),
            "forward" => Step::Forward(self.link()?, self.number(u32::MAX)?),
            "credit" => Step::Credit(self.link()?, self.number(u32::MAX)?, self.number(u32::MAX)?),
            "destroy" => Step::Destroy(self.link()?, self.number(u32::MAX)?),
            "again" => Step::Again(self.link()?),
            "copy" => Step::Copy(self.link()?, self.link()?),
            "flip" => Step::Flip(self.link()?, self.number(u32::try_from(FRAME_LEN * 8 - 1).unwrap_or(u32::MAX))?),
            "check" => Step::Check(self.link()?),
            "cut" => Step::Cut(self.link()?, self.number(FRAME_LEN)?),
            "hold" => Step::Hold(self.link()?),
            "release" => Step::Release(self.link()?, self.one_of(Order::WORDS)?),
            "slow" => Step::Slow(self.link()?, self.number(FRAME_LEN)?, self.number(100)?),
            "half" => Step::Half(self.link()?),
            "close" => Step::Close(self.link()?),
            "wait" => Step::Wait(self.pause()?),
            "expect" => Step::Expect(self.link()?, self.expected()?),
            other => return Err(format!("there is no step {other:?}")),
        };
        match self.0.next() {
            None => Ok(step),
            Some(word) => Err(format!("{word:?} is too much")),
        }
    }
}

impl FromStr for Script {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        if text.len() > FUZZ_SCRIPT_LEN_MAX {
            return Err(Unreadable::Long);
        }
        let mut steps = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            if steps.len() == FUZZ_SCRIPT_STEPS_MAX {
                return Err(Unreadable::Long);
            }
            let mut words = Line(line.split_whitespace());
            // What a file holds must not drive a terminal.
            let escaped = |why: String| Unreadable::Line(number, why.escape_debug().to_string());
            steps.push(words.step().map_err(escaped)?);
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Salt(salt) => write!(f, "salt {}", hex::encode(salt)),
            Self::Seed(seed) => write!(f, "seed {seed}"),
            Self::Connect(link, who, prefix) => write!(f, "connect {link} {} {prefix}", who.word()),
            Self::First(link, first) => write!(f, "first {link} {}", first.word()),
            Self::Answer(link) => write!(f, "answer {link}"),
            Self::Hello(link, Greeting::Right) => write!(f, "hello {link} right"),
            Self::Hello(link, Greeting::Stranger) => write!(f, "hello {link} stranger"),
            Self::Hello(link, Greeting::Versions(low, high)) => write!(f, "hello {link} versions {low} {high}"),
            Self::Hello(link, Greeting::Body(bytes)) => write!(f, "hello {link} body {}", hex::encode(bytes)),
            Self::Up(link, who, prefix) => write!(f, "up {link} {} {prefix}", who.word()),
            Self::Bytes(link, bytes) => write!(f, "bytes {link} {}", hex::encode(bytes)),
            Self::Noise(link, len) => write!(f, "noise {link} {len}"),
            Self::Cell(link, bytes) => write!(f, "cell {link} {}", hex::encode(bytes)),
            Self::Ask(link, number, question) => write!(f, "ask {link} {number} {}", question.word()),
            Self::Message(link, number, bytes) => write!(f, "message {link} {number} {}", hex::encode(bytes)),
            Self::Build(link, number, hops, packet) => write!(f, "build {link} {number} {hops} {}", packet.word()),
            Self::Repeat(link, number) => write!(f, "repeat {link} {number}"),
            Self::Forward(link, number) => write!(f, "forward {link} {number}"),
            Self::Credit(link, number, count) => write!(f, "credit {link} {number} {count}"),
            Self::Destroy(link, number) => write!(f, "destroy {link} {number}"),
            Self::Again(link) => write!(f, "again {link}"),
            Self::Copy(link, of) => write!(f, "copy {link} {of}"),
            Self::Flip(link, bit) => write!(f, "flip {link} {bit}"),
            Self::Check(link) => write!(f, "check {link}"),
            Self::Cut(link, len) => write!(f, "cut {link} {len}"),
            Self::Hold(link) => write!(f, "hold {link}"),
            Self::Release(link, order) => write!(f, "release {link} {}", order.word()),
            Self::Slow(link, piece, pause) => write!(f, "slow {link} {piece} {pause}"),
            Self::Half(link) => write!(f, "half {link}"),
            Self::Close(link) => write!(f, "close {link}"),
            Self::Wait(pause) => write!(f, "wait {pause}"),
            Self::Expect(link, Expected::Silent(pause)) => write!(f, "expect {link} silent {pause}"),
            Self::Expect(link, Expected::Closed) => write!(f, "expect {link} closed"),
            Self::Expect(link, Expected::Answered(number)) => write!(f, "expect {link} answered {number}"),
            Self::Expect(link, Expected::Replied(number)) => write!(f, "expect {link} replied {number}"),
            Self::Expect(link, Expected::Destroyed(number)) => write!(f, "expect {link} destroyed {number}"),
        }
    }
}
