//! A fuzz input read as a script, from its front. Total: what is missing is zeros, so that every input means something.

/// What is left of an input.
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// The whole of it.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Whether only zeros would follow.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number of two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number below `end`: of one byte where that is enough, else of two.
    pub fn below(&mut self, end: usize) -> usize {
        let number = if end <= 256 { u16::from(self.byte()) } else { self.u16() };
        usize::from(number) % end.max(1)
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    /// Changes one byte of these, for certain.
    pub fn change(&mut self, bytes: &mut [u8]) {
        let (at, by) = (self.below(bytes.len()), self.byte());
        bytes[at] ^= by.max(1);
    }
}
