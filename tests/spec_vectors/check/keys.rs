//! Keys as text, and names that people say.

use bauta::content::{AuthorKey, ContentLink, KeyRefused, Name};
use bauta::crypto::hash::blake3;
use bauta::crypto::keys::IdentitySecret;
use bauta::crypto::sealed::SealedSecret;
use bauta::crypto::stretch::stretch;
use bauta::disk::{Keyring, KeyringError};
use bauta::wire::network::Network;

use super::read::Case;
use super::{Refusal, told};
use crate::make;

pub(super) fn author_key(case: &Case) {
    let (shown, secret) = (case.text("text"), IdentitySecret::from_bytes(&case.array("seed")));
    assert_eq!(secret.public().0, case.array("author_key"));
    for written in [shown.to_owned(), shown.to_uppercase(), format!(" {shown}\n")] {
        let key: AuthorKey = written.parse().unwrap();
        assert_eq!((key.to_text().as_str(), key.public()), (shown, secret.public()));
        match key {
            AuthorKey::Open(open) => assert_eq!(open.to_bytes(), secret.to_bytes()),
            AuthorKey::Sealed(sealed) => {
                let parts = (sealed.salt, sealed.nonce, sealed.text, sealed.tag);
                assert_eq!(
                    parts,
                    (case.array("salt"), case.array("nonce"), case.array("ciphertext"), case.array("tag"))
                );
            }
        }
    }
    if case.has("passphrase") {
        let Ok(AuthorKey::Sealed(sealed)) = shown.parse() else { panic!("not sealed") };
        let passphrase = case.text("passphrase").as_bytes();
        assert_eq!(sealed.open(passphrase).unwrap().to_bytes(), secret.to_bytes());
        let mut given = make::Given([case.bytes("salt"), case.bytes("nonce")].concat());
        assert!(SealedSecret::seal(&secret, passphrase, &mut given) == Ok(sealed));
    }
}

pub(super) fn refused_author_key(case: &Case) -> Refusal {
    let read: Result<AuthorKey, KeyRefused> = case.text("text").parse();
    match (read, case.has("passphrase")) {
        (Ok(AuthorKey::Sealed(sealed)), true) => {
            told("Forged", sealed.open(case.text("passphrase").as_bytes()).map(|_| ()).unwrap_err())
        }
        (read, _) => told("KeyRefused", read.map(|_| ()).unwrap_err()),
    }
}

/// A keyring with this file in it, which is gone with the first of the two.
fn keyring(case: &Case) -> (tempfile::TempDir, Keyring) {
    let scratch = tempfile::tempdir().unwrap();
    let keyring = Keyring::open(&scratch.path().join("state")).unwrap();
    std::fs::write(scratch.path().join("state/keys").join(case.text("file")), case.bytes("bytes")).unwrap();
    (scratch, keyring)
}

pub(super) fn key_file(case: &Case) {
    let (scratch, one) = keyring(case);
    let key = one.get(case.text("file")).unwrap();
    assert_eq!(key.to_text().as_str(), case.text("text"));
    let other = Keyring::open(&scratch.path().join("other")).unwrap();
    other.add(case.text("file"), &key).unwrap();
    let written = std::fs::read(scratch.path().join("other/keys").join(case.text("file"))).unwrap();
    assert_eq!(written, case.bytes("bytes"));
}

/// What the message says behind the path.
pub(super) fn refused_key_file(case: &Case) -> Refusal {
    let (_scratch, keyring) = keyring(case);
    let Err(KeyringError::State(refused)) = keyring.get(case.text("file")) else { panic!("{}", case.0) };
    let mut refused = told("StateError", refused);
    refused.words = refused.words.rsplit_once(": ").unwrap().1.to_owned();
    refused
}

pub(super) fn name(case: &Case) {
    let network = Network { id: case.array("network_id"), difficulty: 0 };
    let name = Name::new(case.text("said")).unwrap();
    let salt = blake3(&[b"bauta/1 name", &network.id]);
    assert_eq!(*stretch(case.text("said").as_bytes(), &salt).unwrap(), case.array("seed"));
    let locator = name.locator(&network).unwrap();
    assert_eq!((locator.author().0, locator.label()), (case.array("author_key"), &b""[..]));
    assert_eq!(IdentitySecret::from_bytes(&case.array("seed")).public(), *locator.author());
    assert_eq!(locator.locations().map(|location| location.0.to_vec())[..], case.bytes_list("locations"));
    assert_eq!(ContentLink::new(&network, locator).to_string(), case.text("link"));
}

pub(super) fn refused_name(case: &Case) -> Refusal {
    told("TargetRefused", Name::new(case.text("said")).unwrap_err())
}
