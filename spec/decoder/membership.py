"""Descriptors of relays, their addresses and fingerprints. spec/membership.md §1, §2.4, §8."""

import ipaddress

import crypto
import curve
from blake3 import blake3
from reader import BOUNDS, Refused, expect, expect_life, number, refuse_if, unhex, whole

DESCRIPTOR_LEN = 234
DESCRIPTOR_LIFE_S = 86_400
CLOCK_SKEW_S = 600
EFFORT_MAX = 3
# The network of which a vector does not say it (spec/vectors/README.md).
VECTORS_NETWORK = crypto.network_id(b"vectors")
# spec/membership.md §8.1.
SPECIAL = """
0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.31.196.0/24
192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4
240.0.0.0/4 2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20
"""
SPECIAL = [ipaddress.ip_network(block) for block in SPECIAL.split()]
UNICAST = ipaddress.ip_network("2000::/3")


def is_global(address):
    """Whether a host of the public internet can have it."""
    ip = ipaddress.ip_address(address.rsplit(":", 1)[0].strip("[]"))
    return (ip.version == 4 or ip in UNICAST) and not any(ip in block for block in SPECIAL)


def decode_address(reader):
    """An address of 19 bytes, as `IP:port` or `[IP]:port`."""
    family, raw, port = reader.number(1), reader.take(16), reader.number(2)
    refuse_if(family not in (4, 6) or port == 0, BOUNDS)
    if family == 4:
        refuse_if(any(raw[4:]), BOUNDS)
        return f"{ipaddress.IPv4Address(raw[:4])}:{port}"
    ip = ipaddress.IPv6Address(raw)
    refuse_if(ip.ipv4_mapped is not None, BOUNDS)
    return f"[{ip}]:{port}"


def encode_address(text):
    """The bytes of an address."""
    host, port = text.rsplit(":", 1)
    ip = ipaddress.ip_address(host.strip("[]"))
    return bytes([ip.version]) + ip.packed.ljust(16, b"\0") + number(int(port), 2)


def decode_versions(reader):
    """A range of versions."""
    lowest, highest = reader.number(1), reader.number(1)
    refuse_if(not 1 <= lowest <= highest, BOUNDS)
    return [lowest, highest]


def read_descriptor(reader):
    """A descriptor's fields, unverified."""
    descriptor = {
        "key": reader.take(32),
        "counter": reader.number(4),
        "y": reader.take(32),
        "link_key": reader.take(32),
        "onion_epoch": reader.number(4),
        "onion_key": reader.take(32),
        "address": decode_address(reader),
        "family": reader.take(8),
        "versions": decode_versions(reader),
        "issued": reader.number(4),
        "effort": reader.number(1),
        "signature": reader.take(64),
    }
    refuse_if(descriptor["effort"] > EFFORT_MAX, BOUNDS)
    return descriptor


def encode_signed_part(d):
    """The 170 bytes before the signature."""
    out = d["key"] + number(d["counter"], 4) + d["y"] + d["link_key"] + number(d["onion_epoch"], 4) + d["onion_key"]
    out += encode_address(d["address"]) + d["family"] + bytes(d["versions"]) + number(d["issued"], 4)
    return out + bytes([d["effort"]])


def signed_text(network, signed_part):
    """What the signature is over."""
    return b"bauta/1 descriptor" + network + signed_part


def verify_descriptor(network, data, now, difficulty):
    """A descriptor's fields, all of it checked."""
    descriptor = whole(data, read_descriptor)
    refuse_if(descriptor["issued"] > now + CLOCK_SKEW_S, "DescriptorRefused::Future")
    refuse_if(now - descriptor["issued"] > DESCRIPTOR_LIFE_S, "DescriptorRefused::Expired")
    refuse_if(difficulty > 0 and not is_global(descriptor["address"]), "DescriptorRefused::Address")
    y = descriptor["y"]
    refuse_if(crypto.zero_bits(blake3(y)) < difficulty, "DescriptorRefused::Puzzle")
    try:
        curve.verify(descriptor["key"], signed_text(network, data[:-64]), descriptor["signature"])
    except Refused:
        raise Refused("DescriptorRefused::Signature") from None
    solution = crypto.identity_puzzle(network, descriptor["key"], descriptor["counter"])
    refuse_if(solution != y, "DescriptorRefused::Puzzle")
    return descriptor


def fingerprint(descriptor, salt):
    """The 3 bytes that stand for a descriptor under a salt of 8 bytes."""
    d = int.from_bytes(blake3(b"bauta/1 held" + descriptor)[:8], "big")
    return number(d * (int.from_bytes(salt, "big") | 1) % 2**64, 8)[:3]


def check_descriptor(case):
    """descriptors.json"""
    texts = ("address",)
    wanted = {key: unhex(value) if isinstance(value, str) and key not in texts else value for key, value in case.items()}
    network, seed, now, data = (wanted.pop(key) for key in ("network_id", "seed", "now", "bytes"))
    difficulty = wanted.pop("difficulty")
    expect_life(case, lambda time: verify_descriptor(network, data, time, difficulty))
    del wanted["believed_from"], wanted["believed_to"]
    found = verify_descriptor(network, data, now, difficulty)
    found["hint"] = found["onion_epoch"] & 0xFF
    found["node_id"] = crypto.node_id(found["key"], found["y"])
    found["salt"], found["fingerprint"] = wanted["salt"], fingerprint(data, wanted["salt"])
    del found["signature"]
    expect("length", len(data), DESCRIPTOR_LEN)
    for field in found.keys() | wanted.keys():
        expect(field, found.get(field), wanted.get(field))
    expect("key of the seed", curve.public(seed), wanted["key"])
    signed_part = encode_signed_part(wanted)
    expect("bytes", signed_part + curve.sign(seed, signed_text(network, signed_part)), data)


def refuse_descriptor(case):
    """descriptors.json"""
    verify_descriptor(VECTORS_NETWORK, unhex(case["bytes"]), case["now"], case.get("difficulty", 0))


VECTORS = {"descriptors": (check_descriptor, refuse_descriptor)}
UNNOTICED = {
    "descriptors": {
        "now": "any time of the descriptor's life will do",
        "difficulty": "a puzzle may have more zero bits than were asked for",
    }
}
