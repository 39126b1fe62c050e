//! Messages, requests, answers: what decodes encodes to the same bytes; joining cells gives the same whatever is announced, and
//! never holds more than came.

use bauta::limits::{BODY_LEN, MESSAGE_LEN_MAX};
use bauta::wire::cell::{CircuitId, Command};
use bauta::wire::codec::Reader;
use bauta::wire::descriptor::SignedDescriptor;
use bauta::wire::hello::Hello;
use bauta::wire::message::{Answer, Ask, Assembler, cells_of};
use bauta::wire::onion::{ExitAnswer, ExitRequest};
use bauta::wire::record::ValueKind;

/// Checks one input. With `fault`, as it would be where the encoder of questions forgets a byte.
pub fn check(data: &[u8], fault: bool) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 7 {
        0 => {
            if let Ok(ask) = Ask::decode(data) {
                let mut again = ask.encode();
                again.truncate(again.len() - usize::from(fault));
                assert_eq!(again, data);
            }
        }
        1 => {
            if let Ok(answer) = Answer::decode(data) {
                assert_eq!(answer.encode(), data);
            }
        }
        2 => {
            if let Ok(request) = ExitRequest::decode(data) {
                assert_eq!(request.encode(), data);
            }
        }
        3 => {
            for kind in [ValueKind::Signed, ValueKind::Hashed] {
                if let Ok(answer) = ExitAnswer::decode(data, kind) {
                    assert_eq!(answer.encode(data.len()).as_deref(), Some(data));
                }
            }
        }
        4 => {
            if let Ok(hello) = Hello::decode(data) {
                let encoded = hello.encode();
                assert_eq!(data.get(..encoded.len()), Some(&encoded[..]));
            }
        }
        5 => {
            let mut reader = Reader::new(data);
            if let Ok(descriptor) = SignedDescriptor::decode(&mut reader) {
                assert_eq!(data.get(..descriptor.as_bytes().len()), Some(&descriptor.as_bytes()[..]));
            }
        }
        _ => join(data),
    }
}

/// Feeds bodies to an assembler; what it joins must cut into the bodies that were fed.
fn join(data: &[u8]) {
    let mut assembler = Assembler::default();
    let mut fed: Vec<[u8; BODY_LEN]> = Vec::new();
    for part in data.chunks(BODY_LEN) {
        let mut body = [0; BODY_LEN];
        body.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
        fed.push(body);
        match assembler.push(&body) {
            Ok(None) => (),
            Ok(Some(message)) => {
                assert!(message.len() <= MESSAGE_LEN_MAX);
                let cells = cells_of(CircuitId(1), Command::Ask, &message).expect("within the cap");
                assert!(cells.iter().map(|cell| *cell.body()).eq(fed.drain(..)));
            }
            Err(_) => return,
        }
    }
}
