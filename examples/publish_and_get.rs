//! Publishes a text into a network of this process and gets it back with another client, by the library alone.
//!
//! ```text
//! cargo run --release --example publish_and_get
//! ```

use std::error::Error;
use std::io::Write;

use bauta::cli::local::{LocalNetwork, LocalOptions};
use bauta::client::{Client, ClientOptions, GetOptions, PublishOptions};
use bauta::content::{ContentLink, FileName};
use bauta::net::Runtime;
use bauta::wire::network::Network;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::start()?;

    // A network to talk to. A real one is joined by its id and the contacts of some of its nodes.
    let network = Network::named("an example", 0);
    let options = LocalOptions { bootstraps: 2, ..LocalOptions::new(network, 16, 1) };
    let mut relays = LocalNetwork::start(&runtime, &options).await?;
    relays.ready().await;

    // Each client keeps its guards in a state directory of its own.
    let states = tempfile::tempdir()?;
    let client = |name: &str, number| {
        let mut options = ClientOptions::new(network, relays.bootstraps(), states.path().join(name));
        (options.rule, options.bind_ip) = (relays.rule, relays.client_ip(number));
        Client::start(&runtime, options)
    };

    let name = FileName::new("greeting.txt")?;
    let content = b"You were heard, and nobody asked who you were.".to_vec();
    let author = client("author", 0)?;
    let published = author.publish(&name, content.clone(), PublishOptions::default(), |_| ()).await?;

    // The link is all that the reader needs.
    let link: ContentLink = published.link.to_string().parse()?;
    let reader = client("reader", 1)?;
    let got = reader.get(&link, GetOptions::default(), |_| ()).await?;
    assert_eq!(got.bytes, content);
    assert_eq!(got.name, name);
    writeln!(std::io::stdout(), "{link}\n{}", String::from_utf8_lossy(&got.bytes))?;
    Ok(())
}
