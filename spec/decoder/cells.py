"""Cells, and messages cut into their bodies. spec/cells.md §1, §2; spec/messages.md §1.1."""

from reader import BOUNDS, Reader, expect, number, refuse_if, unhex

BODY_LEN = 2040
CELL_LEN = 2048
MESSAGE_CELLS_MAX = 64
MESSAGE_LEN_MAX = MESSAGE_CELLS_MAX * BODY_LEN - 4
COMMANDS = ["Build", "Reply0", "Forward", "Backward", "Destroy", "Credit", "Hello", "Padding", "Ask", "Answer"]
OF_THE_LINK = ("Hello", "Padding")


def decode_cell(data):
    """A cell's fields. Of the body only a credit's is looked at."""
    reader = Reader(data)
    circuit, command, suite, hint, zero = (reader.number(length) for length in (4, 1, 1, 1, 1))
    refuse_if(not 1 <= command <= len(COMMANDS), BOUNDS)
    name = COMMANDS[command - 1]
    refuse_if(zero != 0 or (circuit == 0) != (name in OF_THE_LINK), BOUNDS)
    refuse_if(name != "Build" and (suite or hint), BOUNDS)
    body = reader.take(BODY_LEN)
    reader.end()
    if name == "Credit":
        credit = Reader(body)
        refuse_if(credit.number(4) == 0, BOUNDS)
        credit.zeros_to_end()
    return {"command": name, "circuit": circuit, "suite": suite, "hint": hint, "body": body}


def encode_cell(cell):
    """The bytes of a cell."""
    head = number(cell["circuit"], 4) + bytes([COMMANDS.index(cell["command"]) + 1, cell["suite"], cell["hint"], 0])
    return head + cell["body"]


def cut(message):
    """The bodies of a message's cells."""
    whole = number(len(message), 4) + message
    count = (len(message) + 4 + BODY_LEN - 1) // BODY_LEN
    return [whole[BODY_LEN * i : BODY_LEN * i + BODY_LEN].ljust(BODY_LEN, b"\0") for i in range(count)]


def join(bodies):
    """The message of some bodies, and how many of them it took; none while some are missing."""
    reader = Reader(bodies[0])
    length = reader.number(4)
    refuse_if(length > MESSAGE_LEN_MAX, BOUNDS)
    count = (length + 4 + BODY_LEN - 1) // BODY_LEN
    if len(bodies) < count:
        return None, count
    whole = Reader(b"".join(bodies[:count])[4:])
    message = whole.take(length)
    whole.zeros_to_end()
    return message, count


def check_cell(case):
    """cells.json"""
    fields = {**case, "body": unhex(case["body"])}
    data = unhex(fields.pop("bytes"))
    expect("length", len(data), CELL_LEN)
    expect("fields", decode_cell(data), fields)
    expect("bytes", encode_cell(fields), data)


def refuse_cell(case):
    """cells.json"""
    decode_cell(unhex(case["bytes"]))


def check_fragments(case):
    """fragments.json: whole when the last cell has come, and not before."""
    message, bodies = unhex(case["message"]), [unhex(body) for body in case["bodies"]]
    expect("bodies", cut(message), bodies)
    expect("message", join(bodies), (message, len(bodies)))
    if len(bodies) > 1:
        expect("all but the last", join(bodies[:-1]), (None, len(bodies)))


def refuse_fragment(case):
    """fragments.json: a first body."""
    join([unhex(case["bytes"])])


VECTORS = {"cells": (check_cell, refuse_cell), "fragments": (check_fragments, refuse_fragment)}
