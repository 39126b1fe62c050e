//! The kinds of messages, the most specific first, and how each is read.

use super::{Kind, Refused};
use crate::content::{AuthorKey, ContentLink, FolderIndex, FolderRefused, INDEX_HEAD_LEN, Root};
use crate::limits::{
    BODY_LEN, CELL_HEADER_LEN, CELL_LEN, CHUNK_LEN, CHUNK_TWEAK_LEN, FRAME_LEN, KEY_LEN, MESSAGE_CELLS_MAX,
    ROUTING_LEN, SEALED_CHUNK_LEN, TAG_LEN,
};
use crate::wire::cell::{Cell, Command};
use crate::wire::codec::{Malformed, Reader};
use crate::wire::contact::Contact;
use crate::wire::descriptor::SignedDescriptor;
use crate::wire::hello::Hello;
use crate::wire::message::{Answer, Ask, Assembler};
use crate::wire::notes::{Field, Notes};
use crate::wire::onion::{ExitAnswer, ExitRequest, Routing};
use crate::wire::payment::Payment;
use crate::wire::record::{RecordBytes, Value, ValueKind};
use crate::wire::statement::Statement;

/// Bytes that the length of a message takes in its first cell.
const LENGTH_LEN: usize = 4;
/// Of the first frame: `e`, the initiator's key sealed, zeros sealed, mac1. Source: spec/link.md §2.
const FRAME1: [(&str, usize); 4] = [
    ("initiator's ephemeral key", KEY_LEN),
    ("initiator's link key, sealed", KEY_LEN + TAG_LEN),
    ("zeros, sealed", FRAME_LEN - 2 * KEY_LEN - 2 * TAG_LEN),
    ("mac1", TAG_LEN),
];
const FRAME2: [(&str, usize); 2] = [("responder's ephemeral key", KEY_LEN), ("hello, sealed", FRAME_LEN - KEY_LEN)];
const FRAME: [(&str, usize); 2] = [("cell, sealed", CELL_LEN), ("tag", TAG_LEN)];
/// Bodies of the onion. Source: spec/onion.md §3 and §4.
const KEYED: [(&str, usize); 3] =
    [("ephemeral key", KEY_LEN), ("tag", TAG_LEN), ("ciphertext", BODY_LEN - KEY_LEN - TAG_LEN)];
const TAGGED: [(&str, usize); 2] = [("tag", TAG_LEN), ("ciphertext", BODY_LEN - TAG_LEN)];
const CHUNK: [(&str, usize); 3] = [("tweak", CHUNK_TWEAK_LEN), ("ciphertext", CHUNK_LEN), ("tag", TAG_LEN)];
const _: () = assert!(CHUNK_TWEAK_LEN + CHUNK_LEN + TAG_LEN == SEALED_CHUNK_LEN);

/// All kinds, the most specific first.
pub const KINDS: &[Kind] = &[
    kind("message", "all cells of one question or answer", "spec/messages.md §1.1", message),
    kind("cell", "cell", "spec/cells.md §1", cell),
    kind("descriptor", "descriptor of a relay", "spec/membership.md §1", descriptor),
    kind("question", "question between the ends of a link", "spec/messages.md §2", question),
    kind("answer", "answer between the ends of a link", "spec/messages.md §3", answer),
    kind("request", "request to an exit", "spec/requests.md §2", request),
    kind("statement", "statement or receipt of a storer", "spec/evidence.md §1", statement),
    kind("contact", "contact", "spec/messages.md §3", contact),
    kind("value", "value as it moves between relays", "spec/messages.md §4", value),
    kind("routing", "routing block of a build packet", "spec/onion.md §3", routing),
    kind("payment", "payment of an anonymous write", "spec/dht.md §8.2", payment),
    kind("hello", "hello, with what it is padded with", "spec/link.md §3", hello),
    kind("exit-answer", "answer of an exit that carries a record", "spec/requests.md §3", exit_answer_signed),
    kind("exit-answer-chunk", "answer of an exit that carries a chunk", "spec/requests.md §3", exit_answer_hashed),
    kind("root", "root of a publication", "spec/content.md §3", root),
    kind("folder", "folder: index, then its files", "spec/content.md §5", folder),
    kind("link", "link to a publication, the bytes behind its text", "spec/content.md §4", link),
    kind("author-key", "author's key, the bytes behind its text", "spec/content.md §8", author_key),
    sealed("record", "signed value", "spec/values.md §2", record),
    sealed("frame-1", "first frame of a handshake", "spec/link.md §2", |bytes, notes| whole(bytes, notes, &FRAME1)),
    sealed("frame-2", "second frame of a handshake", "spec/link.md §2", |bytes, notes| whole(bytes, notes, &FRAME2)),
    sealed("frame", "cell as it crosses a link", "spec/link.md §4", |bytes, notes| whole(bytes, notes, &FRAME)),
    sealed("build", "body of a Build or a Reply0", "spec/onion.md §3", |bytes, notes| whole(bytes, notes, &KEYED)),
    sealed("circuit", "body of a Forward or a Backward", "spec/onion.md §4", |bytes, notes| {
        whole(bytes, notes, &TAGGED)
    }),
    sealed("chunk", "chunk, sealed", "spec/content.md §2.2", |bytes, notes| whole(bytes, notes, &CHUNK)),
];

type Read = fn(&[u8], &Notes) -> Result<(), Refused>;

const fn kind(name: &'static str, what: &'static str, spec: &'static str, read: Read) -> Kind {
    Kind { name, what, spec, fits_all: false, read }
}

const fn sealed(name: &'static str, what: &'static str, spec: &'static str, read: Read) -> Kind {
    Kind { name, what, spec, fits_all: true, read }
}

fn whole(bytes: &[u8], notes: &Notes, layout: &[(&'static str, usize)]) -> Result<(), Refused> {
    let mut reader = Reader::noting(bytes, 0, notes);
    parts(&mut reader, layout)?;
    Ok(reader.finish()?)
}

fn parts(reader: &mut Reader<'_>, layout: &[(&'static str, usize)]) -> Result<(), Malformed> {
    layout.iter().try_for_each(|(name, len)| reader.field(name).bytes(*len).map(|_| ()))
}

/// What is read by a decoder that takes its bytes from a reader and leaves the rest.
fn read_whole<T>(
    bytes: &[u8],
    notes: &Notes,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<(), Refused> {
    let mut reader = Reader::noting(bytes, 0, notes);
    read(&mut reader)?;
    Ok(reader.finish()?)
}

fn cell(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    let mut reader = Reader::noting(bytes, 0, notes);
    let cell = Cell::read(&mut reader)?;
    reader.finish()?;
    let before = notes.fields().len();
    notes.reopen();
    let mut body = Reader::noting(cell.body(), CELL_HEADER_LEN, notes);
    match cell.command() {
        Command::Build | Command::Reply0 => parts(&mut body, &KEYED)?,
        Command::Forward | Command::Backward => parts(&mut body, &TAGGED)?,
        Command::Credit => drop(Cell::read_credit(body)?),
        Command::Hello => {
            let hello = body.within("hello", |body| Hello::read(*body));
            if hello.is_err() {
                // A cell is one whatever is in a hello: it is read at the handshake alone.
                notes.forget_after(before - 1);
                whole_body(&mut Reader::noting(cell.body(), CELL_HEADER_LEN, notes), "reads as no hello")?;
            }
        }
        Command::Ask | Command::Answer => whole_body(&mut body, "part of a message")?,
        Command::Destroy | Command::Padding => whole_body(&mut body, "not looked at")?,
    }
    Ok(())
}

fn whole_body(body: &mut Reader<'_>, words: &str) -> Result<(), Malformed> {
    body.field("body").bytes(BODY_LEN)?;
    body.say(|| words.to_owned());
    Ok(())
}

/// Cells of one number and command; the message that they carry is read across them.
fn message(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    let mut reader = Reader::noting(bytes, 0, notes);
    let (mut joined, mut assembler) = (None, Assembler::default());
    let mut first: Option<(Command, u32)> = None;
    let mut cells = 0;
    while joined.is_none() && cells < MESSAGE_CELLS_MAX {
        let cell = reader.within(&format!("cells[{cells}]"), Cell::read)?;
        let own = (cell.command(), cell.circuit().0);
        if !matches!(own.0, Command::Ask | Command::Answer) || *first.get_or_insert(own) != own {
            return Err(Malformed::Value.into());
        }
        joined = assembler.push(cell.body())?;
        cells += 1;
    }
    reader.finish()?;
    let message = joined.ok_or(Malformed::Value)?;
    let inner = Notes::default();
    let inner_reader = Reader::noting(&message, 0, &inner);
    let read = match first {
        Some((Command::Ask, _)) => Ask::read(inner_reader).map(drop),
        _ => Answer::read(inner_reader).map(drop),
    };
    let headers = notes.fields().into_iter().filter(|field| field.len != BODY_LEN).collect();
    let stopped = read.is_err().then(|| place_of(inner.stopped_at()));
    notes.replace(laid_out(headers, inner.fields(), (message.len(), cells * CELL_LEN), stopped), stopped);
    Ok(read?)
}

/// Where a byte of a message stands in its cells.
const fn place_of(at: usize) -> usize {
    let at = at + LENGTH_LEN;
    at / BODY_LEN * CELL_LEN + CELL_HEADER_LEN + at % BODY_LEN
}

/// The headers of cells, the length, and the fields of the message in their places; a field that goes over the end of a cell is there in
/// parts.
fn laid_out(
    headers: Vec<Field>,
    fields: Vec<Field>,
    (len, total): (usize, usize),
    stopped: Option<usize>,
) -> Vec<Field> {
    let mut all = headers;
    let plain = |offset, len, name: &str, words: String| {
        let (name, words) = (name.to_owned(), Some(words));
        Field { offset, len, name, words, is_secret: false }
    };
    all.push(plain(CELL_HEADER_LEN, LENGTH_LEN, "length", len.to_string()));
    for field in fields {
        let (mut at, end) = (field.offset, field.offset + field.len);
        while at < end {
            let part = (BODY_LEN - (at + LENGTH_LEN) % BODY_LEN).min(end - at);
            let is_first = at == field.offset;
            let name = if is_first { field.name.clone() } else { format!("{} (goes on)", field.name) };
            let words = field.words.clone().filter(|_| is_first);
            all.push(Field { offset: place_of(at), len: part, name, words, is_secret: field.is_secret });
            at += part;
        }
    }
    // A last byte that fills its cell leaves nothing.
    if !(len + LENGTH_LEN).is_multiple_of(BODY_LEN) {
        let used = place_of(len);
        all.push(plain(used, total.saturating_sub(used), "padding", "zeros".to_owned()));
    }
    all.sort_by_key(|field| field.offset);
    if stopped.is_none() {
        return all;
    }
    // What stands behind the place at which reading stopped was not read.
    let mut end = 0;
    let is_next = |field: &Field| {
        let is_next = field.offset == end;
        end += field.len;
        is_next
    };
    all.into_iter().take_while(is_next).collect()
}

fn descriptor(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    read_whole(bytes, notes, SignedDescriptor::decode)
}

fn question(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    Ok(Ask::read(Reader::noting(bytes, 0, notes)).map(drop)?)
}

fn answer(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    Ok(Answer::read(Reader::noting(bytes, 0, notes)).map(drop)?)
}

fn request(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    Ok(ExitRequest::read(Reader::noting(bytes, 0, notes)).map(drop)?)
}

fn exit_answer_signed(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    Ok(ExitAnswer::read(Reader::noting(bytes, 0, notes), ValueKind::Signed).map(drop)?)
}

fn exit_answer_hashed(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    Ok(ExitAnswer::read(Reader::noting(bytes, 0, notes), ValueKind::Hashed).map(drop)?)
}

fn statement(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    read_whole(bytes, notes, Statement::decode)
}

fn contact(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    read_whole(bytes, notes, Contact::decode)
}

fn value(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    read_whole(bytes, notes, Value::decode)
}

fn routing(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    // Its zeros reach to its own end, and no further.
    let mut reader = Reader::noting(bytes, 0, notes);
    Routing::read(reader.part(ROUTING_LEN)?)?;
    Ok(reader.finish()?)
}

fn payment(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    read_whole(bytes, notes, Payment::decode)
}

fn hello(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    Ok(Hello::read(Reader::noting(bytes, 0, notes)).map(drop)?)
}

fn record(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    read_whole(bytes, notes, RecordBytes::read)
}

fn root(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    Ok(Root::read(Reader::noting(bytes, 0, notes)).map(drop)?)
}

fn link(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    Ok(ContentLink::read(Reader::noting(bytes, 0, notes)).map(drop)?)
}

fn author_key(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    Ok(AuthorKey::read(Reader::noting(bytes, 0, notes)).map(drop)?)
}

/// The index, then as many bytes as its files have; the files may be left out.
fn folder(bytes: &[u8], notes: &Notes) -> Result<(), Refused> {
    let mut reader = Reader::noting(bytes, 0, notes);
    let refused = |_| FolderRefused::Malformed;
    let head = reader.rest().get(..usize::try_from(INDEX_HEAD_LEN).unwrap_or(0)).unwrap_or_default();
    let len = FolderIndex::index_len(head)?;
    reader.field("length of the index").u32().map_err(refused)?;
    let index = FolderIndex::read(reader.part(usize::try_from(len).unwrap_or(usize::MAX)).map_err(refused)?)?;
    if reader.rest().is_empty() {
        return Ok(());
    }
    for (path, range) in index.files() {
        let len = usize::try_from(range.end - range.start).map_err(|_| FolderRefused::Malformed)?;
        if len > 0 {
            reader.field("file").bytes(len).map_err(refused)?;
            reader.say(|| format!("{path:?}"));
        }
    }
    Ok(reader.finish().map_err(refused)?)
}
