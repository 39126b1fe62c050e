//! Faults of a hunt: what goes wrong, when, for how long; drawn, and as words of a command line. It must not know worlds.

use core::fmt;
use core::str::FromStr;

use rand::rngs::ChaCha20Rng;

use crate::sim::world::draw::below;

/// What can go wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A relay's process ends and is started again after so many seconds, with its disk.
    Restart,
    /// The same, but its disk is empty then.
    Lose,
    /// A relay falls silent for good.
    Gone,
    /// Nothing passes between two halves for so many seconds.
    Cut,
    /// Nothing passes from one half to the other; back it does.
    HalfCut,
    /// Everything between two halves comes so many seconds late, for so many seconds.
    Slow,
    /// So many of a hundred dials fail, for so many seconds.
    Dial,
    /// So many of a hundred links in use break, for so many seconds.
    Link,
    /// A relay's wall clock is wrong by so many seconds.
    Skew,
    /// So many new relays come.
    Join,
    /// A client's process ends and is started again at once.
    Client,
}

/// What a kind is called, and the ranges of its two numbers; a number that has no range is not written.
type Shape = (Kind, &'static str, Option<(i64, i64)>, Option<(i64, i64)>);

/// Which relay or client: counted anew from zero where there are fewer.
const WHICH: Option<(i64, i64)> = Some((0, 63));
/// Seconds that something lasts.
const LASTS: Option<(i64, i64)> = Some((1, 120));

const SHAPES: [Shape; 11] = [
    (Kind::Restart, "restart", WHICH, LASTS),
    (Kind::Lose, "lose", WHICH, LASTS),
    (Kind::Gone, "gone", WHICH, None),
    (Kind::Cut, "cut", LASTS, None),
    (Kind::HalfCut, "half-cut", LASTS, None),
    (Kind::Slow, "slow", Some((1, 8)), LASTS),
    (Kind::Dial, "dial", Some((1, 50)), LASTS),
    (Kind::Link, "link", Some((1, 50)), LASTS),
    (Kind::Skew, "skew", WHICH, Some((-300, 300))),
    (Kind::Join, "join", Some((1, 6)), None),
    (Kind::Client, "client", WHICH, None),
];

/// Faults begin within so many seconds.
pub(super) const WITHIN_S: i64 = 120;

/// One thing that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fault {
    /// Seconds after the records were stored.
    pub at_s: i64,
    /// What.
    pub kind: Kind,
    /// Which relay or client, how much, how many, or how long.
    pub first: i64,
    /// How long, or how much.
    pub second: i64,
}

/// Why words are no fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FaultRefused {
    /// No such kind.
    #[error("no fault of this name; there are {}", names())]
    Name,
    /// A number that is missing, one too many, or out of its range.
    #[error("a fault is NAME:NUMBER:NUMBER@SECONDS with as many numbers as it has, each in its range")]
    Number,
}

fn names() -> String {
    SHAPES.map(|(_, name, ..)| name).join(", ")
}

impl Fault {
    /// One at random.
    pub(super) fn drawn(rng: &mut ChaCha20Rng) -> Self {
        let at_s = drawn_in(rng, Some((0, WITHIN_S)));
        let shape = SHAPES.get(below(rng, SHAPES.len())).copied();
        let (kind, _, first, second) = shape.unwrap_or((Kind::Restart, "", WHICH, LASTS));
        Self { at_s, kind, first: drawn_in(rng, first), second: drawn_in(rng, second) }
    }

    fn shape(self) -> Option<Shape> {
        SHAPES.into_iter().find(|(kind, ..)| *kind == self.kind)
    }

    /// When it is over, seconds after the records were stored; at once where nothing lasts.
    pub(super) fn until_s(self) -> i64 {
        let lasts = match self.kind {
            Kind::Restart | Kind::Lose | Kind::Slow | Kind::Dial | Kind::Link => self.second,
            Kind::Cut | Kind::HalfCut => self.first,
            Kind::Gone | Kind::Skew | Kind::Join | Kind::Client => 0,
        };
        self.at_s + lasts
    }
}

fn drawn_in(rng: &mut ChaCha20Rng, range: Option<(i64, i64)>) -> i64 {
    let Some((least, most)) = range else { return 0 };
    let width = usize::try_from(most - least + 1).unwrap_or(1);
    least + i64::try_from(below(rng, width)).unwrap_or(0)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((_, name, first, second)) = self.shape() else { return Ok(()) };
        f.write_str(name)?;
        first.map_or(Ok(()), |_| write!(f, ":{}", self.first))?;
        second.map_or(Ok(()), |_| write!(f, ":{}", self.second))?;
        write!(f, "@{}", self.at_s)
    }
}

impl FromStr for Fault {
    type Err = FaultRefused;

    fn from_str(text: &str) -> Result<Self, FaultRefused> {
        let (what, at) = text.split_once('@').ok_or(FaultRefused::Number)?;
        let mut words = what.split(':');
        let name = words.next().unwrap_or_default();
        let (kind, _, first, second) = SHAPES.into_iter().find(|(_, of, ..)| *of == name).ok_or(FaultRefused::Name)?;
        let mut number = |range: Option<(i64, i64)>| {
            let Some((least, most)) = range else { return Ok(0) };
            let number = words.next().and_then(|word| word.parse().ok());
            number.filter(|number| (least..=most).contains(number)).ok_or(FaultRefused::Number)
        };
        let (first, second) = (number(first)?, number(second)?);
        let at_s = at.parse().ok().filter(|at| (0..=86_400).contains(at)).ok_or(FaultRefused::Number)?;
        let fault = Self { at_s, kind, first, second };
        if words.next().is_some() { Err(FaultRefused::Number) } else { Ok(fault) }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_drawn_fault_is_what_its_words_say() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for _ in 0..1_000 {
            let fault = Fault::drawn(&mut rng);
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        let skew = Fault { at_s: 12, kind: Kind::Skew, first: 5, second: -120 };
        assert_eq!("skew:5:-120@12".parse(), Ok(skew));
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        for (text, why) in [
            ("burn:1@2", FaultRefused::Name),
            ("gone:1", FaultRefused::Number),
            ("gone@1", FaultRefused::Number),
            ("gone:1:2@1", FaultRefused::Number),
            ("gone:64@1", FaultRefused::Number),
            ("gone:1@-1", FaultRefused::Number),
            ("skew:1:301@1", FaultRefused::Number),
            ("dial:x:1@1", FaultRefused::Number),
        ] {
            assert_eq!(text.parse::<Fault>(), Err(why), "{text}");
        }
    }
}
