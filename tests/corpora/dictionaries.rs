//! Words that a fuzzer puts into inputs where chance would take long: heads of messages as the vectors have them, numbers that caps turn on,
//! names that files bear. Made from these, so that a message that is new in the vectors is new here.

use std::collections::BTreeSet;
use std::path::Path;

use bauta::cli::kept_files::{KeptFile, settings_names};
use bauta::limits::{
    ANSWER_LEN, BODY_LEN, CELL_LEN, CHUNK_LEN, CIRCUIT_DATA_LEN_MAX, FOLDER_PATH_LEN_MAX, FRAME_LEN, MESSAGE_LEN_MAX,
    NAME_LEN_MAX, PAYLOAD_LEN_MAX, RECORD_LEN, REQUEST_LEN_MAX, SEALED_CHUNK_LEN, SLOT_LEN,
};
use serde_json::Value;

type Words = BTreeSet<Vec<u8>>;

/// The fuzzer takes none that is longer.
const WORD_LEN_MAX: usize = 64;
/// Of a message, so many bytes from its front make a word.
const HEADS: [usize; 5] = [1, 2, 4, 8, 20];
/// Target, and the vectors whose messages it reads.
const FORMATS: [(&str, &[&str]); 7] = [
    ("cell_decode", &["cells"]),
    ("content", &["folders", "roots"]),
    ("descriptor", &["descriptors"]),
    ("message_decode", &["descriptors", "exit_answers", "exit_requests", "hellos", "messages", "statements"]),
    ("speaker", &["cells", "hellos"]),
    ("state_files", &["command_frames", "key_files", "kept_files", "state_files"]),
    ("stream", &["cells"]),
];
/// Fields of a vector that are whole messages.
const WHOLE: [&str; 3] = ["bytes", "content", "frame"];
const CAPS: [usize; 14] = [
    ANSWER_LEN,
    BODY_LEN,
    CELL_LEN,
    CHUNK_LEN,
    CIRCUIT_DATA_LEN_MAX,
    FOLDER_PATH_LEN_MAX,
    FRAME_LEN,
    MESSAGE_LEN_MAX,
    NAME_LEN_MAX,
    PAYLOAD_LEN_MAX,
    RECORD_LEN,
    REQUEST_LEN_MAX,
    SEALED_CHUNK_LEN,
    SLOT_LEN,
];
const SETTINGS: [&str; 24] = [
    " = ",
    "\"",
    "[",
    "]",
    "#",
    "true",
    "false",
    "one",
    "quorum",
    "all",
    "distinct",
    "one-host",
    "ms\"",
    "s\"",
    "m\"",
    "h\"",
    "d\"",
    "KiB\"",
    "MiB\"",
    "GiB\"",
    "B\"",
    "127.0.0.1:9000",
    "[::1]:9000",
    "/",
];
const TEXTS: [&str; 8] = ["bauta1", "bautakey1", "BAUTA1", "1", " ", "\n", "q", "\u{202e}"];

fn bytes(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_str().or(value["hex"].as_str())?;
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

fn heads(vectors: &Path, file: &str) -> Words {
    let text = std::fs::read_to_string(vectors.join(file).with_extension("json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let rows = ["cases", "invalid"].into_iter().filter_map(|list| file[list].as_array()).flatten();
    let whole = rows.flat_map(|row| WHOLE.into_iter().filter_map(|field| bytes(row.get(field)?)));
    whole.flat_map(|whole| HEADS.map(|len| whole[..len.min(whole.len())].to_vec())).collect()
}

/// Numbers next to caps, as lengths and counts stand in messages.
fn numbers() -> Words {
    let around = CAPS.into_iter().flat_map(|cap| [cap - 1, cap, cap + 1]);
    let mut words: Words = [vec![0xff; 2], vec![0xff; 4], vec![0xff; 8], vec![0; 4], vec![0; 20], vec![0; 32]].into();
    for number in around {
        words.extend(u16::try_from(number).ok().map(|number| number.to_be_bytes().to_vec()));
        words.extend(u32::try_from(number).ok().map(|number| number.to_be_bytes().to_vec()));
    }
    words
}

fn line(word: &[u8]) -> String {
    let letter = |byte: &u8| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(*byte)),
        0x20..=0x7e => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    format!("\"{}\"\n", word.iter().map(letter).collect::<String>())
}

/// The text of each target's dictionary.
pub(crate) fn dictionaries(vectors: &Path) -> Vec<(&'static str, String)> {
    let of_texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Words>();
    let mut all: Vec<(&str, Words)> = FORMATS
        .into_iter()
        .map(|(target, files)| (target, files.iter().flat_map(|file| heads(vectors, file)).chain(numbers()).collect()))
        .collect();
    let names = settings_names().into_iter().map(|name| format!("\n{name} = ").into_bytes());
    all.push(("settings", of_texts(&SETTINGS).into_iter().chain(names).collect()));
    all.push(("texts", of_texts(&TEXTS)));
    for (target, words) in &mut all {
        if *target == "state_files" {
            // What stands before a content depends on it; these are files of nothing.
            words.extend(KeptFile::ALL.map(|file| file.with_content(&[0])));
        }
        words.retain(|word| !word.is_empty() && word.len() <= WORD_LEN_MAX);
    }
    all.into_iter().map(|(target, words)| (target, words.iter().map(|word| line(word)).collect())).collect()
}
