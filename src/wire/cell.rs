//! The cell: everything on a link is one, 2,048 bytes. Source: spec/cells.md §1.

use super::codec::{Malformed, Reader};
use crate::limits::{BODY_LEN, CELL_LEN};

/// What a cell is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Command {
    /// Builds a circuit and carries its request.
    Build = 1,
    /// The first cell back on a circuit.
    Reply0 = 2,
    /// Away from the client, after reply 0.
    Forward = 3,
    /// Towards the client, after reply 0.
    Backward = 4,
    /// Ends a circuit, without a reason. Not counted, not answered.
    Destroy = 5,
    /// Grants credits: the body starts with their count, u32.
    Credit = 6,
    /// The initiator's first cell on a link.
    Hello = 7,
    /// Nothing; dropped.
    Padding = 8,
    /// Part of a question between two ends of a link.
    Ask = 9,
    /// Part of an answer to it.
    Answer = 10,
}

impl Command {
    const ALL: [Self; 10] = [
        Self::Build,
        Self::Reply0,
        Self::Forward,
        Self::Backward,
        Self::Destroy,
        Self::Credit,
        Self::Hello,
        Self::Padding,
        Self::Ask,
        Self::Answer,
    ];

    /// The byte of the wire.
    #[must_use]
    pub fn to_wire(self) -> u8 {
        match self {
            Self::Build => 1,
            Self::Reply0 => 2,
            Self::Forward => 3,
            Self::Backward => 4,
            Self::Destroy => 5,
            Self::Credit => 6,
            Self::Hello => 7,
            Self::Padding => 8,
            Self::Ask => 9,
            Self::Answer => 10,
        }
    }

    /// Whether cells of this command belong to the link itself: their circuit is 0.
    #[must_use]
    pub const fn is_of_link(self) -> bool {
        matches!(self, Self::Hello | Self::Padding)
    }
}

/// The number of a circuit or question on one link; never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CircuitId(pub u32);

/// One cell. Boxed: it moves through queues as a pointer.
#[derive(Clone, PartialEq, Eq)]
pub struct Cell(Box<Parts>);

#[derive(Clone, PartialEq, Eq)]
struct Parts {
    circuit: u32,
    command: Command,
    suite: u8,
    hint: u8,
    body: [u8; BODY_LEN],
}

impl Cell {
    /// A cell with a body of zeros.
    #[must_use]
    pub fn new(circuit: CircuitId, command: Command) -> Self {
        let circuit = if command.is_of_link() { 0 } else { circuit.0 };
        Self(Box::new(Parts { circuit, command, suite: 0, hint: 0, body: [0; BODY_LEN] }))
    }

    /// A cell of the link itself.
    #[must_use]
    pub fn of_link(command: Command) -> Self {
        Self::new(CircuitId(0), command)
    }

    /// A build packet: suite and onion-key hint of the relay that is to open it.
    #[must_use]
    pub fn build(circuit: CircuitId, suite: u8, hint: u8, body: [u8; BODY_LEN]) -> Self {
        Self(Box::new(Parts { circuit: circuit.0, command: Command::Build, suite, hint, body }))
    }

    /// A credit of so many cells.
    #[must_use]
    pub fn credit(circuit: CircuitId, count: u32) -> Self {
        let mut cell = Self::new(circuit, Command::Credit);
        cell.body_mut().iter_mut().zip(count.to_be_bytes()).for_each(|(to, from)| *to = from);
        cell
    }

    /// The count of a credit cell.
    ///
    /// # Errors
    /// [`Malformed`] when anything but zeros follows, or the count is 0.
    pub fn credit_count(&self) -> Result<u32, Malformed> {
        Self::read_credit(Reader::new(self.body()))
    }

    /// As [`Self::credit_count`], of the body of a credit cell.
    ///
    /// # Errors
    /// As [`Self::credit_count`].
    pub fn read_credit(mut reader: Reader<'_>) -> Result<u32, Malformed> {
        let count = reader.field("credits").u32()?;
        reader.finish_padded()?;
        if count == 0 { Err(Malformed::Value) } else { Ok(count) }
    }

    /// Decodes the 2,048 bytes. The body is not looked at.
    ///
    /// # Errors
    /// [`Malformed::Value`] for an unknown command, a reserved bit, a circuit where none belongs or none where one does.
    pub fn decode(bytes: &[u8; CELL_LEN]) -> Result<Self, Malformed> {
        Self::read(&mut Reader::new(bytes))
    }

    /// As [`Self::decode`], the next 2,048 bytes.
    ///
    /// # Errors
    /// As [`Self::decode`]; [`Malformed::Short`] when fewer are left.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let circuit = reader.field("circuit").u32()?;
        let command = reader.field("command").u8()?;
        let command = Command::ALL.into_iter().find(|known| known.to_wire() == command).ok_or(Malformed::Value)?;
        reader.say(|| format!("{command:?}"));
        let suite = reader.field("suite").u8()?;
        let hint = reader.field("onion-key hint").u8()?;
        let zero = reader.field("zero").u8()?;
        let is_build = command == Command::Build;
        if zero != 0 || command.is_of_link() != (circuit == 0) || (!is_build && (suite != 0 || hint != 0)) {
            return Err(Malformed::Value);
        }
        Ok(Self(Box::new(Parts { circuit, command, suite, hint, body: reader.field("body").array::<BODY_LEN>()? })))
    }

    /// Encodes into 2,048 bytes.
    pub fn encode(&self, out: &mut [u8; CELL_LEN]) {
        let header =
            self.0.circuit.to_be_bytes().into_iter().chain([self.0.command.to_wire(), self.0.suite, self.0.hint, 0]);
        out.iter_mut().zip(header).for_each(|(to, from)| *to = from);
        if let Some(body) = out.last_chunk_mut::<BODY_LEN>() {
            *body = self.0.body;
        }
    }

    /// The circuit; 0 for cells of the link.
    #[must_use]
    pub fn circuit(&self) -> CircuitId {
        CircuitId(self.0.circuit)
    }

    /// The same cell under another link's circuit number.
    #[must_use]
    pub fn on_circuit(mut self, circuit: CircuitId) -> Self {
        self.0.circuit = circuit.0;
        self
    }

    /// The command.
    #[must_use]
    pub fn command(&self) -> Command {
        self.0.command
    }

    /// The suite of a build packet, 0 elsewhere.
    #[must_use]
    pub fn suite(&self) -> u8 {
        self.0.suite
    }

    /// The onion-key hint of a build packet, 0 elsewhere.
    #[must_use]
    pub fn hint(&self) -> u8 {
        self.0.hint
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8; BODY_LEN] {
        &self.0.body
    }

    /// The body, to be written.
    pub fn body_mut(&mut self) -> &mut [u8; BODY_LEN] {
        &mut self.0.body
    }
}

impl core::fmt::Debug for Cell {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Cell({:?}, {:08x})", self.0.command, self.0.circuit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [CELL-W-001]
    #[test]
    fn cells_survive_the_wire() {
        for command in Command::ALL {
            let mut cell = Cell::new(CircuitId(7), command);
            cell.body_mut()[BODY_LEN - 1] = 9;
            let mut bytes = [0xff; CELL_LEN];
            cell.encode(&mut bytes);
            assert_eq!(Cell::decode(&bytes), Ok(cell));
        }
        let cell = Cell::build(CircuitId(1), 1, 200, [3; BODY_LEN]);
        let mut bytes = [0; CELL_LEN];
        cell.encode(&mut bytes);
        assert_eq!(Cell::decode(&bytes), Ok(cell));
    }

    // [CELL-R-002]
    #[test]
    fn unknown_commands_reserved_bits_and_misplaced_circuits_are_refused() {
        // (circuit, command, suite, hint, zero)
        for header in [
            [0, 0, 0, 7, 0, 0, 0, 0],
            [0, 0, 0, 7, 11, 0, 0, 0],
            [0, 0, 0, 7, 3, 0, 0, 1],
            [0, 0, 0, 7, 3, 1, 0, 0],
            [0, 0, 0, 7, 3, 0, 1, 0],
            [0, 0, 0, 0, 3, 0, 0, 0],
            [0, 0, 0, 7, 7, 0, 0, 0],
        ] {
            let mut bytes = [0; CELL_LEN];
            bytes[..8].copy_from_slice(&header);
            assert_eq!(Cell::decode(&bytes), Err(Malformed::Value), "{header:?}");
        }
    }

    // [CELL-W-003] [CELL-R-004]
    #[test]
    fn a_credit_of_nothing_or_with_trailing_bytes_is_refused() {
        assert_eq!(Cell::credit(CircuitId(1), 32).credit_count(), Ok(32));
        assert_eq!(Cell::credit(CircuitId(1), 0).credit_count(), Err(Malformed::Value));
        let mut cell = Cell::credit(CircuitId(1), 1);
        cell.body_mut()[100] = 1;
        assert_eq!(cell.credit_count(), Err(Malformed::Trailing));
    }
}
