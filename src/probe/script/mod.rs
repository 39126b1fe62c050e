//! What a probe does, as a list of steps that is also a text: one step on a line. Everything in it follows from the text, what the
//! system and the target do apart. It must not know who wrote it.
//!
//! Source: spec/fuzzing.md §3.

mod judge;
mod link;
mod run;
mod text;

pub use self::judge::Fault;
pub(super) use self::link::encode as question_bytes;
pub(super) use self::run::drawn_from;
pub use self::run::{Found, Knowledge, Places, Runner, Stopped, replay};
pub use self::text::Unreadable;
use crate::limits::FUZZ_SCRIPT_STEPS_MAX;

/// The number of a link in a script.
pub type LinkNo = u8;

/// What nobody else knows of a run: who knows the seed alone cannot make its keys.
pub type Salt = [u8; 16];

/// A list of steps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Script(pub Vec<Step>);

/// One step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Stands first: keys and bytes that are drawn follow from this, too. Without it from the seeds alone, which anybody can try.
    Salt(Salt),
    /// All keys and bytes that are drawn from here on follow from this.
    Seed(u64),
    /// Connects, as a client or a relay, from the prefix of this number.
    Connect(LinkNo, As, u8),
    /// Makes and writes the first frame.
    First(LinkNo, First),
    /// Waits for the answer to the first frame.
    Answer(LinkNo),
    /// Writes the first cell.
    Hello(LinkNo, Greeting),
    /// Connect, first, answer and hello, all of them right.
    Up(LinkNo, As, u8),
    /// Writes bytes as they are.
    Bytes(LinkNo, Vec<u8>),
    /// Writes so many drawn bytes.
    Noise(LinkNo, usize),
    /// Seals the bytes of a cell, zeros behind them.
    Cell(LinkNo, Vec<u8>),
    /// Asks something that can be read, under a number.
    Ask(LinkNo, u32, Question),
    /// Asks these bytes, cut into cells.
    Message(LinkNo, u32, Vec<u8>),
    /// Sends a build packet over so many hops, the first of them the target.
    Build(LinkNo, u32, u8, Packet),
    /// Sends the last build packet of the link again, under another number.
    Repeat(LinkNo, u32),
    /// Sends a forward cell of a circuit.
    Forward(LinkNo, u32),
    /// Sends a credit of so many.
    Credit(LinkNo, u32, u32),
    /// Ends a circuit.
    Destroy(LinkNo, u32),
    /// Writes the last frame of the link again.
    Again(LinkNo),
    /// Writes the last frame of another link.
    Copy(LinkNo, LinkNo),
    /// The next frame has this bit flipped.
    Flip(LinkNo, u32),
    /// The next frame, a first one, has an outer check that fits, whatever was flipped.
    Check(LinkNo),
    /// Of the next frame only so many bytes are written.
    Cut(LinkNo, usize),
    /// Frames are kept back.
    Hold(LinkNo),
    /// Those kept back are written, in their order or the last first.
    Release(LinkNo, Order),
    /// From now on the link writes so many bytes at a time, with a pause of so many milliseconds.
    Slow(LinkNo, usize, u64),
    /// Says that no more will be written.
    Half(LinkNo),
    /// Closes.
    Close(LinkNo),
    /// Listens for so many milliseconds.
    Wait(u64),
    /// Something has to come, or to be silent, or to end.
    Expect(LinkNo, Expected),
}

/// As whom a link is dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum As {
    /// A fresh client.
    Client,
    /// A relay with a descriptor.
    Relay,
}

/// A first frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum First {
    /// As it should be.
    Right,
    /// Its payload is not zeros.
    Payload,
    /// For another network.
    Network,
    /// For another key.
    Key,
}

/// A first cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Greeting {
    /// As it should be.
    Right,
    /// With this range of versions.
    Versions(u8, u8),
    /// With a descriptor that names another link key.
    Stranger,
    /// With these bytes in its body.
    Body(Vec<u8>),
}

/// A question that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// The members from the first on.
    Members,
    /// The members after the last key there can be.
    Life,
    /// What it holds at a drawn place.
    Find,
    /// To keep a drawn value, which is not valid.
    Store,
    /// The members that it has and the asker has not.
    Differences,
}

/// A build packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packet {
    /// As it should be; it asks for a drawn place.
    Right,
    /// Made ten buckets ago.
    Old,
    /// To be made in ten buckets.
    Early,
    /// With a kind of routing that there is not.
    Kind,
    /// With a byte that must be zero and is not.
    Reserved,
    /// To nobody that there is.
    Nowhere,
    /// Back to the target.
    Back,
    /// With a request that cannot be read.
    Garbage,
    /// Drawn bytes.
    Noise,
    /// For an onion key that the target does not have.
    Hint,
}

/// In which order frames that were kept back go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// As they were made.
    Forth,
    /// The last first.
    Back,
}

/// What has to come about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// Nothing comes for so many milliseconds, and the link stays open.
    Silent(u64),
    /// The target closes.
    Closed,
    /// The question of this number is answered.
    Answered(u32),
    /// The circuit of this number is answered.
    Replied(u32),
    /// The circuit of this number is ended by the target.
    Destroyed(u32),
}

impl Script {
    /// The same under this salt.
    #[must_use]
    pub fn salted(mut self, salt: Salt) -> Self {
        self.0.insert(0, Step::Salt(salt));
        self.0.truncate(FUZZ_SCRIPT_STEPS_MAX);
        self
    }

    /// Its salt; zeros without one.
    #[must_use]
    pub fn salt(&self) -> Salt {
        match self.0.first() {
            Some(Step::Salt(salt)) => *salt,
            _ => Salt::default(),
        }
    }
}

impl Step {
    /// The link that it is about.
    #[must_use]
    pub const fn link(&self) -> Option<LinkNo> {
        match self {
            Self::Salt(_) | Self::Seed(_) | Self::Wait(_) => None,
            Self::Connect(link, ..)
            | Self::First(link, _)
            | Self::Answer(link)
            | Self::Hello(link, _)
            | Self::Up(link, ..)
            | Self::Bytes(link, _)
            | Self::Noise(link, _)
            | Self::Cell(link, _)
            | Self::Ask(link, ..)
            | Self::Message(link, ..)
            | Self::Build(link, ..)
            | Self::Repeat(link, _)
            | Self::Forward(link, _)
            | Self::Credit(link, ..)
            | Self::Destroy(link, _)
            | Self::Again(link)
            | Self::Copy(link, _)
            | Self::Flip(link, _)
            | Self::Check(link)
            | Self::Cut(link, _)
            | Self::Hold(link)
            | Self::Release(link, _)
            | Self::Slow(link, ..)
            | Self::Half(link)
            | Self::Close(link)
            | Self::Expect(link, _) => Some(*link),
        }
    }
}

impl Script {
    /// Connections and build packets that it takes.
    #[must_use]
    pub fn cost(&self) -> (u32, u32) {
        let count = |is_one: fn(&Step) -> bool| {
            u32::try_from(self.0.iter().filter(|step| is_one(step)).count()).unwrap_or(u32::MAX)
        };
        let connects = count(|step| matches!(step, Step::Connect(..) | Step::Up(..)));
        (connects, count(|step| matches!(step, Step::Build(..) | Step::Repeat(..))))
    }
}

#[cfg(test)]
mod tests;
