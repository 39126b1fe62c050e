//! Every exit code and every outcome of the specification, through the real binary: what a script sees when something is in the
//! way. Networks that lie, withhold and are silent are those of the other tests.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod binary;
mod world;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};

use bauta::cli::local::LocalOptions;
use bauta::client::PutOptions;
use bauta::content::Name;
use bauta::limits::CHUNK_HOLDERS;
use bauta::membership::prefix_rule::PrefixRule;
use bauta::wire::hex;
use binary::{User, content};
use serde_json::Value;
use world::{Behaviour, World, network, patiently};

/// A user of a network of this process.
fn user_of(world: &World, number: u8) -> User {
    User::with(&world.settings(number))
}

/// The outcome and its numbers; people are told the same in one line.
#[track_caller]
fn ends(user: &User, arguments: &[&str], code: i32, outcome: &str) -> Value {
    let object = user.run(&[arguments, &["--json"]].concat()).object(code, outcome);
    let counts = &object["counts"];
    assert!(["asked", "valid", "empty", "invalid", "timed_out"].iter().all(|key| counts[key].is_u64()), "{object}");
    let told = user.run(arguments).with(code);
    let (out, last) = (told.out.as_str(), told.err.lines().last().unwrap_or_default());
    assert!(out.is_empty() && last.starts_with("bauta: "), "{told:?}");
    object
}

fn number(object: &Value, key: &str) -> u64 {
    object["counts"][key].as_u64().unwrap()
}

// ---- 3: not found ----

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found_and_attested() {
    let world = World::start(70, 16).await;
    let user = user_of(&world, 1);
    user.run(&["key", "new", "mine"]).fine();
    let link = user.run(&["key", "show", "mine", "--json"]).json()["link"].as_str().unwrap().to_owned();
    for target in [link.as_str(), "a name that nobody has put"] {
        let object = ends(&user, &["get", target], 3, "not found");
        assert!(number(&object, "empty") >= 2 && number(&object, "valid") == 0, "{object}");
    }
    assert!(!user.path("a name that nobody has put").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_owner_deleted_is_not_found_until_it_is_published_again() {
    let world = World::start(81, 16).await;
    let (user, reader) = (user_of(&world, 1), user_of(&world, 2));
    user.run(&["key", "new", "mine"]).fine();
    let publish = || user.run(&["publish", &user.file("file", b"x"), "--key", "mine", "--label", "l"]);
    let delete = ["delete", "--key", "mine", "--label", "l"];
    assert!(user.run(&[&delete[..], &["--json"]].concat()).object(3, "not found")["error"].is_string());
    let link = publish().alone();
    user.run(&["delete", &link]).with(2);
    let object = user.run(&[&delete[..], &["--json"]].concat()).json();
    assert_eq!((&object["link"], object["root_copies"].as_array().unwrap().len()), (&link.as_str().into(), 3));
    let object = ends(&reader, &["get", &link, "-o", "got"], 3, "not found");
    assert!(object["error"].as_str().unwrap().contains("deleted by its owner"), "{object}");
    assert!(!reader.path("got").exists());
    assert_eq!(publish().alone(), link);
    reader.run(&["get", &link, "-o", "got"]).fine();
    reader.run_with(&["put", "a name of all"], b"x").fine();
    // A name is everybody's: who can say it can delete it.
    user.run(&["delete", "a name of all"]).fine();
    ends(&reader, &["get", "a name of all", "-o", "gone"], 3, "not found");
}

// ---- 4: unreachable ----

#[test]
fn nodes_that_do_not_answer_and_nodes_that_are_not_there_are_unreachable() {
    let net = |listeners: &[TcpListener]| {
        let mut settings = format!("network = \"{}\"\nbootstraps = [\n", "07".repeat(32));
        for (number, listener) in (1..).zip(listeners) {
            let address = listener.local_addr().unwrap();
            let (id, key) = (format!("{number:02}").repeat(20), format!("{number:02}").repeat(32));
            writeln!(settings, "    \"{address}/{id}/{key}\",").unwrap();
        }
        settings + "]\ntimeout = \"3s\"\n"
    };
    let listeners: Vec<TcpListener> =
        (1..=3).map(|net| TcpListener::bind((Ipv4Addr::new(127, 247, net, 1), 0)).unwrap()).collect();
    let silent = User::with(&net(&listeners));
    // The backlog takes the connections; nobody says anything.
    ends(&silent, &["get", "a name"], 4, "unreachable");
    ends(&silent, &["publish", &silent.file("file", b"x")], 4, "unreachable");
    let gone = User::with(&net(&listeners));
    drop(listeners);
    let before = gone.config();
    ends(&gone, &["get", "a name"], 4, "unreachable");
    ends(&gone, &["put", "a name", &gone.file("file", b"x")], 4, "unreachable");
    assert!(before.exists());
    let report = gone.run(&["doctor", "--json"]).object(4, "unreachable");
    let findings = report["findings"].as_array().unwrap();
    let bad: Vec<&Value> = findings.iter().filter(|finding| finding["state"] == "bad").collect();
    assert!(bad.len() == 1 && bad[0]["what"] == "reachability" && bad[0]["todo"] != "", "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_all_guards_down_the_network_is_unreachable_and_the_guards_stay() {
    let mut world = World::start(71, 16).await;
    let user = user_of(&world, 1);
    let link = user.run(&["publish", &user.file("file", b"x")]).alone();
    let guards = |user: &User| -> Vec<String> {
        let status = user.run(&["status", "--json"]).json();
        let guards = status["guards"].as_array().unwrap().iter();
        guards.map(|guard| guard["key"].as_str().unwrap().to_owned()).collect()
    };
    let sample = guards(&user);
    assert_eq!(sample.len(), 3);
    for guard in &sample {
        let index = world.network.relays.iter().position(|relay| hex::encode(&relay.key.0) == *guard).unwrap();
        world.network.stop(index).await;
    }
    ends(&user, &["get", &link, "-o", "got", "--set", "timeout=8s"], 4, "unreachable");
    assert!(!user.path("got").exists());
    assert_eq!(guards(&user), sample);
}

// ---- 5: damaged ----

#[tokio::test(flavor = "multi_thread")]
async fn what_all_storers_forge_is_never_written() {
    let world = World::start(72, 16).await;
    let user = user_of(&world, 1);
    let link = user.run(&["publish", &user.file("file", b"x")]).alone();
    world.behaviours.set_all(Behaviour::MishearingExit);
    // An exit leaves out what is forged. Where every exit is bad it can even make an absence look attested (threat model §7).
    let ended = user.run(&["get", &link, "-o", "got"]);
    assert!(matches!(ended.code, Some(3 | 4)), "{ended:?}");
    assert!(!user.path("got").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_author_signed_but_is_no_content_is_damaged() {
    let world = World::start(73, 16).await;
    let client = world.client(2);
    let author = Name::new("nonsense").unwrap().author(&world.network.network).unwrap();
    patiently(client.put_record(&author, b"", b"\xffno root of any content", PutOptions::default())).await.unwrap();
    let user = user_of(&world, 1);
    let refused = user.run(&["get", "nonsense", "--json"]).object(5, "damaged");
    assert!(refused["counts"].is_null());
    assert!(!user.path("nonsense").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_value_than_this_user_published_is_damaged_in_getting_and_in_publishing() {
    let world = World::start(74, 16).await;
    let user = user_of(&world, 1);
    user.run(&["key", "new", "mine"]).fine();
    let publish = ["publish", "file", "--key", "mine"];
    user.file("file", b"first");
    let link = user.run(&publish).alone();
    user.file("file", b"second");
    assert_eq!(user.run(&publish).alone(), link);
    world.behaviours.set_all(Behaviour::WithholdingExit);
    let before = std::fs::read(user.state_file("published")).unwrap();
    let object = ends(&user, &["get", &link, "-o", "got"], 5, "damaged");
    assert!(object["error"].as_str().unwrap().starts_with("older: "), "{object}");
    ends(&user, &publish, 5, "damaged");
    assert!(!user.path("got").exists());
    assert_eq!(std::fs::read(user.state_file("published")).unwrap(), before);
    // Somebody who never saw the newer one cannot know.
    let other = user_of(&world, 2);
    let got = other.run(&["get", &link, "-o", "got", "--json"]).json();
    assert_eq!((&got["attested"], other.content("got")), (&false.into(), b"first".to_vec()));
    world.behaviours.set_all(Behaviour::Honest);
    user.run(&["get", &link, "-o", "got"]).fine();
    assert_eq!(user.content("got"), b"second");
}

// ---- 6: conflict ----

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_value_that_was_not_seen_is_a_conflict_and_stays() {
    let world = World::start(75, 16).await;
    let (one, other) = (user_of(&world, 1), user_of(&world, 2));
    for text in ["first", "second"] {
        one.run_with(&["put", "a contested name"], text.as_bytes()).fine();
    }
    world.behaviours.set_all(Behaviour::WithholdingExit);
    let file = other.file("file", b"third");
    let refused = other.run(&["put", "a contested name", &file, "--json"]).object(6, "conflict");
    assert!(refused["error"].as_str().unwrap().contains("a newer value is there"), "{refused}");
    world.behaviours.set_all(Behaviour::Honest);
    other.run(&["get", "a contested name", "-o", "got"]).fine();
    assert_eq!(other.content("got"), b"second");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_publishers_that_race_each_is_told_whether_its_value_is_there() {
    let world = World::start(76, 16).await;
    let users: Vec<User> = (1..=6).map(|number| user_of(&world, number)).collect();
    users[0].run_with(&["put", "raced for"], b"before").fine();
    let codes: Vec<Option<i32>> = std::thread::scope(|scope| {
        let put = |(number, user): (usize, &User)| {
            user.run_with(&["put", "raced for", "--quiet"], format!("of {number}").as_bytes()).code
        };
        let racing: Vec<_> = users.iter().enumerate().map(|one| scope.spawn(move || put(one))).collect();
        racing.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 6 | 7))), "{codes:?}");
    let reader = user_of(&world, 9);
    reader.run(&["get", "raced for", "-o", "got"]).fine();
    let got = String::from_utf8(reader.content("got")).unwrap();
    assert!(got == "before" || (0..6).any(|number| got == format!("of {number}")), "{got:?}");
    if codes.contains(&Some(0)) {
        assert_ne!(got, "before", "{codes:?}");
    }
}

// ---- 7: partly stored ----

#[tokio::test(flavor = "multi_thread")]
async fn fewer_receipts_than_asked_for_are_partly_stored() {
    let world = World::start(77, 24).await;
    for index in (0..24).filter(|index| index % 8 > 0) {
        world.behaviours.set(index, Behaviour::RefusingStorer);
    }
    let user = user_of(&world, 1);
    let file = user.file("file", b"x");
    let object = ends(&user, &["publish", &file], 7, "partly stored");
    assert!(object["error"].as_str().unwrap().contains("of 15 copies"), "{object}");
    assert!(object["link"].is_null(), "no link is claimed: {object}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_was_partly_stored_can_be_published_again() {
    let world = World::start(80, 24).await;
    let user = user_of(&world, 1);
    user.run(&["key", "new", "mine"]).fine();
    let publish = |content: &[u8]| user.run(&["publish", &user.file("file", content), "--key", "mine"]);
    let link = publish(b"first").alone();
    for index in (0..24).filter(|index| index % 8 > 0) {
        world.behaviours.set(index, Behaviour::RefusingStorer);
    }
    publish(b"second").with(7);
    world.behaviours.set_all(Behaviour::Honest);
    assert_eq!(publish(b"third").alone(), link);
    user.run(&["get", &link, "-o", "got"]).fine();
    assert_eq!(user.content("got"), b"third");
}

// ---- 8: privacy floor ----

// [MEMB-W-063]
#[tokio::test(flavor = "multi_thread")]
async fn too_few_networks_for_a_path_are_refused() {
    let options = LocalOptions { relays_per_net: 8, ..LocalOptions::new(network(78), 16, 78) };
    let world = World::with(options).await;
    if world.network.rule == PrefixRule::RelaxedForOneHost {
        return;
    }
    let user = user_of(&world, 1);
    let object = ends(&user, &["get", "a name"], 8, "privacy floor");
    assert_eq!(number(&object, "valid"), 0);
    ends(&user, &["publish", &user.file("file", &content(1, 70_000))], 8, "privacy floor");
    // More hops than the network has room for, neither.
    let wide = World::start(79, 4).await;
    let user = user_of(&wide, 1);
    ends(&user, &["get", "a name", "--set", "hops=5"], 8, "privacy floor");
}

// ---- what verify sees ----

#[tokio::test(flavor = "multi_thread")]
async fn verify_counts_the_copies_of_every_part_and_sees_them_fall_when_a_holder_ends() {
    let mut world = World::start(91, 16).await;
    let (user, reader) = (user_of(&world, 1), user_of(&world, 2));
    // Two levels: the hashes of 90 chunks of content are chunks themselves.
    let link = user.run(&["publish", &user.file("file", &content(5, 16 * 65_536))]).alone();
    let object = reader.run(&["verify", &link, "--json", "--explain"]).json();
    assert_eq!(
        (&object["health"], &object["attested"], &object["folder"]),
        (&"well".into(), &true.into(), &false.into())
    );
    assert_eq!(object["chunks"], object["looked"]);
    let copies: Vec<u64> = object["root"].as_array().unwrap().iter().map(|at| at["copies"].as_u64().unwrap()).collect();
    assert_eq!(copies, [5, 5, 5], "{object}");
    let groups = object["groups"].as_array().unwrap();
    assert_eq!(groups.iter().map(|group| group["level"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1]);
    let day = 86_400;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for group in groups {
        assert_eq!((&group["found"], &group["wanting"]), (&group["chunks"], &0.into()));
        assert_eq!(group["copies_min"], CHUNK_HOLDERS);
        let spare = group["chunks"].as_u64().unwrap() - group["needed"].as_u64().unwrap();
        assert_eq!(group["spare"], spare);
        let until = group["until"].as_u64().unwrap();
        assert!(until > now + day - 3_600 && until <= now + day + 6 * 3_600, "{until} of {now}");
        assert_eq!(group["until"], group["first_ends"]);
    }
    assert_eq!(object["readable_until"], groups[0]["until"]);
    // No circuit brought a chunk of content: what leads to them alone.
    let carried = |object: &Value, what: &str| {
        let circuits = object["explain"]["circuits"].as_array().unwrap();
        circuits.iter().filter(|circuit| circuit["carries"] == what).count()
    };
    assert_eq!(carried(&object, "fetch"), 1, "{object}");
    let looked = usize::try_from(object["looked"].as_u64().unwrap()).unwrap();
    assert!(carried(&object, "look") >= looked.div_ceil(4));
    // A few chunks say less, and cost less.
    let sampled = reader.run(&["verify", &link, "--sample", "9", "--json", "--explain"]).json();
    // Three whole batches, of which one may be the short last one of a level.
    assert!((9..=12).contains(&sampled["looked"].as_u64().unwrap()), "{sampled}");
    assert_eq!(sampled["readable_until"], Value::Null);
    assert!(carried(&sampled, "look") >= 3 && carried(&sampled, "look") < 9, "{sampled}");

    let (gone, held) = world.most_chunks();
    assert!(held > 0);
    world.network.stop(gone).await;
    let object = reader.run(&["verify", &link, "--json"]).object(7, "partly stored");
    assert_eq!(object["health"], "wanting");
    let wanting: u64 =
        object["groups"].as_array().unwrap().iter().map(|group| group["wanting"].as_u64().unwrap()).sum();
    assert!(wanting > 0 && wanting <= u64::try_from(held).unwrap(), "{wanting} of {held}");
    assert!(object["error"].as_str().unwrap().contains(&format!("of {wanting} chunks")), "{object}");
    let told = reader.run(&["verify", &link]).with(7);
    assert!(
        told.out.contains("level") && told.err.lines().last().unwrap().starts_with("bauta: fewer copies"),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_of_a_small_file_a_name_and_of_nothing_ends_as_get_does() {
    let world = World::start(92, 16).await;
    let user = user_of(&world, 1);
    user.run(&["put", "a small name", &user.file("file", b"x")]).fine();
    let object = user.run(&["verify", "a small name", "--json"]).json();
    assert_eq!((&object["chunks"], &object["health"]), (&0.into(), &"well".into()));
    assert!(object["readable_until"].is_u64());
    let told = user.run(&["verify", "a small name"]).fine();
    assert!(told.out.contains("5 + 5 + 5 copies") && told.out.contains("stands in the root"), "{told:?}");
    ends(&user, &["verify", "a name that nobody has put"], 3, "not found");
    user.run(&["verify", "bauta1x"]).with(2);
    world.behaviours.set_all(Behaviour::SilentStorer);
    ends(&user, &["verify", "a small name", "--set", "timeout=2s"], 4, "unreachable");
    world.behaviours.set_all(Behaviour::Honest);
    // What this user knows to be old.
    user.run(&["key", "new", "mine"]).fine();
    let publish = |content: &[u8]| user.run(&["publish", &user.file("file", content), "--key", "mine"]).alone();
    let link = publish(b"first");
    publish(b"second");
    user.run(&["verify", &link]).fine();
    world.behaviours.set_all(Behaviour::WithholdingExit);
    ends(&user, &["verify", &link], 5, "damaged");
}
