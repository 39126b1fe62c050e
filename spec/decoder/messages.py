"""Questions and answers between the ends of a link. spec/messages.md §2 to §4; spec/vectors/README.md."""

from blake3 import blake3
from crypto import decode_payment, encode_payment
from evidence import STATEMENT_LEN, read_statement
from membership import DESCRIPTOR_LEN, VECTORS_NETWORK, decode_address, encode_address, fingerprint, read_descriptor
from reader import BOUNDS, expect, listed, number, option, refuse_if, unhex, whole
from values import RECORD_LEN, expiry_of, read_record, step_of, verify_record

SEALED_CHUNK_LEN = 65_568
BUCKET_SIZE = 20
MEMBERS_PAGE_MAX = 256
FINGERPRINTS_MAX = 640
CHUNK_INDEX_MAX = 2
VALUE_KINDS = ["signed", "hashed"]


def checked_shape(reader, length, read):
    """So many bytes as they are, once their fields can be read."""
    data = reader.take(length)
    whole(data, read)
    return data


def read_value(reader):
    """A value (§4), unverified."""
    kind = reader.number(1)
    refuse_if(kind > 1, BOUNDS)
    if kind == 0:
        return {"record": checked_shape(reader, RECORD_LEN, read_record)}
    value = {"hash": reader.take(32), "index": reader.number(1)}
    refuse_if(value["index"] > CHUNK_INDEX_MAX, BOUNDS)
    value["expiry"] = expiry_of(reader.number(3))
    length = reader.number(4)
    refuse_if(length > SEALED_CHUNK_LEN, BOUNDS)
    return {**value, "ciphertext": reader.take(length)}


def encode_value(value):
    """The bytes of a value."""
    if "record" in value:
        return b"\0" + value["record"]
    head = b"\1" + value["hash"] + bytes([value["index"]]) + step_of(value["expiry"])
    return head + number(len(value["ciphertext"]), 4) + value["ciphertext"]


def _read_store(reader, kind):
    ask = {"ask": "store"}
    if kind == 5:
        ask["payment"] = decode_payment(reader)
    ask["nonce"] = reader.take(16)
    ask["expected"] = reader.option(lambda: reader.number(8))
    ask["value"] = read_value(reader)
    return ask | ({"upkeep": True} if kind == 6 else {})


def _read_differences(reader):
    after, until = (reader.option(lambda: reader.take(32)) for _ in range(2))
    refuse_if(until is not None and after is not None and until <= after, BOUNDS)
    ask = {"ask": "differences", "after": after, "until": until, "salt": reader.take(8)}
    ask["held"] = reader.list(FINGERPRINTS_MAX, lambda: reader.take(3))
    refuse_if(any(a >= b for a, b in zip(ask["held"], ask["held"][1:])), BOUNDS)
    return ask


def read_ask(reader):
    """A question (§2)."""
    kind = reader.number(1)
    refuse_if(not 1 <= kind <= 6, BOUNDS)
    if kind == 1:
        value_kind = reader.number(1)
        refuse_if(value_kind > 1, BOUNDS)
        ask = {"ask": "find", "value_kind": VALUE_KINDS[value_kind], "location": reader.take(20)}
        return ask | {"nonce": reader.take(16), "want_value": reader.flag()}
    if kind == 3:
        return {"ask": "members", "after": reader.option(lambda: reader.take(32))}
    return _read_differences(reader) if kind == 4 else _read_store(reader, kind)


def encode_ask(ask):
    """The bytes of a question."""
    if ask["ask"] == "find":
        head = bytes([1, VALUE_KINDS.index(ask["value_kind"])])
        return head + ask["location"] + ask["nonce"] + bytes([ask["want_value"]])
    if ask["ask"] == "members":
        return b"\3" + option(ask["after"], bytes)
    if ask["ask"] == "differences":
        ends = option(ask["after"], bytes) + option(ask["until"], bytes)
        return b"\4" + ends + ask["salt"] + listed(ask["held"])
    kind = b"\5" + encode_payment(ask["payment"]) if "payment" in ask else b"\6" if "upkeep" in ask else b"\2"
    return kind + ask["nonce"] + option(ask["expected"], lambda seq: number(seq, 8)) + encode_value(ask["value"])


def read_contact(reader):
    """A contact of 71 bytes."""
    return {"id": reader.take(20), "link_key": reader.take(32), "address": decode_address(reader)}


def encode_contact(contact):
    """The bytes of a contact."""
    return contact["id"] + contact["link_key"] + encode_address(contact["address"])


def read_answer(reader):
    """An answer (§3)."""
    kind = reader.number(1)
    refuse_if(kind > 3, BOUNDS)
    if kind == 0:
        return {"answer": "refused"}
    if kind == 3:
        answer = {"answer": "members"}
        page = reader.list(MEMBERS_PAGE_MAX, lambda: checked_shape(reader, DESCRIPTOR_LEN, read_descriptor))
        return answer | {"descriptors": page, "more": reader.flag(), "settled": reader.flag()}
    statement = checked_shape(reader, STATEMENT_LEN, read_statement)
    if kind == 2:
        return {"answer": "stored", "statement": statement}
    contacts = reader.list(BUCKET_SIZE, lambda: read_contact(reader))
    value = reader.option(lambda: read_value(reader))
    return {"answer": "found", "statement": statement, "contacts": contacts, "value": value}


def encode_answer(answer):
    """The bytes of an answer."""
    if answer["answer"] == "refused":
        return b"\0"
    if answer["answer"] == "members":
        return b"\3" + listed(answer["descriptors"]) + bytes([answer["more"], answer["settled"]])
    if answer["answer"] == "stored":
        return b"\2" + answer["statement"]
    contacts = listed([encode_contact(contact) for contact in answer["contacts"]])
    return b"\1" + answer["statement"] + contacts + option(answer["value"], encode_value)


# The vectors say in words what a message is, and more than its kind: "found nothing", "no members".
WORDS = ("refused", "found", "stored", "members", "find", "store", "differences")
TEXTS = ("ask", "answer", "value_kind", "address")


def from_vector(thing, key=""):
    """Fields of a vector, with bytes for hex digits."""
    if isinstance(thing, dict) and set(thing) != {"hex", "then_zeros"}:
        return {name: from_vector(part, name) for name, part in thing.items()}
    if isinstance(thing, list):
        return [from_vector(part, key) for part in thing]
    if key in ("ask", "answer"):
        return next(word for word in WORDS if word in thing.replace(",", "").split())
    return unhex(thing) if isinstance(thing, (str, dict)) and key not in TEXTS else thing


def check_message(case):
    """messages.json"""
    wanted = from_vector({field: part for field, part in case.items() if field != "beside"})
    data = wanted.pop("bytes")
    read, encode = (read_ask, encode_ask) if "ask" in wanted else (read_answer, encode_answer)
    found = whole(data, read)
    for field in found.keys() | wanted.keys():
        expect(field, found.get(field), wanted.get(field))
    expect("bytes", encode(wanted), data)
    check_parts(found, case["beside"])


def check_parts(message, cases):
    """What stands in the vectors proves itself: a record's signature, a chunk's name, a fingerprint of the page beside it."""
    value = message.get("value") or {}
    if "record" in value:
        verify_record(VECTORS_NETWORK, value["record"], whole(value["record"], read_record)["expiry"] - 1)
    elif value:
        expect("hash", blake3(value["ciphertext"]), value["hash"])
    if message.get("held"):
        page = next(case["descriptors"] for case in cases if case.get("descriptors"))
        expect("held", message["held"], [fingerprint(unhex(one), message["salt"]) for one in page])


def refuse_message(case):
    """messages.json"""
    whole(unhex(case["bytes"]), {"ask": read_ask, "answer": read_answer}[case["type"]])


VECTORS = {"messages": (check_message, refuse_message)}
BESIDE = {"messages": "messages"}
WORDS_ONLY = "words for the reader; the kind, and everything that it has, are compared"
UNNOTICED = {"messages": {"ask": WORDS_ONLY, "answer": WORDS_ONLY}}
