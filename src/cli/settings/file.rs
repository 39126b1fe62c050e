//! Settings in a TOML file: flat keys, and the line of each for errors.

use std::io::Read;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{Origin, Settings, SettingsError};
use crate::limits::CONFIG_LEN_MAX;

/// The text of a file of at most CONFIG_LEN_MAX bytes.
pub(in crate::cli) fn text(path: &Path) -> Result<String, SettingsError> {
    let failed = |why: String| SettingsError::File(path.display().to_string(), why);
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let cap = u64::try_from(CONFIG_LEN_MAX).unwrap_or(u64::MAX);
    file.take(cap + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() > CONFIG_LEN_MAX {
        return Err(failed(format!("over {CONFIG_LEN_MAX} bytes: not a file of settings")));
    }
    Ok(text)
}

/// Sets what the file says.
pub(super) fn read_into(settings: &mut Settings, path: &Path) -> Result<(), SettingsError> {
    read_text(settings, &text(path)?, path)
}

/// Sets what this text of a file says.
pub(super) fn read_text(settings: &mut Settings, text: &str, path: &Path) -> Result<(), SettingsError> {
    let shown = path.display().to_string();
    let failed = |why: String| SettingsError::File(shown.clone(), why);
    let line_of = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(span.start));
        failed(format!("line {line}: {}", error.message()))
    })?;
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let origin = Origin::File(path.to_owned(), line_of(key.span().start));
        match flat(value.get_ref()) {
            Some(value) => settings.set(key.get_ref(), &value, origin)?,
            None => {
                let at = &origin;
                let why = format!("{at}: {}: a text, a number, true, false or a list of texts", key.get_ref());
                return Err(SettingsError::File(shown, why));
            }
        }
    }
    Ok(())
}

/// A text as it stands in a file: one of JSON, but that TOML takes no DEL as it is.
pub(in crate::cli) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// The value as the command line would have it.
fn flat(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(switch) => Some(switch.to_string()),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| flat(item.get_ref())).collect();
            texts.map(|texts| texts.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}
