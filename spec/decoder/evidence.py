"""Statements and receipts. spec/evidence.md §1."""

import curve
from membership import VECTORS_NETWORK
from reader import AUTHENTICATE, BOUNDS, expect, expect_life, number, refuse_if, unhex, whole

STATEMENT_LEN = 145
BUCKET_S = 600
VERDICTS = ["absent", "present", "stored", "conflict", "full", "not close enough", "invalid", "unpaid"]
OPERATIONS = {"find": b"\0", "store": b"\1"}


def read_statement(reader):
    """A statement's fields, unverified."""
    statement = {
        "signer": reader.take(32),
        "time": reader.number(4),
        "verdict_byte": reader.number(1),
        "seq": reader.number(8),
        "digest": reader.take(32),
        "relays_estimate": reader.number(4),
        "signature": reader.take(64),
    }
    refuse_if(statement["verdict_byte"] >= len(VERDICTS), BOUNDS)
    statement["verdict"] = VERDICTS[statement["verdict_byte"]]
    return statement


def encode_signed_part(s):
    """What a statement has from its time to its estimate."""
    head = number(s["time"], 4) + bytes([s["verdict_byte"]]) + number(s["seq"], 8)
    return head + s["digest"] + number(s["relays_estimate"], 4)


def rounded(time):
    """A time, rounded down to ten minutes."""
    return time - time % BUCKET_S


def signed_text(network, signer, nonce, operation, location, signed_part):
    """What the signature is over."""
    return b"bauta/1 evidence" + network + signer + nonce + OPERATIONS[operation] + location + signed_part


def verify_statement(data, question, now):
    """A statement's fields, checked as an answer to a question: network, nonce, operation and location."""
    statement = whole(data, read_statement)
    network, nonce, operation, location = question
    refuse_if(abs(statement["time"] - rounded(now)) > BUCKET_S, AUTHENTICATE)
    text = signed_text(network, statement["signer"], nonce, operation, location, encode_signed_part(statement))
    curve.verify(statement["signer"], text, statement["signature"])
    return statement


def question_of(case):
    """The question that a case of the vectors answers."""
    return unhex(case["network_id"]), unhex(case["nonce"]), case["operation"], unhex(case["location"])


def check_statement(case):
    """statements.json"""
    data, question, now, seed = unhex(case["bytes"]), question_of(case), case["now"], unhex(case["seed"])
    found = verify_statement(data, question, now)
    expect_life(case, lambda time: verify_statement(data, question, time))
    expect("length", len(data), STATEMENT_LEN)
    expect("signer of the seed", curve.public(seed), found["signer"])
    expect("time, rounded down", rounded(now), found["time"])
    for field in ("time", "verdict", "verdict_byte", "seq", "relays_estimate"):
        expect(field, found[field], case[field])
    for field in ("signer", "digest"):
        expect(field, found[field], unhex(case[field]))
    made = {**case, "digest": unhex(case["digest"]), "verdict_byte": VERDICTS.index(case["verdict"])}
    part = encode_signed_part(made)
    network, nonce, operation, location = question
    text = signed_text(network, unhex(case["signer"]), nonce, operation, location, part)
    expect("bytes", unhex(case["signer"]) + part + curve.sign(seed, text), data)


def refuse_statement(case):
    """statements.json: as answers to the question of the first case, which the caller hands over."""
    first = case["beside"][0]
    expect("network", unhex(first["network_id"]), VECTORS_NETWORK)
    verify_statement(unhex(case["bytes"]), question_of(first), case["now"])


VECTORS = {"statements": (check_statement, refuse_statement)}
BESIDE = {"statements": "statements"}
UNNOTICED = {"statements": {"now": "any time of the same ten minutes has the same statement"}}
