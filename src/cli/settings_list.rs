//! `bauta settings`: every setting, its value in force, and where that comes from.

use serde_json::json;

use super::Said;
use super::settings::{KEYS, Settings};

/// The list.
pub(super) fn list(settings: &Settings) -> Said {
    let (mut said, mut listed) = (Said::default(), Vec::new());
    for key in &KEYS {
        let value = (key.show)(settings);
        let origin = settings.origins.get(key.name).map_or_else(|| "default".to_owned(), ToString::to_string);
        let shown = if value.is_empty() { "(not set)" } else { &value };
        said = said.line(format!("{} = {shown}", key.name));
        said = said.line(format!("    {} · BAUTA_{} · {origin}", key.what, key.name.to_ascii_uppercase()));
        listed.push(
            json!({ "key": key.name, "value": value, "origin": origin, "what": key.what, "of_relay": key.of_relay }),
        );
    }
    said.with("settings", listed)
}
