//! Reading and writing of fixed-layout bytes, big-endian. A reader must be read to its end.

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

/// Takes fields from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`Malformed::Short`] when fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.0 = tail;
        Ok(*head)
    }

    /// The next `len` bytes; the caller has bounded `len`.
    ///
    /// # Errors
    /// [`Malformed::Short`] when fewer are left.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(Malformed::Short)?;
        self.0 = tail;
        Ok(head)
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`Malformed::Short`] at the end.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    /// The next two bytes.
    ///
    /// # Errors
    /// [`Malformed::Short`] at the end.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four bytes.
    ///
    /// # Errors
    /// [`Malformed::Short`] at the end.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next eight bytes.
    ///
    /// # Errors
    /// [`Malformed::Short`] at the end.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A byte that must be 0 or 1.
    ///
    /// # Errors
    /// [`Malformed::Value`] for any other.
    pub fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Value),
        }
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
        let count = usize::from(self.u16()?);
        if count > max {
            return Err(Malformed::Value);
        }
        (0..count).map(|_| item(self)).collect()
    }

    /// Nothing must be left.
    ///
    /// # Errors
    /// [`Malformed::Trailing`] otherwise.
    pub const fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }

    /// Nothing but zeros must be left.
    ///
    /// # Errors
    /// [`Malformed::Trailing`] otherwise.
    pub fn finish_padded(self) -> Result<(), Malformed> {
        if self.0.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Malformed::Trailing) }
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
