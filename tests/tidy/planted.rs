//! Planted violations, and their innocent neighbours: no rule sleeps, and none cries wolf. Rows are path, text, and the lines to be blamed.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

type Row<'a> = (&'a str, &'a str, &'a [usize]);

fn check(rule: impl Fn(&str, &str) -> Vec<Violation>, rows: &[Row<'_>]) {
    for (path, text, blamed) in rows {
        let found = rule(path, text);
        let lines: Vec<usize> = found.iter().map(|violation| violation.line).collect();
        assert_eq!(lines, *blamed, "{path}: {text}\n{found:?}");
        assert!(found.iter().all(|violation| violation.what.contains(": ")), "say what to do: {found:?}");
    }
}

#[test]
fn a_room_without_a_floor_is_caught() {
    check(
        unknown_rooms,
        &[
            ("src/attic.rs", "", &[1]),
            ("src/attic/mod.rs", "", &[1]),
            ("src/bin/tool.rs", "", &[1]),
            ("src/wire/attic.rs", "", &[]),
            ("src/lib.rs", "", &[]),
            ("src/main.rs", "", &[]),
        ],
    );
}

#[test]
fn an_import_that_points_up_or_right_is_caught() {
    check(
        imports_upwards,
        &[
            (
                "src/wire/cell.rs",
                "use crate::crypto::Tag;\nuse crate::limits;\nuse crate::wire::x;\nuse std::node::y;",
                &[],
            ),
            ("src/wire/cell.rs", "\nuse crate::node::Node;", &[2]),
            (
                "src/wire/mod.rs",
                "use crate::{\n    crypto::{Tag, Key as K},\n    limits::{self, *}, dht,\n    onion::{path::{Hop}},\n};",
                &[3, 4],
            ),
            ("src/wire/mod.rs", "fn f() -> crate::sim::World {\n    g::<crate::net::X>(&crate::time::Now)\n}", &[1, 2]),
            ("src/wire/mod.rs", "macro_rules! m { () => { $crate::cli::run() } }", &[1]),
            ("src/dht/mod.rs", "use crate::membership::View;", &[]),
            ("src/membership.rs", "use crate::dht::Table;", &[1]),
            ("src/record/mod.rs", "use crate::link::Link;", &[1]),
            ("src/content.rs", "use crate::request::Request;", &[]),
            ("src/limits.rs", "use crate::keyspace::Id;", &[1]),
            ("src/disk/mod.rs", "use crate::net::Socket;", &[1]),
            ("src/gateway/mod.rs", "use crate::{client, disk, net, node, sim};", &[]),
            ("src/wire/mod.rs", "use crate::Client;", &[1]),
            ("src/wire/mod.rs", "use crate as bauta;", &[1]),
            ("src/wire/mod.rs", "use crate::*;", &[1]),
            ("src/wire/mod.rs", "pub(crate) use crate::time::Now;\npub(super) struct S;", &[]),
            (
                "src/wire/mod.rs",
                "// use crate::node::Node;\n/* crate::node /* x */ crate::sim */\n/// [`crate::net::X`]",
                &[],
            ),
            (
                "src/wire/mod.rs",
                "const S: &str = \"crate::node \\\" \"; const R: &str = r#\"use \" crate::node;\"#;",
                &[],
            ),
            ("src/wire/mod.rs", "const C: [char; 2] = ['\"', '\\''];\nuse crate::node::N; // \"", &[2]),
            ("src/time.rs", "mod tests {\n    use super::*;\n}\nuse super::node::Node;", &[4]),
            (
                "src/wire/cell.rs",
                "use super::Body;\nuse super::super::node::Node;\nmod tests { use super::super::Body; }",
                &[2],
            ),
            ("src/lib.rs", "pub use crate::cli::run;", &[]),
        ],
    );
}

#[test]
fn the_world_below_the_shell_is_caught() {
    check(
        world_below_the_shell,
        &[
            (
                "src/node/mod.rs",
                "use std::net::{IpAddr, SocketAddr};\nuse crate::time::Instant;\nuse rand::rngs::ChaCha20Rng;",
                &[],
            ),
            ("src/node/mod.rs", "use std::{fs, net::IpAddr};\nuse std::net::{IpAddr, TcpStream};", &[1, 2]),
            (
                "src/sim/mod.rs",
                "use std::net::TcpListener;\nuse std::net::UdpSocket;\nuse std::net;\nlet s = net::TcpStream::connect();",
                &[1, 2, 4],
            ),
            (
                "src/link.rs",
                "#[tokio::test]\nasync fn f() {\n    tokio::select! {}\n    tracing::info!(x);\n}",
                &[1, 3, 4],
            ),
            (
                "src/dht/table.rs",
                "let a = Instant::now();\nlet b = std::time::Instant::now();\nuse std::time::{Duration, SystemTime as S};",
                &[1, 2, 3],
            ),
            (
                "src/time.rs",
                "std::thread::spawn(f);\nlet r = rand::rng();\nuse rand::{rng, Rng};\nuse rand::rngs::{SysRng};",
                &[1, 2, 3, 4],
            ),
            (
                "src/crypto/keys.rs",
                "// std::fs, tokio::spawn and SystemTime belong to the shell\nlet s = \"SystemTime\";",
                &[],
            ),
            ("src/net/mod.rs", "use tokio::net::TcpStream;\nuse std::fs;\nlet t = Instant::now();", &[]),
            ("src/wire.rs", "use std::net::*;\nuse std::time::*;\nuse rand::*;\nuse std::fmt::*;", &[1, 2, 3]),
            ("src/cli/mod.rs", "use std::time::SystemTime;", &[]),
        ],
    );
}

#[test]
fn a_cipher_crate_outside_the_crypto_room_is_caught() {
    check(
        ciphers_outside_crypto,
        &[
            ("src/crypto/aead.rs", "use chacha20poly1305::ChaCha20Poly1305;\nuse snow;", &[]),
            (
                "src/link/mod.rs",
                "use snow::Builder;\nuse subtle as s;\nlet h = blake3::hash(b\"x\");\nlet i = ::sha1::Sha1::new();",
                &[1, 2, 3, 4],
            ),
            ("src/lib.rs", "pub use ed25519_dalek::VerifyingKey;", &[1]),
            (
                "src/onion.rs",
                "let sha1 = crypto::sha1(x);\nuse crate::crypto::{hash::sha2, Key};\nlet h = sha2::of(hmac);",
                &[],
            ),
            ("src/sim.rs", "use rand::rngs::ChaCha20Rng;\n// snow::Builder\nuse zeroize::Zeroize;", &[]),
        ],
    );
}

#[test]
fn a_crate_on_the_ground_floor_is_caught() {
    let crates = dependencies(
        "[package]\nname = \"x\"\n[dependencies]\nserde = \"1\"\npost-card = { version = \"1\" }\n\n[dependencies.rand]\nversion = \"1\"\n\n[dev-dependencies]\nproptest = \"1\"\n",
    );
    assert_eq!(crates, ["post_card", "rand", "serde"].map(str::to_owned).into());
    check(
        |path, text| crates_on_the_ground_floor(path, text, &crates),
        &[
            (
                "src/keyspace.rs",
                "use rand::Rng;\nuse serde::Serialize;\nuse std::fmt;\nlet x = post_card::to_vec(rand);",
                &[1, 4],
            ),
            ("src/wire.rs", "use rand::Rng;", &[]),
        ],
    );
}

#[test]
fn a_file_that_is_too_long_is_caught() {
    check(
        long_files,
        &[
            ("src/a.rs", &"x\n".repeat(FILE_LINES_MAX), &[]),
            ("src/a.rs", &"x\n".repeat(FILE_LINES_MAX + 1), &[FILE_LINES_MAX + 1]),
        ],
    );
}

#[test]
fn a_function_that_is_too_long_is_caught() {
    let of_lines =
        |lines: usize, filling: &str| format!("\n    fn f(x: [u8; 3]) -> u8 {{\n{}    }}\n", filling.repeat(lines - 2));
    let odd_braces =
        of_lines(FUNCTION_LINES_MAX, "\"}\"; // }\n") + "\nfn g() { '{' }\n" + &"\n".repeat(FUNCTION_LINES_MAX);
    let declared = format!("trait T {{\n    fn f(&self);\n{}}}\n", "\n".repeat(FUNCTION_LINES_MAX));
    let inner = of_lines(9, "{\n}\n").replace("u8 {", "u8 {\nfn inner() {\n") + &"\n".repeat(99) + "}\n";
    check(
        long_functions,
        &[
            ("src/a.rs", &of_lines(FUNCTION_LINES_MAX, "\n"), &[]),
            ("src/a.rs", &of_lines(FUNCTION_LINES_MAX + 1, "\n"), &[2]),
            ("src/a.rs", &odd_braces, &[]),
            ("src/a.rs", &odd_braces.replacen("// }", "\n", 1), &[2]),
            ("src/a.rs", &declared, &[]),
            ("src/a.rs", &inner, &[2]),
        ],
    );
}

#[test]
fn a_file_that_does_not_say_what_it_is_is_caught() {
    check(
        silent_openings,
        &[("src/a.rs", "//! A thing.", &[]), ("src/a.rs", "// A thing.", &[1]), ("src/a.rs", "", &[1])],
    );
}

#[test]
fn unfinished_ignored_and_sleeping_code_is_caught() {
    check(
        unfinished,
        &[
            (
                "src/a.rs",
                "// TODO: x\nlet a = \"FIXME\";\n/* XXX */\ntodo!();\nunimplemented!(\"x\");",
                &[1, 2, 3, 4, 5],
            ),
            ("src/a.rs", "// XXXX_TODOS, my_todo!, a todo list", &[]),
            ("tests/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}\n// #[ignore] is refused", &[2]),
            ("tests/a.rs", "#[cfg_attr(debug_assertions, ignore)]\n#[cfg_attr(unix, should_panic)]", &[1]),
            (
                "fuzz/a.rs",
                "std::thread::sleep(d);\nuse std::{thread::{sleep, spawn}};\nuse std::thread::sleep_ms as s;",
                &[1, 2, 3],
            ),
            ("src/net/a.rs", "tokio::time::sleep(d).await;\ntokio::time::sleep_until(at).await;", &[1]),
            ("src/client/a.rs", "use tokio::time::{sleep_until, timeout};\nlet sleep = 1;", &[1]),
            ("tests/tidy.rs", "// TODO", &[]),
        ],
    );
}

#[test]
fn a_name_that_says_nothing_is_caught() {
    check(
        empty_names,
        &[
            ("src/wire/utils.rs", "", &[1]),
            ("tests/common/mod.rs", "", &[1]),
            ("src/wire/mod.rs", "mod cell;\npub mod helper;\nmod misc {\n}\n// mod util;", &[2, 3]),
            ("src/node/commons.rs", "let manager = 1;", &[]),
        ],
    );
}

#[test]
fn a_citation_that_leads_nowhere_is_caught() {
    let page = "# Onion\n\n## 4 Packets\n### 4.2 Filler\n## 5. Replies\nsee 4.3\n";
    let spec = BTreeMap::from([("spec/onion.md".to_owned(), page.to_owned())]);
    check(
        |path, text| dead_citations(path, text, &spec),
        &[
            ("src/a.rs", "// spec/onion.md §4.2, §4 and §5. Also (spec/onion.md).", &[]),
            ("src/a.rs", "//! `spec/onion.md` §4.3\n// spec/onion.md, §5, §6\n// spec/onion.md §", &[1, 2, 3]),
            ("src/a.rs", "/// Source: spec/dht.md §4.\nlet x = 1; // spec/onion.md, spec/onions.md", &[1, 2]),
            ("src/a.rs", "include_str!(\"../spec/x.json\"); // https://example.org/spec/y.md, the spec/ folder", &[]),
        ],
    );
}

#[test]
fn a_limit_that_the_spec_does_not_name_is_caught() {
    check(
        |path, text| unspecified_limits(path, text, "| `CELL_LEN` | 2,048 |\n| `BODY_LEN_MAX` |"),
        &[(
            "src/limits.rs",
            "pub const CELL_LEN: usize = 2;\npub const BODY_LEN: usize = 1;\nconst _: () = ();\npub const fn f(a: u8) {}",
            &[2],
        )],
    );
}

#[test]
fn a_private_place_is_caught() {
    check(
        private_places,
        &[
            (
                "README.md",
                concat!("see .", "./shared/x.md\nin /", "work/x\ncd /", "root/x; ls /", "home/me\n~/", "Users/me"),
                &[1, 2, 3, 4],
            ),
            (".cargo/config.toml", concat!("[regist", "ries.x]\nindex = \"sparse", "+https://example.org/\""), &[1, 2]),
            ("x.json", concat!("https://index", ".crates.io/x\nhttps://static", ".crates.io/y"), &[1, 2]),
            ("Cargo.lock", concat!("source = \"registry", "+https://github.com/rust-lang/crates.io-index\""), &[]),
            ("Cargo.lock", concat!("\nsource = \"registry", "+https://example.org/index\""), &[2]),
            ("README.md", "https://crates.io/crates/bauta, framework/x, ../shared_state, the homework/ folder", &[]),
        ],
    );
}

#[test]
fn every_name_in_the_tables_is_one_that_code_can_have() {
    let rooms: Vec<&str> = FLOORS.iter().flat_map(|(_, rooms)| *rooms).copied().collect();
    assert_eq!(rooms.iter().collect::<BTreeSet<_>>().len(), rooms.len(), "a room stands on one floor only");
    assert!(FLOORS.iter().any(|(floor, _)| *floor == SHELL));
    let manifest = include_str!("../../Cargo.toml");
    for name in CIPHERS {
        assert!(dependencies(manifest).contains(name), "{name} is no dependency any more: take it out of CIPHERS");
    }
}
