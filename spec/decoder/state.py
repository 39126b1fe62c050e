"""State files. spec/state.md §1, §2."""

import re

from blake3 import blake3
from reader import Mismatch, Reader, expect, refuse_if, unhex, varint

MAGIC, LAYOUT = b"bau", 1
STATE_FILE_LEN_MAX = 64 * 2**20
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
DAMAGED = "StateError::Damaged"
OTHER_LAYOUT = "StateError::Layout"


def checksum(name, content):
    """What stands at 4..36."""
    return blake3(b"bauta/1 state\0" + name.encode() + b"\0" + content)


def read_state(name, data):
    """The content of a file of that name."""
    refuse_if(len(data) < 36 or data[:3] != MAGIC, DAMAGED)
    refuse_if(data[3] != LAYOUT, OTHER_LAYOUT)
    content = data[36:]
    refuse_if(len(content) > STATE_FILE_LEN_MAX or data[4:36] != checksum(name, content), DAMAGED)
    return content


def encode_state(name, content):
    """The bytes of a file."""
    return MAGIC + bytes([LAYOUT]) + checksum(name, content) + content


def read_numbers(content):
    """The content of the vectors: a list of numbers in postcard."""
    reader = Reader(content, OTHER_LAYOUT)
    numbers = [reader.varint() for _ in range(reader.varint(most=len(content)))]
    reader.end(OTHER_LAYOUT)
    return numbers


def check_state_file(case):
    """state_files.json"""
    name, content, data = case["file"], unhex(case["content"]), unhex(case["bytes"])
    if not NAME.fullmatch(name):
        raise Mismatch(f"no file name: {name!r}")
    expect("content", read_state(name, data), content)
    expect("numbers", read_numbers(content), case["numbers"])
    made = varint(len(case["numbers"])) + b"".join(varint(number) for number in case["numbers"])
    expect("bytes", encode_state(name, made), data)


def refuse_state_file(case):
    """state_files.json"""
    read_numbers(read_state(case["file"], unhex(case["bytes"])))


VECTORS = {"state_files": (check_state_file, refuse_state_file)}
