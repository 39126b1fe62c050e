"""Bytes to fields, and back: what the pages share. spec/overview.md §5 (big-endian), spec/messages.md §2 (flags, options,
lists), spec/content.md §3 (postcard), spec/vectors/README.md (how vectors write bytes).
"""

# Why something is refused: the ids of spec/vectors/README.md, so that a refusal for another reason than the vector's is seen.
SHORT = "Malformed::Short"
BOUNDS = "Malformed::Value"
TRAILING = "Malformed::Trailing"
AUTHENTICATE = "Forged"


class Refused(Exception):
    """What was read is not valid; its one argument says why."""


class Mismatch(Exception):
    """What was read or computed is not what the vector says."""


def refuse_if(wrong, reason):
    """Refuses for a reason where something is wrong."""
    if wrong:
        raise Refused(reason)


def expect(field, got, wanted):
    """Compares one field with the vector."""
    if got != wanted or type(got) is not type(wanted):
        raise Mismatch(f"{field}: got {shown(got)}, the vector has {shown(wanted)}")


def expect_refused(what, data, read):
    """Changes one bit near the front, in the middle and at the end of some bytes: each time, reading must refuse."""
    for at in {0, len(data) // 2, len(data) - 1}:
        try:
            read(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        except Refused:
            continue
        raise Mismatch(f"{what}: taken though byte {at} was changed")


def expect_life(case, check):
    """Believed from the first to the last second that the vector has, and not a second before or after."""
    begin, end = case["believed_from"], case["believed_to"]
    check(begin)
    check(end)
    for now in (begin - 1, end + 1):
        try:
            check(now)
        except Refused:
            continue
        raise Mismatch(f"believed at {now}")


def shown(thing):
    """A thing as a short text."""
    text = thing.hex() if isinstance(thing, bytes) else repr(thing)
    return text if len(text) <= 100 else f"{text[:80]}… ({len(text)} characters)"


def unhex(field):
    """The bytes of a field of a vector: hex digits, or with zeros behind."""
    if isinstance(field, dict):
        if set(field) != {"hex", "then_zeros"}:
            raise Mismatch(f"no bytes: {shown(field)}")
        return bytes.fromhex(field["hex"]) + bytes(field["then_zeros"])
    return bytes.fromhex(field)


def number(value, length):
    """A number as so many bytes, big-endian."""
    return value.to_bytes(length, "big")


class Reader:
    """Reads a message from its front to its end."""

    def __init__(self, data, short=SHORT):
        self.data = bytes(data)
        self.at = 0
        self.short = short

    def take(self, count):
        """The next bytes."""
        refuse_if(count > len(self.data) - self.at, self.short)
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, length):
        """A big-endian number of so many bytes."""
        return int.from_bytes(self.take(length), "big")

    def flag(self):
        """One byte, 0 or 1."""
        byte = self.number(1)
        refuse_if(byte > 1, BOUNDS)
        return byte == 1

    def option(self, read):
        """A flag and, if 1, the thing."""
        return read() if self.flag() else None

    def list(self, most, read, least=0):
        """A count u16, then the items."""
        count = self.number(2)
        refuse_if(not least <= count <= most, BOUNDS)
        return [read() for _ in range(count)]

    def varint(self, most=2**64 - 1):
        """Postcard's number: seven bits a byte, lowest first, in as few bytes as it has."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                refuse_if((byte == 0 and shift > 0) or value > most, self.short)
                return value
        raise Refused(self.short)

    def rest(self):
        """Everything to the end."""
        return self.take(len(self.data) - self.at)

    def end(self, reason=TRAILING):
        """Nothing may follow."""
        refuse_if(self.at != len(self.data), reason)

    def zeros_to_end(self):
        """Zeros alone may follow."""
        refuse_if(any(self.rest()), TRAILING)


def whole(data, read, short=SHORT, trailing=TRAILING):
    """What `read` makes of the bytes, all of them."""
    reader = Reader(data, short)
    thing = read(reader)
    reader.end(trailing)
    return thing


def option(thing, encode):
    """An option: a flag and, if 1, the thing."""
    return b"\0" if thing is None else b"\1" + encode(thing)


def listed(items):
    """A list: a count u16, then the items."""
    return number(len(items), 2) + b"".join(items)


def varint(value):
    """Postcard's number."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def counted(data):
    """Postcard's text or byte string: a varint length, then the bytes."""
    return varint(len(data)) + data
