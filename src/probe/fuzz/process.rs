//! The process of a target on this machine: whether it runs, and how much memory it has. It must not know what it is.

use rustix::process::{Pid, test_kill_process};

/// Resident memory in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// Before the first script.
    pub start: u64,
    /// The most that was seen.
    pub peak: u64,
    /// At the end.
    pub end: u64,
}

/// The process.
pub(super) struct Process {
    pid: u32,
    seen: Option<Memory>,
}

impl Process {
    pub(super) const fn new(pid: u32) -> Self {
        Self { pid, seen: None }
    }

    /// Looks at it; `false` when it has ended.
    pub(super) fn look(&mut self) -> bool {
        if !runs(self.pid) {
            return false;
        }
        if let Some(now) = resident(self.pid) {
            let seen = self.seen.get_or_insert(Memory { start: now, peak: now, end: now });
            (seen.peak, seen.end) = (seen.peak.max(now), now);
        }
        true
    }

    /// What was seen; zeros where the system does not tell.
    pub(super) fn memory(&self) -> Memory {
        self.seen.unwrap_or_default()
    }
}

/// Whether there is such a process, and no mere remains of one.
#[must_use]
pub fn runs(pid: u32) -> bool {
    let known = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let is_there = known.is_some_and(|pid| match test_kill_process(pid) {
        Ok(()) => true,
        // Another user's is one as well.
        Err(error) => error == rustix::io::Errno::PERM,
    });
    is_there && !status(pid, "State:").is_some_and(|state| state.starts_with('Z') || state.starts_with('X'))
}

fn resident(pid: u32) -> Option<u64> {
    let kib: u64 = status(pid, "VmRSS:")?.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1_024)
}

/// A line of what Linux tells of a process; `None` elsewhere.
fn status(pid: u32, word: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(word)?.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_one_that_has_ended_does_not() {
        let mut own = Process::new(std::process::id());
        assert!(own.look());
        if cfg!(target_os = "linux") {
            let memory = own.memory();
            assert!(memory.start > 1 << 20 && memory.peak >= memory.start);
        }
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(!Process::new(pid).look());
        assert!(!runs(0) && !runs(u32::MAX));
    }
}
