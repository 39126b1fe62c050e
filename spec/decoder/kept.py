"""What state files say, and frames on the socket of a running node. spec/state.md §7 to §9, §11 to §13; spec/gateway.md §2."""

import ipaddress

from reader import Reader, Refused, counted, expect, refuse_if, unhex, varint
from state import OTHER_LAYOUT, encode_state, read_state

LONG, MALFORMED = "Frame::Long", "Frame::Malformed"
GATEWAY_FRAME_LEN_MAX = 8 * 2**20
DESCRIPTOR_LEN, CONTACT_LEN = 234, 71


class Post:
    """Reads what postcard wrote, by the names of its fields; and writes it again."""

    def __init__(self, data, reason):
        self.reader, self.reason = Reader(data, reason), reason
        self.out = b""

    def varint(self):
        number = self.reader.varint()
        self.out += varint(number)
        return number

    def byte(self):
        number = self.reader.number(1)
        self.out += bytes([number])
        return number

    def flag(self):
        number = self.byte()
        refuse_if(number > 1, self.reason)
        return number == 1

    def fixed(self, length):
        data = self.reader.take(length)
        self.out += data
        return data

    def counted(self, length=None):
        data = self.reader.take(self.reader.varint(most=len(self.reader.data)))
        refuse_if(length is not None and len(data) != length, self.reason)
        self.out += counted(data)
        return data

    def words(self):
        try:
            return self.counted().decode()
        except UnicodeDecodeError:
            raise Refused(self.reason) from None

    def option(self, read):
        return read() if self.flag() else None

    def list(self, read):
        count = self.reader.varint(most=len(self.reader.data))
        self.out += varint(count)
        return [read() for _ in range(count)]

    def kind(self, most):
        number = self.varint()
        refuse_if(number > most, self.reason)
        return number

    def end(self):
        self.reader.end(self.reason)


def demands(post):
    """What is demanded of paths. An address is of kind 0, four bytes, or of kind 1, sixteen."""
    return {
        "hops_min": post.varint(),
        "stagger_min_us": post.varint(),
        "distinct": post.flag(),
        "bind": post.option(lambda: str(ipaddress.ip_address(post.fixed((4, 16)[post.kind(1)])))),
    }


def guards(post):
    """spec/state.md §13"""

    def guard():
        fields = {"key": post.fixed(32), "sampled": post.varint(), "confirmed": post.flag(), "down": post.flag()}
        fields |= {"begun": post.varint(), "finished": post.varint(), "too_few_since": None}
        if post.flag():
            fields["too_few_since"] = post.varint()
            fields |= {"too_few_circuits": post.varint(), "too_few_late": post.varint()}
        return fields

    def hop():
        fields = {"key": post.fixed(32), "until": post.varint()}
        fields["failed_exits"] = post.list(lambda: post.fixed(32))
        fields["not_reached"] = post.list(lambda: post.fixed(32))
        return fields

    return {"guards": post.list(guard), "second_hops": post.list(hop), "replaced": post.list(post.varint)}


def members(post):
    """spec/state.md §7"""
    fields = {"written": post.varint(), "serves_until": post.varint(), "difficulty": post.byte()}
    return fields | {"relays": post.list(lambda: post.counted(DESCRIPTOR_LEN))}


def relay(post):
    """spec/state.md §9"""
    fields = {"identity": post.fixed(32), "link": post.fixed(32), "counter": post.varint()}
    return fields | {"y": post.fixed(32), "issued": post.varint()}


def published(post):
    """spec/state.md §8"""

    def place():
        return {"place": post.fixed(20), "stored": post.varint(), "sent": post.varint(), "until": post.varint()}

    return {"places": post.list(place)}


def kept(post):
    """spec/state.md §12"""

    def entry():
        fields = {"link": post.words(), "by": post.kind(2), "by_name": None}
        if fields["by"]:
            fields["by_name"] = post.words()
        fields["lifetime_s"] = post.varint()
        fields |= demands(post)
        fields["by_node"] = post.flag()
        for name in ("added", "asked", "looked", "until", "due", "stored_for", "bad"):
            fields[name] = post.varint()
        fields["fingerprint"] = post.option(lambda: post.fixed(32))
        fields |= {"len": post.varint(), "file": post.words(), "last": post.kind(8), "last_code": None}
        if fields["last"] == 4:
            fields["last_code"] = post.byte()
        return fields

    return {"entries": post.list(entry)}


def transfer(post):
    """spec/state.md §11"""
    fields = {"secret": post.fixed(32), "author": post.option(lambda: post.fixed(32))}
    return fields | {"expiry": post.fixed(3), "begun": post.varint()}


FILES = {"guards": guards, "members": members, "relay": relay, "published": published, "kept": kept, "transfer": transfer}


def plain(thing):
    """As it stands in a vector."""
    if isinstance(thing, dict):
        return {name: plain(part) for name, part in thing.items()}
    if isinstance(thing, list):
        return [plain(part) for part in thing]
    return thing.hex() if isinstance(thing, bytes) else thing


def read_content(name, content):
    """What the content of a file says, and the content that says it."""
    post = Post(content, OTHER_LAYOUT)
    says = FILES[name](post)
    post.end()
    return says, post.out


def check_kept_file(case):
    """kept_files.json"""
    content, data = unhex(case["content"]), unhex(case["bytes"])
    expect("content", read_state(case["file"], data), content)
    says, again = read_content(case["file"], content)
    expect("says", plain(says), case["says"])
    expect("content again", again, content)
    expect("bytes", encode_state(case["file"], again), data)


def refuse_kept_file(case):
    """kept_files.json"""
    read_content(case["file"], read_state(case["file"], unhex(case["bytes"])))


def how(post):
    """How a record is got."""
    return {"consistency": post.byte(), "seq_min": post.varint(), "timeout_us": post.option(post.varint)}


def opening(post):
    """What a command sends: of the requests those that the vectors have."""
    fields = {"version": post.byte()} | demands(post) | {"request": post.kind(9)}
    if fields["request"] == 4:
        fields |= {"link": post.words()} | how(post)
    elif fields["request"] == 6:
        fields["hashes"] = post.list(lambda: post.fixed(32))
    else:
        refuse_if(fields["request"] != 0, post.reason)
    return fields


def reply(post):
    """What a node sends: that it is at work, or why nothing came of it."""
    fields = {"reply": post.kind(1)}
    if fields["reply"] == 1:
        fields |= {"outcome": post.kind(1), "ending": post.kind(7), "message": post.words()}
        refuse_if(not post.flag(), post.reason)
        fields |= {name: post.varint() for name in ("asked", "valid", "empty", "invalid", "timed_out")}

        def path():
            hops = post.list(lambda: post.counted(CONTACT_LEN))
            return {"hops": hops, "carries": post.byte(), "chunks": post.varint()}

        fields["paths"] = post.list(path)
    return fields


def read_frame(side, frame):
    """What a frame says, and the frame that says it."""
    reader = Reader(frame, MALFORMED)
    length = reader.number(4)
    refuse_if(length > GATEWAY_FRAME_LEN_MAX, LONG)
    post = Post(reader.take(length), MALFORMED)
    reader.end(MALFORMED)
    says = reply(post) if side == "node" else opening(post)
    post.end()
    return says, len(post.out).to_bytes(4, "big") + post.out


def check_frame(case):
    """command_frames.json"""
    expect("from", case["from"] in ("command", "node"), True)
    frame = unhex(case["frame"])
    says, again = read_frame(case["from"], frame)
    expect("says", plain(says), case["says"])
    expect("frame", again, frame)


def refuse_frame(case):
    """command_frames.json"""
    read_frame(case["from"], unhex(case["frame"]))


VECTORS = {"kept_files": (check_kept_file, refuse_kept_file), "command_frames": (check_frame, refuse_frame)}
