//! One check for each file of `spec/vectors`: what a case must give, and how what is invalid is refused.

mod circuit;
mod content;
mod crypto;
mod kept;
mod keys;
mod noise;
pub(crate) mod read;
mod values;
mod wire;

use std::fmt::{Debug, Display};

use read::Case;

/// How one file is checked.
pub(crate) struct Check {
    /// Its name without the ending.
    pub(crate) file: &'static str,
    /// How many cases, and how many invalid ones: a lost one shows.
    pub(crate) counts: (usize, usize),
    /// Ends the test if the case does not hold.
    pub(crate) case: fn(&Case),
    /// How this is refused.
    pub(crate) refusal: fn(&Case) -> Refusal,
}

/// Believed from the first to the last second that a case names, and not a second before or after.
fn assert_life(case: &Case, is_believed: impl Fn(u64) -> bool) {
    let (from, to) = (case.number("believed_from"), case.number("believed_to"));
    assert_eq!([from - 1, from, to, to + 1].map(is_believed), [false, true, true, false], "{}", case.0);
}

/// How something is refused.
pub(crate) struct Refusal {
    /// Which refusal it is: stays, whatever becomes of the words.
    pub(crate) id: String,
    pub(crate) words: String,
}

/// A refusal by an error of the type with this name. Its id has that name and the variant's, and nothing of what was refused.
fn told(name: &str, error: impl Debug + Display) -> Refusal {
    let debug = format!("{error:?}");
    let variant = debug.split(|c: char| !c.is_alphanumeric()).next().unwrap();
    let id = if variant == name { name.to_owned() } else { format!("{name}::{variant}") };
    Refusal { id, words: error.to_string() }
}

fn never_refused(case: &Case) -> Refusal {
    panic!("this file has nothing to refuse: {}", case.0)
}

const fn check(file: &'static str, counts: (usize, usize), case: fn(&Case), refusal: fn(&Case) -> Refusal) -> Check {
    Check { file, counts, case, refusal }
}

/// Every file.
pub(crate) const CHECKS: [Check; 31] = [
    check("author_keys", (2, 15), keys::author_key, keys::refused_author_key),
    check("blinding", (5, 5), crypto::blinding, crypto::refused_author),
    check("cells", (10, 9), wire::cell, wire::refused_cell),
    check("chunks", (4, 0), content::chunk, never_refused),
    check("command_frames", (6, 4), kept::frame, kept::refused_frame),
    check("descriptors", (4, 35), wire::descriptor, wire::refused_descriptor),
    check("exit_answers", (5, 7), wire::exit_answer, wire::refused_exit_answer),
    check("exit_requests", (10, 14), wire::exit_request, wire::refused_exit_request),
    check("folders", (5, 20), content::folder, content::refused_folder),
    check("fragments", (6, 2), wire::fragments, wire::refused_fragment),
    check("handshakes", (2, 6), noise::handshake, noise::refused_frame),
    check("hellos", (2, 6), wire::hello, wire::refused_hello),
    check("kept_files", (8, 7), kept::kept_file, kept::refused_kept_file),
    check("key_files", (2, 5), keys::key_file, keys::refused_key_file),
    check("keys", (7, 0), crypto::key, never_refused),
    check("layouts", (12, 1), content::layout, content::refused_layout),
    check("links", (3, 10), values::link, values::refused_link),
    check("messages", (22, 19), wire::message, wire::refused_message),
    check("names", (5, 19), keys::name, keys::refused_name),
    check("network", (3, 0), crypto::network, never_refused),
    check("noise_nk", (2, 6), noise::nk, noise::refused_message),
    check("onion_builds", (5, 7), circuit::build, circuit::refused_routing),
    check("onion_circuits", (5, 0), circuit::later, never_refused),
    check("parity", (20, 0), content::parity, never_refused),
    check("payments", (4, 5), crypto::payment, crypto::refused_payment),
    check("places", (6, 0), crypto::place, never_refused),
    check("records", (6, 18), values::record, values::refused_record),
    check("rekeys", (1, 0), noise::rekeys, never_refused),
    check("roots", (8, 30), content::root, content::refused_root),
    check("state_files", (2, 7), values::state_file, values::refused_state_file),
    check("statements", (9, 15), wire::statement, wire::refused_statement),
];
