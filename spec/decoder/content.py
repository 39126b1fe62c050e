"""Layouts, sealed chunks and roots of contents. spec/content.md §2.1 to §2.4, §3, §3.1."""

import unicodedata
from functools import lru_cache

from blake3 import blake3, derive_key
from crypto import chunk_location, seal, unseal
from parity import CHUNK_LEN, GROUP_CHUNKS, parity_count
from reader import AUTHENTICATE, Reader, Refused, counted, expect, expect_refused, number, refuse_if, unhex, varint

SEALED_CHUNK_LEN = 65_568
FILE_LEN_MAX = 64 * 2**30
FILE_NAME_LEN_MAX = 255
PAYLOAD_LEN_MAX = 1024
ROOT_HASHES_MAX = 21
# Less the bytes of the name.
INLINE_LEN_MAX = PAYLOAD_LEN_MAX - 7
CONTENT_LEVELS_MAX = 3
TURNS_WRITING = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
TOO_LONG = "TooLong"
DAMAGED = "RootRefused::Malformed"


# Layouts (§2.1, §2.3, §2.4).


def padded(chunks):
    """The number of chunks of a level 0 with those that only fill up."""
    if chunks < 4:
        return chunks
    exponent = chunks.bit_length() - 1
    kept = exponent.bit_length() - 1 + 2
    unit = 1 << exponent + 1 - kept
    return (chunks + unit - 1) // unit * unit


def level_of(length, fills_up):
    """A level: bytes, chunks of content, groups, chunks of content and of parity in the last group, chunks in all."""
    chunks = max(1, (length + CHUNK_LEN - 1) // CHUNK_LEN)
    if fills_up:
        chunks = padded(chunks)
    groups = max(1, chunks // GROUP_CHUNKS)
    last = chunks - (groups - 1) * GROUP_CHUNKS
    parity = (groups - 1) * parity_count(GROUP_CHUNKS) + parity_count(last)
    return [length, chunks, groups, last, parity_count(last), chunks + parity]


def layout(length):
    """The levels of a content."""
    refuse_if(length > FILE_LEN_MAX, TOO_LONG)
    levels = [level_of(length, fills_up=True)]
    while levels[-1][-1] > ROOT_HASHES_MAX:
        levels.append(level_of(32 * levels[-1][-1], fills_up=False))
    return levels


# Chunks (§2.2).


@lru_cache(maxsize=64)
def seal_chunk(secret, level, index, content):
    """The sealed chunk of 65,536 bytes."""
    place = secret + bytes([level]) + number(index, 4)
    tweak = derive_key("bauta/1 chunk tweak", place + content)[:16]
    return tweak + seal(derive_key("bauta/1 chunk key", place + tweak), 0, b"", content)


def open_chunk(secret, level, index, chunk):
    """The bytes of a sealed chunk."""
    refuse_if(len(chunk) != SEALED_CHUNK_LEN, AUTHENTICATE)
    key = derive_key("bauta/1 chunk key", secret + bytes([level]) + number(index, 4) + chunk[:16])
    return unseal(key, 0, b"", chunk[16:])


# Roots (§3).


def check_file_name(name):
    """One component of a path that reads as it is (§3.1)."""
    refuse_if(not 1 <= len(name.encode()) <= FILE_NAME_LEN_MAX, "NameRefused::Length")
    odd = any(unicodedata.category(c) == "Cc" or ord(c) in TURNS_WRITING or c in "/\\" for c in name)
    refuse_if(odd or name in (".", ".."), "NameRefused::Characters")


def text_of(data, reason):
    """UTF-8 as a text."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Refused(reason) from None


def read_root(data):
    """A root's fields."""
    reader = Reader(data, DAMAGED)
    refuse_if(reader.number(1) != 2, DAMAGED)
    name = text_of(reader.take(reader.varint()), DAMAGED)
    kind, variant = reader.number(1), reader.number(1)
    refuse_if(kind > 1 or variant > 1, DAMAGED)
    root = {"name": name, "kind": ["file", "folder"][kind], "variant": ["inline", "chunks"][variant]}
    if variant == 0:
        root["content"] = reader.take(reader.varint())
    else:
        root |= {"length": reader.varint(), "secret": reader.take(32)}
        root["hashes"] = [reader.take(32) for _ in range(reader.varint(most=ROOT_HASHES_MAX))]
    reader.end(DAMAGED)
    check_file_name(name)
    if variant == 0:
        refuse_if(len(root["content"]) > INLINE_LEN_MAX - len(name.encode()), DAMAGED)
    else:
        count = layout(root["length"])[-1][-1]
        refuse_if(len(root["hashes"]) != count or len(set(root["hashes"])) != count, DAMAGED)
    return root


def encode_root(root):
    """The bytes of a root."""
    inline = root["variant"] == "inline"
    head = b"\2" + counted(root["name"].encode()) + bytes([root["kind"] == "folder", not inline])
    if inline:
        return head + counted(root["content"])
    return head + varint(root["length"]) + root["secret"] + varint(len(root["hashes"])) + b"".join(root["hashes"])


# The vectors.


def check_layout(case):
    """layouts.json"""
    levels = layout(case["length"])
    expect("levels", levels, case["levels"])
    expect("root_hashes", levels[-1][-1], case["root_hashes"])
    expect("levels at most", len(levels) <= CONTENT_LEVELS_MAX, True)


def refuse_layout(case):
    """layouts.json"""
    layout(case["length"])


def check_chunk(case):
    """chunks.json"""
    secret, level, index = unhex(case["secret"]), case["level"], case["index"]
    content = unhex(case["content"]).ljust(CHUNK_LEN, b"\0")
    chunk = seal_chunk(secret, level, index, content)
    expect("length", len(chunk), SEALED_CHUNK_LEN)
    expect("opened", open_chunk(secret, level, index, chunk), content)
    expect_refused("chunk", chunk, lambda changed: open_chunk(secret, level, index, changed))
    found = {"tweak": chunk[:16], "first_64_bytes": chunk[16:80], "tag": chunk[-16:], "name": blake3(chunk)}
    found["location"] = chunk_location(found["name"], 0)
    for field, value in found.items():
        expect(field, value, unhex(case[field]))


def check_root(case):
    """roots.json"""
    bare = ("name", "kind", "variant", "length")
    wanted = {field: value if field in bare else unhex(value) for field, value in case.items() if field != "hashes"}
    data = wanted.pop("bytes")
    if "hashes" in case:
        wanted["hashes"] = [unhex(part) for part in case["hashes"]]
    expect("fields", read_root(data), wanted)
    expect("bytes", encode_root(wanted), data)
    expect("fits a record", len(data) <= PAYLOAD_LEN_MAX, True)


def refuse_root(case):
    """roots.json"""
    read_root(unhex(case["bytes"]))


VECTORS = {
    "layouts": (check_layout, refuse_layout),
    "chunks": (check_chunk, None),
    "roots": (check_root, refuse_root),
}
UNNOTICED = {"chunks": {"content": "zeros at its end are those that fill it up"}}
