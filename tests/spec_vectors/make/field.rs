//! A tree of named fields that keeps its order, and its JSON.

/// The fields of a case, in order.
pub(crate) type Fields = Vec<(&'static str, Field)>;

/// A value of a field.
#[derive(Clone)]
pub(crate) enum Field {
    Text(String),
    Number(u64),
    Flag(bool),
    None,
    /// Hex digits; many zeros at the end are counted instead.
    Bytes(Vec<u8>),
    List(Vec<Field>),
    Object(Fields),
}

/// So many zeros at the end of bytes are counted, not written.
const ZEROS_COUNTED: usize = 32;

pub(crate) fn bytes(bytes: impl AsRef<[u8]>) -> Field {
    Field::Bytes(bytes.as_ref().to_vec())
}

pub(crate) fn text(text: &str) -> Field {
    Field::Text(text.to_owned())
}

impl From<u64> for Field {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl Field {
    /// As JSON, two spaces to a level.
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::new();
        self.print(&mut out, 0);
        out
    }

    fn print(&self, out: &mut String, level: usize) {
        match self {
            Self::Text(text) => out.push_str(&serde_json::to_string(text).unwrap()),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Flag(flag) => out.push_str(&flag.to_string()),
            Self::None => out.push_str("null"),
            Self::Bytes(bytes) => print_bytes(out, bytes),
            Self::List(items) => print_rows(out, level, ['[', ']'], items, |out, item| item.print(out, level + 1)),
            Self::Object(fields) => print_rows(out, level, ['{', '}'], fields, |out, (name, field)| {
                out.push_str(&format!("\"{name}\": "));
                field.print(out, level + 1);
            }),
        }
    }
}

fn print_bytes(out: &mut String, bytes: &[u8]) {
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    // A key of zeros reads best as one.
    let counted = if zeros > ZEROS_COUNTED { zeros } else { 0 };
    let hex: String = bytes[..bytes.len() - counted].iter().map(|byte| format!("{byte:02x}")).collect();
    match counted {
        0 => out.push_str(&format!("\"{hex}\"")),
        _ => out.push_str(&format!("{{ \"hex\": \"{hex}\", \"then_zeros\": {counted} }}")),
    }
}

fn print_rows<T>(
    out: &mut String,
    level: usize,
    [open, close]: [char; 2],
    rows: &[T],
    mut print: impl FnMut(&mut String, &T),
) {
    out.push(open);
    for (at, row) in rows.iter().enumerate() {
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(level + 1));
        print(out, row);
    }
    if !rows.is_empty() {
        out.push('\n');
        out.push_str(&"  ".repeat(level));
    }
    out.push(close);
}
