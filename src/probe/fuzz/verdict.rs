//! What of a run is a finding, and what a finding is as a text: a script, and a test to paste. Pure.
//!
//! Source: spec/fuzzing.md §4.

use std::fmt;

use super::{Memory, Report, no_script};
use crate::limits::{FUZZ_DELAY_FLOOR, FUZZ_HONEST_FAILED_PERMILLE_MAX, FUZZ_MEMORY_GROWN_MAX};
use crate::probe::script::{Fault, Script};
use crate::time::Duration;

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum What {
    /// A script has shown it.
    Fault(Fault),
    /// The process of the target has ended.
    Ended,
    /// Of a thousand honest questions so many failed.
    Failed {
        /// With scripts beside.
        permille: u64,
    },
    /// The slowest hundredth of honest questions took so long.
    Slow {
        /// Undisturbed.
        before: Duration,
        /// With scripts beside.
        during: Duration,
    },
    /// Memory has grown by so many bytes and stays so.
    Grown {
        /// How many.
        bytes: u64,
    },
}

/// A finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What.
    pub what: What,
    /// The number of the script that has shown it, under the run's seed.
    pub number: Option<u64>,
    /// What shows it again; empty where the whole run does.
    pub script: Script,
}

impl What {
    /// One word, for file names and programs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.name(),
            Self::Ended => "ended",
            Self::Failed { .. } => "honest-failed",
            Self::Slow { .. } => "slow",
            Self::Grown { .. } => "grown",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Ended => f.write_str("its process has ended"),
            Self::Failed { permille } => {
                let (whole, tenth) = (permille / 10, permille % 10);
                write!(f, "{whole}.{tenth} % of the honest client's questions failed")
            }
            Self::Slow { before, during } => {
                let ms = |time: &Duration| time.as_micros() / 1_000;
                write!(
                    f,
                    "the slowest hundredth of honest questions took {} ms, undisturbed {}",
                    ms(during),
                    ms(before)
                )
            }
            Self::Grown { bytes } => write!(f, "its memory has grown by {} MiB", bytes >> 20),
        }
    }
}

/// What the figures of a run say, beside what its scripts have shown.
pub(super) fn judge(report: &Report) -> Vec<Finding> {
    let (before, during) = (&report.before, &report.during);
    let mut found = Vec::new();
    // One failure alone is no share.
    if during.failed > 1 && during.failed_permille() > FUZZ_HONEST_FAILED_PERMILLE_MAX {
        found.push(What::Failed { permille: during.failed_permille() });
    }
    if let (Some(before), Some(during)) = (before.percentile(99), during.percentile(99))
        && during > FUZZ_DELAY_FLOOR.max(2 * before)
    {
        found.push(What::Slow { before, during });
    }
    if let Some(Memory { start, end, .. }) = report.memory
        && end.saturating_sub(start) > FUZZ_MEMORY_GROWN_MAX
    {
        found.push(What::Grown { bytes: end - start });
    }
    let finding = |what| Finding { what, number: None, script: no_script() };
    found.into_iter().map(finding).collect()
}

impl Finding {
    /// The script with its story in front, as `--replay` reads it.
    #[must_use]
    pub fn text(&self, seed: u64) -> String {
        let number = self.number.map_or_else(String::new, |number| format!(", script {number}"));
        let rest = match self.script.0.is_empty() {
            true => "# No script shows it by itself: run the same seed again for as long.\n".to_owned(),
            false => self.script.to_string(),
        };
        format!("# bauta fuzz --seed {seed}{number}\n# {}: {}\n{rest}", self.what.name(), self.what)
    }

    /// The same as a test to paste; the target's address, keys and network are for whoever pastes it.
    #[must_use]
    pub fn test(&self, seed: u64) -> String {
        let steps: String = self.script.0.iter().map(|step| format!("        {step}\n")).collect();
        format!(
            "/// Found by `bauta fuzz --seed {seed}`: {what}.\n\
             #[tokio::test(flavor = \"multi_thread\")]\n\
             async fn {name}_of_seed_{seed}() {{\n    \
                 // Where the node under test listens, its link key, its network.\n    \
                 let target: bauta::probe::Target = target().await;\n    \
                 let script: bauta::probe::script::Script = \"\\\n{steps}    \".parse().unwrap();\n    \
                 let found = bauta::probe::script::replay(&target, &script).await.unwrap();\n    \
                 assert_eq!(found, [], \"{{found:?}}\");\n\
             }}\n",
            what = self.what,
            name = self.what.name().replace('-', "_"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fuzz::{Tally, script};

    fn tally(count: u64, ms: u64, failed: u64) -> Tally {
        let mut tally = Tally::default();
        (0..count).for_each(|one| tally.note(Duration::from_millis(ms), one >= failed));
        tally
    }

    fn names(report: &Report) -> Vec<&'static str> {
        judge(report).iter().map(|finding| finding.what.name()).collect()
    }

    #[test]
    fn figures_are_findings_above_their_bounds_and_not_at_them() {
        let calm = Report { before: tally(100, 10, 0), during: tally(1_000, 12, 0), ..Report::default() };
        assert!(judge(&calm).is_empty() && judge(&Report::default()).is_empty());
        let most = FUZZ_HONEST_FAILED_PERMILLE_MAX;
        assert!(names(&Report { during: tally(1_000, 12, most), ..calm.clone() }).is_empty());
        assert_eq!(names(&Report { during: tally(1_000, 12, most + 1), ..calm.clone() }), ["honest-failed"]);
        assert!(names(&Report { during: tally(10, 12, 1), ..calm.clone() }).is_empty(), "one alone");
        let floor = u64::try_from(FUZZ_DELAY_FLOOR.as_millis()).unwrap();
        assert!(names(&Report { during: tally(1_000, floor, 0), ..calm.clone() }).is_empty());
        assert_eq!(names(&Report { during: tally(1_000, floor + 1, 0), ..calm.clone() }), ["slow"]);
        let slow = Report { before: tally(100, floor, 0), ..calm.clone() };
        assert!(names(&Report { during: tally(1_000, 2 * floor, 0), ..slow.clone() }).is_empty());
        assert_eq!(names(&Report { during: tally(1_000, 2 * floor + 1, 0), ..slow }), ["slow"]);
        let memory = |end| Some(Memory { start: 5, peak: 1 << 40, end });
        assert!(names(&Report { memory: memory(5 + FUZZ_MEMORY_GROWN_MAX), ..calm.clone() }).is_empty());
        assert_eq!(names(&Report { memory: memory(6 + FUZZ_MEMORY_GROWN_MAX), ..calm }), ["grown"]);
    }

    #[test]
    fn a_finding_as_text_is_the_script_again_and_its_test_holds_every_step() {
        let finding = Finding { what: What::Fault(Fault::Spoke), number: Some(3), script: script(1, 3) };
        assert_eq!(finding.text(1).parse(), Ok(finding.script.clone()));
        assert!(finding.text(1).starts_with("# bauta fuzz --seed 1, script 3\n# spoke: "));
        let test = finding.test(1);
        assert!(finding.script.0.iter().all(|step| test.contains(&step.to_string())), "{test}");
        let whole = Finding { what: What::Ended, number: None, script: no_script() };
        assert_eq!(whole.text(1).parse(), Ok(no_script()));
    }
}
