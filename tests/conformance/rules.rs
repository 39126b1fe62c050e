//! The rules of the specification, and the tests that are marked as proving them. Reads text alone; knows no rule by its name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::{fs, io, path::Path};

/// The pages that hold rules, in the order in which they are read, and what the ids of each begin with.
const PAGES: [(&str, &str); 13] = [
    ("crypto.md", "CRYPTO"),
    ("cells.md", "CELL"),
    ("link.md", "LINK"),
    ("onion.md", "ONION"),
    ("messages.md", "MSG"),
    ("requests.md", "REQ"),
    ("values.md", "VAL"),
    ("content.md", "CONT"),
    ("evidence.md", "EVID"),
    ("dht.md", "DHT"),
    ("membership.md", "MEMB"),
    ("state.md", "STATE"),
    ("versions.md", "VER"),
];
/// These pages speak of rules in general.
const ABOUT_RULES: [&str; 2] = ["README.md", GENERATED];
const GENERATED: &str = "conformance.md";
/// A rule that was given up keeps its id, so that no other ever means something else by it.
const WITHDRAWN: &str = "withdrawn";
/// The first words of a rule, in the generated page.
const SUMMARY_CHARS: usize = 110;
/// Lines between a marker and the name of its test: further markers, attributes.
const ATTRIBUTE_LINES_MAX: usize = 32;

/// Rules that `bauta conform` looks at, each with where.
pub(crate) fn live() -> BTreeSet<(&'static str, &'static str)> {
    let dialled = bauta::conform::CHECKS.iter().flat_map(|check| check.rules).map(|rule| (*rule, "node"));
    dialled.chain(bauta::conform::listen::rules().map(|(rule, _)| (rule, "dialler"))).collect()
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) page: String,
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Rule {
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.text.starts_with(WITHDRAWN)
    }
}

/// A test that is marked as proving a rule.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) id: String,
    pub(crate) path: String,
    pub(crate) test: String,
}

/// What was read; `faults` are for people, with file and line.
#[derive(Debug, Default)]
pub(crate) struct Conformance {
    pub(crate) rules: Vec<Rule>,
    pub(crate) proofs: Vec<Proof>,
    pub(crate) faults: Vec<String>,
}

impl Conformance {
    /// Of the tree at `root`.
    pub(crate) fn of_tree(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for folder in ["spec", "src", "tests"] {
            collect(root, Path::new(folder), &mut files)?;
        }
        files.sort();
        Ok(Self::of_files(&files))
    }

    /// Of paths and texts.
    pub(crate) fn of_files(files: &[(String, String)]) -> Self {
        let mut all = Self::default();
        for (path, text) in files {
            match path.strip_prefix("spec/") {
                Some(page) if !ABOUT_RULES.contains(&page) => all.read_page(page, text),
                Some(_) => (),
                None => all.read_source(path, text),
            }
        }
        all.rules.sort_by_key(|rule| (place(&rule.page), number(&rule.id)));
        all.check_ids();
        for (path, text) in files {
            if path != &format!("spec/{GENERATED}") {
                all.check_citations(path, text);
            }
        }
        all
    }

    /// Rules that nothing proves.
    pub(crate) fn unproven(&self) -> Vec<&Rule> {
        let proven: BTreeSet<&str> = self.proofs.iter().map(|proof| proof.id.as_str()).collect();
        self.rules.iter().filter(|rule| !rule.is_withdrawn() && !proven.contains(rule.id.as_str())).collect()
    }

    /// The generated page; `live` are the rules that `bauta conform` looks at, each with where: in a node that is dialled, or in
    /// whoever dials.
    pub(crate) fn page(&self, live: &BTreeSet<(&str, &str)>) -> String {
        let mut page = String::from(
            "# Conformance\n\nEvery rule of these pages, with the tests that prove it; **live** are those that `bauta conform` looks at in \
             what runs: in a node (`--addr`), or in a client or relay that dials (`--listen`). Written by `cargo run --example make_conformance`; a test demands that it is current, that each rule has \
             a test, and that no MUST stands outside a rule.\n",
        );
        for (name, prefix) in PAGES {
            let rules: Vec<&Rule> = self.rules.iter().filter(|rule| rule.page == name).collect();
            if rules.is_empty() {
                continue;
            }
            let _ =
                write!(page, "\n## {prefix}: [{name}]({name})\n\n| rule | | live | proven by |\n|---|---|---|---|\n");
            for rule in rules {
                let of_rule = live.iter().filter(|(id, _)| *id == rule.id).map(|(_, place)| *place);
                let live = of_rule.collect::<Vec<_>>().join(", ");
                let _ = writeln!(page, "| {} | {} | {live} | {} |", rule.id, summary(&rule.text), self.proofs_of(rule));
            }
        }
        page
    }

    fn proofs_of(&self, rule: &Rule) -> String {
        let mut tests: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for proof in self.proofs.iter().filter(|proof| proof.id == rule.id) {
            tests.entry(&proof.path).or_default().push(format!("`{}`", proof.test));
        }
        let of_file = |(path, tests): (&str, Vec<String>)| format!("{path}: {}", tests.join(", "));
        tests.into_iter().map(of_file).collect::<Vec<_>>().join("; ")
    }

    fn read_page(&mut self, page: &str, text: &str) {
        let mut rule: Option<Rule> = None;
        let mut in_block = false;
        for (line, words) in (1..).zip(text.lines()) {
            let words = words.trim();
            in_block ^= words.starts_with("```");
            let content = without_marker(words);
            let begins = id_at(content).filter(|_| !in_block);
            let ends = words.is_empty()
                || in_block
                || begins.is_some()
                || content.len() < words.len()
                || words.starts_with('#');
            if ends {
                self.rules.extend(rule.take());
            }
            match (begins, &mut rule) {
                (Some(id), _) => {
                    let text = content.split_once(']').map_or("", |(_, rest)| rest).trim();
                    let text = text.trim_end_matches('|').trim().to_owned();
                    rule = Some(Rule { id, page: page.to_owned(), line, text });
                }
                (None, Some(rule)) => {
                    rule.text.push(' ');
                    rule.text.push_str(words);
                }
                (None, None) if musts(words) > 0 => {
                    self.faults.push(format!("spec/{page}:{line}: a MUST outside a rule: give it an id"));
                }
                (None, None) => (),
            }
        }
        self.rules.extend(rule);
    }

    fn read_source(&mut self, path: &str, text: &str) {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, words) in lines.iter().enumerate() {
            let Some(ids) = marked(words) else { continue };
            let below = lines.get(at + 1..).unwrap_or_default();
            match test_below(below) {
                Some(test) => self.proofs.extend(ids.into_iter().map(|id| Proof {
                    id,
                    path: path.to_owned(),
                    test: test.clone(),
                })),
                None => {
                    self.faults.push(format!("{path}:{}: a marker of rules stands above no test that runs", at + 1))
                }
            }
        }
    }

    fn check_ids(&mut self) {
        let mut faults = Vec::new();
        for (at, rule) in self.rules.iter().enumerate() {
            let place = format!("spec/{}:{}: {}", rule.page, rule.line, rule.id);
            let prefix = PAGES.iter().find(|(page, _)| *page == rule.page).map(|(_, prefix)| *prefix);
            if prefix != Some(prefix_of(&rule.id)) {
                faults.push(format!("{place}: rules of this page do not begin so"));
            }
            let wanted = usize::from(!rule.is_withdrawn());
            if musts(&rule.text) != wanted {
                faults.push(format!("{place}: {} MUST in it, {wanted} wanted", musts(&rule.text)));
            }
            let before = at.checked_sub(1).and_then(|before| self.rules.get(before));
            let expected = before.filter(|before| before.page == rule.page).map_or(0, |before| number(&before.id)) + 1;
            if number(&rule.id) != expected {
                faults.push(format!("{place}: number {expected} was expected: one for each rule, no gaps; what is given up is `{WITHDRAWN}`"));
            }
        }
        self.faults.append(&mut faults);
    }

    fn check_citations(&mut self, path: &str, text: &str) {
        let known: BTreeSet<&str> = self.rules.iter().map(|rule| rule.id.as_str()).collect();
        let mut faults = Vec::new();
        for (line, words) in (1..).zip(text.lines()) {
            let cited = words.match_indices('[').filter_map(|(at, _)| id_at(words.get(at..)?));
            for id in cited.filter(|id| !known.contains(id.as_str())) {
                faults.push(format!("{path}:{line}: there is no rule {id}"));
            }
        }
        self.faults.append(&mut faults);
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        let name = path.to_string_lossy().replace('\\', "/");
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else if !name.starts_with("tests/conformance") && (name.ends_with(".rs") || name.ends_with(".md")) {
            files.push((name, fs::read_to_string(entry.path())?));
        }
    }
    Ok(())
}

/// Without the mark of a list's item or of a table's row.
fn without_marker(words: &str) -> &str {
    if let Some(rest) = ["- ", "* ", "| "].iter().find_map(|mark| words.strip_prefix(mark)) {
        return rest.trim_start();
    }
    match words.split_once(". ") {
        Some((digits, rest)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => rest.trim_start(),
        _ => words,
    }
}

/// The id of a rule that the text begins with, without its brackets.
fn id_at(text: &str) -> Option<String> {
    let (id, _) = text.strip_prefix('[')?.split_once(']')?;
    let mut parts = id.split('-');
    let (prefix, side, number) = (parts.next()?, parts.next()?, parts.next()?);
    let is_id = parts.next().is_none()
        && !prefix.is_empty()
        && prefix.bytes().all(|b| b.is_ascii_uppercase())
        && matches!(side, "W" | "R")
        && number.len() == 3
        && number.bytes().all(|b| b.is_ascii_digit());
    is_id.then(|| id.to_owned())
}

/// The ids of a marker: a plain comment of nothing else.
fn marked(words: &str) -> Option<Vec<String>> {
    let rest = words.strip_prefix("// ").filter(|rest| id_at(rest).is_some())?;
    rest.split_whitespace().map(|word| id_at(word).filter(|id| word.len() == id.len() + 2)).collect()
}

/// The name of the test whose attributes the lines begin with.
fn test_below(lines: &[&str]) -> Option<String> {
    let mut runs = false;
    for words in lines.iter().take(ATTRIBUTE_LINES_MAX) {
        if let Some(at) = words.find("fn ").filter(|_| !words.starts_with("//") && !words.starts_with("#[")) {
            let name: String = words.get(at + 3..)?.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            return (runs && !name.is_empty()).then_some(name);
        }
        if words.starts_with("#[ignore") {
            return None;
        }
        runs |= words.starts_with("#[test]") || words.starts_with("#[tokio::test");
        if words.is_empty() || words.ends_with('}') {
            return None;
        }
    }
    None
}

fn musts(text: &str) -> usize {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| *word == "MUST").count()
}

fn prefix_of(id: &str) -> &str {
    id.split_once('-').map_or(id, |(prefix, _)| prefix)
}

fn number(id: &str) -> u32 {
    id.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

fn place(page: &str) -> usize {
    PAGES.iter().position(|(name, _)| *name == page).unwrap_or(PAGES.len())
}

/// The first words, cut between two words, fit for a cell of a table.
fn summary(text: &str) -> String {
    let text = text.replace('|', "/");
    if text.chars().count() <= SUMMARY_CHARS {
        return text;
    }
    let mut short = String::new();
    for word in text.split(' ') {
        if short.chars().count() + word.chars().count() >= SUMMARY_CHARS {
            break;
        }
        short.push_str(word);
        short.push(' ');
    }
    // Half of a piece of code would open one that never closes.
    if short.matches('`').count() % 2 == 1 {
        short.truncate(short.rfind('`').unwrap_or(0));
    }
    format!("{} …", short.trim_end())
}
