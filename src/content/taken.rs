//! Fields in postcard's encoding, read one by one: of an index or a root each byte can be told. Shapes only.

use serde::Deserialize;

use crate::wire::codec::{Malformed, Reader};

/// The next thing; what it is made of has been bounded by the length of the whole.
pub(super) fn taken<'a, T: Deserialize<'a>>(reader: &mut Reader<'a>) -> Result<T, Malformed> {
    reader.take(|bytes| postcard::take_from_bytes(bytes).ok())
}
