//! Any bytes as any kind of message, for people: each byte stands under one name, up to where reading stops, and what is taken is what
//! the decoder takes that nobody watches.

use bauta::content::{AuthorKey, ContentLink, Root};
use bauta::inspect::{Inspected, KINDS, fitting, inspect_text, nearest};
use bauta::limits::CELL_LEN;
use bauta::wire::cell::{Cell, Command};
use bauta::wire::codec::{Malformed, Reader};
use bauta::wire::contact::Contact;
use bauta::wire::descriptor::SignedDescriptor;
use bauta::wire::hello::Hello;
use bauta::wire::message::{Answer, Ask};
use bauta::wire::onion::{ExitAnswer, ExitRequest, Routing};
use bauta::wire::payment::Payment;
use bauta::wire::record::{RecordBytes, Value, ValueKind};
use bauta::wire::statement::Statement;

use super::script::Script;

/// Whether it is read to its end.
fn whole<T>(bytes: &[u8], read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>) -> bool {
    let mut reader = Reader::new(bytes);
    read(&mut reader).is_ok() && reader.finish().is_ok()
}

/// Whether the decoder of this kind takes it; of some kinds nothing is sealed that could be refused, or what is read is not all there is.
fn is_taken(kind: &str, bytes: &[u8]) -> Option<bool> {
    Some(match kind {
        // Of a credit its number is read, too.
        "cell" => bytes
            .try_into()
            .ok()
            .and_then(|bytes| Cell::decode(bytes).ok())
            .is_some_and(|cell| cell.command() != Command::Credit || cell.credit_count().is_ok()),
        "descriptor" => whole(bytes, SignedDescriptor::decode),
        "question" => Ask::decode(bytes).is_ok(),
        "answer" => Answer::decode(bytes).is_ok(),
        "request" => ExitRequest::decode(bytes).is_ok(),
        "statement" => whole(bytes, Statement::decode),
        "contact" => whole(bytes, Contact::decode),
        "value" => whole(bytes, Value::decode),
        "routing" => bytes.try_into().is_ok_and(|bytes| Routing::decode(bytes).is_ok()),
        "payment" => whole(bytes, Payment::decode),
        "hello" => Hello::decode(bytes).is_ok(),
        "exit-answer" => ExitAnswer::decode(bytes, ValueKind::Signed).is_ok(),
        "exit-answer-chunk" => ExitAnswer::decode(bytes, ValueKind::Hashed).is_ok(),
        "root" => Root::decode(bytes).is_ok(),
        "link" => ContentLink::read(Reader::new(bytes)).is_ok(),
        "author-key" => AuthorKey::from_bytes(bytes).is_ok(),
        "record" => RecordBytes::new(bytes).is_ok(),
        _ => return None,
    })
}

/// No byte twice, none left out, up to where reading stopped.
fn covers(inspected: &Inspected) {
    let mut at = 0;
    for field in &inspected.fields {
        assert_eq!(field.offset, at);
        assert!(!field.name.is_empty() && !field.name.contains("unnamed"));
        at += field.len;
    }
    match &inspected.refused {
        None => assert_eq!(at, inspected.bytes.len()),
        Some((offset, refused)) => {
            assert!(at <= inspected.bytes.len() && *offset <= inspected.bytes.len());
            assert!(!refused.error_id.is_empty() && !refused.why.is_empty());
        }
    }
}

/// Checks one input. With `fault`, as it would be where the last field is left out.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    let (at, is_filled) = (script.below(KINDS.len() + 1), script.byte() & 1 != 0);
    let mut bytes = script.rest().to_vec();
    let Some(kind) = KINDS.get(at) else {
        let Ok(text) = std::str::from_utf8(&bytes) else { return };
        let Some((kind, inspected)) = inspect_text(text) else { return };
        covers(&inspected);
        let is_taken = text.parse::<ContentLink>().is_ok() || text.parse::<AuthorKey>().is_ok();
        return assert_eq!(inspected.refused.is_none(), is_taken, "{}", kind.name);
    };
    if is_filled {
        // Cells are long, and mostly zeros.
        bytes.resize(bytes.len().next_multiple_of(CELL_LEN), 0);
    }
    let mut inspected = kind.inspect(&bytes);
    if fault {
        inspected.fields.pop();
    }
    covers(&inspected);
    let is_whole = inspected.refused.is_none();
    assert_eq!(is_taken(kind.name, &bytes).unwrap_or(is_whole), is_whole, "{}", kind.name);
    assert_eq!(fitting(&bytes).iter().any(|one| one.name == kind.name), is_whole);
    assert!(nearest(&bytes).is_some_and(|one| !one.fits_all));
}
