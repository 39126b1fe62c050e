"""Signed values. spec/values.md §2, §4; spec/crypto.md §5."""

import crypto
import curve
from blake3 import blake3, derive_key
from membership import VECTORS_NETWORK
from reader import AUTHENTICATE, Reader, Refused, expect, expect_life, number, refuse_if, unhex, whole

RECORD_LEN = 1173
TEXT_LEN = 1026
PAYLOAD_LEN_MAX = 1024
DELETED = 0xFFFF
EXPIRY_STEP_S = 21_600
EXPIRY_MAX_S = 2_592_000
FORGED = "RecordRefused::Forged"


def expiry_of(step):
    """The seconds since 1970 of an expiry's 24 bits."""
    return step * EXPIRY_STEP_S


def step_of(expiry):
    """The 3 bytes of an expiry; writers round up."""
    return number((expiry + EXPIRY_STEP_S - 1) // EXPIRY_STEP_S, 3)


def read_record(reader):
    """A record's fields, unverified."""
    return {
        "blinded_key": reader.take(32),
        "seq_there": reader.number(8),
        "expiry": expiry_of(reader.number(3)),
        "nonce": reader.take(24),
        "sealed": reader.take(TEXT_LEN + 16),
        "signature": reader.take(64),
    }


def signed_text(network, signed_part):
    """What the signature is over."""
    return b"bauta/1 record" + network + signed_part


def verify_record(network, data, now):
    """A record's fields, checked as a storer checks them."""
    record = whole(data, read_record)
    refuse_if(record["expiry"] <= now, "RecordRefused::Expired")
    refuse_if(record["expiry"] - now > EXPIRY_MAX_S, "RecordRefused::TooLong")
    try:
        curve.verify(record["blinded_key"], signed_text(network, data[:-64]), record["signature"])
    except Refused:
        raise Refused(FORGED) from None
    return record


def open_record(record, data, secret):
    """The payload, and the number as its author counts; no payload of a deletion."""
    key = derive_key("bauta/1 value key", secret + record["blinded_key"])
    reader = Reader(crypto.xunseal(key, record["nonce"], data[:43], record["sealed"]))
    length = reader.number(2)
    offset = crypto.seq_offset(secret, record["blinded_key"])
    refuse_if(record["seq_there"] < offset or DELETED > length > PAYLOAD_LEN_MAX, AUTHENTICATE)
    return None if length == DELETED else reader.take(length), record["seq_there"] - offset


def make_record(network, seed, label, index, seq, expiry, nonce, payload):
    """A record, as its author makes it."""
    secret = curve.label_secret(seed, label)
    blinded = curve.blinded_key(curve.public(seed), label, secret, index)
    there = min(seq + crypto.seq_offset(secret, blinded), 2**64 - 1)
    head = blinded + number(there, 8) + step_of(expiry)
    text = number(DELETED, 2) if payload is None else number(len(payload), 2) + payload
    key = derive_key("bauta/1 value key", secret + blinded)
    part = head + nonce + crypto.xseal(key, nonce, head, text.ljust(TEXT_LEN, b"\0"))
    scalar, prefix = curve.blinded_signer(seed, label, index)
    return part + curve.sign_expanded(scalar, prefix, signed_text(network, part))


def check_record(case):
    """records.json"""
    data, network, seed, label = (unhex(case[key]) for key in ("bytes", "network_id", "author_seed", "label"))
    payload = None if case["payload"] is None else unhex(case["payload"])
    record = verify_record(network, data, case["now"])
    expect_life(case, lambda time: verify_record(network, data, time))
    expect("length", len(data), RECORD_LEN)
    expect("blinded_key", record["blinded_key"], unhex(case["blinded_key"]))
    expect("seq_there", record["seq_there"], case["seq_there"])
    expect("expiry", record["expiry"], case["expiry"])
    expect("nonce", record["nonce"], unhex(case["nonce"]))
    expect("location", crypto.signed_location(record["blinded_key"]), unhex(case["location"]))
    expect("digest", blake3(data), unhex(case["digest"]))
    secret = curve.label_secret(seed, label)
    expect("key that follows", curve.blinded_key(curve.public(seed), label, secret, case["index"]), record["blinded_key"])
    expect("payload and number", open_record(record, data, secret), (payload, case["seq"]))
    nonce = unhex(case["nonce"])
    made = make_record(network, seed, label, case["index"], case["seq"], case["expiry"], nonce, payload)
    expect("bytes", made, data)


def refuse_record(case):
    """records.json: at a storer, and where there is a label, at a reader for whom a storer would have kept it."""
    data = unhex(case["bytes"])
    record = verify_record(VECTORS_NETWORK, data, case["now"])
    if "label" in case:
        open_record(record, data, curve.label_secret(unhex(case["author_seed"]), unhex(case["label"])))


VECTORS = {"records": (check_record, refuse_record)}
UNNOTICED = {"records": {"now": "any time of the record's life will do"}}
