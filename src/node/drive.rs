//! Both kinds of node as machines that a shell, or the simulated world, can drive.

use super::client::{ClientCommand, ClientEvent, ClientNode};
use super::effects::Effect;
use super::machine::{Machine, MachineInput, MachineOutput, Puzzles};
use super::relay::{Relay, RelayCommand, RelayEvent};
use super::work::{self, Done, Job};
use crate::crypto::CryptoRng;
use crate::dht::store::{StoreOp, StoreResult};
use crate::time::{Instant, Now};

impl<M, E> From<Effect<E>> for MachineOutput<M>
where
    M: Machine<Event = E, Job = Job, StoreOp = StoreOp> + ?Sized,
{
    fn from(effect: Effect<E>) -> Self {
        match effect {
            Effect::Io(output) => Self::Node(output),
            Effect::Store { id, op } => Self::Store { id, op },
            Effect::Work { id, job } => Self::Work { id, job },
            Effect::Event(event) => Self::Event(event),
        }
    }
}

impl Machine for Relay {
    type Command = RelayCommand;
    type Event = RelayEvent;
    type Job = Job;
    type Done = Done;
    type StoreOp = StoreOp;
    type StoreResult = StoreResult;

    fn handle(&mut self, now: Now, input: MachineInput<Self>) {
        match input {
            MachineInput::Node(input) => Self::handle(self, now, input),
            MachineInput::Stored { id, result } => self.handle_stored(now, id, result),
            MachineInput::Worked { id, done } => self.handle_worked(now, id, done),
            MachineInput::Command(command) => self.handle_command(now, command),
        }
    }

    fn poll_output(&mut self) -> Option<MachineOutput<Self>> {
        self.poll_effect().map(MachineOutput::from)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Self::poll_timeout(self)
    }

    fn is_short(job: &Job) -> bool {
        job.is_short()
    }

    fn run_job(job: Job, rng: &mut dyn CryptoRng, puzzles: &dyn Puzzles) -> Done {
        work::run(job, puzzles, rng)
    }
}

impl Machine for ClientNode {
    type Command = ClientCommand;
    type Event = ClientEvent;
    type Job = Job;
    type Done = Done;
    type StoreOp = StoreOp;
    type StoreResult = StoreResult;

    fn handle(&mut self, now: Now, input: MachineInput<Self>) {
        match input {
            MachineInput::Node(input) => Self::handle(self, now, input),
            MachineInput::Worked { id, done } => self.handle_worked(now, id, done),
            MachineInput::Command(command) => self.handle_command(now, command),
            // A client keeps nothing for others.
            MachineInput::Stored { .. } => (),
        }
    }

    fn poll_output(&mut self) -> Option<MachineOutput<Self>> {
        self.poll_effect().map(MachineOutput::from)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Self::poll_timeout(self)
    }

    fn is_short(job: &Job) -> bool {
        job.is_short()
    }

    fn run_job(job: Job, rng: &mut dyn CryptoRng, puzzles: &dyn Puzzles) -> Done {
        work::run(job, puzzles, rng)
    }
}
