//! Values as people write them: durations, sizes, words. Each refusal names the nearest value that would do.

use std::fmt;
use std::str::FromStr;

use crate::time::Duration;

/// Why a value does not do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli) struct Bad {
    why: String,
    nearest: Option<String>,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        self.nearest.as_ref().map_or(Ok(()), |nearest| write!(f, "; nearest: {nearest}"))
    }
}

/// A refusal, with the nearest good value if there is one.
pub(super) fn bad<T>(why: impl Into<String>, nearest: Option<String>) -> Result<T, Bad> {
    Err(Bad { why: why.into(), nearest })
}

/// Units of time, with their microseconds; the first is the smallest.
const TIMES: [(&str, u64); 5] =
    [("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];
/// Units of size, with their bytes.
const SIZES: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];

/// A whole number and a unit.
fn measured(text: &str, units: &[(&str, u64)]) -> Result<u64, Bad> {
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let Ok(number) = number.parse::<u64>() else {
        let example = units.get(1).or(units.first()).map(|(name, _)| format!("10{name}"));
        return bad(format!("a whole number and a unit of {}", names.join(", ")), example);
    };
    let Some((_, size)) = units.iter().find(|(name, _)| *name == unit) else {
        let alike = |name: &&str| unit.to_lowercase().starts_with(&name.to_lowercase());
        let nearest = names.iter().find(|name| alike(name)).or(names.get(1)).map(|name| format!("{number}{name}"));
        let why = if unit.is_empty() { "the unit is missing".to_owned() } else { format!("{unit:?} is no unit") };
        return bad(format!("{why}; there are {}", names.join(", ")), nearest);
    };
    number.checked_mul(*size).ok_or_else(|| Bad { why: "too large".into(), nearest: None })
}

/// A duration between two bounds.
pub(in crate::cli) fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, Bad> {
    let found = Duration::from_micros(measured(text, &TIMES)?);
    let show = show_duration;
    if found < min || found > max {
        let nearest = found.clamp(min, max);
        return bad(format!("is not {} to {}", show(min), show(max)), Some(show(nearest)));
    }
    Ok(found)
}

/// In the largest unit that leaves a whole number.
pub(in crate::cli) fn show_duration(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let fits = TIMES.iter().rev().find(|(_, size)| micros.is_multiple_of(*size) && micros > 0);
    fits.map_or_else(|| "0s".to_owned(), |(unit, size)| format!("{}{unit}", micros / size))
}

/// A size in bytes between two bounds.
pub(super) fn size(text: &str, min: u64, max: u64) -> Result<u64, Bad> {
    let found = measured(text, &SIZES)?;
    if found < min || found > max {
        let nearest = show_size(found.clamp(min, max));
        return bad(format!("is not {} to {}", show_size(min), show_size(max)), Some(nearest));
    }
    Ok(found)
}

/// In the largest unit that leaves a whole number.
pub(in crate::cli) fn show_size(bytes: u64) -> String {
    let fits = SIZES.iter().take(3).rev().find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
    fits.map_or_else(|| format!("{bytes}B"), |(unit, size)| format!("{}{unit}", bytes / size))
}

/// A whole number between two bounds.
pub(super) fn number<T: FromStr + Ord + Copy + fmt::Display>(text: &str, min: T, max: T) -> Result<T, Bad> {
    match text.parse::<T>() {
        Ok(found) if found >= min && found <= max => Ok(found),
        Ok(found) => bad(format!("is not {min} to {max}"), Some(found.clamp(min, max).to_string())),
        Err(_) => bad(format!("is no whole number from {min} to {max}"), Some(min.to_string())),
    }
}

/// One of some words.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Bad> {
    if let Some((_, found)) = words.iter().find(|(name, _)| *name == text) {
        return Ok(*found);
    }
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    bad(format!("is none of {}", names.join(", ")), nearest(text, names.iter().copied()).map(str::to_owned))
}

/// Below it nobody who wrote the one name meant the other.
const LIKENESS_MIN: f64 = 0.7;

/// The known name that is most like a given one, if any is like it.
fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &str| strsim::jaro_winkler(name, given);
    let like = known.filter(|name| likeness(name) >= LIKENESS_MIN);
    like.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// What to add to a refusal of a name that is not known.
pub(in crate::cli) fn did_you_mean<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(given, known).map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"))
}
