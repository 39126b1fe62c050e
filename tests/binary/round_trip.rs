//! Files of many sizes, there and back through the real commands: for a test with few, and an example with many.
#![allow(clippy::disallowed_methods, reason = "it tells how long things take")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::{Devnet, User, content};

/// Files under way at once.
pub(crate) const AT_ONCE: usize = 2;
/// Where something changes: a root's own content, a chunk, many chunks; each with one byte less and more.
const EDGES: [usize; 5] = [1_018, 64 << 10, 1 << 20, 2 << 20, 4 << 20];
const LEN_MAX: usize = 5 << 20;
/// So that a failure can be had again.
const SEED: u64 = 5;

/// One file that came back.
pub(crate) struct Trip {
    pub(crate) len: usize,
    pub(crate) publish: Duration,
    pub(crate) get: Duration,
}

/// Sizes of so many files: the edges first, then evenly drawn over the logarithm.
pub(crate) fn sizes(count: usize) -> Vec<usize> {
    let edges = EDGES.iter().flat_map(|edge| [edge - 1, *edge, edge + 1]);
    let mut sizes: Vec<usize> = [0, 1, LEN_MAX].into_iter().chain(edges).collect();
    let mut bits = content(SEED, 2 * count).into_iter();
    while let (Some(one), Some(other)) = (bits.next(), bits.next()) {
        let part = f64::from(u16::from_be_bytes([one, other])) / f64::from(u16::MAX);
        // 5 MiB is 2 to the power of 22.3.
        let drawn = (part * 22.3).exp2().floor();
        sizes.push(LEN_MAX.min(format!("{drawn:.0}").parse().unwrap()));
    }
    sizes.truncate(count);
    sizes
}

/// Carries each file there and back; tells of each as it is done: its number, and what came of it.
pub(crate) fn there_and_back(devnet: &Devnet, sizes: &[usize], mut hear: impl FnMut(usize, Result<Trip, String>)) {
    let (next, (tell, told)) = (AtomicUsize::new(0), channel());
    let users: Vec<(User, User)> = (0..AT_ONCE).map(|_| (devnet.user(), devnet.user())).collect();
    std::thread::scope(|scope| {
        for (publisher, getter) in &users {
            let (next, tell) = (&next, tell.clone());
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(len) = sizes.get(number) else { return };
                    tell.send((number, carry(publisher, getter, number, *len))).unwrap();
                }
            });
        }
        drop(tell);
        told.into_iter().for_each(|(number, outcome)| hear(number, outcome));
    });
}

fn carry(publisher: &User, getter: &User, number: usize, len: usize) -> Result<Trip, String> {
    let (name, bytes) = (format!("file-{number}.bin"), content(SEED + 1 + u64::try_from(number).unwrap(), len));
    publisher.file(&name, &bytes);
    let began = Instant::now();
    let published = publisher.run(&["publish", &name]);
    let publish = began.elapsed();
    if published.code != Some(0) {
        return Err(format!("{len} bytes: publish ended with {:?}: {}", published.code, published.err));
    }
    let link = published.alone();
    let began = Instant::now();
    let got = getter.run(&["get", &link]);
    let get = began.elapsed();
    if got.code != Some(0) {
        return Err(format!("{len} bytes: get ended with {:?}: {}", got.code, got.err));
    }
    if getter.content(&name) != bytes {
        return Err(format!("{len} bytes: other bytes came back"));
    }
    Ok(Trip { len, publish, get })
}
