//! Files that people write: settings and lists of what is denied. Whatever text comes is taken or refused with words; what is taken says the
//! same when it is written back, and a list denies exactly what its lines name.

use bauta::cli::kept_files::{reread_settings, settings_names};
use bauta::crypto::hash::hashed_location;
use bauta::dht::denylist::{Denylist, DenylistError};
use bauta::keyspace::Id;
use bauta::limits::CHUNK_LOCATIONS;
use bauta::wire::contact::Contact;
use bauta::wire::hex;

use super::relays::relay;
use super::script::Script;

const LINES_MAX: usize = 12;

/// Values, right for some settings and wrong for others.
fn value(script: &mut Script<'_>) -> String {
    let contact = |number: u8| Contact::from(&relay(u32::from(number))).to_string();
    match script.byte() % 12 {
        0 => hex::encode(&[script.byte(); 32]),
        1 => script.byte().to_string(),
        2 => format!("\"{}{}\"", script.u16(), script.pick(&["ms", "s", "m", "h", "d", "", " s", "S"])),
        3 => format!("\"{}{}\"", script.u16(), script.pick(&["KiB", "MiB", "GiB", "B", "kib", ""])),
        4 => script
            .pick(&["true", "false", "\"true\"", "\"distinct\"", "\"one-host\"", "\"quorum\"", "\"all\""])
            .to_owned(),
        5 => format!("\"127.{0}.0.1:{1}\"", script.byte(), script.u16()),
        6 => format!("\"{}\"", contact(script.byte())),
        7 => format!("[\"{}\", \"{}\"]", contact(script.byte()), contact(script.byte())),
        8 => format!("\"{}\"", hex::encode(&[script.byte(); 8])),
        9 => script
            .pick(&[
                "\"\"",
                "\"::1\"",
                "\"127.0.0.1\"",
                "\"a/b\"",
                "\"\\u007f\\\"\\\\ \\t\"",
                "1.5",
                "{}",
                "2001-01-01",
            ])
            .to_owned(),
        10 => format!("\"{}\"", hex::encode(&[script.byte(); 32])),
        _ => {
            let count = script.below(8);
            format!("\"{}\"", String::from_utf8_lossy(&script.bytes(count)))
        }
    }
}

fn settings(text: &str, fault: bool) {
    let mut written = match reread_settings(text) {
        Ok(written) => written,
        Err(why) => return assert!(!why.is_empty()),
    };
    let first = written.clone();
    if fault && !written.is_empty() {
        let last = written.trim_end().rfind('\n').map_or(0, |at| at + 1);
        written.truncate(last);
    }
    assert_eq!(reread_settings(&written).as_deref(), Ok(first.as_str()));
}

/// Name by name, as the list has to be read.
fn denylist(text: &str) {
    let mut named: Vec<Id> = Vec::new();
    let mut bad = None;
    for (number, line) in (1..).zip(text.lines()) {
        let name = line.split_once('#').map_or(line, |(name, _)| name).trim();
        match (hex::decode::<20>(name), hex::decode::<32>(name)) {
            (Ok(location), _) => named.push(Id(location)),
            (_, Ok(hash)) => {
                let indices = 0..u8::try_from(CHUNK_LOCATIONS).expect("few");
                named.extend(indices.map(|index| hashed_location(&hash, index)));
            }
            _ if name.is_empty() => (),
            _ => {
                bad = Some(number);
                break;
            }
        }
    }
    match (Denylist::parse(text), bad) {
        (Ok(list), None) => {
            assert!(named.iter().all(|location| list.has(location)));
            assert!(list.locations().all(|location| named.contains(location)));
        }
        (Err(error), Some(number)) => assert_eq!(error, DenylistError::Line(number)),
        (list, _) => panic!("{list:?} where line {bad:?} is wrong"),
    }
}

/// Checks one input. With `fault`, as it would be where the last setting is not written back.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    match script.byte() % 4 {
        0 => settings(&String::from_utf8_lossy(script.rest()), fault),
        1 => denylist(&String::from_utf8_lossy(script.rest())),
        2 => {
            let lines = (0..script.below(LINES_MAX)).map(|_| match script.byte() % 5 {
                0 => hex::encode(&[script.byte(); 20]),
                1 => format!(" {} # {}", hex::encode(&[script.byte(); 32]).to_uppercase(), script.byte()),
                2 => "# what follows says nothing".to_owned(),
                3 => String::new(),
                _ => {
                    let count = script.below(48);
                    String::from_utf8_lossy(&script.bytes(count)).into_owned()
                }
            });
            denylist(&lines.collect::<Vec<_>>().join(script_end(data)));
        }
        _ => {
            let names = settings_names();
            let mut text = String::new();
            for _ in 0..script.below(LINES_MAX) {
                let name = script.pick(&names);
                text.push_str(&format!("{name} = {}\n", value(&mut script)));
            }
            settings(&text, fault);
        }
    }
}

/// Lines end either way.
fn script_end(data: &[u8]) -> &'static str {
    if data.len().is_multiple_of(2) { "\n" } else { "\r\n" }
}
