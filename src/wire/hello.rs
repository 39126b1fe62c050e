//! What both ends of a link say first, encrypted: versions, and a relay's descriptor. Source: spec/link.md §3.

use super::codec::{Malformed, Reader};
use super::descriptor::SignedDescriptor;

/// The initiator's first transport cell, or the payload of handshake message 2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Lowest and highest version spoken.
    pub versions: (u8, u8),
    /// A relay shows its descriptor; a client has none.
    pub descriptor: Option<SignedDescriptor>,
}

impl Hello {
    /// Encodes without padding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.versions.0, self.versions.1, u8::from(self.descriptor.is_some())];
        if let Some(descriptor) = &self.descriptor {
            out.extend_from_slice(descriptor.as_bytes());
        }
        out
    }

    /// Decodes; zeros may follow.
    ///
    /// # Errors
    /// [`Malformed`] when it is not a hello of any version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::read(Reader::new(bytes))
    }

    /// As [`Self::decode`], all that the reader has.
    ///
    /// # Errors
    /// [`Malformed`] when it is not a hello of any version.
    pub fn read(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let versions = (reader.field("lowest version").u8()?, reader.field("highest version").u8()?);
        if versions.0 == 0 || versions.0 > versions.1 {
            return Err(Malformed::Value);
        }
        let is_shown = reader.field("descriptor follows").flag()?;
        let descriptor = if is_shown { Some(reader.within("descriptor", SignedDescriptor::decode)?) } else { None };
        reader.finish_padded()?;
        Ok(Self { versions, descriptor })
    }
}

/// The highest version that both ranges hold.
#[must_use]
pub fn common_version(ours: (u8, u8), theirs: (u8, u8)) -> Option<u8> {
    let version = ours.1.min(theirs.1);
    (version >= ours.0 && version >= theirs.0).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    // [LINK-R-021] [VER-R-002]
    #[test]
    fn the_highest_common_version_is_chosen_or_none() {
        for (ours, theirs, version) in
            [((1, 1), (1, 1), Some(1)), ((1, 3), (2, 5), Some(3)), ((1, 2), (3, 4), None), ((3, 4), (1, 2), None)]
        {
            assert_eq!(common_version(ours, theirs), version);
        }
    }

    // [LINK-R-020]
    #[test]
    fn an_empty_range_and_trailing_bytes_are_refused() {
        assert!(Hello::decode(&[1, 1, 0, 0, 0]).is_ok());
        for bad in [&[0, 1, 0][..], &[2, 1, 0], &[1, 1, 2], &[1, 1], &[1, 1, 0, 1], &[1, 1, 1, 0]] {
            assert!(Hello::decode(bad).is_err(), "{bad:?}");
        }
    }
}
