//! Gets a signed value: three locations, another exit for whatever is missing, freshness by evidence. Source: spec/requests.md §5.

use super::attempts::{AttemptResult, Attempts};
use super::{Context, Refused, RequestInput, Sighting, Success};
use crate::crypto::random_bytes;
use crate::dht::evidence::Tally;
use crate::limits::{ANSWERS_PER_PLACE_MAX, HEDGED_AFTER, HOLDERS, LOCATIONS};
use crate::record::{Place, VerifiedValue};
use crate::time::{Duration, Instant, Now, UnixTime};
use crate::wire::onion::{ExitAnswer, ExitRequest};
use crate::wire::record::{RecordBytes, Value, ValueKind};
use crate::wire::statement::{Nonce, Operation, Question};

/// How many of the three locations must answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Consistency {
    /// One.
    One,
    /// Two of three.
    #[default]
    Quorum,
    /// All three.
    All,
    /// All three, and where fewer copies were seen than there should be another exit is asked: to count them.
    Audit,
}

impl Consistency {
    const fn needed(self) -> usize {
        match self {
            Self::One => 1,
            Self::Quorum => 2,
            Self::All | Self::Audit => LOCATIONS,
        }
    }
}

/// One location's state.
struct Search {
    place: Place,
    /// Made with the first circuit: the members are known by then, and no answer for this location has added to them.
    tally: Option<Tally>,
    /// Whether the members known then were all there are, as far as bootstraps know.
    is_whole: bool,
    attested: bool,
    /// Closest members that signed to have the best value.
    copies: usize,
    asked: bool,
    answers: usize,
    /// The newest valid value that came, with its author's sequence number; too old to be taken or not.
    best: Option<(VerifiedValue, u64)>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A valid value, or attested absence.
    Answered,
    GaveUp,
}

/// The machine.
pub struct RecordGet {
    /// Copies at a location below which a second exit is asked.
    copies_wanted: usize,
    places: Vec<Search>,
    needed: usize,
    seq_min: u64,
    pub(super) attempts: Attempts<(usize, Nonce)>,
}

impl RecordGet {
    /// Starts at once. A value with a sequence number below `seq_min` (what this client has seen before) is not taken.
    pub fn new(
        places: [Place; LOCATIONS],
        consistency: Consistency,
        seq_min: u64,
        now: Instant,
        timeout: Duration,
        context: &mut Context<'_>,
    ) -> Self {
        let search = |place| Search {
            place,
            tally: None,
            is_whole: false,
            attested: false,
            copies: 0,
            asked: false,
            answers: 0,
            best: None,
            state: State::Open,
        };
        let mut request = Self {
            places: places.into_iter().map(search).collect(),
            needed: consistency.needed(),
            copies_wanted: if consistency == Consistency::Audit { HOLDERS } else { 0 },
            seq_min,
            attempts: Attempts::new(now + timeout),
        };
        let first = usize::from(random_bytes::<1>(context.rng)[0]) % LOCATIONS;
        for turn in 0..request.needed.max(1) {
            request.ask((first + turn) % LOCATIONS, now, context.stagger, context);
        }
        request
    }

    fn ask(&mut self, at: usize, now: Instant, delay: Duration, context: &mut Context<'_>) {
        let Some(search) = self.places.get_mut(at) else { return };
        let nonce = Nonce(random_bytes(context.rng));
        let request = ExitRequest::Find { location: search.place.location, nonce };
        search.asked = true;
        // What is under way may answer, too.
        let open = self.attempts.count_open(|(open, _)| *open == at);
        let is_asked = search.answers + open < ANSWERS_PER_PLACE_MAX
            && self.attempts.start((at, nonce), (request, Vec::new(), 1), now, delay, context.rng);
        if !is_asked && open == 0 {
            search.state = State::GaveUp;
        }
    }

    pub(super) fn handle(&mut self, now: Now, input: RequestInput, context: &mut Context<'_>) {
        if let RequestInput::Building { id } = input {
            return self.on_building(id, context);
        }
        if let RequestInput::Attempted { id, result } = input {
            let Some(((at, nonce), refused)) = self.attempts.end(id, &result) else { return };
            if let Some(refused) = refused {
                return self.settle(Some(refused));
            }
            let has_failed = matches!(result, AttemptResult::Failed { .. });
            if let AttemptResult::Answered { bytes, .. } = result {
                self.on_answer(at, nonce, &bytes, now.unix, context);
            }
            let still_open = self.places.get(at).is_some_and(|search| search.state == State::Open);
            if still_open {
                // Where many circuits fail, one at a time would take longer than the operation has. One that came to an answer has not
                // failed, however little it says.
                let wanted = 1 + usize::from(has_failed && self.is_hedging());
                for _ in self.attempts.count_open(|(open, _)| *open == at)..wanted {
                    let delay = self.attempts.retry_delay();
                    self.ask(at, now.instant, delay, context);
                }
            }
        }
        self.advance(now, context);
    }

    /// Whether so many circuits failed that two are wanted for each location.
    pub(super) fn is_hedging(&self) -> bool {
        self.attempts.counts.timed_out >= HEDGED_AFTER
    }

    fn on_building(&mut self, id: u32, context: &Context<'_>) {
        let Some(search) = self.attempts.what(id).and_then(|(at, _)| self.places.get_mut(*at)) else { return };
        let location = search.place.location;
        if search.tally.is_none() {
            search.tally = Some(Tally::new(location, context.members));
            search.is_whole = context.is_whole;
        }
    }

    fn on_answer(&mut self, at: usize, nonce: Nonce, bytes: &[u8], now: UnixTime, context: &mut Context<'_>) {
        let Some(search) = self.places.get_mut(at) else { return };
        let Ok(answer) = ExitAnswer::decode(bytes, ValueKind::Signed) else {
            self.attempts.counts.invalid += 1;
            return;
        };
        search.answers += 1;
        let question = Question { nonce, operation: Operation::Find, location: search.place.location };
        let Some(tally) = &mut search.tally else { return };
        tally.add(context.network, &question, &answer.statements, context.members, now);
        let place = search.place;
        let checked = answer.value.map(|value| check(context, &place, &value, now));
        match checked {
            None => self.attempts.counts.empty += 1,
            Some(Some((value, seq))) => {
                self.attempts.counts.valid += 1;
                if search.best.as_ref().is_none_or(|(best, _)| value.replaces(best)) {
                    search.best = Some((value, seq));
                }
            }
            Some(None) => self.attempts.counts.invalid += 1,
        }
        search.judge(self.copies_wanted, context);
    }

    fn advance(&mut self, now: Now, context: &mut Context<'_>) {
        if self.attempts.is_done() {
            return;
        }
        let answered = self.places.iter().filter(|search| search.state == State::Answered).count();
        if answered >= self.needed || self.attempts.is_over(now.instant) {
            return self.settle(None);
        }
        // A location that gave up is replaced by one that was not asked yet.
        let busy = (0..LOCATIONS).filter(|at| self.attempts.is_open(|(open, _)| open == at)).count();
        let spare = self.places.iter().position(|search| search.state == State::Open && !search.asked);
        if let Some(at) = spare.filter(|_| answered + busy < self.needed) {
            self.ask(at, now.instant, context.stagger, context);
        }
        // Those that failed may have been all that the operation has, so that none was left for the spare.
        if self.attempts.none_open() {
            self.settle(None);
        }
    }

    /// Ends with the best of what is there.
    fn settle(&mut self, refused: Option<Refused>) {
        let newest = self.places.iter().filter_map(|search| search.best.as_ref()).max_by_key(|(_, seq)| *seq);
        let answered = self.places.iter().filter(|search| search.state == State::Answered).count();
        let result = match newest.cloned() {
            Some((best, seq)) if seq >= self.seq_min => {
                // Fresh only as far as enough locations say so, each by enough of the closest members.
                let attested = answered >= self.needed && self.places.iter().any(|search| search.is_attested_at(seq));
                match best.into_value() {
                    Value::Signed(record) => {
                        let seen = self.places.iter().map(|search| search.sighting(seq)).collect();
                        let records = self.places.iter().map(|search| search.record(seq)).collect();
                        Ok(Success::Record { record, seq, attested, seen, records })
                    }
                    Value::Hashed(_) => Err(Refused::Damaged),
                }
            }
            Some((_, seq)) => Err(Refused::Older { seq }),
            None if answered >= self.needed => Err(Refused::NotFound),
            None if self.attempts.counts.invalid > 0 && self.attempts.counts.timed_out == 0 => Err(Refused::Damaged),
            None => Err(refused.unwrap_or(Refused::Unreachable)),
        };
        self.attempts.finish(result);
    }
}

impl Search {
    fn judge(&mut self, copies_wanted: usize, context: &Context<'_>) {
        let Some(tally) = &mut self.tally else { return };
        let best = self.best.as_ref().map(|(best, _)| (best.seq(), best.digest()));
        if self.answers >= 2 && tally.newest_claimed() > best {
            // Two exits could not bring what some member claims to have: its word alone proves nothing.
            tally.on_not_backed(best);
        }
        // The closest members of a part of the network are not the closest ones.
        self.attested = self.is_whole
            && match best {
                None => tally.attested_absence(context.members),
                Some(best) => tally.attested_freshness(best, context.members),
            };
        self.copies = tally.claims(context.members).into_iter().filter(|claim| Some(*claim) == best).count();
        // A second exit is asked for what the first left open; after that a value stands, unattested.
        let is_second = self.answers >= 2;
        if (self.attested && (is_second || self.copies >= copies_wanted)) || (best.is_some() && is_second) {
            self.state = State::Answered;
        }
    }

    /// The copies here of the value with this number, as its author counts.
    fn sighting(&self, seq: u64) -> Sighting {
        let ends = self.best.as_ref().filter(|(_, best)| *best == seq).map(|(best, _)| best.expiry());
        Sighting { until: vec![ends; self.copies].into_iter().flatten().collect(), attested: self.attested }
    }

    /// The record that stands here for the version with this number.
    fn record(&self, seq: u64) -> Option<RecordBytes> {
        match self.best.as_ref().filter(|(_, best)| *best == seq)?.0.value() {
            Value::Signed(record) => Some(record.clone()),
            Value::Hashed(_) => None,
        }
    }

    fn is_attested_at(&self, seq: u64) -> bool {
        self.attested && self.best.as_ref().is_some_and(|(_, best)| *best == seq)
    }
}

/// The value and its author's sequence number, if it proves itself and belongs here.
fn check(context: &Context<'_>, place: &Place, value: &[u8], now: UnixTime) -> Option<(VerifiedValue, u64)> {
    let record = RecordBytes::new(value).ok()?;
    let checked = VerifiedValue::check(context.network, Value::Signed(record), now).ok()?;
    let seq = place.seq_of(checked.seq()).filter(|_| checked.location() == place.location)?;
    Some((checked, seq))
}
