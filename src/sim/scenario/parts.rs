//! The parts that a run is made of: settings with single values in the place of lists, and about how long each takes. It must not
//! know how a scenario runs.

use super::Refused;
use crate::sim::draw::real_count;
use crate::sim::settings::{Scenario, Settings};

/// Virtual hours in which a network begins and records are stored.
const BEGIN: f64 = 0.03;

/// All in one.
#[expect(clippy::unnecessary_wraps, reason = "the shape of all ways to split; one of them refuses")]
pub(super) fn one(settings: &Settings) -> Result<Vec<Settings>, Refused> {
    Ok(vec![settings.clone()])
}

/// One for each number of nodes.
pub(super) fn sizes(settings: &Settings) -> Result<Vec<Settings>, Refused> {
    Ok(each(core::slice::from_ref(settings), |part| &mut part.nodes))
}

/// One for each number of nodes and each chance of faults.
pub(super) fn faults(settings: &Settings) -> Result<Vec<Settings>, Refused> {
    Ok(each(&sizes(settings)?, |part| &mut part.fail))
}

/// One for each number of nodes and each median of sessions.
pub(super) fn sessions(settings: &Settings) -> Result<Vec<Settings>, Refused> {
    Ok(each(&sizes(settings)?, |part| &mut part.session_minutes))
}

/// One for each number of nodes and each share that stops.
pub(super) fn stops(settings: &Settings) -> Result<Vec<Settings>, Refused> {
    Ok(each(&sizes(settings)?, |part| &mut part.stops))
}

/// One for each number of nodes and each number of Sybils.
pub(super) fn sybils(settings: &Settings) -> Result<Vec<Settings>, Refused> {
    Ok(each(&sizes(settings)?, |part| &mut part.sybils))
}

/// Each of these with each single value of one of its lists.
pub(super) fn each<T: Clone>(parts: &[Settings], list: fn(&mut Settings) -> &mut Vec<T>) -> Vec<Settings> {
    let mut single = Vec::new();
    for part in parts {
        let mut part = part.clone();
        for value in core::mem::take(list(&mut part)) {
            *list(&mut part) = vec![value];
            single.push(part.clone());
        }
    }
    single
}

/// Nodes times virtual hours. It needs to be right in its order alone.
pub(super) fn cost(scenario: Scenario, part: &Settings) -> f64 {
    let nodes: f64 = part.nodes.iter().copied().map(real_count).sum();
    let (gets, repeats) = (real_count(part.gets), real_count(part.repeats));
    let hours = match scenario {
        Scenario::Scale => 0.1 + gets / 100_000.0,
        // No nodes: a second for ten thousand records at ten thousand nodes.
        Scenario::Partitioning => real_count(part.records) * repeats / 1e8,
        Scenario::Faults => BEGIN + gets / 36_000.0,
        Scenario::Churn => {
            let sessions: f64 = part.session_minutes.iter().sum();
            sessions / 60.0 + part.hours * real_count(part.session_minutes.len())
        }
        Scenario::Partition => 3.0 * (part.minutes / 60.0 + 2.2),
        Scenario::Halves | Scenario::FlashCrowd => 2.0 * BEGIN,
        // A file keeps some four relays as busy as an hour does.
        Scenario::Content => BEGIN * repeats + 0.05 * real_count(part.files),
        Scenario::ContentChurn => part.hours * real_count(part.session_minutes.len()) + 0.05 * real_count(part.files),
        Scenario::Adversary => {
            (BEGIN + gets / 36_000.0) * real_count(part.bad.len()) * real_count(part.behaviours.len().max(1))
        }
        Scenario::Sybil => BEGIN * repeats * 6.0 * real_count(part.sybils.len()),
        Scenario::Anonymity => (BEGIN + part.hours) * real_count(part.hops),
        Scenario::Soak => part.hours * real_count(part.session_minutes.len()),
        // One size is drawn for each world.
        Scenario::Hunt => 2.2 * repeats / real_count(part.nodes.len().max(1)),
    };
    nodes * hours.max(1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::scenario::parts;

    #[test]
    fn lists_are_split_in_the_order_of_their_tables() {
        let settings = Settings {
            nodes: vec![20, 10],
            fail: vec![0.3, 0.1],
            session_minutes: vec![60.0, 20.0],
            sybils: vec![0, 5],
            stops: vec![0.3, 0.5],
            ..Settings::default()
        };
        let both = |scenario| -> Vec<String> {
            let parts = parts(scenario, &settings).unwrap();
            parts
                .iter()
                .map(|Settings { nodes, fail, session_minutes, sybils, stops, .. }| {
                    format!("{nodes:?} {fail:?} {session_minutes:?} {sybils:?} {stops:?}")
                })
                .collect()
        };
        let [first, .., last] = &both(Scenario::Faults)[..] else { panic!("too few") };
        assert!(first.starts_with("[20] [0.3]") && last.starts_with("[10] [0.1]"), "{first} {last}");
        for (scenario, count) in [
            (Scenario::Faults, 4),
            (Scenario::Churn, 4),
            (Scenario::Soak, 4),
            (Scenario::Sybil, 4),
            (Scenario::Halves, 2),
            (Scenario::Content, 4),
            (Scenario::ContentChurn, 4),
            (Scenario::Partition, 2),
            (Scenario::FlashCrowd, 2),
            (Scenario::Anonymity, 2),
            (Scenario::Scale, 1),
            (Scenario::Partitioning, 1),
            (Scenario::Hunt, 1),
        ] {
            let mut parts = both(scenario);
            assert_eq!(parts.len(), count, "{}", scenario.name());
            parts.sort();
            parts.dedup();
            assert_eq!(parts.len(), count, "{}", scenario.name());
        }
    }

    #[test]
    fn a_world_without_bad_relays_is_one_part_for_all_behaviours() {
        let behaviours = vec!["deny".to_owned(), "all".to_owned()];
        let settings = Settings { nodes: vec![20, 10], bad: vec![0.1, 0.0, 0.2], behaviours, ..Settings::default() };
        let split = parts(Scenario::Adversary, &settings).unwrap();
        let of = |part: &Settings| (part.nodes[0], part.bad.clone(), part.behaviours.join(" "));
        let of_20: Vec<_> = split.iter().take(5).map(of).collect();
        let bad = |share, behaviour: &str| (20, vec![share], behaviour.to_owned());
        let deny = [bad(0.1, "deny"), bad(0.2, "deny")];
        assert_eq!(of_20[..3], [&[bad(0.0, "deny all")], &deny[..]].concat());
        assert_eq!((of_20[4].clone(), split.len()), (bad(0.2, "all"), 10));
        let wrong = Settings { behaviours: vec!["deny".into(), "nap".into()], ..settings };
        assert!(parts(Scenario::Adversary, &wrong).unwrap_err().to_string().contains("behaviours = nap"));
    }

    #[test]
    fn larger_and_longer_parts_cost_more() {
        for scenario in Scenario::ALL {
            let small = Settings { nodes: vec![100], behaviours: vec!["deny".into()], ..Settings::default() };
            let large = Settings { nodes: vec![1_000], ..small.clone() };
            assert!(cost(scenario, &small) > 0.0 && cost(scenario, &large) > cost(scenario, &small));
        }
        let long = Settings { hours: 24.0, ..Settings::default() };
        assert!(cost(Scenario::Churn, &long) > 4.0 * cost(Scenario::Churn, &Settings::default()));
    }
}
