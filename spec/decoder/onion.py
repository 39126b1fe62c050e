"""The onion: layers, build packets, reply 0 and later cells. spec/onion.md §2.2, §3 to §6."""

import crypto
from crypto import agree, keystream, seal, unseal, x25519_public, xor
from noise import Symmetric, hkdf, hmac_blake2s
from reader import BOUNDS, Reader, expect, number, refuse_if, unhex, whole
from requests import read_request

NAME = b"Noise_NK_25519_ChaChaPoly_BLAKE2s"
BODY_LEN, TAG_LEN, ROUTING_LEN = 2040, 16, 32
TEXT_LEN = BODY_LEN - 48
BUILD_OVERHEAD_LEN = 80
LATER_LEN = BODY_LEN - TAG_LEN
REQUEST_LEN_MAX, REPLY0_DATA_LEN_MAX, CIRCUIT_DATA_LEN_MAX = 1638, 1798, 1958
REPLAY_BUCKET_S = 600
PASS_ON, EXIT = 1, 2


def prologue(suite, network, relay_key, epoch):
    """The prologue of one relay's layer."""
    return b"bauta/1 onion" + bytes([suite]) + network + relay_key + number(epoch, 4)


class Layer:
    """One layer, at the client or at its relay. After `begin` there are k1, ad1 and the build's filler; after `finish` k2,
    ad2, kf, kb and the forward filler."""

    def __init__(self, its_prologue, onion_key):
        self.state = Symmetric(NAME, its_prologue)
        self.state.mix_hash(onion_key)
        self.forward_counter = self.backward_counter = 0

    def begin(self, e, secret, public):
        """MixHash(e), MixKey(DH(e, s)), with the secret and the public key that this end has."""
        self.e, state = e, self.state
        state.mix_hash(e)
        state.mix_key(agree(secret, public))
        self.k1, self.ad1 = state.key, state.h
        self.build_filler_key = hmac_blake2s(state.ck, b"bauta/1 filler")
        return self

    def seal1(self, text):
        """Message 1 without e: ciphertext and tag, in Noise's order."""
        sealed = seal(self.k1, 0, self.ad1, text)
        self.state.mix_hash(sealed)
        return sealed

    def open1(self, sealed):
        """Opens message 1."""
        text = unseal(self.k1, 0, self.ad1, sealed)
        self.state.mix_hash(sealed)
        return text

    def replay_tag(self):
        """What the replay filter remembers, after message 1."""
        return self.state.h[:16]

    def finish(self, e2, secret, public):
        """MixHash(e'), MixKey(DH(e, e')), Split."""
        self.e2, state = e2, self.state
        state.mix_hash(e2)
        state.mix_key(agree(secret, public))
        self.k2, self.ad2 = state.key, state.h
        self.forward_filler_key = hmac_blake2s(state.ck, b"bauta/1 filler")
        self.kf, self.kb = hkdf(state.ck, b"")
        return self

    def build_filler(self):
        """F: what the relay appends to a build packet."""
        return keystream(self.build_filler_key, 0, 0, BUILD_OVERHEAD_LEN)

    def forward_filler(self, counter):
        """What the relay appends to a forward cell."""
        stream = keystream(self.forward_filler_key, 0, 0, TAG_LEN * (counter + 1))
        return stream[TAG_LEN * counter :]


def tag_first(sealed):
    """The wire's order from Noise's: the tag before the ciphertext."""
    return sealed[-TAG_LEN:] + sealed[:-TAG_LEN]


def tag_last(wire):
    """Noise's order from the wire's."""
    return wire[TAG_LEN:] + wire[:TAG_LEN]


# Tails (§3.3, §5): what the fillers of the relays before make of a body's end.


def corrected_tail(layers_before, last, length, step, filler):
    """The end of the exit's plaintext, as its ciphertext must end with what the relays before append. `length` is that of a
    ciphertext; `step` what each hop takes off; a layer comes with its key and counter."""

    def stream(layer, count):
        key, counter = layer
        return keystream(key, counter, 1, length)[length - count :]

    tail = b""
    for layer, end in zip(layers_before, filler):
        tail = xor(tail, stream(layer, len(tail))) + end
        assert len(tail) % step == 0
    return xor(tail, stream(last, len(tail)))


def framed(data, most, padding, tail, length):
    """`length u16 ‖ data ‖ random ‖ corrected tail`."""
    refuse_if(len(data) > most, BOUNDS)
    room = length - 2 - len(data) - len(tail)
    refuse_if(len(padding) < room, BOUNDS)
    return number(len(data), 2) + data + padding[:room] + tail


def unframed(frame, most):
    """The data of a frame, and what is behind it."""
    reader = Reader(frame)
    length = reader.number(2)
    refuse_if(length > most, BOUNDS)
    return reader.take(length), reader.rest()


# Routing (§3.1).


def read_routing(data):
    """A routing's fields."""
    reader = Reader(data)
    routing = {"kind": reader.number(1), "next": reader.take(20), "time": reader.number(4)}
    routing |= {"suite": reader.number(1), "hint": reader.number(1)}
    refuse_if(routing["kind"] not in (PASS_ON, EXIT), BOUNDS)
    unused = any(routing["next"]) or routing["suite"] or routing["hint"]
    refuse_if(routing["kind"] == EXIT and unused, BOUNDS)
    reader.zeros_to_end()
    return routing


def encode_routing(kind, next_id, time, suite, hint):
    """The 32 bytes of a routing."""
    return bytes([kind]) + next_id + number(time, 4) + bytes([suite, hint]) + bytes(5)


# A circuit of the vectors: its layers at the client and at the relays.


def client_layers(case):
    """Each hop's layer at the client, begun."""
    layers = []
    for hop in case["path"]:
        key, secret = unhex(hop["onion_key"]), unhex(hop["client_ephemeral_secret"])
        network, relay = unhex(case["network_id"]), unhex(hop["relay_key"])
        layer = Layer(prologue(case["suite"], network, relay, hop["onion_epoch"]), key)
        layers.append(layer.begin(x25519_public(secret), secret, key))
    return layers


def make_build(case, layers):
    """The body that goes to the guard, and those behind it: each hop's."""
    path, suite, time = case["path"], case["suite"], case["time"]
    keys = [(layer.k1, 0) for layer in layers]
    fillers = [layer.build_filler() for layer in layers[:-1]]
    tail = corrected_tail(keys[:-1], keys[-1], TEXT_LEN, BUILD_OVERHEAD_LEN, fillers)
    frame = framed(unhex(case["request"]), REQUEST_LEN_MAX, unhex(case["padding"]), tail, TEXT_LEN - ROUTING_LEN)
    text = encode_routing(EXIT, bytes(20), time, 0, 0) + frame
    bodies = []
    for place in reversed(range(len(layers))):
        body = layers[place].e + tag_first(layers[place].seal1(text))
        bodies.insert(0, body)
        hop = path[place]
        routing = encode_routing(PASS_ON, unhex(hop["node_id"]), time, suite, hop["hint"])
        text = routing + body[: TEXT_LEN - ROUTING_LEN]
    return bodies


def relay_open(case, hop, body):
    """What a relay does with a build packet (§3.4): its layer, the plaintext, and what it appends."""
    secret = unhex(hop["onion_secret"])
    its_prologue = prologue(case["suite"], unhex(case["network_id"]), unhex(hop["relay_key"]), hop["onion_epoch"])
    layer = Layer(its_prologue, x25519_public(secret)).begin(body[:32], secret, body[:32])
    return layer, layer.open1(tag_last(body[32:])), layer.build_filler()


def check_build(case):
    """onion_builds.json: as the client makes it, and as each relay opens it."""
    path = case["path"]
    expect("hops", len(path), case["hops"])
    circuit = next(circuit for circuit in case["beside"] if circuit["hops"] == len(path))
    expect("time", case["now"] - case["now"] % REPLAY_BUCKET_S, case["time"])
    bodies = make_build(case, client_layers(case))
    for place, (hop, body) in enumerate(zip(path, bodies)):
        expect(f"body of hop {place}", unhex(hop["body"]), body)
        expect("onion_key", x25519_public(unhex(hop["onion_secret"])), unhex(hop["onion_key"]))
        expect("hint", hop["onion_epoch"] & 0xFF, hop["hint"])
        relay = unhex(hop["relay_key"])
        y = crypto.identity_puzzle(unhex(case["network_id"]), relay, 0)
        expect("node_id, of counter 0", crypto.node_id(relay, y), unhex(hop["node_id"]))
        reply0 = unhex(circuit["reply0_bodies"][len(path) - 1 - place])
        expect("relay_ephemeral_secret", x25519_public(unhex(hop["relay_ephemeral_secret"])), reply0[:32])
        expect("client_ephemeral", unhex(hop["client_ephemeral"]), body[:32])
        layer, text, filler = relay_open(case, hop, body)
        expect("replay_tag", layer.replay_tag(), unhex(hop["replay_tag"]))
        expect("routing", text[:ROUTING_LEN], unhex(hop["routing"]))
        routing = read_routing(text[:ROUTING_LEN])
        expect("routing's time", routing["time"], case["time"])
        if place + 1 == len(path):
            expect("kind", routing["kind"], EXIT)
            request, _ = unframed(text[ROUTING_LEN:], REQUEST_LEN_MAX)
            expect("request", request, unhex(case["request"]))
            whole(request, read_request)
        else:
            following = path[place + 1]
            wanted = {"kind": PASS_ON, "next": unhex(following["node_id"]), "time": case["time"]}
            expect("routing's fields", routing, wanted | {"suite": case["suite"], "hint": following["hint"]})
            expect(f"what hop {place} passes on", text[ROUTING_LEN:] + filler, bodies[place + 1])


def refuse_build(case):
    """onion_builds.json: a routing."""
    read_routing(unhex(case["routing"]))


def check_noise_nk(case):
    """noise_nk.json: one layer, from both ends."""
    its_prologue, key = unhex(case["prologue"]), unhex(case["responder_key"])
    e_secret, e2_secret, s_secret = (
        unhex(case[name]) for name in ("initiator_ephemeral_secret", "responder_ephemeral_secret", "responder_secret")
    )
    e, e2 = x25519_public(e_secret), x25519_public(e2_secret)
    expect("responder_key", x25519_public(s_secret), key)
    client = Layer(its_prologue, key).begin(e, e_secret, key)
    relay = Layer(its_prologue, key).begin(e, s_secret, e)
    sealed1 = client.seal1(unhex(case["payload1"]))
    expect("payload1", relay.open1(sealed1), unhex(case["payload1"]))
    wanted1 = {"initiator_ephemeral": e, "ciphertext1": sealed1[:-TAG_LEN], "tag1": sealed1[-TAG_LEN:]}
    for layer in (client, relay):
        wanted1 |= {"build_filler_key": layer.build_filler_key, "replay_tag": layer.replay_tag()}
        for field, value in wanted1.items():
            expect(field, value, unhex(case[field]))
    relay.finish(e2, e2_secret, e)
    client.finish(e2, e_secret, e2)
    sealed2 = seal(relay.k2, 0, relay.ad2, unhex(case["payload2"]))
    expect("payload2", unseal(client.k2, 0, client.ad2, sealed2), unhex(case["payload2"]))
    wanted2 = {"responder_ephemeral": e2, "ciphertext2": sealed2[:-TAG_LEN], "tag2": sealed2[-TAG_LEN:]}
    for layer in (client, relay):
        wanted2 |= {name: getattr(layer, name) for name in ("k2", "ad2", "kf", "kb", "forward_filler_key")}
        for field, value in wanted2.items():
            expect(field, value, unhex(case[field]))


def refuse_noise_nk(case):
    """noise_nk.json: message 1 at the responder."""
    secret, e = unhex(case["responder_secret"]), unhex(case["initiator_ephemeral"])
    layer = Layer(unhex(case["prologue"]), x25519_public(secret)).begin(e, secret, e)
    layer.open1(unhex(case["ciphertext1"]) + unhex(case["tag1"]))


VECTORS = {"noise_nk": (check_noise_nk, refuse_noise_nk), "onion_builds": (check_build, refuse_build)}
BESIDE = {"onion_builds": "onion_circuits"}
UNNOTICED = {
    "onion_builds": {
        "now": "any time of the same ten minutes has the same packet",
        "padding": "what is left where the tail begins is not used",
    }
}
