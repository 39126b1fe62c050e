//! `bauta key`: make, list, show, carry away and bring in the keys under which content can be updated.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use clap::Subcommand;

use super::output::{say, warn};
use super::publish::link_of;
use super::{Said, Told, Usage, ask, files};
use crate::content::AuthorKey;
use crate::crypto::keys::IdentitySecret;
use crate::crypto::sealed::SealedSecret;
use crate::disk::Keyring;
use crate::limits::KEY_TEXT_LEN_MAX;
use crate::net::Entropy;
use crate::wire::hex;

/// What `key` takes.
#[derive(clap::Args)]
pub(super) struct KeyArguments {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a key.
    New {
        /// What you call it: letters, digits, `-`, `_`, `.`.
        name: String,
        /// Seal it with a passphrase, which is then asked for at each use.
        #[arg(long)]
        seal: bool,
    },
    /// List all keys.
    List,
    /// Show a key's public half, and the link of a label under it.
    Show {
        /// Which.
        name: String,
        /// The label.
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Print a key, to be carried to another machine; an open one is as secret as what it signs is dear.
    Export {
        /// Which.
        name: String,
        /// Into this file, readable by you alone, instead of standard output.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Bring in a key that was exported.
    Import {
        /// What you call it here.
        name: String,
        /// The file; standard input without it.
        file: Option<PathBuf>,
    },
}

/// Runs it.
pub(super) fn run(told: &Told, arguments: KeyArguments) -> anyhow::Result<Said> {
    let keyring = Keyring::open(&told.settings.state)?;
    match arguments.command {
        KeyCommand::New { name, seal } => new(&keyring, &name, seal),
        KeyCommand::List => list(&keyring),
        KeyCommand::Show { name, label } => show(told, &keyring, &name, &label),
        KeyCommand::Export { name, output } => export(&keyring, &name, output),
        KeyCommand::Import { name, file } => import(&keyring, &name, file),
    }
}

fn new(keyring: &Keyring, name: &str, seal: bool) -> anyhow::Result<Said> {
    let mut rng = Entropy::from_system()?.generator();
    let secret = IdentitySecret::generate(&mut rng);
    let key = if seal {
        let passphrase = ask::new_passphrase(name)?;
        let sealed = SealedSecret::seal(&secret, passphrase.as_bytes(), &mut rng);
        AuthorKey::Sealed(sealed.map_err(|_| anyhow::anyhow!("the passphrase could not be stretched"))?)
    } else {
        AuthorKey::Open(secret)
    };
    keyring.add(name, &key)?;
    say(&format!("made the key {name}; there is no second copy of it (`bauta key export {name}` makes one)"));
    Ok(described(Said::default(), name, &key))
}

fn described(said: Said, name: &str, key: &AuthorKey) -> Said {
    let public = hex::encode(&key.public().0);
    let sealed = matches!(key, AuthorKey::Sealed(_));
    let note = if sealed { "  sealed" } else { "" };
    said.line(format!("{name}  {public}{note}")).with("name", name).with("public", public).with("sealed", sealed)
}

fn list(keyring: &Keyring) -> anyhow::Result<Said> {
    let (mut said, mut keys) = (Said::default(), Vec::new());
    for name in keyring.names()? {
        let one = described(Said::default(), &name, &keyring.get(&name)?);
        said.lines.extend(one.lines);
        keys.push(serde_json::Value::Object(one.object));
    }
    if keys.is_empty() {
        say("no keys yet; `bauta key new NAME` makes one");
    }
    Ok(said.with("keys", keys))
}

fn show(told: &Told, keyring: &Keyring, name: &str, label: &str) -> anyhow::Result<Said> {
    let key = keyring.get(name)?;
    let said = described(Said::default(), name, &key);
    if told.settings.network.is_none() {
        say("no network is set, so there is no link to show (--config FILE)");
        return Ok(said);
    }
    // The link holds what follows from the secret alone.
    let link = link_of(told, &ask::secret_of(key, name)?, label.as_bytes())?.to_string();
    Ok(said.line(&link).with("label", label).with("link", link))
}

fn export(keyring: &Keyring, name: &str, output: Option<PathBuf>) -> anyhow::Result<Said> {
    let key = keyring.get(name)?;
    let text = key.to_text();
    if matches!(key, AuthorKey::Open(_)) {
        warn(&format!(
            "warning: whoever reads this can publish as {name}; `bauta key new --seal` makes keys that need a passphrase"
        ));
    }
    match output {
        None => Ok(Said::default().line(text.as_str()).with("key", text.as_str())),
        Some(path) => {
            files::write_secret(&path, format!("{}\n", *text).as_bytes())?;
            say(&format!("{}: the key {name}", path.display()));
            Ok(Said::default().with("path", path.display().to_string()))
        }
    }
}

fn import(keyring: &Keyring, name: &str, file: Option<PathBuf>) -> anyhow::Result<Said> {
    let cap = u64::try_from(KEY_TEXT_LEN_MAX).unwrap_or(u64::MAX);
    // Reserved at once, so that no grown and freed piece keeps a copy.
    let mut text = zeroize::Zeroizing::new(String::with_capacity(KEY_TEXT_LEN_MAX));
    match file.filter(|path| path.as_os_str() != "-") {
        Some(path) => {
            let read = std::fs::File::open(&path).and_then(|file| file.take(cap).read_to_string(&mut text));
            read.map_err(|why| files::FileError::Read(path.display().to_string(), why))?;
        }
        None => {
            if std::io::stdin().is_terminal() {
                say("paste the key (bautakey1…), then press Ctrl-D");
            }
            let read = std::io::stdin().lock().take(cap).read_to_string(&mut text);
            read.map_err(|why| Usage(format!("standard input: {why}")))?;
        }
    }
    let key: AuthorKey = text.parse()?;
    keyring.add(name, &key)?;
    say(&format!("brought in the key {name}"));
    Ok(described(Said::default(), name, &key))
}
