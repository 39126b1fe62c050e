"""Hellos, and handshakes of links with the first cells. spec/link.md §2 to §4; spec/crypto.md §4.2."""

import cells
from blake3 import blake3, keyed
from crypto import agree, link_prologue, seal, unseal, x25519_public
from membership import DESCRIPTOR_LEN, decode_versions, read_descriptor, verify_descriptor
from messages import checked_shape
from noise import Symmetric
from reader import AUTHENTICATE, Reader, expect, expect_refused, refuse_if, unhex

NAME = b"Noise_IK_25519_ChaChaPoly_BLAKE2s"
FRAME_LEN = 2064
PAYLOAD1 = bytes(1952)
HELLO2_LEN = 2016


def read_hello(data):
    """A hello and the zeros behind it."""
    reader = Reader(data)
    hello = {"versions": decode_versions(reader)}
    hello["descriptor"] = reader.option(lambda: checked_shape(reader, DESCRIPTOR_LEN, read_descriptor))
    reader.zeros_to_end()
    return hello


def encode_hello(hello):
    """The bytes of a hello, without zeros."""
    descriptor = hello["descriptor"]
    return bytes(hello["versions"]) + (b"\0" if descriptor is None else b"\1" + descriptor)


def mac1(network, responder_key, data):
    """The 16 bytes at the end of frame 1."""
    return keyed(blake3(b"bauta/1 mac1" + network + responder_key), data)[:16]


def write_frames(case):
    """Frames 1 and 2 as both ends write them, and the keys that come of it: the initiator's, the responder's."""
    network, s_secret, e_secret, rs_secret, re_secret = _secrets(case)
    rs, e, re = (x25519_public(secret) for secret in (rs_secret, e_secret, re_secret))
    state = Symmetric(NAME, link_prologue(network))
    state.mix_hash(rs)
    state.mix_hash(e)
    state.mix_key(agree(e_secret, rs))
    frame1 = e + state.encrypt(x25519_public(s_secret))
    state.mix_key(agree(s_secret, rs))
    frame1 += state.encrypt(PAYLOAD1)
    frame1 += mac1(network, rs, frame1)
    state.mix_hash(re)
    state.mix_key(agree(re_secret, e))
    state.mix_key(agree(re_secret, x25519_public(s_secret)))
    frame2 = re + state.encrypt(unhex(case["responder_hello"]).ljust(HELLO2_LEN, b"\0"))
    return frame1, frame2, state.split()


def _secrets(case):
    names = ("initiator_link_secret", "initiator_ephemeral_secret", "responder_link_secret", "responder_ephemeral_secret")
    return (unhex(case["network_id"]), *(unhex(case[name]) for name in names))


def read_frame1(network, secret, frame):
    """Frame 1 at the responder: its state, the initiator's ephemeral and static key."""
    key = x25519_public(secret)
    refuse_if(len(frame) != FRAME_LEN or mac1(network, key, frame[:2048]) != frame[2048:], AUTHENTICATE)
    state = Symmetric(NAME, link_prologue(network))
    state.mix_hash(key)
    e = frame[:32]
    state.mix_hash(e)
    state.mix_key(agree(secret, e))
    static = state.decrypt(frame[32:80])
    state.mix_key(agree(secret, static))
    refuse_if(state.decrypt(frame[80:2048]) != PAYLOAD1, AUTHENTICATE)
    return state, e, static


def read_frame2(state, e_secret, s_secret, frame):
    """Frame 2 at the initiator, in a state like the responder's after frame 1: the hello with its zeros."""
    re = frame[:32]
    state.mix_hash(re)
    state.mix_key(agree(e_secret, re))
    state.mix_key(agree(s_secret, re))
    return state.decrypt(frame[32:])


def check_hello(case):
    """hellos.json"""
    data = unhex(case["bytes"])
    descriptor = None if case["descriptor"] is None else unhex(case["descriptor"])
    wanted = {"versions": case["versions"], "descriptor": descriptor}
    expect("fields", read_hello(data), wanted)
    expect("fields, with zeros behind", read_hello(data + bytes(100)), wanted)
    expect("bytes", encode_hello(wanted), data)


def refuse_hello(case):
    """hellos.json"""
    read_hello(unhex(case["bytes"]))


def check_shown(hello, network, link_key, shows):
    """A shown descriptor holds, and names the static key of the handshake. (Its time is that of its issue here.)"""
    expect("a descriptor is shown", hello["descriptor"] is not None, shows)
    if shows:
        issued = read_descriptor(Reader(hello["descriptor"]))["issued"]
        descriptor = verify_descriptor(network, hello["descriptor"], issued, difficulty=0)
        expect("link key of the descriptor", descriptor["link_key"], link_key)


def check_handshake(case):
    """handshakes.json: as both ends write it, and as both read it; then the cells."""
    network, s_secret, e_secret, rs_secret, _ = _secrets(case)
    frames = [unhex(frame["frame"]) for frame in case["frames"]]
    expect("lengths", {len(frame) for frame in frames}, {FRAME_LEN})
    expect("order", [frame["from"] for frame in case["frames"][:3]], ["initiator", "responder", "initiator"])
    expect("both ends speak after it", {frame["from"] for frame in case["frames"][3:]}, {"initiator", "responder"})
    expect("initiator", case["initiator"] in ("a client", "a relay"), True)
    expect("cells of the handshake", [frame["cell"] for frame in case["frames"][:2]], [None, None])
    rs = x25519_public(rs_secret)
    expect("responder_link_key", rs, unhex(case["responder_link_key"]))
    frame1, frame2, keys = write_frames(case)
    expect("mac1", frame1[2048:], unhex(case["mac1"]))
    expect("frame 1", frame1, frames[0])
    expect("frame 2", frame2, frames[1])
    state, e, static = read_frame1(network, rs_secret, frames[0])
    expect_refused("frame 1", frames[0], lambda changed: read_frame1(network, rs_secret, changed))

    def read_changed(changed):
        fresh, _, _ = read_frame1(network, rs_secret, frames[0])
        return read_frame2(fresh, e_secret, s_secret, changed)

    expect_refused("frame 2", frames[1], read_changed)
    expect("e", e, x25519_public(e_secret))
    expect("s", static, x25519_public(s_secret))
    hello = read_frame2(state, e_secret, s_secret, frames[1])
    check_shown(read_hello(hello), network, rs, shows=True)
    expect("responder_hello", encode_hello(read_hello(hello)), unhex(case["responder_hello"]))
    expect("keys at both ends", state.split(), keys)
    counters = {"initiator": 0, "responder": 0}
    for place, frame in enumerate(case["frames"][2:], 2):
        side, cell = frame["from"], unhex(frame["cell"])
        key = keys[0] if side == "initiator" else keys[1]
        expect(f"cell of frame {place}", unseal(key, counters[side], b"", frames[place]), cell)
        expect_refused(f"frame {place}", frames[place], lambda changed: unseal(key, counters[side], b"", changed))
        expect(f"frame {place}", seal(key, counters[side], b"", cell), frames[place])
        counters[side] += 1
        fields = cells.decode_cell(cell)
        expect(f"frame {place} is a hello", fields["command"] == "Hello", place == 2)
        if place == 2:
            check_shown(read_hello(fields["body"]), network, static, shows=case["initiator"] == "a relay")


def rekey(key):
    """Noise's REKEY (§4.2): what the greatest nonce makes of zeros."""
    return seal(key, 2**64 - 1, b"", bytes(32))[:32]


def check_rekeys(case):
    """rekeys.json: a handshake without payloads, then cells under keys that are replaced by count; the counter goes on."""
    _, s_secret, e_secret, rs_secret, re_secret = _secrets(case | {"network_id": ""})
    s, e, rs, re = (x25519_public(secret) for secret in (s_secret, e_secret, rs_secret, re_secret))
    # No prologue comes into the keys.
    state = Symmetric(NAME, b"")
    state.mix_hash(rs)
    state.mix_hash(e)
    state.mix_key(agree(e_secret, rs))
    state.encrypt(s)
    state.mix_key(agree(s_secret, rs))
    state.encrypt(b"")
    state.mix_hash(re)
    state.mix_key(agree(re_secret, e))
    state.mix_key(agree(re_secret, s))
    state.encrypt(b"")
    keys = dict(zip(("initiator", "responder"), state.split()))
    counters = dict.fromkeys(keys, 0)
    for place, frame in enumerate(case["frames"]):
        side, cell = frame["from"], bytes([frame["fill"]]) * 2048
        expect(f"frame {place}", seal(keys[side], counters[side], b"", cell), unhex(frame["frame"]))
        counters[side] += 1
        if counters[side] % case["rekey_every"] == 0:
            keys[side] = rekey(keys[side])
    expect("frames", len(case["frames"]), 8)
    expect("keys were replaced both ways", min(counters.values()) > case["rekey_every"] > 0, True)


def refuse_frame1(case):
    """handshakes.json: a first frame."""
    read_frame1(unhex(case["network_id"]), unhex(case["responder_link_secret"]), unhex(case["frame"]))


VECTORS = {
    "hellos": (check_hello, refuse_hello),
    "handshakes": (check_handshake, refuse_frame1),
    "rekeys": (check_rekeys, None),
}
