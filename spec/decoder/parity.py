"""Parity of a group of chunks: how much, and the code. spec/content.md §2.4.

The chunks of a group are values of one polynomial over GF(2^16). Here it is evaluated by Lagrange's formula, and not by the
paper's transform.
"""

from functools import lru_cache
from math import comb

from blake3 import blake3
from reader import BOUNDS, expect, refuse_if, unhex

CHUNK_LEN = 65_536
GROUP_CHUNKS, GROUP_PARITY = 32, 36
GROUP_CHUNKS_MAX = 2 * GROUP_CHUNKS - 1
# x^16 + x^5 + x^3 + x^2 + 1.
POLYNOMIAL = 0x1002D
# Cantor's basis, as numbers of whose bits i is x^i. Of each but the first b² + b is the one before.
BASIS = [0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012]
BASIS += [0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8, 0xFB34, 0xFF38, 0x991E]


@lru_cache(maxsize=None)
def parity_count(k):
    """m(k): the least with which a group is lost with a small enough chance, each chunk being lost with a chance of 1/4."""
    if k == GROUP_CHUNKS:
        return GROUP_PARITY
    # Chances are whole numbers of 4^(k + m), and bounds of a millionth.
    bound = 20 if k <= 20 else 2
    for m in range(1, 256):
        lost = sum(comb(k + m, gone) * 3 ** (k + m - gone) for gone in range(m + 1, k + m + 1))
        if lost * 10**6 <= bound * 4 ** (k + m):
            return m
    raise AssertionError(f"no parity for {k} chunks")


# The field. Its elements are written in Cantor's basis: bit i of a number is the part of BASIS[i].


def _polynomial_of(element):
    out = 0
    for bit, part in enumerate(BASIS):
        if element >> bit & 1:
            out ^= part
    return out


@lru_cache(maxsize=None)
def _tables():
    """Logarithms of the elements to the base x, and the elements of the logarithms."""
    elements = {_polynomial_of(element): element for element in range(1 << 16)}
    logs, powers, power = [0] * (1 << 16), [0] * 65_535, 1
    for log in range(65_535):
        element = elements[power]
        logs[element], powers[log] = log, element
        power <<= 1
        power ^= POLYNOMIAL if power >> 16 else 0
    return logs, powers


def multiply(a, b):
    """The product of two elements."""
    logs, powers = _tables()
    return powers[(logs[a] + logs[b]) % 65_535] if a and b else 0


def inverse(a):
    """What gives 1 with an element that is not 0."""
    logs, powers = _tables()
    return powers[-logs[a] % 65_535]


def _product(factors):
    out = 1
    for factor in factors:
        out = multiply(out, factor)
    return out


def weights(known, wanted):
    """For each wanted point what each known one has to be multiplied by, so that the sum is the polynomial there: Lagrange's
    formula. (Minus is plus here.)"""
    below = [inverse(_product(i ^ j for j in known if j != i)) for i in known]
    rows = []
    for point in wanted:
        above = _product(point ^ j for j in known)
        rows.append([multiply(multiply(above, inverse(point ^ i)), part) for i, part in zip(known, below)])
    return rows


# Chunks: of each 64 bytes the first 32 are the low bytes of 32 elements, the others the high ones.


@lru_cache(maxsize=1 << 14)
def _products(weight):
    """Tables of a weight: what each low byte and each high byte gives, its low bytes and its high ones."""
    rows = []
    for shift in (0, 8):
        row = [0]
        for bit in range(8):
            part = multiply(weight, 1 << bit + shift)
            row += [part ^ before for before in row]
        rows.append((bytes(element & 0xFF for element in row), bytes(element >> 8 for element in row)))
    return rows


def halves(chunk):
    """Low and high bytes of a chunk's elements."""
    blocks = [chunk[at : at + 64] for at in range(0, len(chunk), 64)]
    return b"".join(block[:32] for block in blocks), b"".join(block[32:] for block in blocks)


def joined(low, high):
    """The chunk of some elements."""
    return b"".join(low[at : at + 32] + high[at : at + 32] for at in range(0, len(low), 32))


def combine(row, parts):
    """The sum of weighted chunks, given in halves and returned whole."""
    length, low, high = len(parts[0][0]), 0, 0
    for weight, part in zip(row, parts):
        for half, (to_low, to_high) in zip(part, _products(weight)):
            low ^= int.from_bytes(half.translate(to_low), "little")
            high ^= int.from_bytes(half.translate(to_high), "little")
    return joined(low.to_bytes(length, "little"), high.to_bytes(length, "little"))


def places(k, m):
    """The points of content, of the zeros that fill it up to a power of two, and of parity."""
    filled = 1 << (k - 1).bit_length()
    return list(range(k)), list(range(k, filled)), list(range(filled, filled + m))


def encode(chunks):
    """The chunks of parity of a group."""
    refuse_if(not 1 <= len(chunks) <= GROUP_CHUNKS_MAX, BOUNDS)
    content, filling, parity = places(len(chunks), parity_count(len(chunks)))
    parts = [halves(chunk) for chunk in chunks]
    return [combine(row, parts) for row in weights(content + filling, parity)]


def restore(k, found):
    """The k chunks of content, from any k chunks by their index in the group."""
    content, filling, parity = places(k, parity_count(k))
    point = content + parity
    refuse_if(len(found) != k, BOUNDS)
    parts = [halves(chunk) for chunk in found.values()]
    known = [point[index] for index in found]
    rows = weights(known + filling, [place for place in content if place not in known])
    made = iter(combine(row, parts) for row in rows)
    return [found[index] if index in found else next(made) for index in range(k)]


# The vectors.


def made_chunk(place):
    """Chunk c of the vectors' content: byte b is c where b is a multiple of four, else b/4 mod 256."""
    period = b"".join(bytes([place, b, b, b]) for b in range(256))
    return period * (CHUNK_LEN // len(period))


@lru_cache(maxsize=None)
def made_parity(k):
    """The parity of so many of these chunks."""
    return encode([made_chunk(place) for place in range(k)])


@lru_cache(maxsize=None)
def restored(k):
    """Whether parity and the last chunks of content bring the first ones back, of a group cut to 1,024 bytes."""
    chunks = [made_chunk(place)[:1024] for place in range(k)]
    group = chunks + [chunk[:1024] for chunk in made_parity(k)]
    last = dict(list(enumerate(group))[-k:])
    alternate = dict(list(enumerate(group))[1 : 2 * k : 2] if len(group) >= 2 * k else list(enumerate(group))[:k])
    return restore(k, last) == chunks and restore(k, alternate) == chunks


def check_parity(case):
    """parity.json"""
    k = case["content_chunks"]
    parity = made_parity(k)
    expect("parity_chunks", (parity_count(k), len(parity)), (case["parity_chunks"],) * 2)
    expect("first_16_bytes", [chunk[:16] for chunk in parity], [unhex(part) for part in case["first_16_bytes"]])
    expect("digest", blake3(b"".join(parity)), unhex(case["digest"]))
    expect("content restored", restored(k), True)


VECTORS = {"parity": (check_parity, None)}
