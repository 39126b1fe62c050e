"""Author keys as text and in files, sealed keys, and names that people say. spec/content.md §7, §8; spec/crypto.md §8;
spec/state.md §6.
"""

import unicodedata
from functools import lru_cache

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

import crypto
import curve
import links
import state
from blake3 import blake3
from content import TURNS_WRITING
from reader import AUTHENTICATE, Mismatch, Reader, Refused, counted, expect, refuse_if, unhex

PREFIX = "bautakey"
VERSION, OPEN, SEALED = 1, 0, 1
NAME_LEN_MAX = 64
NOT_A_KEY, LATER = "KeyRefused::Text", "KeyRefused::Version"
EMPTY, LONG = "TargetRefused::Empty", "TargetRefused::Long"
ODD, LIKE_A_LINK = "TargetRefused::Characters", "TargetRefused::LooksLikeLink"


@lru_cache(maxsize=None)
def stretch(words, salt):
    """32 bytes from words: Argon2id with 64 MiB, 3 passes, 4 lanes."""
    return Argon2id(salt=salt, length=32, iterations=3, lanes=4, memory_cost=64 * 1024).derive(words)


# Keys as text (content.md §8).


def read_key(text):
    """A key's fields: its seed, or what it is sealed into."""
    try:
        data = links.decode_text(text, PREFIX)
    except Refused:
        raise Refused(NOT_A_KEY) from None
    reader = Reader(data, NOT_A_KEY)
    refuse_if(reader.number(1) != VERSION, LATER)
    kind = reader.number(1)
    refuse_if(kind not in (OPEN, SEALED), LATER)
    lengths = {"seed": 32} if kind == OPEN else {"author_key": 32, "salt": 32, "nonce": 24, "ciphertext": 32, "tag": 16}
    key = {field: reader.take(length) for field, length in lengths.items()}
    reader.end(NOT_A_KEY)
    return key


def encode_key(key):
    """The text of a key."""
    return links.encode_text(bytes([VERSION, OPEN if "seed" in key else SEALED]) + b"".join(key.values()), PREFIX)


def associated(author_key):
    """What is sealed beside a seed."""
    return b"bauta/1 sealed key" + author_key


def open_key(key, passphrase):
    """The seed of a sealed key."""
    secret = stretch(passphrase.encode(), key["salt"])
    seed = crypto.xunseal(secret, key["nonce"], associated(key["author_key"]), key["ciphertext"] + key["tag"])
    refuse_if(curve.public(seed) != key["author_key"], AUTHENTICATE)
    return seed


def check_author_key(case):
    """author_keys.json"""
    text, seed, author = case["text"], unhex(case["seed"]), unhex(case["author_key"])
    expect("author_key", curve.public(seed), author)
    wanted = {"seed": seed}
    if "passphrase" in case:
        wanted = {field: unhex(case[field]) for field in ("author_key", "salt", "nonce", "ciphertext", "tag")}
        expect("seed", open_key(wanted, case["passphrase"]), seed)
        secret = stretch(case["passphrase"].encode(), wanted["salt"])
        sealed = crypto.xseal(secret, wanted["nonce"], associated(author), seed)
        expect("sealed", sealed, wanted["ciphertext"] + wanted["tag"])
    for written in (text, text.upper(), f" {text}\n"):
        expect("fields", read_key(written), wanted)
    expect("text", encode_key(wanted), text)


def refuse_author_key(case):
    """author_keys.json: as text, or with a passphrase when it is opened."""
    key = read_key(case["text"])
    if "passphrase" in case:
        open_key(key, case["passphrase"])


# Names (content.md §7).


def check_said(name):
    """Whether it can be a name."""
    refuse_if(not name, EMPTY)
    refuse_if(len(name.encode()) > NAME_LEN_MAX, LONG)
    refuse_if(name[:6].lower() == "bauta1", LIKE_A_LINK)
    odd = any(unicodedata.category(c) == "Cc" or ord(c) in TURNS_WRITING for c in name)
    refuse_if(odd or name != name.strip(), ODD)


def check_name(case):
    """names.json"""
    network, name = unhex(case["network_id"]), case["said"]
    expect("a network of the vectors", case["network_id"] in [other["id"] for other in case["beside"]], True)
    check_said(name)
    seed = stretch(name.encode(), blake3(b"bauta/1 name" + network))
    author, secret = curve.public(seed), curve.label_secret(seed, b"")
    expect("seed", seed, unhex(case["seed"]))
    expect("author_key", author, unhex(case["author_key"]))
    locations = [links.signed_location(curve.blinded_key(author, b"", secret, i)) for i in range(links.LOCATIONS)]
    expect("locations", locations, [unhex(location) for location in case["locations"]])
    link = {"author_key": author, "label_secret": secret, "label": b""}
    expect("link", links.encode_link(link, network), case["link"])
    try:
        check_said(case["link"])
    except Refused:
        return
    raise Mismatch("a link was taken for a name")


def refuse_name(case):
    """names.json"""
    check_said(case["said"])


# Files of a keyring (state.md §6).


def read_key_file(name, data):
    """The text of the key in a file of that name."""
    reader = Reader(state.read_state(name, data), state.OTHER_LAYOUT)
    raw = reader.take(reader.varint())
    reader.end(state.OTHER_LAYOUT)
    text = links.encode_text(raw, PREFIX)
    try:
        read_key(text)
    except Refused:
        raise Refused(state.OTHER_LAYOUT) from None
    return text


def check_key_file(case):
    """key_files.json"""
    name, data = case["file"], unhex(case["bytes"])
    expect("a name of a key", state.NAME.fullmatch(name) is not None and name != "lock", True)
    expect("text", read_key_file(name, data), case["text"])
    made = state.encode_state(name, counted(links.decode_text(case["text"], PREFIX)))
    expect("bytes", made, data)


def refuse_key_file(case):
    """key_files.json"""
    read_key_file(case["file"], unhex(case["bytes"]))


VECTORS = {
    "author_keys": (check_author_key, refuse_author_key),
    "key_files": (check_key_file, refuse_key_file),
    "names": (check_name, refuse_name),
}
BESIDE = {"names": "network"}
