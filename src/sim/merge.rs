//! One report out of those of several parts of a run. It must not know scenarios. Source: spec/simulation.md §3.

use super::report::{Check, Report, Table};
use crate::crypto::hash::blake3;

impl Report {
    /// Takes in what a further part of the same run found: rows of equal tables and points of equal series come after those that
    /// are here, what is here already is not added twice.
    pub fn take(&mut self, part: Self) {
        self.partial |= part.partial;
        self.events += part.events;
        self.virtual_s += part.virtual_s;
        for table in part.tables {
            let is_same = |one: &&mut Table| one.name == table.name && one.columns == table.columns;
            match self.tables.iter_mut().find(is_same) {
                Some(one) => one.rows.extend(table.rows),
                None => self.tables.push(table),
            }
        }
        for chart in part.charts {
            match self.charts.iter_mut().find(|one| one.name == chart.name) {
                Some(one) => one.take(chart),
                None => self.charts.push(chart),
            }
        }
        for note in part.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        part.checks.into_iter().for_each(|check| self.take_check(check));
        self.digest = match self.digest.as_str() {
            "" => part.digest,
            digest => {
                let both = blake3(&[digest.as_bytes(), part.digest.as_bytes()]);
                crate::wire::hex::encode(both.get(..8).unwrap_or_default())
            }
        };
    }

    /// What counts things stands once, at the end.
    fn take_check(&mut self, check: Check) {
        let is_same = |one: &Check| {
            let things = |of: &Check| of.counted.map(|(_, things)| things);
            one.name == check.name && things(one).is_some() && things(one) == things(&check)
        };
        let before = self.checks.iter().position(is_same).map(|at| self.checks.remove(at));
        match (before.and_then(|one| one.counted), check.counted) {
            (Some((before, _)), Some((count, things))) => self.check_of_all(&check.name, before + count, things),
            _ => self.checks.push(check),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::chart::Chart;
    use crate::sim::draw::real;
    use crate::sim::report::Cell;
    use crate::sim::settings::{Scenario, Settings};

    /// What a part found that has one row, one note of its own and one chart.
    fn part(number: u64) -> Report {
        let mut part = Report::new(Scenario::Scale, &Settings::default());
        let mut rows = Table::new("rows", "of each part", &["number"]);
        rows.row(vec![Cell::Whole(number)]);
        let own = Table::new(&format!("of-{number}"), "of one part", &["number"]);
        part.tables.extend([rows, own]);
        let mut chart = Chart::lines("all", "of all parts", "x", "y");
        chart.add("joined", [(0.0, 1.0), (real(number), 2.0)]);
        chart.add(&format!("of {number}"), [(real(number), 3.0)]);
        part.charts.push(chart);
        part.note("for all");
        part.note(format!("for {number}"));
        part.check("one of its own", number != 3, number.to_string());
        part.check_of_all("all is well", number, "things");
        (part.events, part.virtual_s, part.digest) = (number, 0.5, format!("{number:016x}"));
        part
    }

    fn taken(parts: &[u64]) -> Report {
        let mut whole = Report::new(Scenario::Scale, &Settings::default());
        parts.iter().for_each(|number| whole.take(part(*number)));
        whole
    }

    #[test]
    fn parts_are_joined_in_their_order_and_what_they_share_stands_once() {
        let whole = taken(&[1, 2]);
        let tables: Vec<(&str, usize)> =
            whole.tables.iter().map(|table| (table.name.as_str(), table.rows.len())).collect();
        assert_eq!(tables, [("rows", 2), ("of-1", 0), ("of-2", 0)]);
        assert_eq!(whole.tables[0].rows, [[Cell::Whole(1)], [Cell::Whole(2)]]);
        let series: Vec<(&str, &[(f64, f64)])> =
            whole.charts[0].series.iter().map(|series| (series.name.as_str(), series.points.as_slice())).collect();
        let joined = [(0.0, 1.0), (1.0, 2.0), (2.0, 2.0)];
        assert_eq!(series, [("joined", &joined[..]), ("of 1", &[(1.0, 3.0)]), ("of 2", &[(2.0, 3.0)])]);
        assert_eq!((whole.charts.len(), whole.events, whole.virtual_s), (1, 3, 1.0));
        assert_eq!(whole.notes, ["for all", "for 1", "for 2"]);
        let checks: Vec<(&str, &str)> =
            whole.checks.iter().map(|check| (check.name.as_str(), check.detail.as_str())).collect();
        assert_eq!(checks, [("one of its own", "1"), ("one of its own", "2"), ("all is well", "3 things")]);
        assert!(!whole.partial);
    }

    #[test]
    fn a_digest_tells_parts_and_their_order_apart() {
        assert_eq!(taken(&[7]).digest, part(7).digest);
        let digests = [taken(&[1, 2]), taken(&[2, 1]), taken(&[1, 3]), taken(&[1])].map(|report| report.digest);
        for (at, digest) in digests.iter().enumerate() {
            assert!(digest.len() == 16 && !digests[..at].contains(digest), "{digests:?}");
        }
    }

    #[test]
    fn what_did_not_hold_or_end_in_one_part_did_not_in_the_whole() {
        let mut whole = taken(&[1, 3, 2]);
        assert_eq!(whole.failed(), ["one of its own"]);
        let mut breached = Report::new(Scenario::Scale, &Settings::default());
        breached.check("all is well", false, "it is not");
        breached.partial = true;
        whole.take(breached);
        assert_eq!(whole.failed(), ["one of its own", "all is well"]);
        assert!(whole.partial && whole.checks.iter().any(|check| check.held && check.detail == "6 things"));
    }
}
