//! Files that a process keeps for itself, and frames between a command and a running node: written here as the specification has them,
//! number by number, by nothing that the house writes them with.

use std::net::Ipv4Addr;

use super::values::state_file;
use super::{Field, Fields, VectorFile, bytes, descriptor, identity, made, text};

pub(super) fn files() -> Vec<VectorFile> {
    vec![kept_files(), command_frames()]
}

/// Bytes as postcard writes them, and what they say.
#[derive(Default)]
struct Post {
    bytes: Vec<u8>,
    says: Fields,
}

impl Post {
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    fn varint(self, mut number: u64) -> Self {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
            number >>= 7;
        }
        bytes.push(u8::try_from(number).unwrap());
        self.raw(&bytes)
    }

    fn says(mut self, name: &'static str, field: Field) -> Self {
        self.says.push((name, field));
        self
    }

    fn number(self, name: &'static str, number: u64) -> Self {
        self.varint(number).says(name, number.into())
    }

    fn byte(self, name: &'static str, number: u8) -> Self {
        self.raw(&[number]).says(name, u64::from(number).into())
    }

    fn flag(self, name: &'static str, flag: bool) -> Self {
        self.raw(&[u8::from(flag)]).says(name, Field::Flag(flag))
    }

    fn fixed(self, name: &'static str, fixed: &[u8]) -> Self {
        self.raw(fixed).says(name, bytes(fixed))
    }

    fn words(self, name: &'static str, words: &str) -> Self {
        self.varint(words.len().try_into().unwrap()).raw(words.as_bytes()).says(name, text(words))
    }

    fn option<T>(self, name: &'static str, one: Option<T>, write: impl FnOnce(Self, &'static str, T) -> Self) -> Self {
        match one {
            Some(one) => write(self.raw(&[1]), name, one),
            None => self.raw(&[0]).says(name, Field::None),
        }
    }

    fn list(mut self, name: &'static str, items: Vec<Post>) -> Self {
        self = self.varint(items.len().try_into().unwrap());
        let mut fields = Vec::new();
        for item in items {
            self = self.raw(&item.bytes);
            // Of an item that is one thing alone, that.
            fields.push(match <[_; 1]>::try_from(item.says) {
                Ok([("", only)]) => only,
                Ok(other) => Field::Object(other.to_vec()),
                Err(says) => Field::Object(says),
            });
        }
        self.says(name, Field::List(fields))
    }

    fn keys(self, name: &'static str, words: &[&str]) -> Self {
        let one = |word: &&str| Self::default().fixed("", &made::<32>(word));
        self.list(name, words.iter().map(one).collect())
    }
}

fn post() -> Post {
    Post::default()
}

/// As of whoever asks for nothing special.
fn demands(of: Post, bind: Option<Ipv4Addr>) -> Post {
    of.number("hops_min", 3).number("stagger_min_us", 50_000).flag("distinct", true).option(
        "bind",
        bind,
        |of, name, ip| {
            // The first kind of address.
            of.varint(0).raw(&ip.octets()).says(name, text(&ip.to_string()))
        },
    )
}

fn guards() -> Post {
    let guard = |word: &str, marks: (bool, bool), counts: (u64, u64), too_few: Option<u64>| {
        let one = post().fixed("key", &made::<32>(word)).number("sampled", 1_759_990_000);
        let one = one.flag("confirmed", marks.0).flag("down", marks.1);
        let one = one.number("begun", counts.0).number("finished", counts.1);
        one.option("too_few_since", too_few, |of, name, since| {
            of.number(name, since).number("too_few_circuits", 61).number("too_few_late", 3)
        })
    };
    let hop = |word: &str, failed: &[&str], not_reached: &[&str]| {
        let one = post().fixed("key", &made::<32>(word)).number("until", 1_760_400_000);
        one.keys("failed_exits", failed).keys("not_reached", not_reached)
    };
    let guards = vec![
        guard("guard one", (true, false), (150, 120), None),
        guard("guard two", (true, true), (60, 4), Some(1_759_999_000)),
        guard("guard three", (false, false), (0, 0), None),
    ];
    let hops = vec![hop("hop one", &["exit one"], &[]), hop("hop two", &[], &["exit two", "exit three"])];
    let replaced = [1_759_950_000, 1_759_960_000].map(|time| post().number("", time)).into();
    post().list("guards", guards).list("second_hops", hops).list("replaced", replaced)
}

fn members() -> Post {
    let told = |word: &str, address: &str| {
        let one = descriptor(word, 1_760_000_000, address);
        post().varint(234).fixed("", one.as_bytes())
    };
    let relays = vec![told("relay one", "192.0.2.7:7000"), told("relay two", "198.51.100.9:7000")];
    post()
        .number("written", 1_760_000_000)
        .number("serves_until", 1_760_020_000)
        .byte("difficulty", 0)
        .list("relays", relays)
}

fn kept() -> Post {
    let entry = |link: &str,
                 by: (u64, Option<&str>),
                 bind: Option<Ipv4Addr>,
                 last: (u64, Option<u8>),
                 root: Option<[u8; 32]>| {
        let one = post().words("link", link).number("by", by.0);
        let one = match by.1 {
            Some(name) => one.words("by_name", name),
            None => one.says("by_name", Field::None),
        };
        let one = demands(one.number("lifetime_s", 86_400), bind).flag("by_node", true);
        let times = ["added", "asked", "looked", "until", "due", "stored_for"];
        let one = (1_760_000_000..).zip(times).fold(one, |one, (time, name)| one.number(name, time));
        let one = one.number("bad", 2).option("fingerprint", root, |of, name, root| of.fixed(name, &root));
        let one = one.number("len", 70_000).words("file", "notes.txt").number("last", last.0);
        match last.1 {
            Some(code) => one.byte("last_code", code),
            None => one.says("last_code", Field::None),
        }
    };
    let entries = vec![
        entry("bauta1one", (0, None), None, (0, None), None),
        entry("bauta1two", (1, Some("work")), Some([127, 0, 0, 9].into()), (4, Some(4)), Some(made("root"))),
        entry("bauta1three", (2, Some("a name to say")), None, (8, None), Some(made("other root"))),
    ];
    post().list("entries", entries)
}

fn kept_files() -> VectorFile {
    let place = |word: &str, stored: u64| {
        let one = post().fixed("place", &made::<20>(word)).number("stored", stored);
        one.number("sent", stored + 1_000).number("until", 1_760_086_400)
    };
    let relay = post().fixed("identity", &*identity("relay one").to_bytes()).fixed("link", &made::<32>("link"));
    let relay = relay.number("counter", 300).fixed("y", &made::<32>("y")).number("issued", 1_760_000_000);
    let transfer = |author: Option<[u8; 32]>| {
        let one = post().fixed("secret", &made::<32>("publication"));
        let one = one.option("author", author, |of, name, seed| of.fixed(name, &seed));
        one.fixed("expiry", &[1, 0x3e, 0x50]).number("begun", 1_760_000_000)
    };
    let cases = [
        ("guards", guards()),
        ("guards", post().list("guards", vec![]).list("second_hops", vec![]).list("replaced", vec![])),
        ("members", members()),
        ("relay", relay),
        ("published", post().list("places", vec![place("first", 7), place("second", u64::MAX - 1_000)])),
        ("kept", kept()),
        ("transfer", transfer(None)),
        ("transfer", transfer(Some(made("one-time key")))),
    ];
    let case = |(file, content): (&str, Post)| {
        let whole = state_file(file, &content.bytes);
        vec![
            ("file", text(file)),
            ("says", Field::Object(content.says)),
            ("content", bytes(content.bytes)),
            ("bytes", bytes(whole)),
        ]
    };
    let refused = |name: &str, file: &str, content: &[u8]| {
        let error = text("written by another version of bauta");
        vec![("name", text(name)), ("file", text(file)), ("bytes", bytes(state_file(file, content))), ("error", error)]
    };
    let (guards, relay_len) = (guards().bytes, 32 + 32);
    // Where the mark of the first guard that it ever answered stands: a count, a key, five bytes of a time.
    let confirmed = 1 + 32 + 5;
    let mut neither = guards.clone();
    neither[confirmed] = 2;
    VectorFile {
        name: "kept_files",
        description: "State files with what they say. A transfer has a name of its own in each case; here it is `transfer`.",
        spec: &[
            "state.md §2",
            "state.md §7",
            "state.md §8",
            "state.md §9",
            "state.md §11",
            "state.md §12",
            "state.md §13",
        ],
        cases: cases.into_iter().map(case).collect(),
        invalid: vec![
            refused("a byte behind", "guards", &[&guards[..], &[0]].concat()),
            refused("a byte less", "guards", &guards[..guards.len() - 1]),
            refused("a mark that is neither yes nor no", "guards", &neither),
            refused("more guards than bytes", "guards", &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            refused("a relay without an end", "relay", &made::<64>("relay")[..relay_len]),
            refused("a signer of a fourth kind", "kept", &[1, 1, b'x', 3]),
            refused("a text that is none", "kept", &[1, 1, 0xff, 0]),
        ],
    }
}

fn framed(content: &[u8]) -> Vec<u8> {
    [&u32::try_from(content.len()).unwrap().to_be_bytes()[..], content].concat()
}

fn command_frames() -> VectorFile {
    let opening =
        |request: u64| demands(post().byte("version", 5), Some([127, 0, 0, 9].into())).number("request", request);
    let how = |of: Post, timeout: Option<u64>| {
        let of = of.byte("consistency", 1).number("seq_min", 300);
        of.option("timeout_us", timeout, |of, name, time| of.number(name, time))
    };
    let hashes = ["chunk one", "chunk two"];
    let failed = post().number("reply", 1).number("outcome", 1).number("ending", 3).words("message", "nobody answered");
    let counts = ["asked", "valid", "empty", "invalid", "timed_out"];
    let failed =
        counts.into_iter().zip([6, 1, 2, 0, 3]).fold(failed.raw(&[1]), |of, (name, count)| of.number(name, count));
    let path = post()
        .list("hops", vec![post().varint(71).fixed("", &made::<71>("hop"))])
        .byte("carries", 2)
        .number("chunks", 4);
    let cases = [
        ("command", opening(0)),
        ("command", how(opening(4).words("link", "bauta1one"), None)),
        ("command", how(opening(4).words("link", "bauta1two"), Some(9_000_000))),
        ("command", opening(6).keys("hashes", &hashes)),
        ("node", post().number("reply", 0)),
        ("node", failed.list("paths", vec![path])),
    ];
    let case = |(from, content): (&str, Post)| {
        let frame = framed(&content.bytes);
        vec![("from", text(from)), ("says", Field::Object(content.says)), ("frame", bytes(frame))]
    };
    let refused = |name: &str, frame: Vec<u8>, error: &str| {
        vec![("name", text(name)), ("from", text("command")), ("frame", bytes(frame)), ("error", text(error))]
    };
    let good = opening(0).bytes;
    VectorFile {
        name: "command_frames",
        description: "Frames on the socket of a running node: of a command that asks, and of the node. Between programs of one build alone.",
        spec: &["gateway.md §2"],
        cases: cases.into_iter().map(case).collect(),
        invalid: vec![
            refused("longer than a frame may be", [&[0xff; 4], &good[..]].concat(), "a frame over its bound"),
            refused("a byte behind the request", framed(&[&good[..], &[0]].concat()), "a frame that is none"),
            refused("a byte of the request less", framed(&good[..good.len() - 1]), "a frame that is none"),
            refused(
                "a request that there is not",
                framed(&[&good[..good.len() - 1], &[99]].concat()),
                "a frame that is none",
            ),
        ],
    }
}
