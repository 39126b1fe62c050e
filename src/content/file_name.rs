//! Names of files as they are published: one component of a path that reads as it is. Source: spec/content.md §3.1.

use crate::limits::FILE_NAME_LEN_MAX;

/// A file's name: one component of a path, nothing that could leave a folder or drive a terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileName(String);

/// Why a name is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameRefused {
    /// It is empty or over its room.
    #[error("a file name has 1 to {FILE_NAME_LEN_MAX} bytes")]
    Length,
    /// It has a separator or a control character, or is `.` or `..`.
    #[error("a file name has no path separator and no control character, and is neither . nor ..")]
    Characters,
}

impl FileName {
    /// Takes a name.
    ///
    /// # Errors
    /// [`NameRefused`].
    pub fn new(name: &str) -> Result<Self, NameRefused> {
        if name.is_empty() || name.len() > FILE_NAME_LEN_MAX {
            return Err(NameRefused::Length);
        }
        if name.contains(['/', '\\']) || !reads_as_it_is(name) || name == "." || name == ".." {
            return Err(NameRefused::Characters);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether nothing in it drives a terminal or makes text run the other way.
pub(super) fn reads_as_it_is(name: &str) -> bool {
    let is_bidi =
        |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !name.chars().any(|c: char| c.is_control() || is_bidi(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    // [CONT-R-012]
    #[test]
    fn names_that_leave_a_folder_or_drive_a_terminal_are_refused() {
        for name in ["", ".", "..", "a/b", "a\\b", "a\u{1b}[2J", "a\nb", "gpj\u{202e}exe", &"n".repeat(256)] {
            assert!(FileName::new(name).is_err(), "{name:?}");
        }
        for name in ["a", "...", "ä ö.txt", &"n".repeat(255)] {
            assert!(FileName::new(name).is_ok(), "{name:?}");
        }
    }
}
