//! `bauta delete`: what stands under a kept key or a name is replaced by the word that it is deleted. Only who could replace it can.

use super::output::{say, warn};
use super::way::{Way, folder};
use super::{Said, Told, Usage, ask, counts_json, exit, explain, publish, published};
use crate::client::{GetOptions, PutOptions, Stored};
use crate::content::{ContentLink, Target};
use crate::crypto::keys::IdentitySecret;
use crate::disk::{Keyring, StateDir};
use crate::request::Consistency;

/// What `delete` takes.
#[derive(clap::Args)]
pub(super) struct DeleteArguments {
    /// The name under which it was put. Nobody can delete by a link alone: that takes its key.
    #[arg(required_unless_present = "key", conflicts_with = "key")]
    name: Option<String>,
    /// The key of yours under which it was published.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Its label under that key.
    #[arg(long, value_name = "LABEL", requires = "key")]
    label: Option<String>,
}

/// Runs it.
pub(super) async fn delete(told: &Told, arguments: DeleteArguments) -> anyhow::Result<Said> {
    let label = publish::label_of(arguments.label)?;
    let network = told.settings.network()?;
    let author = match (&arguments.key, &arguments.name) {
        (Some(key), _) => ask::secret_of(Keyring::open(&told.settings.state)?.get(key)?, key)?,
        (None, Some(name)) => match Target::parse(name)? {
            Target::Name(name) => {
                name.author(&network).ok_or_else(|| anyhow::anyhow!("the name's key could not be derived"))?
            }
            Target::Link(_) => return Err(Usage("a link deletes nothing: name the key with --key".into()).into()),
        },
        (None, None) => return Err(Usage("name what is to be deleted".into()).into()),
    };
    let link = publish::link_of(told, &author, &label)?;
    let way = Way::open(told).await?;
    let outcome = replace(told, &way, (&author, &label), &link).await;
    let explained = explain::story(told, &way);
    way.close().await;
    let stored = match outcome {
        Ok(stored) => stored,
        Err(error) => return Err(explain::tell_failure(told, error, explained)),
    };
    explain::tell(told, &explained);
    say("deleted: whoever asks from now on is told so");
    warn(
        "its chunks, if it had any, stay with their holders until they expire; who has read its root can still get them",
    );
    Ok(explain::attach(Said::default(), explained)
        .with("link", link.to_string())
        .with("seq", stored.seq)
        .with("root_copies", stored.copies)
        .with("counts", counts_json(&stored.counts)))
}

async fn replace(
    told: &Told,
    way: &Way,
    (author, label): (&IdentitySecret, &[u8]),
    link: &ContentLink,
) -> anyhow::Result<Stored> {
    let network = told.settings.network()?;
    let state = StateDir::open(folder(&told.settings, &network)?)?;
    let locator = link.locator(&network)?;
    let known = published::known(&state, locator)?;
    let timeout = Some(told.settings.timeout);
    let get = GetOptions { consistency: Consistency::Quorum, seq_min: known.stored, timeout };
    // Not found at two locations, it may still be at the third: the own number may be replaced there.
    let current = way.current_seq(&network, link, get).await?.or((known.stored > 0).then_some(known.stored));
    if current.is_none() {
        return Err(exit::Told::new(exit::Exit::NotFound, "there is nothing to delete").into());
    }
    let lifetime = published::about_to_send(&state, locator, current, told.settings.ttl, published::present())?;
    let put = PutOptions { previous: current, above: known.sent, lifetime, timeout };
    let stored = way.delete(author, label, put).await?;
    published::remember(&state, locator, published::Numbers { stored: stored.seq, sent: stored.seq, until: 0 })?;
    Ok(stored)
}
