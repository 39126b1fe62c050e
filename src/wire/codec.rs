//! Reading and writing of fixed-layout bytes, big-endian. A reader must be read to its end.

use super::notes::Notes;

/// Why bytes are not a message. Never says which bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end too early.
    #[error("message is too short")]
    Short,
    /// Bytes are left after the end.
    #[error("message has trailing bytes")]
    Trailing,
    /// A field has a value outside its set or bound.
    #[error("message has a field out of bounds")]
    Value,
}

/// Takes fields from the front of a slice. Where notes are given it writes down each field, under the name it was given before.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Of the next byte, from the start of the message.
    at: usize,
    notes: Option<&'a Notes>,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0, notes: None }
    }

    /// The same, with notes. The first of `bytes` is at `offset` of what is read.
    #[must_use]
    pub const fn noting(bytes: &'a [u8], offset: usize, notes: &'a Notes) -> Self {
        Self { rest: bytes, at: offset, notes: Some(notes) }
    }

    /// Names the next field.
    pub fn field(&mut self, name: &'static str) -> &mut Self {
        if let Some(notes) = self.notes {
            notes.name_next(name);
        }
        self
    }

    /// Says in words what the last field holds. `words` is not called where nobody takes notes.
    pub fn say(&self, words: impl FnOnce() -> String) {
        if let Some(notes) = self.notes {
            notes.say(words());
        }
    }

    /// The last field is a secret: its bytes are not to be shown.
    pub fn hide(&self) {
        if let Some(notes) = self.notes {
            notes.hide();
        }
    }

    /// Reads fields that belong together; their names begin with this one.
    ///
    /// # Errors
    /// Whatever `read` says.
    pub fn within<T, E>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let Some(notes) = self.notes else { return read(self) };
        notes.enter(name.to_owned());
        let result = read(self);
        notes.leave();
        result
    }

    /// The next `len` bytes as a reader of their own, which notes what it takes.
    ///
    /// # Errors
    /// [`Malformed::Short`] when fewer are left.
    pub fn part(&mut self, len: usize) -> Result<Self, Malformed> {
        let Some((head, tail)) = self.rest.split_at_checked(len) else { return self.short() };
        let part = Self { rest: head, ..*self };
        (self.rest, self.at) = (tail, self.at + len);
        Ok(part)
    }

    /// What is left.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn short<T>(&self) -> Result<T, Malformed> {
        if let Some(notes) = self.notes {
            notes.stopped(self.at);
        }
        Err(Malformed::Short)
    }

    fn took(&mut self, tail: &'a [u8], len: usize) {
        if let Some(notes) = self.notes {
            notes.took(self.at, len);
        }
        (self.rest, self.at) = (tail, self.at + len);
    }

    fn number<T: core::fmt::Display>(&self, number: T) -> T {
        self.say(|| number.to_string());
        number
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`Malformed::Short`] when fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let Some((head, tail)) = self.rest.split_first_chunk::<N>() else { return self.short() };
        self.took(tail, N);
        Ok(*head)
    }

    /// The next `len` bytes; the caller has bounded `len`.
    ///
    /// # Errors
    /// [`Malformed::Short`] when fewer are left.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let Some((head, tail)) = self.rest.split_at_checked(len) else { return self.short() };
        self.took(tail, len);
        Ok(head)
    }

    /// One thing in an encoding of its own: `take` gives it with what is left behind it.
    ///
    /// # Errors
    /// [`Malformed::Value`] when `take` has none.
    pub fn take<T>(&mut self, take: impl FnOnce(&'a [u8]) -> Option<(T, &'a [u8])>) -> Result<T, Malformed> {
        let Some((thing, tail)) = take(self.rest) else {
            if let Some(notes) = self.notes {
                notes.stopped(self.at);
            }
            return Err(Malformed::Value);
        };
        self.took(tail, self.rest.len().saturating_sub(tail.len()));
        Ok(thing)
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`Malformed::Short`] at the end.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        let number = self.array().map(u8::from_be_bytes)?;
        Ok(self.number(number))
    }

    /// The next two bytes.
    ///
    /// # Errors
    /// [`Malformed::Short`] at the end.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        let number = self.array().map(u16::from_be_bytes)?;
        Ok(self.number(number))
    }

    /// The next four bytes.
    ///
    /// # Errors
    /// [`Malformed::Short`] at the end.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        let number = self.array().map(u32::from_be_bytes)?;
        Ok(self.number(number))
    }

    /// The next eight bytes.
    ///
    /// # Errors
    /// [`Malformed::Short`] at the end.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        let number = self.array().map(u64::from_be_bytes)?;
        Ok(self.number(number))
    }

    /// A byte that must be 0 or 1.
    ///
    /// # Errors
    /// [`Malformed::Value`] for any other.
    pub fn flag(&mut self) -> Result<bool, Malformed> {
        let flag = match self.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed::Value),
        };
        self.say(|| if flag { "yes".to_owned() } else { "no".to_owned() });
        Ok(flag)
    }

    /// A count, u16, of at most `max`, then so many items.
    ///
    /// # Errors
    /// [`Malformed::Value`] above `max`, or whatever `item` says.
    pub fn list<T>(
        &mut self,
        max: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let name = self.notes.map(Notes::take_name);
        if let Some(name) = name {
            self.field(name);
        }
        let count = usize::from(self.u16()?);
        if count > max {
            return Err(Malformed::Value);
        }
        let Some(name) = name else { return (0..count).map(|_| item(self)).collect() };
        self.say(|| format!("{count} follow"));
        (0..count).map(|number| self.within(&format!("{name}[{number}]"), &mut item)).collect()
    }

    /// Nothing must be left.
    ///
    /// # Errors
    /// [`Malformed::Trailing`] otherwise.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { self.trailing(0) }
    }

    /// Nothing but zeros must be left.
    ///
    /// # Errors
    /// [`Malformed::Trailing`] otherwise.
    pub fn finish_padded(mut self) -> Result<(), Malformed> {
        match self.rest.iter().position(|byte| *byte != 0) {
            Some(first) => self.trailing(first),
            None if self.rest.is_empty() => Ok(()),
            None => {
                let len = self.rest.len();
                self.field("padding").took(&[], len);
                self.say(|| "zeros".to_owned());
                Ok(())
            }
        }
    }

    fn trailing(&self, skipped: usize) -> Result<(), Malformed> {
        if let Some(notes) = self.notes {
            notes.stopped(self.at + skipped);
        }
        Err(Malformed::Trailing)
    }
}

/// Appends a length-bounded list: u16 count, then the items.
pub fn put_list<T>(out: &mut Vec<u8>, items: &[T], mut item: impl FnMut(&mut Vec<u8>, &T)) {
    out.extend_from_slice(&u16::try_from(items.len()).unwrap_or(u16::MAX).to_be_bytes());
    items.iter().for_each(|one| item(out, one));
}

/// Pads with zeros up to `len`; `None` when it is longer already.
#[must_use]
pub fn padded(mut bytes: Vec<u8>, len: usize) -> Option<Vec<u8>> {
    if bytes.len() > len {
        return None;
    }
    bytes.resize(len, 0);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_trailing_and_out_of_bound_bytes_are_refused_each_by_name() {
        assert_eq!(Reader::new(&[1]).u16(), Err(Malformed::Short));
        assert_eq!(Reader::new(&[1]).finish(), Err(Malformed::Trailing));
        assert_eq!(Reader::new(&[0, 1]).finish_padded(), Err(Malformed::Trailing));
        assert_eq!(Reader::new(&[2]).flag(), Err(Malformed::Value));
        assert_eq!(Reader::new(&[0, 3, 1, 1, 1]).list(2, Reader::u8), Err(Malformed::Value));
        assert_eq!(Reader::new(&[0, 3, 1, 1]).list(3, Reader::u8), Err(Malformed::Short));
        assert_eq!(Reader::new(&[0, 2, 7, 8]).list(2, Reader::u8), Ok(vec![7, 8]));
        assert_eq!(padded(vec![1, 2], 1), None);
    }
}
