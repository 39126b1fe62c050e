"""Changes of a case, one at a time: for seeing that a decoder notices them."""

import copy
import re

HEX = re.compile(r"([0-9a-f]{2})+")
# One bit, and none that X25519 ignores in the first or last byte of a secret (RFC 7748 §5).
BIT = 0x10


def flips_of(case):
    """Each change: the field without its places in lists, what was changed, and the changed case. Of hexadecimal fields one bit
    of the first, of a middle and of the last byte; numbers grow by one, flags turn, texts and lists lose their end."""
    for path, leaf in _leaves(case, ()):
        field = ".".join(str(part) for part in path if not isinstance(part, int))
        for what, value in _changes(leaf):
            changed = copy.deepcopy(case)
            _put(changed, path, value)
            yield field, f"{'.'.join(map(str, path))} {what}", changed


def _leaves(thing, path):
    if isinstance(thing, dict):
        for name, part in thing.items():
            yield from _leaves(part, (*path, name))
        return
    if isinstance(thing, list):
        for place, part in enumerate(thing):
            yield from _leaves(part, (*path, place))
    if thing is not None:
        yield path, thing


def _changes(leaf):
    if isinstance(leaf, bool):
        yield "turned", not leaf
    elif isinstance(leaf, int):
        yield "one more", leaf + 1
    elif isinstance(leaf, list):
        if leaf:
            yield "one less", leaf[:-1]
    elif HEX.fullmatch(leaf):
        data = bytes.fromhex(leaf)
        for at in sorted({0, len(data) // 2, len(data) - 1}):
            yield f"byte {at}", (data[:at] + bytes([data[at] ^ BIT]) + data[at + 1 :]).hex()
    elif leaf:
        yield "end cut", leaf[:-1]
    else:
        yield "something in it", "00"


def _put(case, path, value):
    for part in path[:-1]:
        case = case[part]
    case[path[-1]] = value
