"""The Noise Protocol Framework (revision 34), §4 and §5.2, with ChaCha20-Poly1305 and BLAKE2s. spec/link.md §2,
spec/onion.md §2.2.
"""

import hashlib
import hmac

from crypto import seal, unseal


def blake2s(data):
    """BLAKE2s, 32 bytes."""
    return hashlib.blake2s(data).digest()


def hmac_blake2s(key, data):
    """HMAC (RFC 2104) with BLAKE2s and its blocks of 64 bytes."""
    return hmac.new(key, data, hashlib.blake2s).digest()


def hkdf(chaining_key, material):
    """Noise's HKDF with two outputs (§4.3)."""
    temporary = hmac_blake2s(chaining_key, material)
    first = hmac_blake2s(temporary, b"\1")
    return first, hmac_blake2s(temporary, first + b"\2")


class Symmetric:
    """SymmetricState: chaining key, hash, and the key with its counter."""

    def __init__(self, name, prologue):
        # Both names have 33 bytes: they are hashed.
        assert len(name) > 32
        self.ck = self.h = blake2s(name)
        self.key, self.counter = None, 0
        self.mix_hash(prologue)

    def mix_hash(self, data):
        """MixHash."""
        self.h = blake2s(self.h + data)

    def mix_key(self, material):
        """MixKey."""
        self.ck, self.key = hkdf(self.ck, material)
        self.counter = 0

    def encrypt(self, text):
        """EncryptAndHash."""
        sealed = seal(self.key, self.counter, self.h, text)
        self.counter += 1
        self.mix_hash(sealed)
        return sealed

    def decrypt(self, sealed):
        """DecryptAndHash."""
        text = unseal(self.key, self.counter, self.h, sealed)
        self.counter += 1
        self.mix_hash(sealed)
        return text

    def split(self):
        """Split: keys of the initiator's direction, and of the other."""
        return hkdf(self.ck, b"")
