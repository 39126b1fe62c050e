//! From a script that shows a fault to a smaller one that still does: pieces are left out as long as it shows without them.
//! Source: Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input (2002).

use tokio::time::Instant;

use super::Shared;
use crate::limits::{FUZZ_SHRINK_RUNS_MAX, FUZZ_SHRINK_TIME_MAX};
use crate::probe::script::{Fault, Script, Step};

/// The smallest script that is found in so many runs and so much time, within the budget of all lanes.
pub(super) async fn smaller(shared: &Shared, script: &Script, fault: Fault) -> Script {
    let deadline = Instant::now() + FUZZ_SHRINK_TIME_MAX;
    let mut best = script.clone();
    let mut left = FUZZ_SHRINK_RUNS_MAX;
    let mut size = best.0.len() / 2;
    // Without its salt a script has other keys.
    let salt = usize::from(matches!(best.0.first(), Some(Step::Salt(_))));
    while size > 0 {
        let mut at = salt;
        let mut is_smaller = false;
        while at < best.0.len() {
            if left == 0 || Instant::now() >= deadline {
                return best;
            }
            left -= 1;
            let without = Script(left_out(&best.0, at, size));
            shared.afford(&without).await;
            let found = shared.runner.run(&without).await.unwrap_or_default();
            if found.iter().any(|one| one.fault == fault) {
                best = without;
                is_smaller = true;
            } else if found.iter().any(|one| one.fault == Fault::Gone) {
                // There is nobody left to ask.
                return best;
            } else {
                at += size;
            }
        }
        size = if size == 1 && is_smaller { 1 } else { size / 2 };
    }
    best
}

fn left_out<T: Clone>(list: &[T], at: usize, count: usize) -> Vec<T> {
    let end = at.saturating_add(count);
    list.iter().enumerate().filter(|(place, _)| !(at..end).contains(place)).map(|(_, one)| one.clone()).collect()
}
