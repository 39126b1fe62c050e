"""Ciphers, hashes and puzzles that the pages use; network ids, derived keys, places. spec/crypto.md §1, §3, §4, §6, §9;
the locations of spec/values.md §2.2 and §3, the slot nonces of spec/requests.md §4.
"""

import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import curve
from blake3 import blake3, derive_key
from reader import AUTHENTICATE, BOUNDS, Reader, Refused, expect, number, refuse_if, unhex

CONTEXTS = {
    "LabelSecret": "bauta/1 label secret",
    "ValueKey": "bauta/1 value key",
    "BlindPrefix": "bauta/1 blind prefix",
    "ChunkKey": "bauta/1 chunk key",
    "ChunkTweak": "bauta/1 chunk tweak",
    "SeqOffset": "bauta/1 seq offset",
}
# log₂ of EFFORT_TRIALS for efforts 1 to 3: zero bits of a solved storage puzzle.
EFFORT_BITS = {1: 4, 2: 7, 3: 10}


# Agreement and encryption (§1).


def agree(secret, public):
    """X25519; a result of all zeros is a failure."""
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise Refused(AUTHENTICATE) from None


@lru_cache(maxsize=None)
def x25519_public(secret):
    """The public key of an X25519 secret."""
    key = X25519PrivateKey.from_private_bytes(secret).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def nonce(counter):
    """The 12-byte nonce of a counter: four zeros, then 8 bytes little-endian (spec/onion.md §2.2)."""
    return bytes(4) + counter.to_bytes(8, "little")


def seal(key, counter, ad, text):
    """ChaCha20-Poly1305: ciphertext, then 16 bytes of tag."""
    return ChaCha20Poly1305(key).encrypt(nonce(counter), text, ad)


def unseal(key, counter, ad, sealed):
    """Opens what `seal` made."""
    try:
        return ChaCha20Poly1305(key).decrypt(nonce(counter), sealed, ad)
    except InvalidTag:
        raise Refused(AUTHENTICATE) from None


def keystream(key, counter, block, length):
    """Bytes of ChaCha20's keystream from a block on, under the nonce of a counter."""
    start = block.to_bytes(4, "little") + nonce(counter)
    return Cipher(algorithms.ChaCha20(key, start), None).encryptor().update(bytes(length))


def xor(a, b):
    """XOR of bytes of one length."""
    assert len(a) == len(b)
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).to_bytes(len(a), "little")


def hchacha20(key, head):
    """The key that XChaCha20 takes from a key and the first 16 bytes of its nonce (draft-irtf-cfrg-xchacha §2.2). It is the
    first block of ChaCha20 without the last addition: so what was added is taken off again."""
    state = b"expand 32-byte k" + key + head
    block = Cipher(algorithms.ChaCha20(key, head), None).encryptor().update(bytes(64))
    words = []
    for i in (0, 1, 2, 3, 12, 13, 14, 15):
        out, added = (int.from_bytes(data[4 * i : 4 * i + 4], "little") for data in (block, state))
        words.append((out - added) % 2**32)
    return b"".join(word.to_bytes(4, "little") for word in words)


def xseal(key, nonce24, ad, text):
    """XChaCha20-Poly1305."""
    return ChaCha20Poly1305(hchacha20(key, nonce24[:16])).encrypt(bytes(4) + nonce24[16:], text, ad)


def xunseal(key, nonce24, ad, sealed):
    """Opens what `xseal` made."""
    try:
        return ChaCha20Poly1305(hchacha20(key, nonce24[:16])).decrypt(bytes(4) + nonce24[16:], sealed, ad)
    except InvalidTag:
        raise Refused(AUTHENTICATE) from None


@lru_cache(maxsize=None)
def argon2id(memory_kib, password, salt):
    """Argon2id, version 1.3, 1 pass, 1 lane, 32 bytes."""
    return Argon2id(salt=salt, length=32, iterations=1, lanes=1, memory_cost=memory_kib).derive(password)


def zero_bits(data):
    """With how many zero bits some bytes begin."""
    return 8 * len(data) - int.from_bytes(data, "big").bit_length()


# Keys and domains (§3, §4).


def network_id(name):
    """The id of a network of that name."""
    return blake3(b"bauta network" + name)


def link_prologue(network):
    """The prologue of links."""
    return b"bauta/1 link" + network


def seq_offset(secret, blinded):
    """What is added to sequence numbers at one location: 48 bits."""
    return int.from_bytes(derive_key(CONTEXTS["SeqOffset"], secret + blinded)[:6], "big")


# Places (§6), and the storage puzzle (§9).


def identity_puzzle(network, key, counter):
    """y of the identity puzzle."""
    return argon2id(4096, key + counter.to_bytes(4, "little"), network)


def node_id(key, y):
    """A relay's id."""
    return hashlib.sha1(b"bauta id" + key + y).digest()


def signed_location(blinded):
    """The location of a signed value."""
    return hashlib.sha1(b"bauta loc" + blinded).digest()


def chunk_location(name, index):
    """A location of a hashed value."""
    return hashlib.sha1(b"bauta chunk" + name + bytes([index])).digest()


def slot_nonce(circuit_nonce, slot):
    """The nonce that stands in the statements on one chunk of a batch."""
    return blake3(b"bauta/1 slot nonce" + circuit_nonce + number(slot, 8))[:16]


def storage_challenge(network, hour, location, digest, effort):
    """The challenge of a storage puzzle."""
    return blake3(b"bauta pow" + network + number(hour, 4) + location + digest + bytes([effort]))


def storage_solved(challenge, counter, effort):
    """Whether a counter solves a challenge."""
    y = argon2id(1024, counter.to_bytes(4, "little"), challenge)
    return zero_bits(blake3(y)) >= EFFORT_BITS[effort]


def decode_payment(reader):
    """A payment of 9 bytes (spec/dht.md §8.2)."""
    payment = {"effort": reader.number(1), "hour": reader.number(4), "counter": reader.number(4)}
    refuse_if(payment["effort"] not in EFFORT_BITS, BOUNDS)
    return payment


def encode_payment(payment):
    """The bytes of a payment."""
    return number(payment["effort"], 1) + number(payment["hour"], 4) + number(payment["counter"], 4)


# The vectors: network, keys, blinding, places, payments.


def check_network(case):
    """network.json"""
    network = network_id(case["name"].encode())
    expect("id", network, unhex(case["id"]))
    expect("link_prologue", link_prologue(network), unhex(case["link_prologue"]))


def check_key(case):
    """keys.json"""
    expect("context", CONTEXTS[case["name"]], case["context"])
    expect("key", derive_key(case["context"], unhex(case["first"]) + unhex(case["second"])), unhex(case["key"]))


def check_blinding(case):
    """blinding.json: what the author makes, and what follows from the link, are one."""
    seed, label, index = unhex(case["author_seed"]), unhex(case["label"]), case["index"]
    refuse_if(index > 2, BOUNDS)
    author, secret = curve.public(seed), curve.label_secret(seed, label)
    foreign = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    expect("author_key, by another implementation", foreign.public_bytes(Encoding.Raw, PublicFormat.Raw), author)
    expect("author_key", author, unhex(case["author_key"]))
    expect("label_secret", secret, unhex(case["label_secret"]))
    blinded = curve.blinded_key(author, label, secret, index)
    scalar, prefix = curve.blinded_signer(seed, label, index)
    expect("the author's blinded key", curve.encode(curve.multiply(scalar, curve.BASE)), blinded)
    expect("blinded_key", blinded, unhex(case["blinded_key"]))
    expect("location", signed_location(blinded), unhex(case["location"]))
    expect("seq_offset", seq_offset(secret, blinded), case["seq_offset"])
    message, signature = unhex(case["message"]), unhex(case["signature"])
    curve.verify(blinded, message, signature)
    expect("signature", curve.sign_expanded(scalar, prefix, message), signature)


def refuse_blinding(case):
    """blinding.json: author's keys that must not be used."""
    curve.blinded_key(unhex(case["author_key"]), unhex(case["label"]), unhex(case["label_secret"]), case["index"])


def check_place(case):
    """places.json: of three kinds."""
    if "chunk_hash" in case:
        expect("location", chunk_location(unhex(case["chunk_hash"]), case["index"]), unhex(case["location"]))
    elif "slot" in case:
        expect("slot_nonce", slot_nonce(unhex(case["nonce"]), case["slot"]), unhex(case["slot_nonce"]))
    else:
        network, key = unhex(case["network_id"]), unhex(case["key"])
        counter = 0
        while zero_bits(blake3(identity_puzzle(network, key, counter))) < case["difficulty"]:
            counter += 1
        expect("counter", counter, case["counter"])
        y = identity_puzzle(network, key, counter)
        expect("y", y, unhex(case["y"]))
        expect("node_id", node_id(key, y), unhex(case["node_id"]))


def _challenge(case):
    parts = unhex(case["network_id"]), case["hour"], unhex(case["location"]), unhex(case["digest"]), case["effort"]
    return storage_challenge(*parts)


def check_payment(case):
    """payments.json: the counter is the first one, after 2³² − 1 comes 0."""
    payment = {"effort": case["effort"], "hour": case["hour"], "counter": case["counter"]}
    expect("payment", decode_payment(Reader(encode_payment(payment))), payment)
    challenge = _challenge(case)
    expect("challenge", challenge, unhex(case["challenge"]))
    counter = case["from"]
    while not storage_solved(challenge, counter, case["effort"]):
        counter = (counter + 1) % 2**32
    expect("counter", counter, case["counter"])


def refuse_payment(case):
    """payments.json"""
    refuse_if(not storage_solved(_challenge(case), case["counter"], case["effort"]), "Unsolved")


VECTORS = {
    "network": (check_network, None),
    "keys": (check_key, None),
    "blinding": (check_blinding, refuse_blinding),
    "places": (check_place, None),
    "payments": (check_payment, refuse_payment),
}
UNNOTICED = {
    "payments": {"from": "a search that begins a little later finds the same counter"},
    "places": {"difficulty": "a solution may have a zero bit more than it needs"},
}
