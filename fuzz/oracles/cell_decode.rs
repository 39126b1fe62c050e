//! Cells: what decodes encodes to the same bytes, and the header means what the spec says.

use bauta::limits::CELL_LEN;
use bauta::wire::cell::{Cell, Command};

/// Checks one input. With `fault`, as it would be over an encoder that loses the last bit.
pub fn check(data: &[u8], fault: bool) {
    // Short inputs are padded, so that the fuzzer spends its time on headers.
    let mut bytes = [0; CELL_LEN];
    bytes.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
    let Ok(cell) = Cell::decode(&bytes) else { return };
    let mut again = [0; CELL_LEN];
    cell.encode(&mut again);
    again[CELL_LEN - 1] ^= u8::from(fault);
    assert_eq!(again, bytes);
    assert_eq!(cell.circuit().0 == 0, cell.command().is_of_link());
    assert!(cell.command() == Command::Build || (cell.suite() == 0 && cell.hint() == 0));
    if let Ok(count) = cell.credit_count() {
        assert_ne!(count, 0);
    }
}
