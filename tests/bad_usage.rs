//! Exit code 2: whatever is asked for wrongly is refused with what is wrong and what would do, before anybody is dialled and
//! anything is written.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod binary;

use std::fs::File;
use std::io::ErrorKind;
use std::net::TcpListener;

use binary::{User, run, run_with};

const NETWORK: &str = "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f";

/// A user whose nodes to start from note whether they are dialled.
struct Watched {
    user: User,
    listeners: Vec<TcpListener>,
    contacts: String,
}

impl Watched {
    fn new() -> Self {
        let bind = |net: u8| TcpListener::bind((format!("127.246.{net}.1"), 0)).unwrap();
        let listeners: Vec<TcpListener> = (1..=3).map(bind).collect();
        let contact = |(number, listener): (usize, &TcpListener)| {
            let address = listener.local_addr().unwrap();
            format!("\"{address}/{}/{}\"", format!("{number:02x}").repeat(20), format!("{number:02x}").repeat(32))
        };
        let contacts = listeners.iter().enumerate().map(contact).collect::<Vec<_>>().join(", ");
        let user = User::with(&format!("network = \"{NETWORK}\"\nbootstraps = [{contacts}]\n"));
        Self { user, listeners, contacts }
    }

    /// Ends with 2 and these words, in both forms.
    #[track_caller]
    fn refuses(&self, arguments: &[&str], part: &str) {
        let told = self.user.run(arguments).with(2);
        assert!(told.out.is_empty() && told.err.contains(part), "{arguments:?}: no {part:?} in {told:?}");
        let object = self.user.run(&[arguments, &["--json"]].concat()).object(2, "usage");
        assert!(object["error"].as_str().unwrap().contains(part), "{arguments:?}: no {part:?} in {object}");
    }

    /// What the parser of arguments refuses it tells people alone.
    #[track_caller]
    fn is_no_command(&self, arguments: &[&str], part: &str) {
        let told = self.user.run(arguments).with(2);
        assert!(told.out.is_empty() && told.err.contains(part), "{arguments:?}: no {part:?} in {told:?}");
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.set_nonblocking(true).unwrap();
            let dialled = !matches!(listener.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock);
            assert!(!dialled || std::thread::panicking(), "somebody was dialled");
        }
        assert!(std::thread::panicking() || !self.user.path("content").exists());
    }
}

#[test]
fn wrong_arguments_are_told() {
    let watched = Watched::new();
    for (arguments, part) in [
        (&[][..], "Usage: bauta"),
        (&["gt", "x"], "gt"),
        (&["get"], "<LINK|NAME>"),
        (&["get", "one", "two"], "unexpected argument 'two'"),
        (&["publish", "file", "--label", "x"], "--key"),
        (&["publish"], "<FILE>"),
        (&["key"], "Usage"),
        (&["watch", "x", "--count", "many"], "many"),
        (&["status", "--wrong"], "--wrong"),
    ] {
        watched.is_no_command(arguments, part);
    }
}

// [CONT-R-014] [CONT-R-015] [CONT-R-029]
#[test]
fn a_target_that_is_neither_link_nor_name_is_told_and_nothing_is_sent() {
    let watched = Watched::new();
    watched.user.run(&["key", "new", "mine"]).fine();
    let link = watched.user.run(&["key", "show", "mine", "--json"]).json()["link"].as_str().unwrap().to_owned();
    let other_network = format!("network={}", "ff".repeat(32));
    for at in [6, 20, link.len() - 1] {
        let mut broken = link.clone().into_bytes();
        broken[at] = if broken[at] == b'q' { b'p' } else { b'q' };
        watched.refuses(&["get", std::str::from_utf8(&broken).unwrap()], "link");
    }
    watched.refuses(&["get", &link[..link.len() - 1]], "link");
    watched.refuses(&["get", &format!("{link}q")], "link");
    watched.refuses(&["watch", "bauta1qqqq"], "link");
    watched.refuses(&["get", &link, "--set", &other_network], "network");
    watched.refuses(&["get", ""], "name");
    // Too long for a name, so it is meant as a link.
    watched.refuses(&["get", &"n".repeat(65)], "link");
    watched.refuses(&["put", &"n".repeat(65), "file"], "64");
    watched.refuses(&["get", &link, "-o", "here", "--consistency", "most"], "one, quorum, all");
    // Who is told in JSON cannot have the content there as well.
    watched.refuses(&["watch", &link, "-o", "-"], "-o names a file");
    watched.refuses(&["watch", &link, "--every", "1ms"], "nearest: 100ms");
    let both = watched.user.run(&["get", &link, "-o", "-", "--json"]).object(2, "usage");
    assert!(both["error"].as_str().unwrap().contains("both want standard output"), "{both}");
}

// [CONT-W-019]
#[test]
fn a_file_that_cannot_be_published_is_told_and_nothing_is_sent() {
    let watched = Watched::new();
    let user = &watched.user;
    user.file("file", b"x");
    std::fs::create_dir(user.path("folder")).unwrap();
    std::os::unix::fs::symlink("elsewhere", user.path("folder/link")).unwrap();
    File::create(user.path("large")).unwrap().set_len((64 << 30) + 1).unwrap();
    std::os::unix::fs::symlink(user.path("vanished"), user.path("dangling")).unwrap();
    for (file, part) in [
        ("missing", "missing: cannot be read"),
        ("dangling", "dangling: cannot be read"),
        ("folder", "folder/link: is neither file nor folder"),
        ("/dev/zero", "is no regular file"),
        ("large", "a file or folder has at most 68719476736"),
        // It is there, and cannot be read.
        ("/proc/self/mem", "/proc/self/mem: cannot be read"),
    ] {
        watched.refuses(&["publish", file], part);
        watched.refuses(&["put", "a name", file], part);
    }
    watched.refuses(&["publish", "file", "--name", &"n".repeat(256)], "file: ");
    watched.refuses(&["publish", "file", "--name", "a/b"], "file: ");
    watched.refuses(&["publish", "file", "--key", "missing"], "missing");
    watched.refuses(&["publish", "file", "--key", "m", "--label", &"l".repeat(65)], "a label has at most 64 bytes");
    for ttl in ["31d", "0s", "1", "1w", "x"] {
        watched.refuses(&["publish", "file", "--ttl", ttl], "ttl");
    }
    let not_text = std::os::unix::ffi::OsStringExt::from_vec(b"caf\xe9".to_vec());
    std::fs::write(user.path("").join::<std::ffi::OsString>(not_text), b"x").unwrap();
    let mut command = user.command(&["publish"]);
    let not_text: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(b"caf\xe9".to_vec());
    assert_eq!(run(command.arg(not_text)).code, Some(2));
    // What is taken for a passphrase, or for content, is never asked for where there is no terminal.
    assert_eq!(run_with(&mut user.command(&["key", "import", "k"]), b"nonsense").code, Some(2));
}

#[test]
fn a_node_that_is_not_to_be_fuzzed_is_told_and_nothing_is_sent() {
    let watched = Watched::new();
    let key = "ab".repeat(32);
    let listed = watched.listeners[0].local_addr().unwrap().to_string();
    let other = "127.246.9.1:1";
    watched.is_no_command(&["fuzz"], "--addr");
    watched.is_no_command(&["fuzz", "--addr", &listed, "--replay", "file", "--seed", "1"], "--seed");
    for (arguments, part) in [
        (&["--addr", "localhost:1"][..], "is not IP:PORT; names are not looked up"),
        (&["--addr", "192.0.2.1:1", "--key", &key], "say --i-own-this-host"),
        (&["--addr", "0.0.0.0:1", "--key", &key], "say --i-own-this-host"),
        (&["--addr", other], "no bootstrap in the settings has this address: give --key"),
        (&["--addr", &listed, "--key", "xyz"], "--key: is not 64 hexadecimal digits"),
        (&["--addr", &listed, "--network", "xyz"], "is not 64 hexadecimal digits"),
        (&["--addr", &listed, "--minutes", "0"], "is no number above 0 and up to 1440"),
        (&["--addr", &listed, "--minutes", "1441"], "is no number above 0 and up to 1440"),
        (&["--addr", &listed, "--minutes", "NaN"], "is no number above 0 and up to 1440"),
        (&["--addr", &listed, "--pid", "4294967295"], "there is no such process"),
        (&["--addr", &listed, "--out", "empty"], "--out empty: is no folder"),
        (&["--addr", &listed, "--replay", "missing"], "missing: cannot be read"),
        (&["--addr", &listed, "--replay", "empty"], "holds no step"),
        (&["--addr", &listed, "--replay", "wrong"], "line 2: there is no step"),
    ] {
        watched.user.file("empty", b"# bauta fuzz --seed 1\n");
        watched.user.file("wrong", b"wait 1\nrun\n");
        watched.refuses(&[&["fuzz"], arguments].concat(), part);
    }
    let nobody = User::nobody().run(&["fuzz", "--addr", other, "--key", &key, "--json"]).object(2, "usage");
    assert!(nobody["error"].as_str().unwrap().contains("network is not set"), "{nobody}");
}

#[test]
fn a_setting_that_does_not_do_is_told_with_its_place_and_the_nearest_that_would() {
    let watched = Watched::new();
    let base = format!("network = \"{NETWORK}\"\nbootstraps = [{}]\n", watched.contacts);
    for (line, part) in [
        ("hop = 3", "line 3: there is no setting \"hop\"; did you mean \"hops\"?"),
        ("hops = 2", "line 3: hops = \"2\": is not 3 to 5; nearest: 3"),
        ("hops = 9", "nearest: 5"),
        (
            "timeout = \"10 parsecs\"",
            "line 3: timeout = \"10 parsecs\": \"parsecs\" is no unit; there are ms, s, m, h, d; nearest: 10",
        ),
        ("timeout = \"10\"", "the unit is missing"),
        ("stagger = \"1s\"", "nearest: 50ms"),
        ("ttl = \"40d\"", "line 3: ttl"),
        ("consistency = \"quorun\"", "nearest: quorum"),
        ("prefix_rule = \"none\"", "is none of distinct, one-host"),
        ("difficulty = 33", "nearest: 32"),
        ("bind = \"here\"", "is no IP address"),
        ("listen = \"here\"", "nearest: 0.0.0.0:4433"),
        ("advertise = \"0.0.0.0:1\"", "is no address that others could dial"),
        ("family = \"xyz\"", "is not 16 hexadecimal digits"),
        ("store_bytes = \"1TiB\"", "is no unit"),
        ("state = \"\"", "is empty"),
        ("hops = 3.5", "a text, a number, true, false or a list of texts"),
        ("hops = ", "line 3: "),
        ("[hops]", "line 3: "),
        ("use_node = \"yes\"", "line 3: use_node"),
        ("timeout = \"100ms\"\nstagger = \"50ms\"\nhops = 3\nhops = 4", "line 6: "),
        ("listen = \"0.0.0.0:1\"\nadvertise = \"[2001:db8::1]:1\"", "one is IPv4, the other IPv6"),
    ] {
        watched.user.file("config.toml", format!("{base}{line}\n").as_bytes());
        for command in [&["get", "a name"][..], &["settings"]] {
            watched.refuses(&[command, &["--config", "config.toml"]].concat(), part);
        }
    }
    for (set, part) in [
        ("hops", "--set takes KEY=VALUE, not \"hops\""),
        ("hopz=3", "command line: there is no setting \"hopz\"; did you mean \"hops\"?"),
        ("network=12", "is not 64 hexadecimal digits"),
        ("bootstraps=127.0.0.1:1", "one is not IP:PORT/ID/LINK-KEY"),
    ] {
        watched.refuses(&["get", "a name", "--set", set], part);
    }
    let twice = watched.contacts.split(", ").next().unwrap().trim_matches('"').to_owned();
    watched.refuses(&["get", "a name", "--set", &format!("bootstraps={twice},{twice}")], "one node stands there twice");
    watched.refuses(&["get", "a name", "--set", &format!("bootstraps={twice}")], "bootstraps is not set");
    watched.refuses(&["get", "a name", "--config", "missing.toml"], "missing.toml");
    let refused = watched.user.run_where(("BAUTA_HOPZ", "3"), &["get", "a name", "--json"]).object(2, "usage");
    assert!(refused["error"].as_str().unwrap().contains("environment BAUTA_HOPZ: there is no setting"), "{refused}");
    let nobody = User::nobody().run(&["get", "a name", "--json"]).object(2, "usage");
    assert!(nobody["error"].as_str().unwrap().contains("network is not set"), "{nobody}");
}

#[test]
fn a_file_of_settings_over_its_bound_and_one_that_is_no_text_are_told() {
    let watched = Watched::new();
    watched.user.file("large.toml", "# x\n".repeat(1 << 19).as_bytes());
    watched.refuses(&["settings", "--config", "large.toml"], "not a file of settings");
    watched.user.file("bytes.toml", b"\xff\xfe\x00");
    watched.refuses(&["settings", "--config", "bytes.toml"], "bytes.toml");
    std::fs::create_dir(watched.user.path("folder")).unwrap();
    watched.refuses(&["settings", "--config", "folder"], "folder");
}
