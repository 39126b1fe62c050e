//! Named fields of a JSON object. What is not there, or not of its kind, ends the test.

use serde_json::Value;

use crate::hex;

/// An object: a file, a case, a part of one.
pub(crate) struct Case(pub(crate) Value);

impl Case {
    fn field(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or_else(|| panic!("no field {name} in {}", self.0))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.field(name).as_str().unwrap_or_else(|| panic!("{name} is no text"))
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.field(name).as_u64().unwrap_or_else(|| panic!("{name} is no number"))
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.field(name).as_bool().unwrap_or_else(|| panic!("{name} is no flag"))
    }

    /// An object in this one; `None` for null.
    pub(crate) fn part(&self, name: &str) -> Option<Case> {
        self.has(name).then(|| Case(self.field(name).clone()))
    }

    pub(crate) fn byte(&self, name: &str) -> u8 {
        self.number(name).try_into().unwrap()
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        bytes_of(self.field(name))
    }

    pub(crate) fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        match self.field(name).as_str() {
            Some(text) => hex::array(text),
            None => self.bytes(name).try_into().unwrap_or_else(|_| panic!("{name} is of another length")),
        }
    }

    pub(crate) fn list(&self, name: &str) -> Vec<Case> {
        self.field(name).as_array().unwrap_or_else(|| panic!("{name} is no list")).iter().cloned().map(Self).collect()
    }

    pub(crate) fn list_or_none(&self, name: &str) -> Vec<Case> {
        if self.has(name) { self.list(name) } else { Vec::new() }
    }

    pub(crate) fn bytes_list(&self, name: &str) -> Vec<Vec<u8>> {
        self.list(name).iter().map(|item| bytes_of(&item.0)).collect()
    }

    pub(crate) fn numbers(&self, name: &str) -> Vec<u64> {
        self.list(name).iter().map(|item| item.0.as_u64().unwrap()).collect()
    }
}

/// Hex digits, or hex digits and a count of zeros behind them.
fn bytes_of(value: &Value) -> Vec<u8> {
    if let Some(text) = value.as_str() {
        return hex::bytes(text);
    }
    let mut bytes = hex::bytes(value["hex"].as_str().unwrap());
    let zeros = usize::try_from(value["then_zeros"].as_u64().unwrap()).unwrap();
    bytes.resize(bytes.len() + zeros, 0);
    bytes
}
