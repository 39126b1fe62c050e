//! `bauta decode`: any message of the protocol, each byte with its name. Nothing is sent, no settings are read. Source: spec/cli.md §14.

use std::io::Read;

use serde_json::{Map, Value, json};

use super::exit::{Exit, fails};
use super::files::FileError;
use super::settings::did_you_mean;
use super::visible::visible;
use super::{Said, Usage};
use crate::inspect::{self, Field, Inspected, KINDS, Kind, Refused};
use crate::limits::{DECODE_INPUT_LEN_MAX, DECODE_TEXT_LEN_MAX};
use crate::wire::hex;

/// Bytes of a field that are shown to people; `--json` has all.
const SHOWN_LEN: usize = 20;
/// Kinds that are named as fitting, too.
const OTHERS_SHOWN_MAX: usize = 6;

/// What `decode` takes.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub(super) struct DecodeArguments {
    /// Hexadecimal digits, a link, a file (of bytes, or of hexadecimal digits), or `-` for standard input.
    #[arg(value_name = "HEX|FILE|-")]
    input: String,
    /// Take it for this kind of message; without it all are tried.
    #[arg(long = "as", value_name = "KIND")]
    kind: Option<String>,
}

fn after_help() -> String {
    let lines: Vec<String> = KINDS.iter().map(|kind| format!("  {:<18} {}", kind.name, kind.what)).collect();
    format!(
        "Kinds, the most specific first:\n{}\nWhat is sealed stays sealed, and nothing is verified.",
        lines.join("\n")
    )
}

/// Runs it.
pub(super) fn run(arguments: &DecodeArguments, json: bool) -> anyhow::Result<Said> {
    let named = arguments.kind.as_deref().map(kind_named).transpose()?;
    let input = read(&arguments.input)?;
    let told = match (input, named) {
        (Input::Text(text), named) => of_text(&text, named)?,
        (Input::Bytes(bytes), Some(kind)) => Decoded { kind, fitting: vec![kind], found: kind.inspect(&bytes) },
        (Input::Bytes(bytes), None) => of_bytes(&bytes)?,
    };
    let said = Said { lines: told.lines(), object: told.object() };
    let Some((offset, refused)) = told.found.refused else { return Ok(said) };
    let Refused { error_id, why } = refused;
    let message = format!("no {}: {why}, at offset {offset} ({error_id})", told.kind.name);
    Err(fails(json, Exit::Damaged, &message, said))
}

fn kind_named(name: &str) -> Result<&'static Kind, Usage> {
    let names = || KINDS.iter().map(|kind| kind.name);
    Kind::named(name).ok_or_else(|| {
        let near = did_you_mean(name, names());
        Usage(format!("--as: there is no kind {name:?}{near} (there are {})", names().collect::<Vec<_>>().join(", ")))
    })
}

enum Input {
    Bytes(Vec<u8>),
    /// That reads as a link or a key.
    Text(String),
}

fn read(input: &str) -> anyhow::Result<Input> {
    if let Some(bytes) = digits(input) {
        return Ok(Input::Bytes(bytes));
    }
    if inspect::inspect_text(input).is_some() {
        return Ok(Input::Text(input.to_owned()));
    }
    let cap = u64::try_from(DECODE_TEXT_LEN_MAX + 1).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let failed = |why| FileError::Read(input.to_owned(), why);
    if input == "-" {
        std::io::stdin().take(cap).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let found = std::fs::metadata(input).map_err(|why| match why.kind() {
            std::io::ErrorKind::NotFound => {
                let what = "neither pairs of hexadecimal digits, nor a link, nor a file that is there";
                anyhow::Error::from(Usage(format!("{}: {what}", input.escape_debug())))
            }
            _ => failed(why).into(),
        })?;
        if !found.is_file() {
            return Err(FileError::NoFile(input.to_owned(), "is no regular file").into());
        }
        let file = std::fs::File::open(input).map_err(failed)?;
        file.take(cap).read_to_end(&mut bytes).map_err(failed)?;
    }
    let over = |what: &str| Usage(format!("{input}: more than {what}: longer than any message"));
    if bytes.len() > DECODE_TEXT_LEN_MAX {
        return Err(over(&format!("{DECODE_TEXT_LEN_MAX} bytes of text")).into());
    }
    if matches!(bytes.as_slice(), [b'b', b'a', b'u', version, ..] if version.is_ascii_control()) {
        let why = "a file of bauta's state, which may hold secrets; only messages of the protocol are shown";
        return Err(Usage(format!("{input}: {why}")).into());
    }
    let text = std::str::from_utf8(&bytes).ok();
    let read = match text.and_then(digits) {
        Some(bytes) if !text.unwrap_or_default().trim().is_empty() => Input::Bytes(bytes),
        _ => match text.filter(|text| inspect::inspect_text(text).is_some()) {
            Some(text) => Input::Text(text.to_owned()),
            None => Input::Bytes(bytes),
        },
    };
    if matches!(&read, Input::Bytes(bytes) if bytes.len() > DECODE_INPUT_LEN_MAX) {
        return Err(over(&format!("{DECODE_INPUT_LEN_MAX} bytes")).into());
    }
    Ok(read)
}

/// Bytes of hexadecimal digits, with any white space between them; `None` for anything else.
fn digits(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let pair = |pair: &[u8; 2]| std::str::from_utf8(pair).ok().and_then(|pair| hex::decode::<1>(pair).ok());
    let bytes: Option<Vec<[u8; 1]>> = pairs.iter().map(pair).collect();
    bytes.filter(|_| rest.is_empty()).map(|bytes| bytes.concat())
}

fn of_text(text: &str, named: Option<&'static Kind>) -> Result<Decoded, Usage> {
    let (kind, found) = inspect::inspect_text(text).ok_or_else(|| Usage("no text of a link".into()))?;
    match named {
        Some(other) if other.name != kind.name => {
            Err(Usage(format!("--as {}: this text is a {}", other.name, kind.name)))
        }
        _ => Ok(Decoded { kind, fitting: vec![kind], found }),
    }
}

fn of_bytes(bytes: &[u8]) -> Result<Decoded, Usage> {
    let fitting = inspect::fitting(bytes);
    // Where nothing fits, what was meant is most likely what comes furthest.
    let kind = fitting.first().copied().or_else(|| inspect::nearest(bytes));
    let kind = kind.ok_or_else(|| Usage("nothing to decode".into()))?;
    Ok(Decoded { kind, found: kind.inspect(bytes), fitting })
}

/// What a message was found to be.
struct Decoded {
    kind: &'static Kind,
    fitting: Vec<&'static Kind>,
    found: Inspected,
}

impl Decoded {
    fn lines(&self) -> Vec<String> {
        let found = &self.found;
        let mut lines = vec![format!("kind    {}: {} ({})", self.kind.name, self.kind.what, self.kind.spec)];
        let others: Vec<&str> =
            self.fitting.iter().filter(|one| one.name != self.kind.name).map(|one| one.name).collect();
        if !others.is_empty() {
            let shown = others.iter().take(OTHERS_SHOWN_MAX).copied().collect::<Vec<_>>().join(", ");
            lines.push(format!("fits    {shown}, too"));
        } else if self.kind.fits_all && found.refused.is_none() {
            lines.push("fits    by its length alone: what is in it is sealed".to_owned());
        }
        lines.push(format!("bytes   {}", found.bytes.len()));
        lines.push(String::new());
        let width = found.fields.iter().map(|field| field.name.chars().count()).max().unwrap_or(0).max(5);
        lines.push(format!("offset  bytes  {:width$}  value", "field"));
        lines.extend(found.fields.iter().map(|field| {
            let value = shown(field, &found.bytes);
            format!("{:>6}  {:>5}  {:width$}  {value}", field.offset, field.len, field.name).trim_end().to_owned()
        }));
        if let Some((offset, refused)) = &found.refused {
            lines.push(format!("{offset:>6}         {}", refused.why));
        }
        lines
    }

    fn object(&self) -> Map<String, Value> {
        let bytes = &self.found.bytes;
        let field = |field: &Field| {
            let hex = (!field.is_secret).then(|| hex::encode(bytes_of(field, bytes)));
            json!({ "offset": field.offset, "bytes": field.len, "field": field.name, "hex": hex, "words": field.words })
        };
        let refused =
            self.found.refused.as_ref().map(
                |(offset, Refused { error_id, why })| json!({ "offset": offset, "error_id": error_id, "why": why }),
            );
        let mut object = Map::new();
        object.insert("kind".into(), self.kind.name.into());
        object.insert("fits".into(), self.fitting.iter().map(|kind| kind.name).collect::<Value>());
        object.insert("bytes".into(), bytes.len().into());
        object.insert("fields".into(), self.found.fields.iter().map(field).collect::<Value>());
        object.insert("refused".into(), refused.into());
        object
    }
}

fn bytes_of<'a>(field: &Field, bytes: &'a [u8]) -> &'a [u8] {
    bytes.get(field.offset..field.offset + field.len).unwrap_or_default()
}

fn shown(field: &Field, bytes: &[u8]) -> String {
    if field.is_secret {
        return "(a secret: not shown)".to_owned();
    }
    let own = bytes_of(field, bytes);
    let digits = match own.get(..SHOWN_LEN) {
        _ if own.iter().all(|byte| *byte == 0) && own.len() > SHOWN_LEN => "00…".to_owned(),
        Some(start) if own.len() > SHOWN_LEN => format!("{}…", hex::encode(start)),
        _ => hex::encode(own),
    };
    let words = field.words.as_deref().unwrap_or_default();
    // What stands in a published name must not drive the terminal, nor look like another.
    let words = visible(words);
    if words.is_empty() { digits } else { format!("{digits}  {words}") }
}
