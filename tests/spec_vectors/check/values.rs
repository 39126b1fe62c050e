//! Records, links, state files.

use bauta::content::ContentLink;
use bauta::crypto::Forged;
use bauta::crypto::keys::IdentitySecret;
use bauta::disk::StateDir;
use bauta::record::{Locator, Opened, VerifiedValue};
use bauta::time::UnixTime;
use bauta::wire::network::Network;
use bauta::wire::record::{Expiry, RecordBytes, Value};

use super::read::Case;
use super::{Refusal, told};
use crate::make;

pub(super) fn record(case: &Case) {
    let record = RecordBytes::new(&case.bytes("bytes")).unwrap();
    let network = Network { id: case.array("network_id"), difficulty: 0 };
    let author = IdentitySecret::from_bytes(&case.array("author_seed"));
    let (label, index) = (case.bytes("label"), case.byte("index"));
    let payload = case.has("payload").then(|| case.bytes("payload"));
    let locator = Locator::of_author(&author, &label).unwrap();
    let place = locator.places()[usize::from(index)];

    let value = Value::Signed(record.clone());
    let verified = VerifiedValue::check(&network, value, UnixTime(case.number("now"))).unwrap();
    let is_believed = |now| VerifiedValue::check(&network, Value::Signed(record.clone()), UnixTime(now)).is_ok();
    super::assert_life(case, is_believed);
    assert_eq!((verified.location(), verified.location().0), (place.location, case.array("location")));
    assert_eq!((verified.seq(), verified.digest()), (case.number("seq_there"), case.array("digest")));
    assert_eq!(place.seq_of(verified.seq()), Some(case.number("seq")));
    assert_eq!(verified.expiry().time().0, case.number("expiry"));
    assert_eq!(record.fields().unwrap().key.0, case.array("blinded_key"));
    assert_eq!(locator.open(&record).unwrap(), payload.clone().map_or(Opened::Deleted, Opened::Payload));

    let expiry = Expiry::at_least(UnixTime(case.number("expiry")));
    let mut given = make::Given(case.bytes("nonce"));
    let numbered = (case.number("seq"), expiry);
    let again = match &payload {
        Some(payload) => locator.seal(&network, &author, index, numbered, payload, &mut given),
        None => locator.seal_deletion(&network, &author, index, numbered, &mut given),
    };
    assert!(again.unwrap() == record);
}

pub(super) fn refused_record(case: &Case) -> Refusal {
    let record = RecordBytes::new(&case.bytes("bytes")).unwrap();
    let value = Value::Signed(record.clone());
    if case.has("label") {
        let verified = VerifiedValue::check(&make::network(), value, UnixTime(case.number("now"))).unwrap();
        let author = IdentitySecret::from_bytes(&case.array("author_seed"));
        let locator = Locator::of_author(&author, &case.bytes("label")).unwrap();
        let place = locator.places().into_iter().find(|place| place.location == verified.location()).unwrap();
        let read = locator.open(&record).and_then(|_| place.seq_of(verified.seq()).ok_or(Forged));
        return told("Forged", read.unwrap_err());
    }
    told("RecordRefused", VerifiedValue::check(&make::network(), value, UnixTime(case.number("now"))).unwrap_err())
}

pub(super) fn link(case: &Case) {
    let network = Network { id: case.array("network_id"), difficulty: 0 };
    let link: ContentLink = case.text("link").parse().unwrap();
    let locator = link.locator(&network).unwrap();
    assert_eq!(
        (locator.author().0, locator.secret().as_bytes()),
        (case.array("author_key"), &case.array("label_secret"))
    );
    assert_eq!(locator.label(), case.bytes("label"));
    assert_eq!(locator.locations().map(|location| location.0.to_vec())[..], case.bytes_list("locations"));
    assert_eq!(link.to_string(), case.text("link"));
}

pub(super) fn refused_link(case: &Case) -> Refusal {
    told("LinkRefused", case.text("link").parse::<ContentLink>().map(|_| ()).unwrap_err())
}

/// A directory with this file in it, which is gone with the first of the two.
fn state(case: &Case) -> (tempfile::TempDir, StateDir) {
    let scratch = tempfile::tempdir().unwrap();
    let state = StateDir::open(scratch.path().join("state")).unwrap();
    std::fs::write(state.path().join(case.text("file")), case.bytes("bytes")).unwrap();
    (scratch, state)
}

pub(super) fn state_file(case: &Case) {
    let (_scratch, state) = state(case);
    let numbers: Vec<u64> = state.read(case.text("file")).unwrap().unwrap();
    assert_eq!(numbers, case.numbers("numbers"));
    assert!(case.bytes("bytes").ends_with(&case.bytes("content")));
    state.write(case.text("file"), &[0_u64; 3]).unwrap();
    state.write(case.text("file"), &numbers).unwrap();
    assert_eq!(std::fs::read(state.path().join(case.text("file"))).unwrap(), case.bytes("bytes"));
}

/// What the message says behind the path.
pub(super) fn refused_state_file(case: &Case) -> Refusal {
    let (_scratch, state) = state(case);
    let mut refused = told("StateError", state.read::<Vec<u64>>(case.text("file")).unwrap_err());
    refused.words = refused.words.rsplit_once(": ").unwrap().1.to_owned();
    refused
}
