//! The rules of the house as tests. Each rule is a function of one file's path and text; it reads no disk and knows no other file.
//!
//! First the rules over the whole tree, then the rules themselves, then the house they know. `tidy/planted.rs` proves every rule awake,
//! `tidy/source.rs` reads Rust for them.

use std::collections::{BTreeMap, BTreeSet};
use std::{fs, io, path::Path};

use source::{Function, Used, code_only, functions, is_name_char, paths, tokens};

#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/source.rs"]
mod source;

/// The rooms of `src/`, lowest floor first, each floor from left to right. Imports point down, or left on the same floor.
const FLOORS: [(&str, &[&str]); 8] = [
    ("0", &["time", "limits", "keyspace"]),
    ("1", &["crypto"]),
    ("2", &["wire"]),
    ("3a", &["record", "link", "onion", "membership", "dht"]),
    ("3b", &["request", "content", "inspect"]),
    ("4", &["node", "sim"]),
    (SHELL, &["disk", "net", "client", "gateway", "probe", "conform"]),
    ("6", &["cli"]),
];
/// The first floor that may touch the world: sockets, files, clocks, threads, entropy.
const SHELL: &str = "5";
/// What the floors below the shell must not name.
const WORLD: [&str; 14] = [
    "tokio",
    "tracing",
    "net::TcpStream",
    "net::TcpListener",
    "net::UdpSocket",
    "net::*",
    "std::fs",
    "std::thread",
    "Instant::now",
    "std::time::*",
    "SystemTime",
    "SysRng",
    "rand::rng",
    "rand::*",
];
/// Crates that only `src/crypto` may name.
const CIPHERS: [&str; 13] = [
    "snow",
    "x25519_dalek",
    "ed25519_dalek",
    "curve25519_dalek",
    "chacha20poly1305",
    "chacha20",
    "blake2",
    "blake3",
    "hmac",
    "sha1",
    "sha2",
    "argon2",
    "subtle",
];
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];
const UNFINISHED: [&str; 5] = ["TODO", "FIXME", "XXX", "todo!", "unimplemented!"];
const SLEEPS: [&str; 3] = ["thread::sleep", "thread::sleep_ms", "time::sleep"];
/// These files name, or plant, what they look for.
const OURSELVES: &str = "tests/tidy";
const CODE: [&str; 3] = ["src", "tests", "fuzz"];
/// What tools leave behind, and corpora.
const NOT_OURS: [&str; 7] =
    [".git", "target", "benches/peers/target", "fuzz/target", "fuzz/corpus", "fuzz/artifacts", "fuzz/coverage"];
/// Paths of somebody's machine and marks of a private registry, in halves so that this file holds none of them.
const PRIVATE: [&str; 10] = [
    concat!("..", "/shared"),
    concat!("/", "work/"),
    concat!("/", "root/"),
    concat!("/", "home/"),
    concat!("/", "Users/"),
    concat!("index", ".crates.io"),
    concat!("static", ".crates.io"),
    concat!("registry", "+https://"),
    concat!("sparse", "+https://"),
    concat!("[regist", "ries"),
];
/// How a lock file names the public registry.
const PUBLIC_SOURCE: &str = concat!("registry", "+https://github.com/rust-lang/crates.io-index");

#[derive(Debug)]
struct Violation {
    line: usize,
    what: String,
}

// ---- the tree ----

#[test]
fn every_room_stands_on_a_floor() -> io::Result<()> {
    enforce(&["src"], unknown_rooms)
}

#[test]
fn imports_point_down_or_left() -> io::Result<()> {
    enforce(&["src"], imports_upwards)
}

#[test]
fn below_the_shell_nothing_touches_the_world() -> io::Result<()> {
    enforce(&["src"], world_below_the_shell)
}

#[test]
fn only_the_crypto_room_names_cipher_crates() -> io::Result<()> {
    enforce(&["src"], ciphers_outside_crypto)
}

#[test]
fn the_ground_floor_needs_std_alone() -> io::Result<()> {
    let crates = dependencies(&fs::read_to_string(root().join("Cargo.toml"))?);
    assert!(crates.contains("serde") && crates.contains("ed25519_dalek"), "Cargo.toml was misread: {crates:?}");
    enforce(&["src"], |path, text| crates_on_the_ground_floor(path, text, &crates))
}

#[test]
fn no_file_is_too_long() -> io::Result<()> {
    enforce(&["src", "tests"], long_files)
}

#[test]
fn no_function_is_too_long() -> io::Result<()> {
    enforce(&["src"], long_functions)
}

#[test]
fn every_file_says_first_what_it_is() -> io::Result<()> {
    enforce(&["src"], silent_openings)
}

#[test]
fn nothing_is_left_for_later_ignored_or_slept_through() -> io::Result<()> {
    enforce(&CODE, unfinished)
}

#[test]
fn names_say_what_is_inside() -> io::Result<()> {
    enforce(&CODE, empty_names)
}

#[test]
fn every_cited_section_of_the_spec_exists() -> io::Result<()> {
    let spec: BTreeMap<String, String> = files_under("spec")?.into_iter().collect();
    enforce(&["src"], |path, text| dead_citations(path, text, &spec))
}

#[test]
fn every_limit_stands_in_the_spec() -> io::Result<()> {
    let spec = fs::read_to_string(root().join("spec/limits.md")).unwrap_or_default();
    enforce(
        &[
            "src/limits.rs",
            "src/limits/demand.rs",
            "src/limits/fuzz.rs",
            "src/limits/paying.rs",
            "src/limits/simulation.rs",
            "src/limits/store.rs",
            "src/limits/tools.rs",
            "src/limits/upkeep.rs",
        ],
        |path, text| unspecified_limits(path, text, &spec),
    )
}

#[test]
fn nothing_names_a_private_place() -> io::Result<()> {
    enforce(&["."], private_places)
}

// ---- the rules ----

fn unknown_rooms(path: &str, _: &str) -> Vec<Violation> {
    let unknown = room_of(path).filter(|room| place(room).is_none());
    violations(unknown.map(|room| (1, format!("room `{room}` stands on no floor: give it a place in {OURSELVES}.rs"))))
}

fn imports_upwards(path: &str, text: &str) -> Vec<Violation> {
    let Some(own) = room_of(path).and_then(place) else { return Vec::new() };
    let mut found = Vec::new();
    for used in paths(text) {
        let Some(target) = used.room(module_depth(path)) else { continue };
        match place(target) {
            None => found.push((
                used.line,
                format!("`{target}` is no room: import from the room that owns the thing, not from the crate's root"),
            )),
            Some(other) if other > own => found.push((
                used.line,
                format!("`{target}` stands above this room or right of it: move the shared part down, or pass it in"),
            )),
            Some(_) => (),
        }
    }
    violations(found)
}

fn world_below_the_shell(path: &str, text: &str) -> Vec<Violation> {
    if !room_of(path).and_then(floor_of).is_some_and(is_below_the_shell) {
        return Vec::new();
    }
    let named = |used: &Used| WORLD.into_iter().find(|what| used.names(what));
    violations(paths(text).iter().filter_map(|used| {
        named(used).map(|what| (used.line, format!("`{what}` below floor {SHELL}: make it an input or an output")))
    }))
}

fn ciphers_outside_crypto(path: &str, text: &str) -> Vec<Violation> {
    if room_of(path) == Some("crypto") {
        return Vec::new();
    }
    let paths = paths(text);
    // A module of ours may bear the name of its algorithm, once it has been imported from the crypto room.
    let is_ours = |name: &str| {
        paths.iter().any(|used| {
            used.names("crate::crypto") && used.is_import && used.segments.last().is_some_and(|last| last == name)
        })
    };
    let named = |used: &Used| CIPHERS.into_iter().find(|name| used.is_of_crate(name) && !is_ours(name));
    violations(paths.iter().filter_map(|used| {
        named(used)
            .map(|name| (used.line, format!("crate `{name}` outside src/crypto: give crypto a function for this")))
    }))
}

fn crates_on_the_ground_floor(path: &str, text: &str, crates: &BTreeSet<String>) -> Vec<Violation> {
    if room_of(path).and_then(floor_of) != Some("0") {
        return Vec::new();
    }
    let named = |used: &Used| crates.iter().find(|name| *name != "serde" && used.is_of_crate(name)).cloned();
    violations(paths(text).iter().filter_map(|used| {
        named(used).map(|name| (used.line, format!("crate `{name}` on floor 0: write it with std, or move it up")))
    }))
}

fn long_files(_: &str, text: &str) -> Vec<Violation> {
    let lines = text.lines().count();
    let what = format!("{lines} lines, {FILE_LINES_MAX} are allowed: split the file by what its parts know");
    violations((lines > FILE_LINES_MAX).then_some((FILE_LINES_MAX + 1, what)))
}

fn long_functions(_: &str, text: &str) -> Vec<Violation> {
    violations(functions(text).into_iter().filter(|function| function.lines > FUNCTION_LINES_MAX).map(|function| {
        let Function { name, line, lines } = function;
        (
            line,
            format!(
                "`{name}` has {lines} lines, {FUNCTION_LINES_MAX} are allowed: let it branch and its leaves compute"
            ),
        )
    }))
}

fn silent_openings(_: &str, text: &str) -> Vec<Violation> {
    let what = "open with `//!`: what this file is, and what it must not know".to_owned();
    violations((!text.starts_with("//!")).then_some((1, what)))
}

fn unfinished(path: &str, text: &str) -> Vec<Violation> {
    if path.starts_with(OURSELVES) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (line, words) in (1..).zip(text.lines()) {
        for word in UNFINISHED.into_iter().filter(|word| has_word(words, word)) {
            found.push((line, format!("`{word}`: finish it, or leave it out and say so in the docs")));
        }
    }
    for (line, words) in (1..).zip(code_only(text).lines()) {
        if words.contains("#[ignore") || (words.contains("cfg_attr") && has_word(words, "ignore")) {
            found.push((line, "a test that does not run: make it fast, or delete it".to_owned()));
        }
    }
    let in_net = room_of(path) == Some("net");
    for used in paths(text) {
        let deadline = used.names("time::sleep_until");
        let sleeps = deadline || SLEEPS.iter().any(|sleep| used.names(sleep));
        if sleeps && !(deadline && in_net) {
            found.push((used.line, "a sleep: wait for the event itself, with a deadline".to_owned()));
        }
    }
    violations(found)
}

fn empty_names(path: &str, text: &str) -> Vec<Violation> {
    let say = |name: &str| format!("`{name}` says nothing: name it after what it does");
    let stems = path.split('/').map(|part| part.trim_end_matches(".rs")).filter(|stem| EMPTY_NAMES.contains(stem));
    let tokens = tokens(text);
    let modules = tokens
        .iter()
        .zip(tokens.iter().skip(1))
        .filter(|(key, name)| key.word == "mod" && EMPTY_NAMES.contains(&name.word.as_str()));
    violations(stems.map(|stem| (1, say(stem))).chain(modules.map(|(_, name)| (name.line, say(&name.word)))))
}

fn dead_citations(_: &str, text: &str, spec: &BTreeMap<String, String>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (line, words) in (1..).zip(text.lines()) {
        for (file, sections) in citations(words) {
            let Some(page) = spec.get(&file) else {
                found.push((line, format!("`{file}` does not exist: write it, or cite the page that says this")));
                continue;
            };
            for section in sections.iter().filter(|section| !has_section(page, section)) {
                found
                    .push((line, format!("`{file}` has no section {section}: cite the heading that stands there now")));
            }
        }
    }
    violations(found)
}

fn unspecified_limits(_: &str, text: &str, spec: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (line, words) in (1..).zip(text.lines()) {
        let Some((name, _)) = words.trim().strip_prefix("pub const ").and_then(|rest| rest.split_once(':')) else {
            continue;
        };
        if !name.starts_with("fn ") && !has_word(spec, name) {
            found.push((line, format!("`{name}` is not in spec/limits.md: add a row with its value, unit and reason")));
        }
    }
    violations(found)
}

fn private_places(_: &str, text: &str) -> Vec<Violation> {
    violations((1..).zip(text.lines()).filter_map(|(line, words)| {
        let words = words.replace(PUBLIC_SOURCE, "");
        let place = PRIVATE.into_iter().find(|place| has_word(&words, place))?;
        Some((line, format!("`{place}` means nothing in a fresh clone: name a place inside the repository, or none")))
    }))
}

// ---- the house ----

/// The room a file of `src/` belongs to; the crate's two roots belong to none.
fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let room = inside.split('/').next()?.trim_end_matches(".rs");
    (inside != "lib.rs" && inside != "main.rs").then_some(room)
}

/// Rank of a room: a room may import from those of lower rank, and from itself.
fn place(room: &str) -> Option<usize> {
    FLOORS.iter().flat_map(|(_, rooms)| *rooms).position(|known| *known == room)
}

fn floor_of(room: &str) -> Option<&'static str> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

fn is_below_the_shell(floor: &str) -> bool {
    FLOORS.iter().take_while(|(name, _)| *name != SHELL).any(|(name, _)| *name == floor)
}

/// How many modules deep the file's own items lie.
fn module_depth(path: &str) -> usize {
    path.trim_start_matches("src/").trim_end_matches("/mod.rs").split('/').count()
}

/// Names of the crates that a manifest's `[dependencies]` bring in, as code spells them.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut in_table = false;
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[') {
            in_table = table.starts_with("dependencies]");
            names.extend(table.strip_prefix("dependencies.").map(|name| name.trim_end_matches(']').replace('-', "_")));
        } else if let Some((key, _)) = line.split_once('=').filter(|_| in_table) {
            names.insert(key.trim().replace('-', "_"));
        }
    }
    names
}

/// Cited pages of the spec in one line, each with the numbers of the sections that follow it.
fn citations(line: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("spec/") {
        rest = after;
        let name: String = after.chars().take_while(|c| c.is_ascii_alphanumeric() || "._-/".contains(*c)).collect();
        let name = name.trim_end_matches('.');
        if !name.contains('.') || before.ends_with(|c: char| c.is_alphanumeric() || "_-/.".contains(c)) {
            continue;
        }
        let mut sections = Vec::new();
        let mut tail = after.strip_prefix(name).unwrap_or_default();
        while let Some(numbered) = tail.trim_start_matches(['`', ' ', ',']).trim_start_matches("and ").strip_prefix('§')
        {
            let numbered = numbered.trim_start();
            let number: String = numbered.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
            tail = numbered.strip_prefix(number.as_str()).unwrap_or_default();
            sections.push(number.trim_end_matches('.').to_owned());
        }
        found.push((format!("spec/{name}"), sections));
    }
    found
}

fn has_section(page: &str, number: &str) -> bool {
    let headings =
        page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim_start());
    headings.filter_map(|title| title.split_whitespace().next()).any(|first| first.trim_end_matches('.') == number)
}

/// Whether `word` stands in `text` and is not a part of a longer name.
fn has_word(text: &str, word: &str) -> bool {
    let mut rest = text;
    let mut before = ' ';
    while let Some((left, right)) = rest.split_once(word) {
        before = left.chars().last().unwrap_or(before);
        let is_whole = !right.starts_with(is_name_char) || !word.ends_with(is_name_char);
        if !is_name_char(before) && is_whole {
            return true;
        }
        before = word.chars().last().unwrap_or(before);
        rest = right;
    }
    false
}

fn violations(found: impl IntoIterator<Item = (usize, String)>) -> Vec<Violation> {
    found.into_iter().map(|(line, what)| Violation { line, what }).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs one rule over every file at or under the given places, and fails with all that it found.
fn enforce(places: &[&str], rule: impl Fn(&str, &str) -> Vec<Violation>) -> io::Result<()> {
    let mut files = Vec::new();
    for place in places {
        files.extend(files_under(place)?);
    }
    files.retain(|(path, _)| path.ends_with(".rs") || places.contains(&"."));
    assert!(!files.is_empty(), "{places:?} hold no file: the rule would watch over nothing");
    let mut found = Vec::new();
    for (path, text) in files {
        found.extend(rule(&path, &text).into_iter().map(|Violation { line, what }| format!("{path}:{line}: {what}")));
    }
    assert!(found.is_empty(), "{} violations\n{}", found.len(), found.join("\n"));
    Ok(())
}

/// Path below the repository and text of every file that is text. A place that is not there is empty.
fn files_under(place: &str) -> io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let mut pending = vec![if place == "." { String::new() } else { place.to_owned() }];
    while let Some(path) = pending.pop() {
        let on_disk = root().join(&path);
        if on_disk.is_dir() {
            for entry in fs::read_dir(on_disk)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                let inside = if path.is_empty() { name } else { format!("{path}/{name}") };
                if !NOT_OURS.contains(&inside.as_str()) {
                    pending.push(inside);
                }
            }
        } else if let Ok(bytes) = fs::read(on_disk) {
            files.extend(String::from_utf8(bytes).ok().map(|text| (path, text)));
        }
    }
    files.sort();
    Ok(files)
}
