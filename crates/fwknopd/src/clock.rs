//! What time it is, twice: the wall clock, which is written into rules and packets, and the time since boot, which is
//! waited for.
//!
//! Only the loops of the programs read the clock ([`Moment::now`]); everything below them is told a [`Moment`]. So a
//! test plays a day in a millisecond, and a step of the wall clock can neither prolong a grant nor end it early: its
//! end is kept in time since boot, which nobody sets.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use spa::UnixTime;

/// One moment, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock, whole seconds since 1970.
    pub unix: UnixTime,
    /// Time since this machine booted, suspend included.
    pub since_boot: Duration,
}

impl Moment {
    /// Reads both clocks.
    pub fn now() -> Self {
        Self { unix: UnixTime(read(ClockId::Realtime).as_secs()), since_boot: read(ClockId::Boottime) }
    }

    /// When this machine booted, as its wall clock has it now.
    pub fn booted(&self) -> UnixTime {
        UnixTime(self.unix.0.saturating_sub(self.since_boot.as_secs()))
    }

    /// The time since boot at which the wall clock will show `unix`, if nobody sets it meanwhile.
    pub fn reaches(&self, unix: UnixTime) -> Duration {
        match unix.0.checked_sub(self.unix.0) {
            Some(ahead) => self.since_boot.saturating_add(Duration::from_secs(ahead)),
            None => self.since_boot,
        }
    }
}

fn read(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default() // before 1970 is no time to be open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_knows_when_the_machine_booted_and_how_long_to_wait() {
        let now = Moment { unix: UnixTime(1_000), since_boot: Duration::from_millis(60_500) };
        assert_eq!(now.booted(), UnixTime(940));
        assert_eq!(now.reaches(UnixTime(1_030)), Duration::from_millis(90_500));
        assert_eq!(now.reaches(UnixTime(900)), now.since_boot, "what is past has come");
    }
}
