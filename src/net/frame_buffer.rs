//! Bytes between a socket and a link machine: frames are cut from what was read and gathered for a write. Pure.
//!
//! Both buffers grow to the caps while busy and shrink to [`FRAMES_IDLE_MAX`] when their link rests: most links do.

use crate::limits::{FRAME_LEN, FRAMES_IDLE_MAX, FRAMES_PER_READ_MAX, FRAMES_PER_WRITE_MAX};
use crate::link::Frame;

const IDLE_LEN: usize = FRAMES_IDLE_MAX * FRAME_LEN;

/// Bytes read and not yet taken as frames: `bytes[start..end]`.
pub struct ReadBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl ReadBuffer {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: vec![0; IDLE_LEN], start: 0, end: 0 }
    }

    /// The next whole frame.
    pub fn next_frame(&mut self) -> Option<&Frame> {
        let frame = self.bytes.get(self.start..self.end)?.first_chunk::<FRAME_LEN>()?;
        self.start += FRAME_LEN;
        Some(frame)
    }

    /// Where the next bytes are to be read to; never empty once all whole frames are taken.
    pub fn room(&mut self) -> &mut [u8] {
        // Only the piece of a frame is ever moved, not the frames that wait.
        if self.end - self.start < FRAME_LEN {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes came. A full buffer doubles.
    pub fn filled(&mut self, len: usize) {
        self.end = self.bytes.len().min(self.end + len);
        if self.end == self.bytes.len() {
            self.bytes.resize((2 * self.bytes.len()).min(FRAMES_PER_READ_MAX * FRAME_LEN), 0);
        }
    }

    /// The link has nothing to do: gives memory back, but for what holds bytes.
    pub fn rest(&mut self) {
        if self.end <= IDLE_LEN && self.bytes.len() > IDLE_LEN {
            self.bytes.truncate(IDLE_LEN);
            self.bytes.shrink_to_fit();
        }
    }
}

/// Frames sealed and not yet written: `bytes[start..]`.
#[derive(Default)]
pub struct WriteBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl WriteBuffer {
    /// Appends what `next` writes until it says `false` or the buffer holds a full write. Only into an empty buffer: cells
    /// that come meanwhile may still overtake what is not sealed.
    pub fn fill(&mut self, mut next: impl FnMut(&mut Frame) -> bool) {
        if !self.is_empty() {
            return;
        }
        self.bytes.clear();
        self.start = 0;
        while self.bytes.len() < FRAMES_PER_WRITE_MAX * FRAME_LEN {
            let at = self.bytes.len();
            self.bytes.resize(at + FRAME_LEN, 0);
            let frame = self.bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
            if !frame.is_some_and(&mut next) {
                self.bytes.truncate(at);
                return;
            }
        }
    }

    /// The link has nothing to do: gives memory back, unless bytes wait.
    pub fn rest(&mut self) {
        if self.is_empty() && self.bytes.capacity() > IDLE_LEN {
            (self.bytes, self.start) = (Vec::new(), 0);
        }
    }

    /// What is to be written.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// So many bytes were written.
    pub fn written(&mut self, len: usize) {
        self.start = self.bytes.len().min(self.start + len);
    }

    /// Whether all is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_bytes_are_cut(
            cuts in proptest::collection::vec(1_usize..5_000, 1..60),
        ) {
            let (mut buffer, mut sent, mut taken) = (ReadBuffer::new(), 0_usize, 0_usize);
            for cut in cuts {
                let room = buffer.room();
                let len = cut.min(room.len());
                prop_assert!(len > 0);
                for (at, byte) in room[..len].iter_mut().enumerate() {
                    *byte = u8::try_from((sent + at) / FRAME_LEN % 251).unwrap();
                }
                sent += len;
                buffer.filled(len);
                while let Some(frame) = buffer.next_frame() {
                    prop_assert_eq!(frame, &[u8::try_from(taken % 251).unwrap(); FRAME_LEN]);
                    taken += 1;
                }
            }
            prop_assert_eq!(taken, sent / FRAME_LEN);
        }
    }

    #[test]
    fn a_busy_read_buffer_grows_to_its_cap_and_a_resting_one_shrinks() {
        let mut buffer = ReadBuffer::new();
        for _ in 0..20 {
            let len = buffer.room().len();
            buffer.filled(len);
            while buffer.next_frame().is_some() {}
        }
        assert_eq!(buffer.bytes.len(), FRAMES_PER_READ_MAX * FRAME_LEN);
        assert!(!buffer.room().is_empty());
        buffer.filled(FRAME_LEN + 7);
        while buffer.next_frame().is_some() {}
        assert_eq!(buffer.bytes.len(), FRAMES_PER_READ_MAX * FRAME_LEN, "it may be busy again at once");
        buffer.room();
        buffer.rest();
        assert_eq!(buffer.bytes.capacity(), IDLE_LEN);
        assert_eq!(buffer.end - buffer.start, 7, "the piece of a frame is still there");
    }

    #[test]
    fn a_write_holds_at_most_its_cap_and_its_memory_goes_when_the_link_rests() {
        let mut buffer = WriteBuffer::default();
        let mut left = FRAMES_PER_WRITE_MAX + 1;
        let mut next = |_: &mut Frame| {
            left = left.saturating_sub(1);
            left > 0
        };
        buffer.fill(|_| true);
        assert_eq!(buffer.pending().len(), FRAMES_PER_WRITE_MAX * FRAME_LEN);
        buffer.written(5);
        buffer.fill(&mut next);
        assert_eq!(
            buffer.pending().len(),
            FRAMES_PER_WRITE_MAX * FRAME_LEN - 5,
            "nothing is added to a write under way"
        );
        buffer.written(usize::MAX / 2);
        assert!(buffer.is_empty());
        buffer.fill(|_| false);
        assert!(buffer.is_empty() && buffer.bytes.capacity() > IDLE_LEN);
        buffer.rest();
        assert!(buffer.is_empty() && buffer.bytes.capacity() <= IDLE_LEN);
        buffer.fill(|_| true);
        buffer.rest();
        assert_eq!(buffer.pending().len(), FRAMES_PER_WRITE_MAX * FRAME_LEN, "nothing that waits is lost");
    }
}
