"""Reply 0, *not reached*, and later cells of a circuit, at each hop and at the client. spec/onion.md §4, §4.1, §5."""

import copy

from crypto import keystream, seal, unseal, x25519_public, xor
from onion import CIRCUIT_DATA_LEN_MAX, LATER_LEN, REPLY0_DATA_LEN_MAX, TAG_LEN, TEXT_LEN
from onion import client_layers, corrected_tail, framed, relay_open, tag_first, tag_last, unframed
from reader import AUTHENTICATE, BOUNDS, Mismatch, expect, expect_refused, number, refuse_if, unhex


def relay_layers(build):
    """Each hop's layer at its relay, finished: the one that makes the circuit of a case of onion_builds."""
    layers = []
    for hop in build["path"]:
        layer, _, _ = relay_open(build, hop, unhex(hop["body"]))
        secret = unhex(hop["relay_ephemeral_secret"])
        layers.append(layer.finish(x25519_public(secret), secret, layer.e))
    return layers


def frame_inwards(data, most, length):
    """`length u16 ‖ data ‖ zeros`."""
    refuse_if(len(data) > most, BOUNDS)
    return (number(len(data), 2) + data).ljust(length, b"\0")


# Inwards: what relays make, and what the client takes.


def wrap_reply0(layer, text):
    """A relay's own reply 0, or that of the next hop with one layer more."""
    return layer.e2 + tag_first(seal(layer.k2, 0, layer.ad2, text[:TEXT_LEN]))


def wrap_backward(layer, text):
    """A backward cell with one layer more."""
    layer.backward_counter += 1
    return tag_first(seal(layer.kb, layer.backward_counter - 1, b"", text[:LATER_LEN]))


def inwards(layers, text, wrap):
    """The bodies on the way to the client, of which the first is that of the last relay."""
    bodies = []
    for layer in reversed(layers):
        text = wrap(layer, text)
        bodies.append(text)
    return bodies


def read_reply0(layers, secrets, body):
    """At the client, which has k2 of nobody yet: the data, or after how many hops nothing was reached. All layers that were
    read are finished then."""
    text = body
    for hop, (layer, secret) in enumerate(zip(layers, secrets), 1):
        e2, sealed = text[:32], text[32 + TAG_LEN :]
        layer.finish(e2, secret, e2)
        text = xor(sealed, keystream(layer.k2, 0, 1, len(sealed)))
        if not any(text) and hop < len(layers):
            check_again(layers[:hop], text, body, TEXT_LEN, wrap_reply0)
            return hop
    check_again(layers, text, body, TEXT_LEN, wrap_reply0)
    return take_data(text, REPLY0_DATA_LEN_MAX)


def check_again(layers, text, body, length, wrap):
    """Seals the text again from the exit outwards; what came must be the same, so every tag is."""
    made = inwards(layers, text.ljust(length, b"\0"), wrap)
    refuse_if(made[-1] != body, AUTHENTICATE)


def take_data(text, most):
    """The data of a text, behind which all must be zeros."""
    data, behind = unframed(text, most)
    refuse_if(any(behind), AUTHENTICATE)
    return data


def read_backward(layers, body):
    """At the client: from the zeros at the end of the exit's text follows what each hop cut off, so every ciphertext is
    completed first, and then opened once."""
    counter = layers[0].backward_counter
    cut_off = []
    for hop in reversed(range(len(layers))):
        # Of hop i's ciphertext the client lacks the last 16·i bytes; of the text under it as many.
        lacking = TAG_LEN * hop
        text_end = cut_off[0][:-TAG_LEN] if cut_off else bytes(lacking)
        stream = keystream(layers[hop].kb, counter, 1, LATER_LEN)
        cut_off.insert(0, xor(text_end, stream[LATER_LEN - lacking :]))
    text = body
    for layer, end in zip(layers, cut_off):
        text = unseal(layer.kb, counter, b"", tag_last(text + end[-TAG_LEN:]))
        layer.backward_counter += 1
    return take_data(text, CIRCUIT_DATA_LEN_MAX)


# Outwards.


def make_forward(layers, data, padding):
    """The body of a forward cell at each hop, the guard's first."""
    counter = layers[0].forward_counter
    keys = [(layer.kf, counter) for layer in layers]
    fillers = [layer.forward_filler(counter) for layer in layers[:-1]]
    tail = corrected_tail(keys[:-1], keys[-1], LATER_LEN, TAG_LEN, fillers)
    refuse_if(len(padding) != LATER_LEN - 2 - len(data), BOUNDS)
    text = framed(data, CIRCUIT_DATA_LEN_MAX, padding, tail, LATER_LEN)
    bodies = []
    for layer in reversed(layers):
        body = tag_first(seal(layer.kf, counter, b"", text))
        bodies.insert(0, body)
        text = body[:LATER_LEN]
        layer.forward_counter += 1
    return bodies


def pass_forward(layer, body):
    """What a relay makes of a forward cell: its text, and what it appends."""
    text = unseal(layer.kf, layer.forward_counter, b"", tag_last(body))
    filler = layer.forward_filler(layer.forward_counter)
    layer.forward_counter += 1
    return text, filler


# The vectors.


def check_inwards(name, layers, text, wrap, wanted):
    """The bodies that relays make of a text."""
    expect(name, inwards(layers, text, wrap), [unhex(body) for body in wanted])


def check_forward(relays, clients, cell):
    """A forward cell from the client to the exit."""
    bodies, data = [unhex(body) for body in cell["bodies"]], unhex(cell["data"])
    expect("forward bodies", make_forward(clients, data, unhex(cell["padding"])), bodies)
    for place, (layer, body) in enumerate(zip(relays, bodies)):
        expect_refused("a forward cell", body, lambda changed: pass_forward(copy.copy(layer), changed))
        text, filler = pass_forward(layer, body)
        if place + 1 < len(relays):
            expect("what a relay passes on", text + filler, bodies[place + 1])
        else:
            expect("forward data", unframed(text, CIRCUIT_DATA_LEN_MAX)[0], data)


def check_not_reached(build, clients, wanted):
    """The last relay was not reached: the one before it says so, if there is one."""
    relays = relay_layers(build)[:-1]
    check_inwards("not_reached_bodies", relays, bytes(TEXT_LEN), wrap_reply0, wanted)
    if relays:
        secrets = [unhex(hop["client_ephemeral_secret"]) for hop in build["path"]]
        expect("hops that were reached", read_reply0(clients, secrets, unhex(wanted[-1])), len(relays))


def sealed_client(build):
    """The client's layers once the build packet is sent: each has sealed it."""
    layers = client_layers(build)
    for layer, hop in zip(layers, build["path"]):
        layer.open1(tag_last(unhex(hop["body"])[32:]))
    return layers


def check_circuit(case):
    """onion_circuits.json, on the circuits of onion_builds.json."""
    build = next((build for build in case["beside"] if build["hops"] == case["hops"]), None)
    if build is None:
        raise Mismatch("hops: no build packet of so many")
    secrets = [unhex(hop["client_ephemeral_secret"]) for hop in build["path"]]
    relays, clients = relay_layers(build), sealed_client(build)
    data = unhex(case["reply0_data"])
    text = frame_inwards(data, REPLY0_DATA_LEN_MAX, TEXT_LEN)
    check_inwards("reply0_bodies", relays, text, wrap_reply0, case["reply0_bodies"])
    last = unhex(case["reply0_bodies"][-1])
    expect_refused("reply 0", last, lambda changed: read_reply0(copy.deepcopy(clients), secrets, changed))
    expect("reply0_data", read_reply0(clients, secrets, last), data)
    for cell in case["backward"]:
        data = unhex(cell["data"])
        text = frame_inwards(data, CIRCUIT_DATA_LEN_MAX, LATER_LEN)
        check_inwards("backward bodies", relays, text, wrap_backward, cell["bodies"])
        last = unhex(cell["bodies"][-1])
        expect_refused("a backward cell", last, lambda changed: read_backward(copy.deepcopy(clients), changed))
        expect("backward data", read_backward(clients, last), data)
    for cell in case["forward"]:
        check_forward(relays, clients, cell)
    check_not_reached(build, sealed_client(build), case["not_reached_bodies"])


VECTORS = {"onion_circuits": (check_circuit, None)}
BESIDE = {"onion_circuits": "onion_builds"}
LESS = "fewer cells are a circuit, too"
UNUSED = "what is left where the tail begins is not used"
UNNOTICED = {"onion_circuits": {"backward": LESS, "forward": LESS, "forward.padding": UNUSED}}
