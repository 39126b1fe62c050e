"""What a client asks of an exit, and what comes back. spec/requests.md §2, §3."""

from crypto import decode_payment, encode_payment
from evidence import STATEMENT_LEN, read_statement
from membership import DESCRIPTOR_LEN, read_descriptor
from messages import CHUNK_INDEX_MAX, SEALED_CHUNK_LEN, WORDS_ONLY, checked_shape, from_vector
from reader import BOUNDS, Reader, expect, listed, number, refuse_if, unhex, whole
from values import RECORD_LEN, expiry_of, read_record, step_of

REQUEST_LEN_MAX = 1638
BATCH_CHUNKS = 4
SIGNERS = 8
ANSWER_DESCRIPTORS_MAX = 5
# The lengths of answers with their zeros: find and put, fetch, a slot of a look, a slot of a store.
ANSWER_LENGTHS = {"find": 3756, "put": 3756, "fetch": 66_572, "look": 939, "store": 1958}
KINDS = {"find": 1, "put": 2, "fetch": 3, "store": 4, "look": 5}
PAID_KINDS = {"put": 6, "store": 7}
NAMES = {kind: name for kinds in (KINDS, PAID_KINDS) for name, kind in kinds.items()}


def _read_name(reader):
    name = {"hash": reader.take(32), "index": reader.number(1)}
    refuse_if(name["index"] > CHUNK_INDEX_MAX, BOUNDS)
    return name


def _read_stored(reader):
    chunk = _read_name(reader) | {"length": reader.number(4)}
    refuse_if(not 1 <= chunk["length"] <= SEALED_CHUNK_LEN, BOUNDS)
    return chunk


def _read_names(reader, read):
    chunks = reader.list(BATCH_CHUNKS, lambda: read(reader), least=1)
    names = {(chunk["hash"], chunk["index"]) for chunk in chunks}
    refuse_if(len(names) != len(chunks), BOUNDS)
    return chunks


def _read_payments(reader, count):
    """A payment or zeros for each chunk, of which one at least is no zeros; without one `{}`."""
    parts = [reader.take(9) for _ in range(count)]
    payments = [whole(part, decode_payment) if any(part) else {} for part in parts]
    refuse_if(not any(payments), BOUNDS)
    return payments


def _read_put(reader, request):
    request["nonce"] = reader.take(16)
    has_number, expected = reader.flag(), reader.number(8)
    refuse_if(expected and not has_number, BOUNDS)
    request["expected"] = expected if has_number else None
    request["record"] = checked_shape(reader, RECORD_LEN, read_record)


def read_request(reader):
    """A request."""
    kind = reader.number(1)
    refuse_if(kind not in NAMES, BOUNDS)
    name, paid = NAMES[kind], kind in PAID_KINDS.values()
    request = {"request": name}
    if name == "find":
        return request | {"location": reader.take(20), "nonce": reader.take(16)}
    if name == "put":
        if paid:
            request["payment"] = decode_payment(reader)
        _read_put(reader, request)
        return request
    request["nonce"] = reader.take(16)
    if name != "store":
        return request | {"chunks": _read_names(reader, _read_name)}
    request["expiry"] = expiry_of(reader.number(3))
    request["chunks"] = _read_names(reader, _read_stored)
    if paid:
        request["payments"] = _read_payments(reader, len(request["chunks"]))
    return request


def encode_request(request):
    """The bytes of a request."""
    name = request["request"]
    kinds = PAID_KINDS if "payment" in request or "payments" in request else KINDS
    out = bytes([kinds[name]])
    if name == "find":
        return out + request["location"] + request["nonce"]
    if name == "put":
        expected = request["expected"]
        out += encode_payment(request["payment"]) if "payment" in request else b""
        out += request["nonce"] + bytes([expected is not None]) + number(expected or 0, 8)
        return out + request["record"]
    out += request["nonce"] + (step_of(request["expiry"]) if name == "store" else b"")
    chunks = [chunk["hash"] + bytes([chunk["index"]]) for chunk in request["chunks"]]
    if name == "store":
        chunks = [part + number(chunk["length"], 4) for part, chunk in zip(chunks, request["chunks"])]
    out += listed(chunks)
    return out + b"".join(encode_payment(p) if p else bytes(9) for p in request.get("payments", []))


def read_exit_answer(reader, kind):
    """An answer, or the slot of one; `kind` is that of the value which was asked for. Its zeros are left."""
    has_value, length = reader.flag(), reader.number(4)
    right = (length == RECORD_LEN if kind == "signed" else length <= SEALED_CHUNK_LEN) if has_value else length == 0
    refuse_if(not right, BOUNDS)
    value = None
    if has_value:
        value = checked_shape(reader, length, read_record) if kind == "signed" else reader.take(length)
    statements = reader.list(SIGNERS, lambda: checked_shape(reader, STATEMENT_LEN, read_statement))
    read_one = lambda: checked_shape(reader, DESCRIPTOR_LEN, read_descriptor)
    return {"value": value, "statements": statements, "descriptors": reader.list(ANSWER_DESCRIPTORS_MAX, read_one)}


def encode_exit_answer(answer, length):
    """The bytes of an answer, filled up."""
    value = answer["value"] or b""
    out = bytes([answer["value"] is not None]) + number(len(value), 4) + value
    out += listed(answer["statements"]) + listed(answer["descriptors"])
    return out.ljust(length, b"\0")


def check_request(case):
    """exit_requests.json"""
    wanted = {**from_vector({**case, "request": ""}), "request": case["request"].replace(",", "").split()[0]}
    data = wanted.pop("bytes")
    found = whole(data, read_request)
    for field in found.keys() | wanted.keys():
        expect(field, found.get(field), wanted.get(field))
    expect("bytes", encode_request(wanted), data)
    expect("fits a build packet", len(data) <= REQUEST_LEN_MAX, True)


def refuse_request(case):
    """exit_requests.json"""
    whole(unhex(case["bytes"]), read_request)


def check_exit_answer(case):
    """exit_answers.json"""
    data, kind = unhex(case["bytes"]), case["kind"]
    place = case["answer"].split(",")[0]
    expect("kind", kind, "signed" if place in ("find", "put") else "hashed")
    expect("length", (len(data), len(data)), (case["length"], ANSWER_LENGTHS[place]))
    wanted = from_vector({key: case[key] for key in ("value", "statements", "descriptors")})
    reader = Reader(data)
    expect("fields", read_exit_answer(reader, kind), wanted)
    reader.zeros_to_end()
    expect("bytes", encode_exit_answer(wanted, case["length"]), data)


def refuse_exit_answer(case):
    """exit_answers.json"""
    reader = Reader(unhex(case["bytes"]))
    read_exit_answer(reader, case["kind"])
    reader.zeros_to_end()


VECTORS = {
    "exit_requests": (check_request, refuse_request),
    "exit_answers": (check_exit_answer, refuse_exit_answer),
}
UNNOTICED = {"exit_requests": {"request": WORDS_ONLY}, "exit_answers": {"answer": WORDS_ONLY}}
