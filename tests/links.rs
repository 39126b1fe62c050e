//! Links that are wrong: told at once, before any relay is asked for anything.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod world;

use bauta::client::{ClientError, GetOptions, PublishOptions};
use bauta::content::{ContentLink, FileName, LinkRefused};
use bauta::limits::CHUNK_LEN;
use bauta::wire::cell::Command;
use world::{World, network, patiently};

/// Characters that a link may have, and some that it may not.
const OTHERS: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l1bioQ -é";

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_character_anywhere_is_noticed_before_anybody_is_asked() {
    let world = World::start(80, 12).await;
    let client = world.client(1);
    let name = FileName::new("file").unwrap();
    let published = patiently(client.publish(&name, vec![5; 100], PublishOptions::default(), |_| ())).await.unwrap();
    let link = published.link.to_string();
    assert_eq!(patiently(client.get(&published.link, GetOptions::default(), |_| ())).await.unwrap().bytes, [5; 100]);
    let ip = world.network.client_ip(1).unwrap();
    let (paths, peers) = (client.paths().len(), world.ear.peers_of(ip));
    world.ear.take(ip);

    let others: Vec<char> = OTHERS.chars().collect();
    let mut tried = 0;
    for (at, right) in link.char_indices() {
        // A few at every position, others each time.
        for wrong in others.iter().cycle().skip(7 * at).take(5).filter(|wrong| **wrong != right) {
            let text: String = link.char_indices().map(|(i, char)| if i == at { *wrong } else { char }).collect();
            // Spaces around a pasted link are no fault of it.
            if text.trim().len() < text.len() {
                continue;
            }
            assert_eq!(text.parse::<ContentLink>().unwrap_err(), LinkRefused::Text, "{text}");
            tried += 1;
        }
        let short: String = link.char_indices().filter(|(i, _)| *i != at).map(|(_, char)| char).collect();
        // A double letter less is the same link less a letter, wherever it was taken from: refused all the same.
        assert_eq!(short.parse::<ContentLink>().unwrap_err(), LinkRefused::Text, "{short}");
    }
    assert!(tried > 4 * (link.len() - 2), "{tried}");
    for text in
        ["", "bauta1", "bauta", &link[..link.len() / 2], &format!("{link}{link}"), &link.replace("bauta1", "bautb1")]
    {
        assert_eq!(text.parse::<ContentLink>().unwrap_err(), LinkRefused::Text, "{text}");
    }
    // Capitals as a whole, and spaces around it, are the same link.
    for text in [link.to_uppercase(), format!("  {link}\n")] {
        assert_eq!(text.parse::<ContentLink>().unwrap().to_string(), link);
    }
    // The circuits from before may still be told that they are over.
    assert!(world.ear.peers_of(ip).is_subset(&peers));
    assert_eq!(world.ear.sent_by(ip, Command::Build) + world.ear.sent_by(ip, Command::Ask), 0);
    assert_eq!(client.paths().len(), paths);
}

// [VER-R-007]
#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_another_network_is_refused_by_name_and_nothing_is_sent() {
    let (here, elsewhere) = (World::start(81, 12).await, World::start(82, 12).await);
    let writer = elsewhere.client(1);
    let name = FileName::new("file").unwrap();
    let content = vec![5; CHUNK_LEN];
    let published = patiently(writer.publish(&name, content, PublishOptions::default(), |_| ())).await.unwrap();
    let reader = here.client(2);
    patiently(reader.guard()).await.unwrap();
    let got = patiently(reader.get(&published.link, GetOptions::default(), |_| ())).await;
    assert!(matches!(got, Err(ClientError::Link(LinkRefused::Network))), "{got:?}");
    assert!(reader.paths().is_empty());
    assert_eq!(here.ear.sent_by(here.network.client_ip(2).unwrap(), Command::Build), 0);
    assert_ne!(network(81), network(82));
}
