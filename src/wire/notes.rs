//! What a reader notes of the fields that it takes, for whoever wants to see them: the decoders themselves say what each byte is.

use core::cell::RefCell;

/// One field as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Of its first byte, from the start of the message.
    pub offset: usize,
    /// Bytes.
    pub len: usize,
    /// What it is, with what it stands in before it.
    pub name: String,
    /// Its value in words, where it has any.
    pub words: Option<String>,
    /// Whether its bytes are nobody's business but their owner's.
    pub is_secret: bool,
}

/// Notes of one reading, in the order of the bytes. Shared by the readers of its parts.
#[derive(Default, Debug)]
pub struct Notes(RefCell<Noted>);

#[derive(Default, Debug)]
struct Noted {
    /// What the next field stands in.
    within: Vec<String>,
    next: Option<&'static str>,
    fields: Vec<Field>,
    /// Where reading could not go on.
    stopped: Option<usize>,
}

impl Notes {
    /// All fields so far.
    #[must_use]
    pub fn fields(&self) -> Vec<Field> {
        self.0.borrow().fields.clone()
    }

    /// The offset at which bytes were missing or left over; of a field out of bounds that of the last field.
    #[must_use]
    pub fn stopped_at(&self) -> usize {
        let noted = self.0.borrow();
        noted.stopped.unwrap_or_else(|| noted.fields.last().map_or(0, |last| last.offset))
    }

    /// Takes the last field out again: its bytes are about to be read as what they hold.
    pub fn reopen(&self) -> Option<Field> {
        self.0.borrow_mut().fields.pop()
    }

    /// Forgets all from this many fields on: they were read on trial.
    pub fn forget_after(&self, count: usize) {
        let mut noted = self.0.borrow_mut();
        noted.fields.truncate(count);
        (noted.stopped, noted.next) = (None, None);
    }

    /// Puts other fields in the place of all so far, and says where reading stopped if it did.
    pub fn replace(&self, fields: Vec<Field>, stopped: Option<usize>) {
        let mut noted = self.0.borrow_mut();
        (noted.fields, noted.stopped) = (fields, stopped);
    }

    pub(super) fn enter(&self, name: String) {
        self.0.borrow_mut().within.push(name);
    }

    pub(super) fn leave(&self) {
        self.0.borrow_mut().within.pop();
    }

    pub(super) fn name_next(&self, name: &'static str) {
        self.0.borrow_mut().next = Some(name);
    }

    /// The name that the next field was given, if it was.
    pub(super) fn take_name(&self) -> &'static str {
        self.0.borrow_mut().next.take().unwrap_or("unnamed")
    }

    pub(super) fn took(&self, offset: usize, len: usize) {
        let name = self.take_name();
        let mut noted = self.0.borrow_mut();
        let parts: Vec<&str> = noted.within.iter().map(String::as_str).chain([name]).collect();
        let name = parts.join(".");
        noted.fields.push(Field { offset, len, name, words: None, is_secret: false });
    }

    pub(super) fn stopped(&self, offset: usize) {
        self.0.borrow_mut().stopped = Some(offset);
    }

    pub(super) fn say(&self, words: String) {
        if let Some(last) = self.0.borrow_mut().fields.last_mut() {
            last.words = Some(words);
        }
    }

    pub(super) fn hide(&self) {
        if let Some(last) = self.0.borrow_mut().fields.last_mut() {
            last.is_secret = true;
        }
    }
}
