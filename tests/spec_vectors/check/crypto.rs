//! Network, derived keys, blinding, places.

use bauta::crypto::blind::{BlindedSecret, LabelSecret, blind_public};
use bauta::crypto::hash::{blake3, hashed_location, signed_location};
use bauta::crypto::kdf::{Label, derive};
use bauta::crypto::keys::{IdentitySecret, NodeKey, Signature};
use bauta::crypto::puzzle::{Solution, solve};
use bauta::crypto::storage_puzzle::StoragePuzzle;
use bauta::keyspace::Id;
use bauta::record::Locator;
use bauta::wire::network::Network;
use bauta::wire::statement::Nonce;

use super::read::Case;
use super::{Refusal, told};

pub(super) fn network(case: &Case) {
    let network = Network::named(case.text("name"), 0);
    assert_eq!(network.id, case.array("id"));
    assert_eq!(network.id, blake3(&[b"bauta network", case.text("name").as_bytes()]));
    assert_eq!(network.link_prologue(), case.bytes("link_prologue"));
}

pub(super) fn key(case: &Case) {
    let label = Label::ALL.into_iter().find(|label| format!("{label:?}") == case.text("name")).unwrap();
    assert_eq!(label.context(), case.text("context"));
    assert_eq!(*derive(label, &[&case.bytes("first"), &case.bytes("second")]), case.array("key"));
}

pub(super) fn blinding(case: &Case) {
    let (label, index) = (case.bytes("label"), case.byte("index"));
    let author = IdentitySecret::from_bytes(&case.array("author_seed"));
    assert_eq!(author.public().0, case.array("author_key"));
    let secret = LabelSecret::derive(&author, &label);
    assert_eq!(secret.as_bytes(), &case.array("label_secret"));
    // The author's way and the way of whoever has the link.
    let blinded = BlindedSecret::new(&author, &label, &secret, index).unwrap();
    assert_eq!(blinded.public().0, case.array("blinded_key"));
    assert_eq!(blind_public(&author.public(), &label, &secret, index), Ok(blinded.public()));
    let place = Locator::new(author.public(), &label, secret).unwrap().places()[usize::from(index)];
    assert_eq!((place.location.0, place.seq_offset), (case.array("location"), case.number("seq_offset")));
    assert_eq!(signed_location(&blinded.public()), place.location);
    assert_eq!(blinded.sign(&case.bytes("message")).0, case.array("signature"));
    let signature = Signature(case.array("signature"));
    assert_eq!(blinded.public().verify(&case.bytes("message"), &signature), Ok(()));
}

pub(super) fn refused_author(case: &Case) -> Refusal {
    let (key, secret) = (NodeKey(case.array("author_key")), LabelSecret::from_bytes(case.array("label_secret")));
    told("Forged", blind_public(&key, &case.bytes("label"), &secret, case.byte("index")).unwrap_err())
}

pub(super) fn place(case: &Case) {
    if case.has("chunk_hash") {
        assert_eq!(hashed_location(&case.array("chunk_hash"), case.byte("index")).0, case.array("location"));
    } else if case.has("slot") {
        let slot = usize::try_from(case.number("slot")).unwrap();
        assert_eq!(Nonce(case.array("nonce")).of_slot(slot).0, case.array("slot_nonce"));
    } else {
        let (network, key, difficulty) =
            (case.array("network_id"), NodeKey(case.array("key")), case.byte("difficulty"));
        let solution = Solution { counter: case.number("counter").try_into().unwrap(), y: case.array("y") };
        assert!(solution.verify(&network, &key, difficulty));
        assert_eq!(solve(&network, &key, difficulty, 0, 1_000), Some(solution), "it is the first");
        assert_eq!(solution.id(&key).0, case.array("node_id"));
    }
}

fn storage_puzzle(case: &Case) -> (StoragePuzzle, u32) {
    let puzzle = StoragePuzzle {
        network: case.array("network_id"),
        hour: case.number("hour").try_into().unwrap(),
        location: Id(case.array("location")),
        digest: case.array("digest"),
        effort: case.byte("effort"),
    };
    (puzzle, case.number("counter").try_into().unwrap())
}

pub(super) fn payment(case: &Case) {
    let (puzzle, counter) = storage_puzzle(case);
    let (hour, effort) = (puzzle.hour.to_be_bytes(), [puzzle.effort]);
    let parts: [&[u8]; 6] = [b"bauta pow", &puzzle.network, &hour, &puzzle.location.0, &puzzle.digest, &effort];
    assert_eq!(puzzle.challenge(), case.array("challenge"));
    assert_eq!(blake3(&parts), case.array("challenge"));
    assert!(puzzle.is_solved_by(counter));
    let from = case.number("from").try_into().unwrap();
    assert_eq!(puzzle.solve(from, 1 << 14), Some(counter), "it is the first from there");
}

pub(super) fn refused_payment(case: &Case) -> Refusal {
    let (puzzle, counter) = storage_puzzle(case);
    assert!(!puzzle.is_solved_by(counter));
    Refusal { id: "Unsolved".to_owned(), words: "not a solution".to_owned() }
}
