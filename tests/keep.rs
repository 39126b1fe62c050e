//! `bauta keep`, through the real binary: what is lost is stored again, what its owner's key signs is prolonged, and whoever falls behind
//! is told.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod binary;
mod world;

use std::os::unix::fs::PermissionsExt as _;

use binary::{User, content};
use serde_json::Value;
use world::{Behaviour, World};

const DAY: u64 = 86_400;

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// The only entry of an object that tells of one.
fn entry(object: &Value) -> &Value {
    let all = object["kept"].as_array().unwrap();
    assert_eq!(all.len(), 1, "{object}");
    &all[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_prolongs_all_of_it_and_a_reader_stores_again_what_is_lost_until_the_root_ends() {
    let mut world = World::start(95, 16).await;
    let (owner, reader) = (User::with(&world.settings(1)), User::with(&world.settings(2)));
    owner.run(&["key", "new", "mine"]).fine();
    let bytes = content(5, 16 * 65_536);
    let link = owner.run(&["publish", &owner.file("file", &bytes), "--key", "mine", "--ttl", "1d"]).alone();

    let added = reader.run(&["keep", "add", &link, "--json"]).json();
    assert_eq!(added["prolonged_by"], "none");
    let told = reader.run(&["keep", "list"]).fine();
    assert!(told.out.contains("not looked at yet") && !told.out.contains("bauta1"), "{told:?}");
    let mode = std::fs::metadata(reader.state_file("kept")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // What a holder took with it has one copy left; whoever has the link can make it two.
    let (gone, held) = world.most_chunks();
    world.network.stop(gone).await;
    reader.run(&["verify", &link]).with(7);
    let kept = reader.run(&["keep", "now", "--json"]).json();
    let (stored, one) = (entry(&kept)["stored"].as_u64().unwrap(), entry(&kept));
    assert!(stored > 0 && stored <= u64::try_from(held).unwrap(), "{stored} of {held}");
    assert_eq!((&one["state"], &one["renewed"], &one["missing"]), (&"well".into(), &false.into(), &0.into()));
    assert_eq!(one["file"], "file");
    let until = one["until"].as_u64().unwrap();
    assert!(until < now() + DAY + DAY / 4 + 1, "as long as the root, and no longer");
    let seen = reader.run(&["verify", &link, "--json"]).json();
    assert_eq!((&seen["health"], &seen["readable_until"]), (&"well".into(), &until.into()));
    // There is nothing more to do, and nothing is done.
    let again = reader.run(&["keep", "now", "--json"]).json();
    assert_eq!((&entry(&again)["stored"], &entry(&again)["until"]), (&0.into(), &until.into()));

    let added = owner.run(&["keep", "add", &link, "--ttl", "7d", "--json"]).json();
    assert_eq!((&added["prolonged_by"], &added["ttl_s"]), (&"key".into(), &(7 * DAY).into()));
    let kept = owner.run(&["keep", "now", "--json"]).json();
    let one = entry(&kept);
    assert_eq!((&one["renewed"], &one["missing"], &one["stored"]), (&true.into(), &0.into(), &seen["chunks"]));
    let until = one["until"].as_u64().unwrap();
    assert!(until > now() + 7 * DAY - 60 && until <= now() + 7 * DAY + DAY / 4, "{until}");
    assert!(one["due"].as_u64().unwrap() > now() + 2 * DAY, "{one}");
    let seen = reader.run(&["verify", &link, "--json"]).json();
    assert_eq!(seen["readable_until"], until);
    reader.run(&["get", &link, "-o", "got"]).fine();
    assert!(reader.content("got") == bytes);
    // An update does not trip over the new number of the root.
    assert_eq!(owner.run(&["publish", &owner.file("file", b"short"), "--key", "mine"]).alone(), link);

    reader.run(&["keep", "remove", added["id"].as_str().unwrap()]).fine();
    assert_eq!(reader.run(&["keep", "list", "--json"]).json()["kept"], Value::Array(Vec::new()));
    reader.run(&["keep", "remove", &link]).with(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_that_does_not_go_well_is_told_by_now_and_by_list_until_it_does() {
    let world = World::start(96, 16).await;
    let user = User::with(&world.settings(1));
    user.run_with(&["put", "a word to keep"], b"x").fine();
    user.run(&["keep", "add", "nobody has put this"]).fine();
    user.run(&["keep", "add", "a word to keep"]).fine();
    let now = user.run(&["keep", "now", "--json"]).object(7, "partly stored");
    let states: Vec<&str> = now["kept"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["failed", "well"], "what fails keeps nothing else from being looked after");
    assert!(now["kept"][0]["error"].as_str().unwrap().contains("not found"), "{now}");
    let told = user.run(&["keep", "list"]).with(7);
    assert!(told.err.contains("1 of 2 need somebody") && told.out.contains("failed with 3"), "{told:?}");
    user.run(&["keep", "remove", "nobody has put this"]).fine();
    user.run(&["keep", "list"]).fine();
    world.behaviours.set_all(Behaviour::SilentStorer);
    user.run(&["keep", "now", "--set", "timeout=2s"]).with(7);
    user.run(&["keep", "list"]).with(7);
    world.behaviours.set_all(Behaviour::Honest);
    user.run(&["keep", "now"]).fine();
    user.run(&["keep", "list"]).fine();
}

// [STATE-W-027]
#[test]
fn a_key_that_is_sealed_is_asked_for_by_now_alone_and_what_is_no_link_is_refused() {
    let user =
        User::with("network = \"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f\"\nbootstraps = []\n");
    let with = |words: &[&str]| user.command(words).env("BAUTA_PASSPHRASE", "open").output().unwrap();
    assert!(with(&["key", "new", "mine", "--seal"]).status.success());
    let shown = with(&["key", "show", "mine", "--json"]);
    let link = serde_json::from_slice::<Value>(&shown.stdout).unwrap()["link"].as_str().unwrap().to_owned();
    let added = user.run(&["keep", "add", &link, "--json"]).json();
    assert_eq!(added["prolonged_by"], "sealed key");
    let contact = |number: u8| {
        let hex = |len: usize| format!("{number:02x}").repeat(len);
        format!("127.0.0.1:{number}/{}/{}", hex(20), hex(32))
    };
    let bootstraps = format!("bootstraps={},{}", contact(1), contact(2));
    let now = user.run(&["keep", "now", "--json", "--set", &bootstraps]).object(7, "partly stored");
    assert!(entry(&now)["error"].as_str().unwrap().contains("sealed"), "{now}");
    assert_eq!(entry(&now)["state"], "failed");
    // While another process looks after it, nothing is done, and that is no success.
    let held = std::fs::File::create(user.state_file("upkeep.held")).unwrap();
    held.lock().unwrap();
    let now = user.command(&["keep", "now", "--json", "--set", &bootstraps]).env("BAUTA_PASSPHRASE", "open").output();
    let now = now.unwrap();
    assert_eq!(now.status.code(), Some(7), "{now:?}");
    assert!(String::from_utf8_lossy(&now.stdout).contains("another process looks after"), "{now:?}");
    drop(held);
    // What was to go over longer paths does not go over the usual ones.
    user.run(&["keep", "add", &link, "--set", "hops=5"]).fine();
    let now = user.command(&["keep", "now", "--json", "--set", &bootstraps]).env("BAUTA_PASSPHRASE", "open").output();
    let now = now.unwrap();
    assert_eq!(now.status.code(), Some(7), "{now:?}");
    assert!(String::from_utf8_lossy(&now.stdout).contains("3 hops, 5 were asked for"), "{now:?}");
    user.run(&["keep", "add", "bauta1x"]).with(2);
    user.run(&["keep", "add", &link, "--ttl", "31d"]).with(2);
}
