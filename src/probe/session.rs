//! A link of the probe that is up: cells, questions and circuits over it. It must not know which of them are right.

use std::io;
use std::net::IpAddr;

use tokio::time::Instant;

use super::wire::{NotWritten, Wire};
use super::{Broken, Heard, Me, Opening, PATIENCE, Sealed, Target};
use crate::crypto::{CryptoRng, Forged};
use crate::limits::CELL_LEN;
use crate::onion::{Built, Circuit, Reply0};
use crate::time::Duration;
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::hello::Hello;
use crate::wire::message::{Answer, Ask, Assembler, cells_of};

/// Numbers that the dialler of a link opens have this bit.
const DIALLER_BIT: u32 = 1 << 31;

/// A number that a dialler may open.
#[must_use]
pub const fn circuit(number: u32) -> CircuitId {
    CircuitId(number | DIALLER_BIT)
}

/// A link that is up.
pub struct Session {
    /// Its socket.
    pub wire: Wire,
    /// Its ciphers.
    pub sealed: Sealed,
    /// What the target said of itself. Its descriptor is not verified.
    pub hello: Hello,
}

/// Why no link came up.
#[derive(Debug, thiserror::Error)]
pub enum NotUp {
    /// The socket.
    #[error("cannot be connected: {0}")]
    Connect(#[from] io::Error),
    /// The first frame could not be made.
    #[error("the target's key is no key")]
    Key(#[from] Forged),
    /// The target closed, or does not read.
    #[error(transparent)]
    Write(#[from] NotWritten),
    /// No answer: the target was meant by another key or network, or is no node, or turns this prefix away.
    #[error("the handshake is not answered")]
    Unanswered,
    /// The answer has no meaning.
    #[error("the answer to the handshake breaks the protocol: {0}")]
    Broken(#[from] Broken),
}

impl Session {
    /// Connects from this address, if it matters, and shakes hands as it should be done.
    ///
    /// # Errors
    /// [`NotUp`].
    pub async fn up(target: &Target, me: &Me, from: Option<IpAddr>, rng: &mut dyn CryptoRng) -> Result<Self, NotUp> {
        let (opening, frame) = Opening::first(target, me, rng)?;
        let mut wire = Wire::connect(target.address, from).await?;
        wire.write(&frame).await?;
        let (sealed, hello) = match wire.frame(PATIENCE).await {
            Heard::Came(answer) => opening.finish(&answer)?,
            Heard::Broken(broken) => return Err(broken.into()),
            Heard::Silent | Heard::Closed { .. } => return Err(NotUp::Unanswered),
        };
        let mut session = Self { wire, sealed, hello };
        session.send_bytes(&me.hello_cell()).await?;
        Ok(session)
    }

    /// Sends a cell.
    ///
    /// # Errors
    /// [`NotWritten`].
    pub async fn send(&mut self, cell: &Cell) -> Result<(), NotWritten> {
        let mut plain = [0; CELL_LEN];
        cell.encode(&mut plain);
        self.send_bytes(&plain).await
    }

    /// Sends any 2,048 bytes in a frame that opens.
    ///
    /// # Errors
    /// [`NotWritten`].
    pub async fn send_bytes(&mut self, plain: &[u8; CELL_LEN]) -> Result<(), NotWritten> {
        let frame = self.sealed.seal(plain).map_err(|Forged| NotWritten::Closed)?;
        self.wire.write(&frame).await
    }

    /// Sends any bytes as the message of a question or an answer, cut into cells as it should be.
    ///
    /// # Errors
    /// [`NotWritten`]; a message too long for the protocol is not sent, and counts as [`NotWritten::Stalled`].
    pub async fn send_message(&mut self, number: u32, command: Command, message: &[u8]) -> Result<(), NotWritten> {
        for cell in cells_of(circuit(number), command, message).ok_or(NotWritten::Stalled)? {
            self.send(&cell).await?;
        }
        Ok(())
    }

    /// The next cell, padding too.
    pub async fn any_cell(&mut self, deadline: Instant) -> Heard<Cell> {
        let frame = self.wire.frame_until(deadline).await;
        frame.and_then(|frame| self.sealed.open(&frame))
    }

    /// The next cell that is no padding.
    pub async fn cell(&mut self, within: Duration) -> Heard<Cell> {
        self.cell_until(Instant::now() + within).await
    }

    /// The same by a deadline.
    pub async fn cell_until(&mut self, deadline: Instant) -> Heard<Cell> {
        loop {
            match self.any_cell(deadline).await {
                Heard::Came(cell) if cell.command() == Command::Padding => (),
                other => return other,
            }
        }
    }

    /// The next cell of this number; those of others are passed over.
    pub async fn cell_of(&mut self, number: u32, deadline: Instant) -> Heard<Cell> {
        loop {
            match self.cell_until(deadline).await {
                Heard::Came(cell) if cell.circuit() != circuit(number) => (),
                other => return other,
            }
        }
    }

    /// Asks, and reads the answer. A link that ends meanwhile has closed.
    pub async fn ask(&mut self, number: u32, ask: &Ask, within: Duration) -> Heard<Answer> {
        let deadline = Instant::now() + within;
        if self.send_message(number, Command::Ask, &ask.encode()).await.is_err() {
            return Heard::Closed { partial: 0 };
        }
        let mut assembler = Assembler::default();
        loop {
            let cell = match self.cell_of(number, deadline).await {
                Heard::Came(cell) if cell.command() == Command::Answer => cell,
                Heard::Came(_) => return Heard::Broken(Broken::Malformed),
                other => return other.and_then(|_| Err(Broken::Malformed)),
            };
            match assembler.push(cell.body()) {
                Ok(None) => (),
                Ok(Some(message)) => return Heard::Came(message).and_then(|message| decode(&message)),
                Err(_) => return Heard::Broken(Broken::Malformed),
            }
        }
    }

    /// Sends a build packet, and opens its reply 0; `Came(None)` when the target ends the circuit without one.
    pub async fn build(&mut self, number: u32, built: Built, within: Duration) -> Heard<Option<Reply0>> {
        let deadline = Instant::now() + within;
        let cell = Cell::build(circuit(number), built.suite, built.hint, built.body);
        if self.send(&cell).await.is_err() {
            return Heard::Closed { partial: 0 };
        }
        self.cell_of(number, deadline).await.and_then(|cell| match cell.command() {
            Command::Reply0 => built.building.open_reply0(cell.body()).map(Some).map_err(|Forged| Broken::Forged),
            Command::Destroy => Ok(None),
            _ => Err(Broken::Malformed),
        })
    }

    /// The data of the next backward cell of a circuit; `Came(None)` when the target ends it.
    pub async fn backward(&mut self, number: u32, circuit: &mut Circuit, deadline: Instant) -> Heard<Option<Vec<u8>>> {
        loop {
            let cell = match self.cell_of(number, deadline).await {
                Heard::Came(cell) if cell.command() == Command::Credit => continue,
                other => other,
            };
            return cell.and_then(|cell| match cell.command() {
                Command::Backward => circuit.open_backward(cell.body()).map(Some).map_err(|Forged| Broken::Forged),
                Command::Destroy => Ok(None),
                _ => Err(Broken::Malformed),
            });
        }
    }
}

fn decode(message: &[u8]) -> Result<Answer, Broken> {
    Answer::decode(message).map_err(|_| Broken::Malformed)
}
