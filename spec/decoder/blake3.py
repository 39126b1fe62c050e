"""BLAKE3, from its paper (O'Connor and others, 2020, §2): plain, keyed, and to derive keys. spec/crypto.md §1, §3.

Written for many blocks at once: a word of all of them stands in one large integer, 64 bits for each, of which the lower 32
are the word. One addition or XOR of such integers does all blocks; carries stay in the upper halves, until the mask.
"""

from array import array
from functools import lru_cache
import sys

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
KEYED_HASH, DERIVE_CONTEXT, DERIVE_MATERIAL = 16, 32, 64
# Which words a quarter round mixes: columns, then diagonals.
QUARTERS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
QUARTERS += ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


@lru_cache(maxsize=None)
def _ones(lanes):
    """1 in every lane."""
    return int.from_bytes((b"\1" + bytes(7)) * lanes, "little")


def _compress(chaining, message, counter, length, flags, lanes):
    """One compression in every lane; words of chaining value and message are integers of lanes, as is the counter's low half.
    Length and flags are the same in all lanes."""
    ones = _ones(lanes)
    mask = ones * 0xFFFFFFFF
    v = list(chaining) + [ones * word for word in IV[:4]] + [counter, 0, ones * length, ones * flags]
    for _ in range(7):
        for step, (a, b, c, d) in enumerate(QUARTERS):
            for word, right_d, right_b in ((message[2 * step], 16, 12), (message[2 * step + 1], 8, 7)):
                v[a] = (v[a] + v[b] + word) & mask
                x = v[d] ^ v[a]
                v[d] = (x >> right_d | x << 32 - right_d) & mask
                v[c] = (v[c] + v[d]) & mask
                x = v[b] ^ v[c]
                v[b] = (x >> right_b | x << 32 - right_b) & mask
        message = [message[i] for i in PERMUTATION]
    return [v[i] ^ v[i + 8] for i in range(8)]


def _lanes(words):
    """32-bit words, one for each lane, as one integer."""
    return int.from_bytes(_little(array("Q", words)), "little")


def _little(words):
    if sys.byteorder == "big":
        words.byteswap()
    return words.tobytes()


def _words(data):
    words = array("I", data)
    if sys.byteorder == "big":
        words.byteswap()
    return words


def _split(state, lanes):
    """Chaining values in lanes as one tuple of eight words for each lane."""
    columns = [_words(word.to_bytes(8 * lanes, "little"))[::2] for word in state]
    return list(zip(*columns))


def _full_chunks(data, key, flags):
    """Chaining values of chunks of 1,024 bytes, of which none is the root."""
    words, lanes = _words(data), len(data) // 1024
    ones = _ones(lanes)
    state = [ones * word for word in key]
    counter = _lanes(range(lanes))
    for block in range(16):
        message = [_lanes(words[16 * block + i :: 256]) for i in range(16)]
        place = (CHUNK_START if block == 0 else 0) | (CHUNK_END if block == 15 else 0)
        state = _compress(state, message, counter, 64, flags | place, lanes)
    return _split(state, lanes)


def _last_chunk(data, index, key, flags, root):
    """Chaining value of the last chunk, of 0 to 1,024 bytes."""
    state = key
    blocks = max(1, (len(data) + 63) // 64)
    for block in range(blocks):
        part = data[64 * block : 64 * block + 64]
        last = block == blocks - 1
        place = (CHUNK_START if block == 0 else 0) | (CHUNK_END | (ROOT if root else 0) if last else 0)
        state = _compress(state, list(_words(part.ljust(64, b"\0"))), index, len(part), flags | place, 1)
    return tuple(state)


def _parents(left, right, key, flags):
    """Chaining values of parents, from those of their children."""
    lanes = len(left)
    message = [_lanes(column) for side in (left, right) for column in zip(*side)]
    return _split(_compress([_ones(lanes) * word for word in key], message, 0, 64, flags | PARENT, lanes), lanes)


def _hash(data, key, flags):
    """32 bytes. Of a tree each left part is as large as a power of two allows: so neighbours are joined level by level."""
    before = max(0, (len(data) - 1) // 1024)
    nodes = _full_chunks(data[: 1024 * before], key, flags) if before else []
    nodes.append(_last_chunk(data[1024 * before :], before, key, flags, not before))
    while len(nodes) > 1:
        pairs = len(nodes) // 2
        root = ROOT if len(nodes) == 2 else 0
        joined = _parents(nodes[0 : 2 * pairs : 2], nodes[1 : 2 * pairs : 2], key, flags | root)
        nodes = joined + nodes[2 * pairs :]
    return _little(array("I", nodes[0]))


@lru_cache(maxsize=4096)
def blake3(data):
    """The plain hash, 32 bytes."""
    return _hash(data, IV, 0)


def keyed(key, data):
    """The keyed hash under a key of 32 bytes."""
    return _hash(data, tuple(_words(key)), KEYED_HASH)


@lru_cache(maxsize=4096)
def derive_key(context, material):
    """A key of 32 bytes from a context string and key material."""
    context_key = _hash(context.encode(), IV, DERIVE_CONTEXT)
    return _hash(material, tuple(_words(context_key)), DERIVE_MATERIAL)
