//! Exit code 1: a state directory that is damaged, foreign, open to others or locked, and places that take no result. Whatever is
//! refused, the files are as they were.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod binary;

use std::fs::{DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use binary::{Devnet, User, content, run};

const NETWORK: &str = "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f";
/// Its folder in the state directory.
const FOLDER: &str = "b496dc59fcc138452da888f6de19041d";

/// Somebody who has been in a network: its folder is there, its nodes are not.
fn user() -> User {
    let contact = |net: u8| {
        format!("\"127.248.{net}.1:9/{}/{}\"", format!("{net:02x}").repeat(20), format!("{net:02x}").repeat(32))
    };
    let user = User::with(&format!(
        "network = \"{NETWORK}\"\nbootstraps = [{}, {}]\ntimeout = \"2s\"\n",
        contact(1),
        contact(2)
    ));
    make_dir(&user.state().join(FOLDER));
    make_dir(&user.state().join("keys"));
    user
}

fn make_dir(path: &Path) {
    DirBuilder::new().recursive(true).mode(0o700).create(path).unwrap();
}

/// Ends with 1 and a word about it, in both forms; every file is as it was.
#[track_caller]
fn fails(user: &User, arguments: &[&str], parts: &[&str]) {
    let before = user.snapshot();
    let refused = user.run(&[arguments, &["--json"]].concat()).object(1, "failed");
    let error = refused["error"].as_str().unwrap();
    for part in parts {
        assert!(error.contains(part), "{arguments:?}: no {part:?} in {error:?}");
    }
    assert!(refused["counts"].is_null());
    let told = user.run(arguments).with(1);
    assert!(told.out.is_empty() && told.err.lines().any(|line| line.starts_with("bauta: ")), "{told:?}");
    let without_locks = |files: Vec<(std::path::PathBuf, Vec<u8>)>| -> Vec<_> {
        files.into_iter().filter(|(path, _)| !path.ends_with("lock")).collect()
    };
    assert!(without_locks(user.snapshot()) == without_locks(before), "{arguments:?} changed a file");
}

/// Damaged in different ways: what is said of each.
const DAMAGES: [(&[u8], &str); 4] = [
    (b"rubbish that nobody wrote as such", "damaged; restore it from a copy"),
    (b"", "damaged"),
    (b"bau\x01 and a checksum of zeros, which is wrong", "damaged"),
    (b"bau\x02 and whatever a later version means", "written by another version of bauta"),
];

// [STATE-R-005] [MEMB-W-040]
#[test]
fn a_damaged_file_of_guards_is_told_by_name_and_never_replaced() {
    let user = user();
    let file = user.file("file", b"x");
    user.run(&["key", "new", "mine"]).fine();
    let shown = user.run(&["key", "show", "mine", "--json"]).json();
    // Not a name: its key takes long to derive.
    let link = shown["link"].as_str().unwrap();
    for (bytes, part) in DAMAGES {
        std::fs::write(user.state().join(FOLDER).join("guards"), bytes).unwrap();
        for arguments in [&["get", link][..], &["publish", &file], &["status"], &["doctor"], &["watch", link]] {
            fails(&user, arguments, &["guards", part]);
        }
    }
}

// [STATE-R-005]
#[test]
fn a_damaged_key_is_told_by_name_and_never_replaced() {
    let user = user();
    let file = user.file("file", b"x");
    for (bytes, part) in DAMAGES {
        std::fs::write(user.state().join("keys/mine"), bytes).unwrap();
        for arguments in
            [&["key", "show", "mine"][..], &["key", "export", "mine"], &["publish", &file, "--key", "mine"]]
        {
            fails(&user, arguments, &["keys/mine", part]);
        }
    }
}

#[test]
fn a_damaged_list_of_publications_stops_publishing_before_anything_is_sent() {
    let user = user();
    user.run(&["key", "new", "mine"]).fine();
    let file = user.file("file", b"x");
    for (bytes, part) in DAMAGES {
        std::fs::write(user.state().join(FOLDER).join("published"), bytes).unwrap();
        fails(&user, &["publish", &file, "--key", "mine"], &["published", part]);
    }
    fails(&user, &["put", "a name", &file], &["published", "another version"]);
}

#[test]
fn a_relay_with_a_damaged_identity_does_not_start_as_another() {
    let user = user();
    // What a relay holds while it runs, and leaves behind.
    std::fs::write(user.state().join(FOLDER).join("relay.held"), b"").unwrap();
    for (bytes, part) in DAMAGES {
        std::fs::write(user.state().join(FOLDER).join("relay"), bytes).unwrap();
        fails(&user, &["relay", "run", "--set", "listen=127.248.9.1:0"], &["relay", part]);
    }
}

// [STATE-R-017]
#[test]
fn a_damaged_membership_is_no_loss_and_is_asked_for_again() {
    let devnet = Devnet::shared();
    let user = devnet.user();
    let link = user.run(&["publish", &user.file("file", b"x")]).alone();
    let members = user.state_file("members");
    for (bytes, _) in DAMAGES {
        std::fs::write(&members, bytes).unwrap();
        let got = user.run(&["get", &link, "-o", "got", "--force", "--json", "--explain"]).json();
        assert!(got["explain"]["bootstraps_asked"].as_u64().unwrap() > 0);
        assert_eq!(user.content("got"), b"x");
        assert!(std::fs::read(&members).unwrap() != bytes, "it was replaced");
    }
}

// [STATE-R-002]
#[test]
fn a_state_directory_that_others_can_use_or_that_is_none_is_refused() {
    let user = user();
    for (bits, folder) in [(0o750, ""), (0o701, ""), (0o770, FOLDER), (0o744, "keys")] {
        let path = user.state().join(folder);
        std::fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
        let name = if folder == "keys" { "another" } else { "a" };
        let command: &[&str] = if folder == "keys" { &["key", "new", name] } else { &["get", name] };
        fails(&user, command, &["others can read or write this directory; run `chmod 700`"]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, bits, "nor mended unasked");
        std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    }
    user.file("no folder", b"x");
    for arguments in [&["get", "a name", "--state", "no folder"][..], &["key", "list", "--state", "no folder"]] {
        user.run(arguments).with(1);
    }
    assert_eq!(user.content("no folder"), b"x");
}

// [STATE-R-002]
#[test]
fn a_state_directory_of_another_user_is_refused() {
    let user = user();
    // The superuser can give a directory away; everybody else finds that the root directory is not theirs.
    let given = user.path("given");
    make_dir(&given);
    let other = match std::os::unix::fs::chown(&given, Some(12_345), None) {
        Ok(()) => given,
        Err(_) => "/".into(),
    };
    let refused = user.run(&["get", "a name", "--json", "--state", other.to_str().unwrap()]).object(1, "failed");
    assert!(refused["error"].as_str().unwrap().contains("is not a directory of this user"), "{refused}");
}

// [STATE-R-008]
#[test]
fn a_lock_that_another_process_keeps_is_waited_for_and_then_told() {
    let user = user();
    let lock = File::create(user.state().join(FOLDER).join("lock")).unwrap();
    lock.lock().unwrap();
    // One alone: each waits for the lock's whole time.
    let refused = user.run(&["status", "--json"]).object(1, "failed");
    assert!(refused["error"].as_str().unwrap().contains("lock: another process holds the lock"), "{refused}");
    drop(lock);
    user.run(&["status"]).fine();
}

// ---- no room ----

#[test]
fn a_result_that_finds_no_room_is_a_failure_and_leaves_nothing() {
    let devnet = Devnet::shared();
    let user = devnet.user();
    let link = user.run(&["publish", &user.file("file", &content(1, 300_000))]).alone();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for arguments in [&["get", &link, "-o", "-"][..], &["settings"], &["status", "--json"], &["key", "new", "mine"]] {
        let output = user.command(arguments).stdout(full()).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {err}");
        assert!(err.contains("standard output could not be written") && !err.contains("panicked"), "{err}");
    }
    // Files may grow to 100 blocks and no further; the state stays below.
    let limited = |arguments: &str| {
        let script = format!("trap '' XFSZ; ulimit -f 100; exec \"$BAUTA\" {arguments}");
        let mut shell = Command::new("sh");
        user.at_home(&mut shell).args(["-c", &script]).env("BAUTA", binary::program());
        run(&mut shell)
    };
    let before = std::fs::read_dir(user.path("")).unwrap().count();
    // The variable itself is no setting.
    let script = limited(&format!("get {link} -o got --json"));
    let refused = script.object(1, "failed");
    assert!(refused["error"].as_str().unwrap().contains("cannot be written"), "{refused}");
    assert_eq!(std::fs::read_dir(user.path("")).unwrap().count(), before, "nothing is left beside");
    let refused = user.run(&["get", &link, "-o", "/proc/got", "--json"]).object(1, "failed");
    assert!(refused["error"].as_str().unwrap().contains("cannot be written"), "{refused}");
    let refused = user.run(&["get", &link, "-o", "missing/folder/got", "--json"]).object(2, "usage");
    assert!(refused["error"].as_str().unwrap().contains("there is no such folder"), "{refused}");
    user.run(&["get", &link, "-o", "got"]).fine();
    assert!(user.content("got") == content(1, 300_000));
}

// ---- files that change ----

#[test]
fn a_file_that_is_longer_when_read_than_when_found_is_not_published() {
    let user = user();
    // The system says of it that it is empty, and then it is not: as if somebody wrote meanwhile.
    fails(&user, &["publish", "/proc/self/cmdline"], &["changed while it was read; nothing was published"]);
}
