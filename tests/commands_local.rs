//! Commands that use no network: keys, settings, status, completions, man pages. Through the real binary; nobody is dialled.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod binary;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use binary::User;

const NETWORK: &str = "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f";

/// Three nodes to start from that only listen, and the settings that name them.
fn silent_network() -> (Vec<TcpListener>, String) {
    let listeners: Vec<TcpListener> =
        (1..=3).map(|net| TcpListener::bind((format!("127.24{net}.0.1"), 0)).unwrap()).collect();
    let contact = |(number, listener): (usize, &TcpListener)| {
        let address = listener.local_addr().unwrap();
        format!("\"{address}/{}/{}\"", format!("{number:02x}").repeat(20), format!("{number:02x}").repeat(32))
    };
    let contacts: Vec<String> = listeners.iter().enumerate().map(contact).collect();
    let settings = format!("network = \"{NETWORK}\"\nbootstraps = [{}]\n", contacts.join(", "));
    (listeners, settings)
}

/// Nobody has connected.
fn assert_silence(listeners: &[TcpListener]) {
    for listener in listeners {
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody was dialled");
    }
}

// ---- keys ----

#[test]
fn keys_are_made_listed_shown_carried_away_and_brought_in() {
    let (listeners, settings) = silent_network();
    let (user, other) = (User::with(&settings), User::with(&settings));
    let made = user.run(&["key", "new", "mine", "--json"]).json();
    assert_eq!((&made["name"], &made["sealed"]), (&"mine".into(), &false.into()));
    let public = made["public"].as_str().unwrap();
    assert_eq!(public.len(), 64);
    user.run(&["key", "new", "second"]).fine();
    let list = user.run(&["key", "list"]).fine();
    assert_eq!(list.out.lines().count(), 2);
    assert!(list.out.contains(&format!("mine  {public}")), "{list:?}");
    let list = user.run(&["key", "list", "--json"]).json();
    assert_eq!(list["keys"].as_array().unwrap().len(), 2);

    let link = user.run(&["key", "show", "mine", "--label", "one", "--json"]).json()["link"].clone();
    assert!(link.as_str().unwrap().starts_with("bauta1"));
    let exported = user.run(&["key", "export", "mine"]).fine();
    assert!(exported.err.contains("whoever reads this can publish as mine"), "{exported:?}");
    let text = exported.alone();
    assert!(text.starts_with("bautakey1"), "{text}");
    other.run_with(&["key", "import", "brought"], format!("{text}\n").as_bytes()).fine();
    let shown = other.run(&["key", "show", "brought", "--label", "one", "--json"]).json();
    assert_eq!((&shown["link"], &shown["public"]), (&link, &made["public"]));

    user.run(&["key", "export", "mine", "-o", "key.txt", "--json"]).json();
    assert_eq!(std::fs::metadata(user.path("key.txt")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(user.content("key.txt"), format!("{text}\n").into_bytes());
    let from_file = other.run(&["key", "import", "again", user.path("key.txt").to_str().unwrap(), "--json"]).json();
    assert_eq!(from_file["public"], made["public"]);
    assert_silence(&listeners);
}

#[test]
fn a_sealed_key_opens_with_its_passphrase_alone_wherever_it_is_carried() {
    let (listeners, settings) = silent_network();
    let (user, other) = (User::with(&settings), User::with(&settings));
    let (right, wrong) = (("BAUTA_PASSPHRASE", "horse staple"), ("BAUTA_PASSPHRASE", "horse stable"));
    let made = user.run_where(right, &["key", "new", "sealed", "--seal", "--json"]).json();
    assert_eq!(made["sealed"], true);
    let exported = user.run(&["key", "export", "sealed"]).fine();
    assert!(!exported.err.contains("warning"), "{exported:?}");
    other.run_with(&["key", "import", "sealed"], exported.alone().as_bytes()).fine();
    let show = ["key", "show", "sealed", "--json"];
    let here = user.run_where(right, &show).json();
    let there = other.run_where(right, &show).json();
    assert_eq!((&here["link"], &here["sealed"]), (&there["link"], &true.into()));
    let refused = other.run_where(wrong, &show);
    assert!(refused.object(2, "usage")["error"].as_str().unwrap().contains("does not open with this passphrase"));
    // Without a passphrase nothing is asked for: standard input is no terminal.
    let refused = other.run(&show).object(2, "usage");
    assert!(refused["error"].as_str().unwrap().contains("set BAUTA_PASSPHRASE"), "{refused}");
    let refused = user.run_where(("BAUTA_PASSPHRASE", ""), &["key", "new", "other", "--seal"]).with(2);
    assert!(refused.err.contains("an empty passphrase seals nothing"), "{refused:?}");
    assert_eq!(user.run(&["key", "list", "--json"]).json()["keys"].as_array().unwrap().len(), 1);
    assert_silence(&listeners);
}

#[test]
fn a_key_is_never_replaced_and_its_name_and_text_are_checked() {
    let user = User::nobody();
    user.run(&["key", "new", "mine"]).fine();
    let before = user.snapshot();
    let text = user.run(&["key", "export", "mine"]).alone();
    for (arguments, input, part) in [
        (&["key", "new", "mine"][..], "", "mine"),
        (&["key", "import", "mine"], text.as_str(), "mine"),
        (&["key", "new", "../mine"], "", "../mine"),
        (&["key", "show", "other"], "", "other"),
        (&["key", "export", "other"], "", "other"),
        (&["key", "import", "other"], "bautakey1qqqq", "key"),
        (&["key", "import", "other"], "", "key"),
        (&["key", "import", "other", "missing.txt"], "", "missing.txt"),
    ] {
        let refused = user.run_with(&[arguments, &["--json"]].concat(), input.as_bytes()).object(2, "usage");
        assert!(refused["error"].as_str().unwrap().contains(part), "{arguments:?}: {refused}");
    }
    assert_eq!(user.snapshot(), before);
}

// ---- what is known ----

#[test]
fn status_and_settings_dial_nobody() {
    let (listeners, settings) = silent_network();
    let user = User::with(&settings);
    for _ in 0..2 {
        let status = user.run(&["status", "--json"]).json();
        assert_eq!((&status["network"], &status["bootstraps"]), (&NETWORK.into(), &3.into()));
        user.run(&["status"]).fine();
        user.run(&["settings"]).fine();
    }
    assert_silence(&listeners);
    let status = User::nobody().run(&["status", "--json"]).json();
    assert!(status["network"].is_null());
}

#[test]
fn settings_show_each_value_in_force_and_where_it_comes_from() {
    let user = User::with("hops = 4\nttl = \"12h\"\n");
    let list = user.command(&["settings", "--json", "--set", "ttl=6h"]).env("BAUTA_STAGGER", "10ms").output().unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let one = |key: &str| {
        let found = list["settings"].as_array().unwrap().iter().find(|one| one["key"] == key).unwrap();
        (found["value"].as_str().unwrap().to_owned(), found["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(one("hops"), ("4".into(), format!("{} line 1", user.config().display())));
    assert_eq!(one("stagger"), ("10ms".into(), "environment BAUTA_STAGGER".into()));
    assert_eq!(one("ttl"), ("6h".into(), "command line".into()));
    assert_eq!(one("timeout"), ("30s".into(), "default".into()));
    assert_eq!(one("state").0, user.state().display().to_string());
    let told = user.run(&["settings"]).fine();
    assert!(told.out.contains("hops = 4") && told.out.contains("BAUTA_HOPS"), "{told:?}");
}

// ---- for shells and man ----

#[test]
fn every_shell_has_completions_that_know_the_commands() {
    // Wrong settings keep nobody from them.
    let user = User::with("nonsense = 1\n");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = user.run(&["completions", shell]).fine().out;
        for word in ["publish", "watch", "devnet", "consistency"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    let told = user.run(&["completions", "fish", "--json"]).json();
    assert!(told["shell"] == "fish" && told["script"].as_str().unwrap().contains("publish"), "{told}");
    user.run(&["completions", "tcsh"]).with(2);
}

#[test]
fn every_command_has_a_man_page() {
    let user = User::with("nonsense = 1\n");
    std::fs::create_dir(user.path("man")).unwrap();
    let written = user.run(&["man", "man", "--json"]).json()["pages"].as_u64().unwrap();
    let pages: Vec<String> = std::fs::read_dir(user.path("man"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(u64::try_from(pages.len()).unwrap(), written);
    for name in ["bauta.1", "bauta-get.1", "bauta-key-new.1", "bauta-relay-run.1", "bauta-watch.1"] {
        assert!(pages.iter().any(|page| page == name), "no {name} in {pages:?}");
        let page = String::from_utf8(user.content(&format!("man/{name}"))).unwrap();
        assert!(page.contains(".TH") && page.contains(".SH NAME"), "{name}");
    }
    // A folder is made; a file in its place is left.
    user.file("taken", b"x");
    let refused = user.run(&["man", "taken"]).with(1);
    assert!(refused.err.contains("cannot be written"), "{refused:?}");
}

// ---- a relay's file ----

#[test]
fn what_relay_init_writes_is_taken_as_settings_and_never_over_a_file() {
    let (_listeners, settings) = silent_network();
    let user = User::with(&settings);
    let init = ["relay", "init", "--set", "listen=127.240.0.1:4433", "--set", "family=0102030405060708"];
    let printed = user.run(&init).fine().out;
    user.run(&[&init[..], &["relay.toml"]].concat()).fine();
    assert_eq!(String::from_utf8(user.content("relay.toml")).unwrap().trim_end(), printed.trim_end());
    let taken = User::nobody();
    let list = taken.run(&["settings", "--json", "--config", user.path("relay.toml").to_str().unwrap()]).json();
    let origin_of = |key: &str| {
        let found = list["settings"].as_array().unwrap().iter().find(|one| one["key"] == key).unwrap();
        (found["value"].clone(), found["origin"].as_str().unwrap().contains("relay.toml line"))
    };
    assert_eq!(origin_of("listen"), ("127.240.0.1:4433".into(), true));
    assert_eq!(origin_of("network"), (NETWORK.into(), true));
    assert_eq!(origin_of("family"), ("0102030405060708".into(), true));
    assert!(!origin_of("hops").1, "what was not set is commented out");
    let refused = user.run(&["relay", "init", "relay.toml"]).with(2);
    assert!(refused.err.contains("is there already"), "{refused:?}");

    // Without any settings it is a form to fill in; uncommented, each line but the three that must be filled in is taken.
    let form = User::nobody().run(&["relay", "init"]).fine().out;
    let filled: String = form
        .lines()
        .filter_map(|line| line.strip_prefix("# ").or(Some(line)))
        .filter(|line| line.contains(" = ") && !line.starts_with("network ") && !line.starts_with("bind "))
        .filter(|line| {
            line.split(' ').next().is_some_and(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    user.file("filled.toml", filled.as_bytes());
    let listed = user.run(&["settings", "--config", "filled.toml"]).fine();
    assert!(listed.out.contains("listen = 0.0.0.0:4433"), "{listed:?}");
}
