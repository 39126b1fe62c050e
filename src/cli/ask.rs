//! Passphrases: from the environment, or asked for on a terminal. Never an argument: other users see those.

use std::io::IsTerminal;

use zeroize::Zeroizing;

use super::Usage;
use crate::content::AuthorKey;
use crate::crypto::keys::IdentitySecret;

/// For scripts.
const VARIABLE: &str = "BAUTA_PASSPHRASE";

/// The passphrase of a key that is sealed already.
pub(super) fn passphrase(of: &str) -> anyhow::Result<Zeroizing<String>> {
    if let Some(given) = std::env::var_os(VARIABLE) {
        let text = given.into_string().map_err(|_| Usage(format!("{VARIABLE} is no text")))?;
        return Ok(Zeroizing::new(text));
    }
    if !std::io::stdin().is_terminal() {
        let why = format!("the key {of} is sealed: run this on a terminal, or set {VARIABLE}");
        return Err(Usage(why).into());
    }
    Ok(Zeroizing::new(rpassword::prompt_password(format!("Passphrase of {of}: "))?))
}

/// A new passphrase, asked for twice.
pub(super) fn new_passphrase(of: &str) -> anyhow::Result<Zeroizing<String>> {
    let first = passphrase(of)?;
    if first.is_empty() {
        return Err(Usage("an empty passphrase seals nothing".into()).into());
    }
    if std::env::var_os(VARIABLE).is_none() {
        let second = Zeroizing::new(rpassword::prompt_password("Again: ")?);
        if first != second {
            return Err(Usage("the two passphrases differ; nothing was kept".into()).into());
        }
    }
    Ok(first)
}

/// The secret of a key, whether sealed or not.
pub(super) fn secret_of(key: AuthorKey, name: &str) -> anyhow::Result<IdentitySecret> {
    match key {
        AuthorKey::Open(secret) => Ok(secret),
        AuthorKey::Sealed(sealed) => {
            let given = passphrase(name)?;
            let refused = |_| Usage(format!("the key {name} does not open with this passphrase"));
            Ok(sealed.open(given.as_bytes()).map_err(refused)?)
        }
    }
}
