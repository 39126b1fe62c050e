"""Ed25519 and the blinding of its keys, in whole numbers. RFC 8032 §5.1; spec/crypto.md §1 (strict), §5 (blinded keys).

Not in constant time: the keys of the vectors are known to everybody.
"""

import hashlib
from functools import lru_cache

from blake3 import derive_key
from reader import AUTHENTICATE, Refused, refuse_if

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, PRIME) % PRIME
ROOT_OF_MINUS_ONE = pow(2, (PRIME - 1) // 4, PRIME)
# Extended coordinates X, Y, Z, T: x = X/Z, y = Y/Z, xy = T/Z.
NEUTRAL = (0, 1, 1, 0)


def add(p, q):
    """The sum of two points (RFC 8032 §5.1.4)."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % PRIME
    b = (p[1] + p[0]) * (q[1] + q[0]) % PRIME
    c = 2 * p[3] * q[3] * D % PRIME
    d = 2 * p[2] * q[2] % PRIME
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME)


def multiply(scalar, point):
    """The point so many times."""
    total = NEUTRAL
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def same(p, q):
    """Whether two points are one."""
    return (p[0] * q[2] - q[0] * p[2]) % PRIME == 0 and (p[1] * q[2] - q[1] * p[2]) % PRIME == 0


def encode(point):
    """32 bytes: y, and the lowest bit of x."""
    inverse = pow(point[2], -1, PRIME)
    x, y = point[0] * inverse % PRIME, point[1] * inverse % PRIME
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode(data):
    """The point of 32 bytes; another than the canonical encoding is refused."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    refuse_if(y >= PRIME, AUTHENTICATE)
    square = (y * y - 1) * pow(D * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if x * x % PRIME != square:
        x = x * ROOT_OF_MINUS_ONE % PRIME
    refuse_if(x * x % PRIME != square or (x == 0 and sign), AUTHENTICATE)
    if x & 1 != sign:
        x = PRIME - x
    return (x, y, 1, x * y % PRIME)


BASE = decode((4 * pow(5, -1, PRIME) % PRIME).to_bytes(32, "little"))


def small(point):
    """Whether a point is of small order: nothing is left of it after eight."""
    return same(multiply(8, point), NEUTRAL)


def _number(*parts):
    """SHA-512 of the parts as a little-endian number, reduced."""
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER


def expand(seed):
    """An author's scalar, clamped, and nonce prefix: the halves of SHA-512(seed) (RFC 8032 §5.1.5)."""
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | 1 << 254
    return scalar, digest[32:]


@lru_cache(maxsize=None)
def public(seed):
    """The public key of a seed."""
    return encode(multiply(expand(seed)[0], BASE))


def sign_expanded(scalar, prefix, message):
    """A signature by a scalar and its nonce prefix (RFC 8032 §5.1.6)."""
    key = encode(multiply(scalar, BASE))
    r = _number(prefix, message)
    head = encode(multiply(r, BASE))
    s = (r + _number(head, key, message) * scalar) % ORDER
    return head + s.to_bytes(32, "little")


@lru_cache(maxsize=4096)
def sign(seed, message):
    """A signature by a seed."""
    return sign_expanded(*expand(seed), message)


def verify(key, message, signature):
    """Strict verification."""
    refuse_if(not holds(key, message, signature), AUTHENTICATE)


@lru_cache(maxsize=1024)
def holds(key, message, signature):
    """Whether a signature holds strictly."""
    try:
        _verify(key, message, signature)
    except Refused:
        return False
    return True


def _verify(key, message, signature):
    """Canonical encodings, no points of small order, the equation without the cofactor."""
    refuse_if(len(signature) != 64, AUTHENTICATE)
    point, head = decode(key), decode(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    refuse_if(s >= ORDER or small(point) or small(head), AUTHENTICATE)
    right = add(head, multiply(_number(signature[:32], key, message), point))
    refuse_if(not same(multiply(s, BASE), right), AUTHENTICATE)


def label_secret(seed, label):
    """The secret s of a label (spec/crypto.md §3)."""
    return derive_key("bauta/1 label secret", seed + label)


@lru_cache(maxsize=None)
def factor(author_key, label, secret, index):
    """The factor h of one location; 0 is refused."""
    h = _number(b"bauta/1 blind", author_key, label, secret, bytes([index]))
    refuse_if(h == 0, AUTHENTICATE)
    return h


@lru_cache(maxsize=None)
def author_point(author_key):
    """The point of an author's key: canonical, of prime order, so neither small nor with a torsion part."""
    point = decode(author_key)
    refuse_if(same(point, NEUTRAL) or not same(multiply(ORDER, point), NEUTRAL), AUTHENTICATE)
    return point


@lru_cache(maxsize=None)
def blinded_key(author_key, label, secret, index):
    """P′, for whoever holds the link."""
    return encode(multiply(factor(author_key, label, secret, index), author_point(author_key)))


def blinded_signer(seed, label, index):
    """The scalar a′ and the nonce prefix, for the author alone."""
    scalar, prefix = expand(seed)
    h = factor(public(seed), label, label_secret(seed, label), index)
    return h * scalar % ORDER, derive_key("bauta/1 blind prefix", prefix + h.to_bytes(32, "little"))
