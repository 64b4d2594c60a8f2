//! How long a flood of strangers is left to itself before the listener looks again.
//!
//! Waking up costs more than turning a stranger away, so while nothing comes but strangers whose log lines are left out, the
//! listener lets some of them gather in the socket. It waits longer while they are few, and hardly while they are many: the
//! socket holds some thousand packets, and a good one must never be lost for want of room.
//!
//! A good packet waits for the end of a breath at most, and only if it comes right behind a stranger's.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(40);
/// As many packets in one breath are a flood.
const MANY: u64 = 32;

/// The next wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breath(Option<Duration>);

impl Breath {
    /// How long to wait; `None` where there is no flood.
    pub(super) fn next(self) -> Option<Duration> {
        self.0
    }

    /// After a turn in which so many packets came, all of them strangers', or not.
    pub(super) fn after(self, packets: u64, strangers_only: bool) -> Self {
        if packets == 0 || !strangers_only {
            return Self(None);
        }
        let longer = self.0.map_or(SHORTEST, |last| (last * 2).min(LONGEST));
        Self(Some(if packets < MANY { longer } else { SHORTEST }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_strangers_may_gather_and_many_are_not_let_to() {
        let mut breath = Breath::default();
        let mut waits = Vec::new();
        for packets in [1, 2, 5, 10, 20, 600, 600, 3] {
            breath = breath.after(packets, true);
            waits.push(breath.next().unwrap().as_millis());
        }
        assert_eq!(waits, [5, 10, 20, 40, 40, 5, 5, 10]);
    }

    #[test]
    fn whoever_is_no_stranger_is_heard_at_once_and_so_is_the_next() {
        let flood = Breath::default().after(100, true);
        assert_eq!(flood.after(100, false).next(), None);
        assert_eq!(flood.after(0, true).next(), None);
    }
}
