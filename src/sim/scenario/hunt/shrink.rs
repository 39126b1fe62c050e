//! From a list that fails to a small one that still does: halves, quarters and so on are left out as long as it fails without them.
//! Source: Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input (2002). It must not know what is in the list.

/// A list of which nothing can be left out, or what is left when `runs` questions were asked.
pub(super) fn shrunk<T: Clone>(list: &[T], runs: usize, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut list = list.to_vec();
    let mut left = runs;
    let mut size = list.len();
    while size > 0 {
        let mut at = 0;
        let mut is_smaller = false;
        while at < list.len() {
            if left == 0 {
                return list;
            }
            left -= 1;
            let skipped = |place: usize| (at..at + size).contains(&place);
            let without: Vec<T> =
                list.iter().enumerate().filter(|(place, _)| !skipped(*place)).map(|(_, one)| one.clone()).collect();
            if fails(&without) {
                list = without;
                is_smaller = true;
            } else {
                at += size;
            }
        }
        // One by one as long as that helps: what was needed before may not be any more.
        size = if size == 1 && is_smaller { 1 } else { size / 2 };
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_left_and_nothing_else() {
        let all: Vec<u32> = (0..40).collect();
        assert_eq!(shrunk(&all, 1_000, |list| list.contains(&7) && list.contains(&31)), [7, 31]);
        assert!(shrunk(&all, 1_000, |_| true).is_empty());
        assert_eq!(shrunk(&all, 1_000, |list| list.len() == 40), all);
        assert!(shrunk::<u32>(&[], 10, |_| true).is_empty());
    }

    #[test]
    fn it_asks_no_more_often_than_it_may() {
        let mut asked = 0;
        let all: Vec<u32> = (0..40).collect();
        let left = shrunk(&all, 5, |list| {
            asked += 1;
            list.contains(&39)
        });
        assert_eq!(asked, 5);
        assert!(left.contains(&39) && left.len() < 40);
    }
}
