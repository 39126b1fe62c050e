//! A relay's description: what decodes encodes to the same bytes; what is believed is what its relay signed, byte for byte, for this
//! network, within its life, with a solved puzzle and, where that has a price, at a global address; and its id follows from its key and puzzle alone.

use bauta::crypto::hash::node_id;
use bauta::crypto::puzzle::Solution;
use bauta::limits::{CLOCK_SKEW_S, DESCRIPTOR_LIFE_S};
use bauta::time::UnixTime;
use bauta::wire::address::Address;
use bauta::wire::codec::Reader;
use bauta::wire::descriptor::{DESCRIPTOR_LEN, DescriptorRefused, SignedDescriptor};
use bauta::wire::network::Network;

use super::relays::{ISSUED, described, identity, network};
use super::script::Script;

/// Bytes of the number, and where it stands: before effort and signature.
const ISSUED_AT: usize = DESCRIPTOR_LEN - 64 - 1 - 4;
/// Where the output of the puzzle stands: after key and counter.
const Y_AT: usize = 32 + 4;
/// Where the address stands: before family, versions, number, effort and signature.
const ADDRESS_AT: usize = ISSUED_AT - 2 - 8 - 19;

fn decode(bytes: &[u8]) -> Option<SignedDescriptor> {
    let mut reader = Reader::new(bytes);
    let signed = SignedDescriptor::decode(&mut reader).ok()?;
    assert!(reader.finish().is_ok() == (bytes.len() == DESCRIPTOR_LEN));
    // All but number and signature, encoded from the fields that were read.
    let mut expected = bytes[..DESCRIPTOR_LEN - 64].to_vec();
    expected[ISSUED_AT..ISSUED_AT + 4].fill(0);
    assert_eq!(signed.content(), expected);
    assert_eq!(signed.as_bytes(), &bytes[..DESCRIPTOR_LEN]);
    assert_eq!(signed.claim().0.0, bytes[..32]);
    assert_eq!(signed.claim().1.to_be_bytes(), bytes[ISSUED_AT..ISSUED_AT + 4]);
    Some(signed)
}

/// Checks one input. With `fault`, as it would be where the family is not signed.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    if script.byte() & 1 == 0 {
        let signed = decode(script.rest());
        // Of nobody whose secret is known here: nothing that is made up is believed.
        let is_ours = |one: &SignedDescriptor| (0..8).any(|number| identity(number).public() == one.claim().0);
        if let Some(one) = signed.filter(|one| !is_ours(one)) {
            let now = UnixTime(u64::from(one.claim().1));
            assert!(one.verify_with(&network(), now, |_, _, _, _| true).is_err());
        }
        return;
    }
    let number = u32::from(script.byte() % 8);
    let mut own = described(number, [script.byte(), script.byte(), script.byte(), 1]);
    own.address.0.set_port(script.u16().max(1));
    own.family = [script.byte(); 8];
    (own.effort, own.onion_epoch) = (script.byte() % 4, u32::from(script.u16()));
    let signed = own.sign(&network(), &identity(number));
    assert_eq!(signed.id(), node_id(&signed.key, &signed.solution.y));
    let mut bytes = *signed.as_bytes();
    let which = script.byte();
    let (elsewhere, difficulty, solved) = (which & 1 != 0, which >> 1 & 1, script.byte() & 3 != 0);
    let shift = i64::from(script.byte()) - 128;
    let edge = script.pick(&[
        0,
        -i64::try_from(CLOCK_SKEW_S).expect("small"),
        i64::try_from(DESCRIPTOR_LIFE_S).expect("small"),
    ]);
    let now = UnixTime(ISSUED.0.saturating_add_signed(edge + shift));
    for _ in 0..8 {
        if script.is_over() {
            break;
        }
        script.change(&mut bytes);
    }
    let is_same = bytes == *signed.as_bytes();
    if fault {
        let family = ISSUED_AT - 10..ISSUED_AT - 2;
        bytes[family.clone()].copy_from_slice(&signed.as_bytes()[family]);
    }
    let Some(decoded) = decode(&bytes) else { return assert!(!is_same) };
    let network = if elsewhere { Network::named("elsewhere", 0) } else { network() };
    let network = Network { difficulty, ..network };
    let address = Address::decode(&mut Reader::new(&bytes[ADDRESS_AT..])).expect("it was decoded with the rest");
    let claimed = Solution { counter: 0, y: bytes[Y_AT..Y_AT + 32].try_into().expect("32 bytes") };
    let issued = u64::from(decoded.claim().1);
    let believed = decoded.verify_with(&network, now, |_, _, _, _| solved);
    let expected = if issued > now.0 + CLOCK_SKEW_S {
        Some(DescriptorRefused::Future)
    } else if now.0 > issued + DESCRIPTOR_LIFE_S {
        Some(DescriptorRefused::Expired)
    } else if difficulty > 0 && !address.is_global() {
        Some(DescriptorRefused::Address)
    } else if !claimed.looks_solved(difficulty) {
        Some(DescriptorRefused::Puzzle)
    } else if elsewhere || !is_same {
        Some(DescriptorRefused::Signature)
    } else {
        (!solved).then_some(DescriptorRefused::Puzzle)
    };
    assert_eq!(believed.as_ref().err(), expected.as_ref());
    assert!(believed.is_ok_and(|believed| believed == signed) || expected.is_some());
}
