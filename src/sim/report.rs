//! What a scenario found: tables, charts, checks, notes; as lines for people, as Markdown, and in shapes that serialise in one
//! order. It must not know clocks, files or JSON itself. Source: spec/simulation.md §5.

use core::fmt;

use serde::ser::{Serialize, Serializer};

use super::chart::Chart;
use super::draw::{real, real_count};

/// Columns that a line of a table may take.
const WIDTH_MAX: usize = 100;
/// Between two columns.
const GAP: &str = "  ";

/// One value of a table or a setting.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A whole number, with separators in text.
    Whole(u64),
    /// A real number, shown with so many digits behind the point.
    Real(f64, usize),
    /// A share of one, shown as a percentage with so many digits behind the point.
    Share(f64, usize),
    /// Yes or no.
    Switch(bool),
    /// Several.
    List(Vec<Cell>),
    /// Nothing was measured here.
    Nothing,
}

impl Cell {
    /// Words.
    #[must_use]
    pub fn text(words: &str) -> Self {
        Self::Text(words.to_owned())
    }

    /// A count.
    #[must_use]
    pub fn count(count: usize) -> Self {
        Self::Whole(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// A real number as it was given: with as many digits as it takes.
    #[must_use]
    pub fn real(number: f64) -> Self {
        let digits = number.to_string().split_once('.').map_or(0, |(_, behind)| behind.len());
        Self::Real(number, digits)
    }

    /// Whether it stands at the right of its column.
    const fn is_number(&self) -> bool {
        matches!(self, Self::Whole(_) | Self::Real(..) | Self::Share(..) | Self::Nothing)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(words) => f.write_str(words),
            Self::Whole(number) => f.write_str(&grouped(&number.to_string())),
            Self::Real(number, digits) => f.write_str(&grouped(&format!("{number:.digits$}"))),
            Self::Share(share, digits) => write!(f, "{:.digits$} %", share * 100.0),
            Self::Switch(is_on) => f.write_str(if *is_on { "true" } else { "false" }),
            Self::List(cells) => {
                let texts: Vec<String> = cells.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join(" "))
            }
            Self::Nothing => f.write_str("-"),
        }
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(words) => to.serialize_str(words),
            Self::Whole(number) => to.serialize_u64(*number),
            Self::Real(number, _) | Self::Share(number, _) => to.serialize_f64(*number),
            Self::Switch(is_on) => to.serialize_bool(*is_on),
            Self::List(cells) => to.collect_seq(cells),
            Self::Nothing => to.serialize_none(),
        }
    }
}

/// Commas between groups of three digits, before the point alone; numbers of four digits too.
pub(super) fn grouped(number: &str) -> String {
    let (before, behind) = number.find('.').map_or((number, ""), |at| number.split_at(at));
    let (sign, digits) = before.strip_prefix('-').map_or(("", before), |digits| ("-", digits));
    let mut text = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && digits.chars().all(|c| c.is_ascii_digit()) {
            text.push(',');
        }
        text.push(digit);
    }
    text + behind
}

/// Rows under names.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Table {
    /// Of file names and programs: small letters and hyphens.
    pub name: String,
    /// For people.
    pub title: String,
    /// Names of the columns; one whose values depend on the machine is named as such a field of the report.
    pub columns: Vec<String>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(name: &str, title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        Self { name: name.to_owned(), title: title.to_owned(), columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "{}", self.name);
        self.rows.push(cells);
    }

    /// The title and aligned lines of at most 100 characters. A name of several words that is wider than its column's values
    /// stands over several lines; what is still too long is cut, and says so.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let texts: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        let heads: Vec<Vec<&str>> = self.columns.iter().map(|name| name.split(' ').collect()).collect();
        let width_of = |at: usize| {
            let values = texts.iter().filter_map(|row| row.get(at)).map(|text| text.chars().count());
            let head = heads.get(at).into_iter().flatten().map(|word| word.chars().count());
            values.chain(head).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width_of).collect();
        let right = |at: usize| self.rows.iter().all(|row| row.get(at).is_none_or(Cell::is_number));
        let line = |cells: &dyn Fn(usize) -> String| {
            let column = |(at, width): (usize, &usize)| {
                let text = cells(at);
                if right(at) { format!("{text:>width$}") } else { format!("{text:<width$}") }
            };
            let joined = widths.iter().enumerate().map(column).collect::<Vec<_>>().join(GAP);
            cut(joined.trim_end())
        };
        let mut lines = vec![cut(&self.title)];
        let height = heads.iter().map(Vec::len).max().unwrap_or(0);
        for step in 0..height {
            // Short names stand at the bottom, next to their values.
            let word = |at: usize| {
                let words = heads.get(at)?;
                words.get((step + words.len()).checked_sub(height)?).map(|word| (*word).to_owned())
            };
            lines.push(line(&|at| word(at).unwrap_or_default()));
        }
        for row in &texts {
            lines.push(line(&|at| row.get(at).cloned().unwrap_or_default()));
        }
        lines
    }

    /// The title as a paragraph, and a table.
    #[must_use]
    pub fn markdown(&self) -> String {
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("{}\n\n", cell(&self.title));
        text += &row(self.columns.iter().map(|name| cell(name)).collect());
        let is_number = |at: usize| self.rows.iter().all(|row| row.get(at).is_none_or(Cell::is_number));
        let rule = |at: usize| if is_number(at) { "---:".to_owned() } else { "---".to_owned() };
        text += &row((0..self.columns.len()).map(rule).collect());
        for cells in &self.rows {
            text += &row(cells.iter().map(|one| cell(&one.to_string())).collect());
        }
        text
    }
}

fn cut(line: &str) -> String {
    if line.chars().count() <= WIDTH_MAX {
        return line.to_owned();
    }
    line.chars().take(WIDTH_MAX - 1).chain(['…']).collect()
}

/// Something that the run checked of itself.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Check {
    /// What must hold.
    pub name: String,
    /// Whether it did.
    pub held: bool,
    /// The figures.
    pub detail: String,
    /// Of how many things it tells and what they are, where that is all of `detail`: parts of a run add up to one such check.
    #[serde(skip)]
    pub(super) counted: Option<(u64, &'static str)>,
}

/// What the machine made of it; the only part of a report that differs between equal runs.
#[derive(Clone, PartialEq, Debug, Default, serde::Serialize)]
pub struct Measured {
    /// Real seconds; in a set, where several scenarios run at once, the sum over its parts.
    pub wall_s: f64,
    /// Events handled in a real second.
    pub events_per_s: f64,
    /// The most memory that the process had; 0 when the system does not say.
    pub rss_bytes: u64,
}

/// What a scenario found. Equal settings and seeds give equal reports but for `measured`.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Report {
    /// Its name.
    pub scenario: String,
    /// Of its files: the scenario's name, or another one where a set has the scenario twice.
    pub name: String,
    /// The settings in force.
    #[serde(serialize_with = "as_map")]
    pub settings: Vec<(String, Cell)>,
    /// The seed.
    pub seed: u64,
    /// Whether it was stopped before its end.
    pub partial: bool,
    /// Events handled.
    pub events: u64,
    /// Virtual seconds that went by, over all runs.
    pub virtual_s: f64,
    /// What was found.
    pub tables: Vec<Table>,
    /// The same to look at.
    pub charts: Vec<Chart>,
    /// What one must know to read it.
    pub notes: Vec<String>,
    /// What must hold.
    pub checks: Vec<Check>,
    /// A hash of all that happened, in hexadecimal: equal for equal seeds.
    pub digest: String,
    /// Filled in by whoever has a clock.
    pub measured: Measured,
}

fn as_map<S: Serializer>(pairs: &[(String, Cell)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

impl Report {
    /// A report without findings.
    #[must_use]
    pub fn new(scenario: super::settings::Scenario, settings: &super::settings::Settings) -> Self {
        Self {
            scenario: scenario.name().to_owned(),
            name: scenario.name().to_owned(),
            settings: settings.echo(scenario),
            seed: settings.seed,
            partial: false,
            events: 0,
            virtual_s: 0.0,
            tables: Vec::new(),
            charts: Vec::new(),
            notes: Vec::new(),
            checks: Vec::new(),
            digest: String::new(),
            measured: Measured::default(),
        }
    }

    /// Adds a check.
    pub fn check(&mut self, name: &str, held: bool, detail: impl Into<String>) {
        self.checks.push(Check { name: name.to_owned(), held, detail: detail.into(), counted: None });
    }

    /// Adds a check that held for so many things of this kind.
    pub fn check_of_all(&mut self, name: &str, count: u64, things: &'static str) {
        let detail = format!("{count} {things}");
        self.checks.push(Check { name: name.to_owned(), held: true, detail, counted: Some((count, things)) });
    }

    /// Adds a note.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Names of the checks that did not hold.
    #[must_use]
    pub fn failed(&self) -> Vec<&str> {
        self.checks.iter().filter(|check| !check.held).map(|check| check.name.as_str()).collect()
    }

    /// Sets what the machine made of it.
    pub fn measure(&mut self, wall_s: f64, rss_bytes: u64) {
        let events_per_s = if wall_s > 0.0 { real(self.events) / wall_s } else { 0.0 };
        self.measured = Measured { wall_s, events_per_s, rss_bytes };
    }

    /// Everything, for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let set: Vec<String> = self.settings.iter().map(|(key, value)| format!("{key} {value}")).collect();
        let named = if self.name == self.scenario { String::new() } else { format!(" ({})", self.name) };
        let mut lines = vec![format!("scenario  {}{named}", self.scenario)];
        lines.extend(wrapped("settings  ", &set.join(" · ")));
        for table in &self.tables {
            lines.push(String::new());
            lines.extend(table.lines());
        }
        lines.push(String::new());
        for note in &self.notes {
            lines.extend(wrapped("note: ", note));
        }
        for check in &self.checks {
            let state = if check.held { "  ok      " } else { "  FAILED  " };
            lines.extend(wrapped(state, &format!("{}: {}", check.name, check.detail)));
        }
        let Measured { wall_s, events_per_s, rss_bytes } = self.measured;
        lines.push(String::new());
        let speed = grouped(&format!("{events_per_s:.0}"));
        let events = grouped(&self.events.to_string());
        lines.push(format!("seed {} · digest {}", self.seed, self.digest));
        lines.push(format!(
            "{events} events · {wall_s:.1} s · {speed} events/s · at most {:.0} MiB",
            real(rss_bytes) / 1_048_576.0
        ));
        lines
    }

    /// Everything as a page of results; charts by the names of their files.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n", self.name);
        let set: Vec<String> = self.settings.iter().map(|(key, value)| format!("`{key}` {value}")).collect();
        text += &format!("{}\n\n", set.join(", "));
        for table in &self.tables {
            text += &format!("{}\n", table.markdown());
        }
        for chart in &self.charts {
            text += &format!("![{}]({})\n\n", chart.title, chart.file_name(&self.name));
        }
        for note in &self.notes {
            text += &format!("- {note}\n");
        }
        for check in &self.checks {
            let state = if check.held { "held" } else { "**did not hold**" };
            text += &format!("- {} {state}: {}\n", check.name, check.detail);
        }
        text + &format!("\nSeed {}, digest `{}`.\n", self.seed, self.digest)
    }
}

/// Words over as many lines as they take, under each other.
fn wrapped(head: &str, words: &str) -> Vec<String> {
    let indent = " ".repeat(head.chars().count());
    let mut lines = vec![head.trim_end_matches('\n').to_owned()];
    let mut is_fresh = true;
    for word in words.split_whitespace() {
        let used = lines.last().map_or(0, |line| line.chars().count());
        if !is_fresh && used + 1 + word.chars().count() > WIDTH_MAX {
            lines.push(indent.clone());
            is_fresh = true;
        }
        if let Some(line) = lines.last_mut() {
            if !is_fresh {
                line.push(' ');
            }
            line.push_str(word);
        }
        is_fresh = false;
    }
    lines
}

/// Mean, deviation and ranks of some figures.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation of the figures themselves, as a whole population.
    pub deviation: f64,
    /// Half are at most so large.
    pub median: f64,
    /// Ninety of a hundred are at most so large.
    pub p90: f64,
    /// Ninety-nine of a hundred are at most so large.
    pub p99: f64,
    /// The largest.
    pub largest: f64,
}

impl Spread {
    /// Of figures in any order; `None` when there are none.
    #[must_use]
    pub fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let largest = *figures.last()?;
        let count = real_count(figures.len());
        let mean = figures.iter().sum::<f64>() / count;
        let deviation = (figures.iter().map(|one| (one - mean) * (one - mean)).sum::<f64>() / count).sqrt();
        let rank = |percent: usize| {
            let at = (figures.len() * percent).div_ceil(100).saturating_sub(1);
            figures.get(at).copied().unwrap_or(largest)
        };
        Some(Self { mean, deviation, median: rank(50), p90: rank(90), p99: rank(99), largest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::settings::{Scenario, Settings};

    fn table() -> Table {
        let mut table = Table::new("spread", "how it spreads", &["method", "largest over mean", "keys"]);
        table.row(vec![Cell::text("a | b"), Cell::Real(1.25, 2), Cell::Whole(1_234_567)]);
        table.row(vec![Cell::text("c"), Cell::Nothing, Cell::count(7)]);
        table
    }

    #[test]
    fn a_table_is_aligned_and_long_names_stand_over_several_lines() {
        let lines = table().lines();
        assert_eq!(
            lines,
            [
                "how it spreads",
                "        largest           ",
                "           over           ",
                "method     mean       keys",
                "a | b      1.25  1,234,567",
                "c             -          7",
            ]
            .map(str::trim_end)
        );
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let mut wide = table();
        wide.columns.push("more".into());
        wide.rows.iter_mut().for_each(|row| row.push(Cell::Text("x".repeat(200))));
        assert!(wide.lines().iter().all(|line| line.chars().count() <= WIDTH_MAX));
        assert!(wide.lines()[4].ends_with('…'));
        let mut report = Report::new(Scenario::Scale, &Settings::default());
        report.tables.push(wide);
        report.note("word ".repeat(60));
        report.check("all is well", false, "because ".repeat(40));
        assert!(report.lines().iter().all(|line| line.chars().count() <= WIDTH_MAX), "{:#?}", report.lines());
        assert_eq!(report.failed(), ["all is well"]);
    }

    #[test]
    fn markdown_has_as_many_cells_in_each_row_and_escapes_bars() {
        let text = table().markdown();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 4);
        for row in &rows {
            assert_eq!(row.replace("\\|", "").matches('|').count(), 4, "{row}");
        }
        assert!(rows[1].contains("| --- | ---: | ---: |") && rows[2].contains("a \\| b"), "{text}");
    }

    #[test]
    fn a_report_serialises_in_one_order_with_its_settings_as_an_object() {
        let mut report = Report::new(Scenario::Partitioning, &Settings::default());
        report.tables.push(table());
        report.events = 50;
        report.measure(2.0, 1 << 20);
        let text = serde_json::to_string(&report).unwrap();
        assert!(
            text.starts_with(
                r#"{"scenario":"partitioning","name":"partitioning","settings":{"nodes":[1000],"seed":1,"#
            ),
            "{text}"
        );
        assert!(text.contains(r#"["a | b",1.25,1234567],["c",null,7]"#), "{text}");
        assert!(text.ends_with(r#""measured":{"wall_s":2.0,"events_per_s":25.0,"rss_bytes":1048576}}"#), "{text}");
    }

    #[test]
    fn figures_are_grouped_by_thousands() {
        for (cell, text) in [
            (Cell::Whole(999), "999"),
            (Cell::Whole(1_000), "1,000"),
            (Cell::Real(-12_345.678, 1), "-12,345.7"),
            (Cell::Real(f64::NAN, 1), "NaN"),
            (Cell::Share(0.123, 1), "12.3 %"),
            (Cell::real(0.25), "0.25"),
            (Cell::List(vec![Cell::Whole(1), Cell::Whole(2)]), "1 2"),
        ] {
            assert_eq!(cell.to_string(), text);
        }
    }

    #[test]
    fn a_spread_has_exact_ranks() {
        let spread = Spread::of((1..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!((spread.median, spread.p90, spread.p99, spread.largest), (50.0, 90.0, 99.0, 100.0));
        assert!((spread.mean - 50.5).abs() < 1e-9 && (spread.deviation - 28.866).abs() < 1e-3);
        assert_eq!(Spread::of(vec![]), None);
        assert_eq!(Spread::of(vec![3.0]).unwrap().p99, 3.0);
    }
}
