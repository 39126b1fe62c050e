//! The files that a process keeps for itself: whatever bytes stand there, they are read or refused by name, never both, never with a panic;
//! what is read is written back as what reads the same; no changed byte is taken; of a log every whole row counts and nothing else. So it is with
//! frames on the socket of a running node.

use bauta::cli::kept_files::{KeptFile, log_rows};
use bauta::disk::StateError;
use bauta::gateway::reread_frame;

use super::script::Script;

/// Bytes of a row: level, batch, digest.
const ROW_LEN: usize = 1 + 4 + 32;
const CHANGES_MAX: usize = 4;

fn file(file: KeptFile, bytes: &[u8]) -> Option<Vec<u8>> {
    match file.reread(bytes) {
        Ok(written) => {
            let again = file.reread(&written);
            assert!(again.is_ok_and(|again| again == written), "what was written back reads as something else");
            Some(written)
        }
        Err(StateError::Damaged(path) | StateError::Layout(path) | StateError::TooLarge(path)) => {
            assert!(path.ends_with(file.name()));
            None
        }
        Err(other) => panic!("{other}"),
    }
}

fn log(bytes: &[u8]) {
    let rows = log_rows(bytes);
    assert!(rows.is_sorted_by_key(|(level, batch, _)| (*level, *batch)));
    let mut model = std::collections::BTreeMap::new();
    for row in bytes.chunks_exact(ROW_LEN) {
        let batch = u32::from_be_bytes(row[1..5].try_into().expect("four"));
        model.insert((row[0], batch), <[u8; 32]>::try_from(&row[5..]).expect("a digest"));
    }
    assert!(rows.into_iter().eq(model.into_iter().map(|((level, batch), digest)| (level, batch, digest))));
}

/// What comes over the socket of a running node.
fn frame(of_node: bool, bytes: &[u8]) {
    let Ok(written) = reread_frame(of_node, bytes) else { return };
    assert!(written.len() <= bytes.len());
    assert!(reread_frame(of_node, &written).is_ok_and(|again| again == written));
}

/// Checks one input. With `fault`, as it would be where a changed byte is read as it was before.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    let (kind, mode) = (script.byte(), script.byte());
    let number = usize::from(kind) % (KeptFile::ALL.len() + 2);
    let Some(of) = KeptFile::ALL.get(number).copied() else {
        return if number == KeptFile::ALL.len() { log(script.rest()) } else { frame(mode & 1 != 0, script.rest()) };
    };
    match mode % 3 {
        // Whatever stands there.
        0 => drop(file(of, script.rest())),
        // A content of the input under the checksum that fits it.
        1 => {
            let content = script.rest();
            if let Some(written) = file(of, &of.with_content(content)) {
                // Shorter numbers at most: nothing that was read is left out.
                assert!(written.len() <= of.with_content(content).len());
            }
        }
        // The same, changed on the disk.
        _ => {
            let places: Vec<(u16, u8)> =
                (0..=usize::from(mode >> 4) % CHANGES_MAX).map(|_| (script.u16(), script.byte())).collect();
            let good = of.with_content(script.rest());
            let mut changed = good.clone();
            for (at, by) in places {
                let len = changed.len();
                changed[usize::from(at) % len] ^= by;
            }
            let read = if fault { &good } else { &changed };
            let taken = file(of, read).is_some();
            assert!(!taken || changed == good);
        }
    }
}
