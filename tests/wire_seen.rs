//! What can be seen of the wire by whoever may: messages taken apart, keys logged of test networks and of no other, and a capture that the
//! dissector for Wireshark shows as this program reads it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod binary;
#[path = "wire_seen/capture.rs"]
mod capture;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use binary::{Devnet, Running, User, until};
use capture::{Seen, cut_anew, keys_of, seen_in};
use serde_json::Value;

/// All links of a client in a devnet of twelve relays: it asked three bootstraps for the membership, and got a file through its guard. With
/// their keys.
const CAPTURE: &str = "tests/wire_seen/get.pcap";
const KEYS: &str = "tests/wire_seen/get.keys";
const EXPECTED: &str = "tests/wire_seen/get.expected";

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn expected() -> Vec<String> {
    std::fs::read_to_string(here(EXPECTED)).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_capture_opens_with_its_key_log_and_shows_each_cell() {
    let (capture, keys) = (std::fs::read(here(CAPTURE)).unwrap(), std::fs::read_to_string(here(KEYS)).unwrap());
    let lines: Vec<String> = seen_in(&capture, &keys_of(&keys)).iter().map(Seen::line).collect();
    assert_eq!(lines, expected());
    for kind in ["handshake 1", "handshake 2", "Hello", "Ask Members", "Answer Members", "Build", "Reply0", "Backward"]
    {
        assert!(lines.iter().any(|line| line.contains(kind)), "{kind}");
    }
    // Without the right key nothing opens: what was expected comes from the keys.
    let mut swapped = keys_of(&keys);
    swapped.values_mut().flatten().for_each(|pair| pair.swap(0, 1));
    let sealed = seen_in(&capture, &swapped);
    assert!(sealed.iter().filter(|seen| seen.number > 0).all(|seen| seen.kind == "cell, sealed"));
}

/// What tshark shows of a capture, with the dissector; none where it is not installed.
fn dissected(capture: &Path) -> Option<Vec<String>> {
    let fields = ["tcp.stream", "bauta.from", "bauta.frame", "bauta.kind"];
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture);
    command.arg("-X").arg(format!("lua_script:{}", here("contrib/wireshark/bauta.lua").display()));
    command.arg("-o").arg(format!("bauta.keylog:{}", here(KEYS).display()));
    command.args(["-Y", "bauta", "-T", "fields", "-E", "aggregator=;"]);
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    let output = command.output().ok()?;
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success() && !err.contains("Lua"), "{err}");
    let mut lines: Vec<Seen> = out.lines().flat_map(Seen::of_tshark).collect();
    lines.sort();
    Some(lines.iter().map(Seen::line).collect())
}

#[test]
fn tshark_with_the_dissector_shows_what_this_program_reads() {
    let Some(lines) = dissected(&here(CAPTURE)) else { return println!("skipped: tshark is not installed") };
    assert_eq!(lines, expected());
}

#[test]
fn however_frames_are_cut_into_segments_each_has_its_number() {
    let (capture, keys) = (std::fs::read(here(CAPTURE)).unwrap(), std::fs::read_to_string(here(KEYS)).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (path, cut) = (folder.path().join("cut.pcap"), cut_anew(&capture));
    assert_ne!(cut.len(), capture.len(), "some packets more");
    let lines: Vec<String> = seen_in(&cut, &keys_of(&keys)).iter().map(Seen::line).collect();
    assert_eq!(lines, expected());
    std::fs::write(&path, cut).unwrap();
    let Some(lines) = dissected(&path) else { return println!("skipped: tshark is not installed") };
    assert_eq!(lines, expected());
}

#[test]
fn a_message_is_taken_apart_byte_by_byte_from_digits_a_file_and_standard_input() {
    let user = User::nobody();
    let told = user.run(&["decode", "0300"]).fine().out;
    assert!(told.contains("question") && told.contains("Members") && told.contains("after a key"), "{told}");
    user.file("digits", b"03 00\n");
    user.file("bytes", &[3, 0]);
    let whole = user.run(&["decode", "0300", "--json"]).json();
    for same in [&["decode", "digits"][..], &["decode", "bytes"], &["decode", "0300", "--as", "question"]] {
        let object = user.run(&[same, &["--json"]].concat()).json();
        assert_eq!((&object["kind"], &object["fields"]), (&whole["kind"], &whole["fields"]), "{same:?}");
    }
    let piped = binary::run_with(&mut user.command(&["decode", "-", "--json"]), b"0300").json();
    assert_eq!(piped["fields"], whole["fields"]);
    let field = |at: usize, key: &str| whole["fields"][at][key].clone();
    assert_eq!((field(0, "offset"), field(0, "hex"), field(0, "words")), (0.into(), "03".into(), "Members".into()));
    assert_eq!(
        (field(1, "offset"), field(1, "field"), field(1, "words")),
        (1.into(), "after a key".into(), "no".into())
    );
    assert_eq!(whole["refused"], Value::Null);
    assert!(!user.state().exists(), "nothing is kept of it");
}

#[test]
fn what_is_no_message_ends_as_damaged_with_the_offset_and_the_reason() {
    let user = User::nobody();
    let object = user.run(&["decode", "0302", "--as", "question", "--json"]).object(5, "damaged");
    assert_eq!(object["refused"]["error_id"], "Malformed::Value");
    assert_eq!((&object["refused"]["offset"], &object["fields"][0]["words"]), (&1.into(), &"Members".into()));
    let told = user.run(&["decode", "030000", "--as", "question"]).with(5);
    assert!(told.out.contains("after a key") && told.err.contains("at offset 2 (Malformed::Trailing)"), "{told:?}");
    let key = user.run(&["key", "new", "mine"]).fine();
    assert!(key.err.is_empty() || !key.err.contains("panicked"));
    let text = user.run(&["key", "export", "mine"]).fine().out;
    let shown = user.run(&["decode", text.trim()]).fine().out;
    assert!(shown.contains("not shown"), "{shown}");
    for (arguments, part) in [
        (&["decode", "0300", "--as", "questoin"][..], "did you mean \"question\"?"),
        (&["decode", "missing"], "missing: neither pairs of hexadecimal digits"),
        (&["decode", "/dev/zero"], "is no regular file"),
        (&["decode"], "<HEX|FILE|->"),
        (&["decode", "0300", "--keylog", "keys"], "opens no links"),
    ] {
        let told = user.run(arguments).with(2);
        assert!(told.out.is_empty() && told.err.contains(part), "{arguments:?}: no {part:?} in {told:?}");
    }
    user.file("state", b"bau\x01 with a key behind it");
    let told = user.run(&["decode", "state"]).with(2);
    assert!(told.out.is_empty() && told.err.contains("a file of bauta's state"), "{told:?}");
    std::fs::File::create(user.path("large")).unwrap().set_len((256 << 10) + 1).unwrap();
    assert!(user.run(&["decode", "large"]).with(2).err.contains("more than 262144 bytes: longer than any message"));
    let spaced = |spaces: usize| format!("03{}00", " ".repeat(spaces));
    user.file("spaced", spaced((1 << 20) - 4).as_bytes());
    assert!(user.run(&["decode", "spaced"]).fine().out.contains("Members"));
    user.file("spaced", spaced((1 << 20) - 3).as_bytes());
    assert!(user.run(&["decode", "spaced"]).with(2).err.contains("more than 1048576 bytes of text"));
}

#[test]
fn what_is_not_seen_in_a_message_of_strangers_is_escaped() {
    let user = User::nobody();
    // A root whose file is named so: an override of the direction of writing, C1 controls, a space without width, a filler.
    for (name, escaped) in [
        ("e280ae616263", "\\u{202e}abc"),
        ("c29b333161626364", "\\u{9b}31abcd"),
        ("e2808b616263", "\\u{200b}abc"),
        ("e385a4616263", "\\u{3164}abc"),
    ] {
        let root = format!("02{:02x}{name}000000", name.len() / 2);
        // Whole, cut off so that none of the kinds fits, and as the kind that it is.
        for arguments in [&[&root[..]][..], &[&root[..root.len() - 2]], &[&root[..], "--as", "root"]] {
            let arguments = [&["decode"], arguments].concat();
            let told = user.run(&arguments);
            let json = user.run(&[&arguments[..], &["--json"]].concat());
            for text in [&told.out, &told.err, &json.out, &json.err] {
                let is_seen = |c: char| c == '\n' || (!c.is_control() && !"\u{202e}\u{200b}\u{3164}".contains(c));
                assert!(text.chars().all(is_seen), "{arguments:?}: {text:?}");
            }
        }
        let told = user.run(&["decode", &root, "--as", "root"]);
        assert!(told.out.contains(escaped), "{told:?}");
    }
    // Nor in what a user gives.
    let told = user.run(&["decode", "\u{202e}\u{9b}31m"]).with(2);
    assert!(told.err.contains("\\u{202e}\\u{9b}31m"), "{told:?}");
}

#[test]
fn who_dials_is_checked_and_nobody_is_told_of_as_unreachable() {
    let user = User::nobody();
    for (arguments, part) in [
        (&["conform", "--listen", "localhost:1"][..], "names are not looked up"),
        (&["conform", "--listen", "192.0.2.1:4433"], "--i-own-this-host"),
        (&["conform", "--listen", "127.0.0.1:0", "--only", "MSG-R-028"], "--addr checks it"),
        (&["conform", "--listen", "127.0.0.1:0", "--minutes", "1441"], "no number above 0 and up to 1440"),
        (&["conform", "--listen", "127.0.0.1:0", "--addr", "127.0.0.1:1"], "cannot be used with"),
        (&["conform", "--addr", "127.0.0.1:1", "--settings", "x"], "--settings"),
    ] {
        let told = user.run(arguments).with(2);
        assert!(told.out.is_empty() && told.err.contains(part), "{arguments:?}: no {part:?} in {told:?}");
    }
    let listen = ["conform", "--listen", "127.0.0.1:0", "--minutes", "0.01", "--settings", "checked.toml", "--json"];
    let told = user.run(&listen);
    assert!(told.err.contains("bootstraps = ["), "{told:?}");
    assert!(told.object(4, "unreachable")["error"].as_str().unwrap().contains("nobody came"));
    let settings = std::fs::read_to_string(user.path("checked.toml")).unwrap();
    let nodes = settings.lines().filter(|line| line.trim().starts_with("\"127.")).count();
    assert_eq!(nodes, 8, "{settings}");
    // A file that is there is not written over.
    assert!(user.run(&listen).err.contains("checked.toml"));
    let list = user.run(&["conform", "--list"]).fine().out;
    assert!(list.contains("CELL-R-002   --addr ") && list.contains("CELL-R-002   --listen "), "{list}");
}

#[test]
fn a_relay_of_a_network_is_checked_and_whom_nobody_named_is_not() {
    let net = Devnet::start(&["--nodes", "12"]);
    let user = net.user();
    let settings = std::fs::read_to_string(net.folder().join("client.toml")).unwrap();
    let address = settings.lines().find_map(|line| line.trim().strip_prefix('"')?.split('/').next()).unwrap();
    let told = user.run(&["conform", "--addr", address, "--only", "MSG-R-028,CELL-R-007", "--quiet"]).fine().out;
    assert!(told.contains("CELL-R-007   pass") && told.contains("2 pass, 0 fail, 0 not offered, 0 not seen"), "{told}");
    let object = user.run(&["conform", "--addr", address, "--only", "LINK-W-002", "--json"]).json();
    // Its neighbours in the check come with it.
    let verdict = |rule: &Value| rule["verdict"] == "pass" && rule["seen"].is_null();
    assert!(object["rules"].as_array().unwrap().iter().all(verdict), "{object}");
    let key = "07".repeat(32);
    let wrong = user.run(&["conform", "--addr", address, "--key", &key, "--only", "MSG-R-028", "--json"]);
    assert!(wrong.object(4, "unreachable")["error"].as_str().unwrap().contains("check --addr, key, network"));
    for (arguments, part) in [
        (&["conform"][..], "<--addr <IP:PORT>|--listen <IP:PORT>|--list>"),
        (&["conform", "--addr", "localhost:1"], "names are not looked up"),
        (&["conform", "--addr", "192.0.2.1:4433"], "--i-own-this-host"),
        (&["conform", "--addr", "127.0.0.1:1"], "give --key LINK-KEY"),
        (&["conform", "--addr", address, "--key", "07"], "64 hexadecimal digits"),
        (&["conform", "--addr", address, "--only", "MSG-R-999"], "is no rule that can be checked"),
        (&["conform", "--addr", address, "--only", "LINK-W-032"], "--listen checks it"),
    ] {
        let told = user.run(arguments).with(2);
        assert!(told.out.is_empty() && told.err.contains(part), "{arguments:?}: no {part:?} in {told:?}");
    }
    assert!(user.run(&["conform", "--list"]).fine().out.contains("MSG-R-028"));
    // Interrupted, it tells what it has seen.
    let log = std::fs::File::create(user.path("log")).unwrap();
    let mut checking = Running::start(user.command(&["conform", "--addr", address, "--json"]).stderr(log));
    until(|| user.content("log").starts_with(b"1 of "));
    checking.signal(rustix::process::Signal::INT);
    let told: Value = serde_json::from_str(&checking.line().unwrap()).unwrap();
    assert!(told["partial"] == true && told["exit_code"] == 1, "{told}");
    let seen = told["rules"].as_array().unwrap();
    assert!(!seen.is_empty() && seen.iter().all(|rule| rule["verdict"] == "pass"), "{told}");
    assert_eq!(checking.ended().code(), Some(1));
}

#[test]
fn a_network_on_this_machine_logs_a_line_for_each_link_in_a_file_of_its_user_alone() {
    let net = Devnet::start(&["--nodes", "12", "--keylog", "relays.keys"]);
    assert!(net.log().contains("WARNING: the keys of all links"), "{}", net.log());
    let user = net.user();
    user.file("file", b"something");
    let told = user.run(&["publish", "file", "--quiet", "--keylog", "client.keys"]).fine();
    assert!(told.err.contains("WARNING: the keys of all links are appended to client.keys"), "{told:?}");
    let (relays, client) = (net.folder().with_file_name("relays.keys"), user.path("client.keys"));
    for path in [&relays, &client] {
        assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o600);
    }
    let lines = |path: &Path| keys_of(&std::fs::read_to_string(path).unwrap());
    let (relays, client) = (lines(&relays), lines(&client));
    // Everybody knows everybody; and both ends say the same of a link.
    assert!(relays.len() >= 12 && !client.is_empty(), "{} and {}", relays.len(), client.len());
    for (ephemeral, keys) in &client {
        assert_eq!(relays.get(ephemeral), Some(keys));
    }
}

// [LINK-W-052]
#[test]
fn a_price_that_a_network_has_elsewhere_is_not_set_aside_for_keys() {
    let network = "ab".repeat(32);
    let contact = |ip: &str, byte: &str| format!("\"{ip}:4433/{}/{}\"", byte.repeat(20), byte.repeat(32));
    let user = User::with(&format!("network = \"{network}\"\ndifficulty = 8\n"));
    let here = format!("bootstraps={},{}", contact("127.9.0.1", "01"), contact("127.9.1.1", "02")).replace('"', "");
    let mut get = vec!["get", "a name", "--keylog", "keys", "--set", "difficulty=0", "--set", &here];
    let told = user.run(&get).with(2);
    assert!(told.err.contains("`difficulty` is 0 here, and 8 where the network is named"), "{told:?}");
    assert!(!user.path("keys").exists() && !user.state().exists());
    // Another network's price is its own.
    let other = format!("network={}", "cd".repeat(32));
    get.extend(["--set", &other, "--set", "timeout=100ms", "--set", "stagger=0ms"]);
    user.run(&get).with(4);
    assert!(user.path("keys").exists());
}

// [LINK-W-052]
#[test]
fn keys_of_a_network_that_others_may_be_in_are_refused_before_anything_is_done() {
    let network = "ab".repeat(32);
    let contact = |ip: &str, byte: &str| format!("\"{ip}:4433/{}/{}\"", byte.repeat(20), byte.repeat(32));
    let here = format!("bootstraps = [{}, {}]", contact("127.9.0.1", "01"), contact("127.9.1.1", "02"));
    let away = format!("bootstraps = [{}, {}]", contact("127.9.0.1", "01"), contact("192.0.2.1", "02"));
    for (settings, part) in [
        (format!("network = \"{network}\"\ndifficulty = 8\n"), "`difficulty` is not 0"),
        (
            format!("network = \"{network}\"\ndifficulty = 0\n{away}\n"),
            "`bootstraps` names an address that is not loopback",
        ),
        (format!("network = \"{network}\"\ndifficulty = 0\n{here}\nbind = \"192.0.2.7\"\n"), "`bind` names"),
        (
            format!(
                "network = \"{network}\"\ndifficulty = 0\n{here}\nlisten = \"0.0.0.0:1\"\nadvertise = \"127.0.0.1:1\"\n"
            ),
            "`listen` names",
        ),
        (here, "`network` is not set"),
    ] {
        let user = User::with(&settings);
        for command in [&["get", "a name"][..], &["relay", "run"], &["doctor"], &["keep", "now"]] {
            let told = user.run(&[command, &["--keylog", "keys"]].concat()).with(2);
            assert!(told.err.contains(part) && told.err.contains("test networks alone"), "{command:?}: {told:?}");
        }
        assert!(!user.path("keys").exists() && !user.state().exists());
    }
}

// [LINK-W-053]
#[test]
fn a_file_that_others_can_read_takes_no_keys() {
    let user = User::nobody();
    user.file("keys", b"");
    std::fs::set_permissions(user.path("keys"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = user.run(&["demo", "--nodes", "12", "--keylog", "keys"]).with(1);
    assert!(told.err.contains("not a regular file of this user alone"), "{told:?}");
    assert!(user.content("keys").is_empty());
    for command in [&["status"][..], &["settings"], &["key", "list"], &["sim", "--list"], &["keep", "list"]] {
        assert!(user.run(&[command, &["--keylog", "other"]].concat()).with(2).err.contains("opens no links"));
    }
    assert!(!user.path("other").exists());
}
