//! Text that strangers may have written, as a terminal can be shown it: nothing in it moves the cursor, changes the direction of
//! writing, or is there without being seen. It must not know where the text comes from.

use std::fmt::Write as _;

/// Letters that are printed as nothing, or as a space, although they count as printable.
const UNSEEN: [core::ops::RangeInclusive<char>; 9] = [
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{e0100}'..='\u{e01ef}',
];

/// Whether it shows itself, and nothing else.
fn is_seen(c: char) -> bool {
    // Behind a letter, so that an accent that follows one counts as it should.
    let pair: String = ['a', c].into_iter().collect();
    let is_plain = pair.escape_debug().count() == 2 || matches!(c, '"' | '\'' | '\\');
    is_plain && !UNSEEN.iter().any(|range| range.contains(&c))
}

/// The same with `\u{…}` for every character that is not seen.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_seen(c) { shown.push(c) } else { shown.extend(c.escape_unicode()) }
    }
    shown
}

/// JSON that says the same, with `\uXXXX` for them: they stand in its texts alone.
pub(super) fn visible_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if is_seen(c) {
            shown.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Into a String nothing fails.
            let _ = write!(shown, "\\u{unit:04x}");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Controls, both directions of writing, and what is printed as nothing.
    const BAD: [char; 22] = [
        '\0',
        '\u{7}',
        '\n',
        '\r',
        '\t',
        '\u{1b}',
        '\u{7f}',
        '\u{9b}',
        '\u{ad}',
        '\u{61c}',
        '\u{200b}',
        '\u{200d}',
        '\u{200e}',
        '\u{202e}',
        '\u{2028}',
        '\u{2066}',
        '\u{2069}',
        '\u{3164}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{e0041}',
        '\u{e000}',
    ];

    #[test]
    fn what_is_not_seen_is_escaped_and_the_rest_stays() {
        for bad in BAD {
            let shown = visible(&format!("a{bad}b"));
            assert_eq!(shown, format!("a{}b", bad.escape_unicode()));
        }
        for good in ["", "plain", "é e\u{301} ü ß 漢字 עברית العربية", "quote \" ' \\ stays"] {
            assert_eq!(visible(good), good);
        }
    }

    #[test]
    fn json_says_the_same_without_what_is_not_seen() {
        for bad in BAD {
            let value = serde_json::json!({ "text": format!("a{bad}\"\\é") });
            let shown = visible_json(&value.to_string());
            assert!(!shown.contains(bad), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
