"""Links to content, as text: Bech32m (BIP 350). spec/content.md §4; spec/crypto.md §5."""

import curve
from crypto import signed_location
from membership import VECTORS_NETWORK
from reader import Mismatch, Refused, expect, refuse_if, unhex

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
BECH32M = 0x2BC830A3
PREFIX = "bauta"
VERSION = 1
FIXED_LEN = 69
LABEL_LEN_MAX = 64
LOCATIONS = 3
NOT_A_LINK = "LinkRefused::Text"
LATER = "LinkRefused::Version"
NO_KEY = "LinkRefused::Key"
OTHER_NETWORK = "LinkRefused::Network"


def checksum(groups, prefix):
    """Bech32's polynomial over groups of five bits, with the prefix in front."""
    total = 1
    spread = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    for group in spread + groups:
        top = total >> 25
        total = (total & 0x1FFFFFF) << 5 ^ group
        for bit, generator in enumerate(GENERATORS):
            total ^= generator if top >> bit & 1 else 0
    return total


def encode_text(data, prefix):
    """The text of some bytes."""
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    groups = [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    end = checksum(groups + [0] * 6, prefix) ^ BECH32M
    groups += [end >> 5 * (5 - i) & 31 for i in range(6)]
    return prefix + "1" + "".join(ALPHABET[group] for group in groups)


def decode_text(text, prefix):
    """The bytes of a text. What is read must encode to the same characters again: so bits behind the last byte are zeros."""
    text = text.strip()
    refuse_if(text not in (text.lower(), text.upper()), NOT_A_LINK)
    text = text.lower()
    head = prefix + "1"
    refuse_if(not text.startswith(head) or any(c not in ALPHABET for c in text[len(head) :]), NOT_A_LINK)
    groups = [ALPHABET.index(c) for c in text[len(head) :]]
    refuse_if(len(groups) < 6 or checksum(groups, prefix) != BECH32M, NOT_A_LINK)
    bits = "".join(f"{group:05b}" for group in groups[:-6])
    data = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8))
    refuse_if(encode_text(data, prefix) != text, NOT_A_LINK)
    return data


def read_link(text, network):
    """A link's fields, of which the key is usable."""
    data = decode_text(text, PREFIX)
    refuse_if(len(data) < FIXED_LEN, NOT_A_LINK)
    refuse_if(data[0] != VERSION, LATER)
    refuse_if(data[1:5] != network[:4], OTHER_NETWORK)
    link = {"author_key": data[5:37], "label_secret": data[37:69], "label": data[69:]}
    refuse_if(len(link["label"]) > LABEL_LEN_MAX, NO_KEY)
    try:
        curve.author_point(link["author_key"])
    except Refused:
        raise Refused(NO_KEY) from None
    return link


def encode_link(link, network):
    """The text of a link."""
    return encode_text(bytes([VERSION]) + network[:4] + link["author_key"] + link["label_secret"] + link["label"], PREFIX)


def check_link(case):
    """links.json"""
    network, text = unhex(case["network_id"]), case["link"]
    expect("a network of the vectors", case["network_id"] in [other["id"] for other in case["beside"]], True)
    wanted = {field: unhex(case[field]) for field in ("author_key", "label_secret", "label")}
    for written in (text, text.upper(), f" {text}\n"):
        expect("fields", read_link(written, network), wanted)
    expect("link", encode_link(wanted, network), text)
    blinded = [curve.blinded_key(wanted["author_key"], wanted["label"], wanted["label_secret"], i) for i in range(LOCATIONS)]
    expect("locations", [signed_location(key) for key in blinded], [unhex(location) for location in case["locations"]])
    try:
        read_link(text, bytes(32))
    except Refused as refusal:
        expect("in another network", str(refusal), OTHER_NETWORK)
    else:
        raise Mismatch("read as a link of another network")


def refuse_link(case):
    """links.json"""
    read_link(case["link"], VECTORS_NETWORK)


VECTORS = {"links": (check_link, refuse_link)}
BESIDE = {"links": "network"}
