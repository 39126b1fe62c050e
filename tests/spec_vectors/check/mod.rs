//! One check for each file of `spec/vectors`: what a case must give, and how what is invalid is refused.

mod circuit;
mod content;
mod crypto;
mod noise;
pub(crate) mod read;
mod values;
mod wire;

use read::Case;

/// How one file is checked.
pub(crate) struct Check {
    /// Its name without the ending.
    pub(crate) file: &'static str,
    /// How many cases, and how many invalid ones: a lost one shows.
    pub(crate) counts: (usize, usize),
    /// Ends the test if the case does not hold.
    pub(crate) case: fn(&Case),
    /// The words with which this is refused.
    pub(crate) refusal: fn(&Case) -> String,
}

fn never_refused(case: &Case) -> String {
    panic!("this file has nothing to refuse: {}", case.0)
}

const fn check(file: &'static str, counts: (usize, usize), case: fn(&Case), refusal: fn(&Case) -> String) -> Check {
    Check { file, counts, case, refusal }
}

/// Every file.
pub(crate) const CHECKS: [Check; 25] = [
    check("blinding", (5, 4), crypto::blinding, crypto::refused_author),
    check("cells", (10, 9), wire::cell, wire::refused_cell),
    check("chunks", (4, 0), content::chunk, never_refused),
    check("descriptors", (2, 12), wire::descriptor, wire::refused_descriptor),
    check("exit_answers", (5, 7), wire::exit_answer, wire::refused_exit_answer),
    check("exit_requests", (8, 12), wire::exit_request, wire::refused_exit_request),
    check("folders", (3, 10), content::folder, content::refused_folder),
    check("fragments", (6, 2), wire::fragments, wire::refused_fragment),
    check("handshakes", (2, 0), noise::handshake, never_refused),
    check("hellos", (2, 6), wire::hello, wire::refused_hello),
    check("keys", (7, 0), crypto::key, never_refused),
    check("layouts", (12, 1), content::layout, content::refused_layout),
    check("links", (3, 10), values::link, values::refused_link),
    check("messages", (20, 18), wire::message, wire::refused_message),
    check("network", (3, 0), crypto::network, never_refused),
    check("noise_nk", (2, 6), noise::nk, noise::refused_message),
    check("onion_builds", (5, 7), circuit::build, circuit::refused_routing),
    check("onion_circuits", (5, 0), circuit::later, never_refused),
    check("parity", (9, 0), content::parity, never_refused),
    check("payments", (4, 5), crypto::payment, crypto::refused_payment),
    check("places", (6, 0), crypto::place, never_refused),
    check("records", (6, 8), values::record, values::refused_record),
    check("roots", (6, 13), content::root, content::refused_root),
    check("state_files", (2, 5), values::state_file, values::refused_state_file),
    check("statements", (9, 7), wire::statement, wire::refused_statement),
];
