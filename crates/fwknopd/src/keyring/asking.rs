//! The listener's end: asks the keyring of a stanza's home, and waits for the answer.
//!
//! While gpg works the listener hears nothing new; packets wait in its sockets. So packets that anybody can make, those
//! without an HMAC, may keep gpg busy only for a part of the time: [`Budget`].

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::message::{question, read_answer, receive, send};
use super::program::LIMIT;
use super::{Decrypt, Decrypted, GpgFailure, Home, Question};
use crate::access::Gpg;
use crate::clock::Moment;

/// How long an answer is waited for: the keyring ends a run of gpg before that.
const PATIENCE: Duration = LIMIT.saturating_add(Duration::from_secs(3));

/// The keyring processes, one for each home.
pub struct Keyrings {
    rings: Vec<(Home, OwnedFd)>,
    budget: Budget,
    gone: bool,
}

impl Keyrings {
    /// The keyrings of these homes, and the sockets to them in the same order.
    #[must_use]
    pub fn new(homes: Vec<Home>, sockets: Vec<OwnedFd>) -> Self {
        Self { rings: homes.into_iter().zip(sockets).collect(), budget: Budget::default(), gone: false }
    }
}

impl Decrypt for Keyrings {
    fn decrypt(&mut self, gpg: &Gpg, asked: &Question<'_>) -> Result<Decrypted, GpgFailure> {
        let begun = Moment::now().since_boot;
        if !asked.authenticated && !self.budget.allows(begun) {
            return Err(GpgFailure::Busy);
        }
        let Some((home, socket)) = self.rings.iter().find(|(home, _)| home.serves(gpg)) else {
            return Err(GpgFailure::Home(gpg.home.clone()));
        };
        let answered = ask(home, socket, asked);
        if !asked.authenticated {
            self.budget.spend(Moment::now().since_boot.saturating_sub(begun));
        }
        answered.unwrap_or_else(|| {
            self.gone = true;
            Err(GpgFailure::Decrypt("the keyring process is gone".to_owned()))
        })
    }

    fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.rings.iter().map(|(_, socket)| socket.as_fd()).collect()
    }

    /// One that was silent cannot be asked again: its answer could come when another one is waited for.
    fn gone(&self) -> bool {
        self.gone
    }
}

/// `None` if there is no answer, or none that a keyring of ours gives.
fn ask(home: &Home, socket: &OwnedFd, asked: &Question<'_>) -> Option<Result<Decrypted, GpgFailure>> {
    send(socket, &question(asked.ciphertext.as_bytes(), asked.passphrase)).ok()?;
    let until = Moment::now().since_boot + PATIENCE;
    loop {
        let left = until.saturating_sub(Moment::now().since_boot);
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Timespec::try_from(left).ok().as_ref()) {
            Ok(0) => return None,
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    read_answer(&receive(socket).ok()??, home)
}

/// How long packets without an HMAC may keep gpg busy: a quarter of the time, and two seconds at a stretch.
#[derive(Debug)]
struct Budget {
    left: Duration,
    seen: Option<Duration>,
    /// What was spent beyond it.
    debt: Duration,
}

/// The most that is saved up.
const STRETCH: Duration = Duration::from_secs(2);
/// One part in this many of the time.
const PART: u32 = 4;

impl Default for Budget {
    fn default() -> Self {
        Self { left: STRETCH, seen: None, debt: Duration::ZERO }
    }
}

impl Budget {
    fn allows(&mut self, since_boot: Duration) -> bool {
        let passed = since_boot.saturating_sub(self.seen.unwrap_or(since_boot));
        self.seen = Some(since_boot);
        let earned = passed / PART;
        let paid = earned.min(self.debt);
        self.debt -= paid;
        self.left = (self.left + (earned - paid)).min(STRETCH);
        !self.left.is_zero()
    }

    fn spend(&mut self, time: Duration) {
        self.debt += time.saturating_sub(self.left);
        self.left = self.left.saturating_sub(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_without_an_hmac_keep_gpg_busy_for_a_quarter_of_the_time() {
        let mut budget = Budget::default();
        let (mut now, mut busy) = (Duration::from_secs(1000), Duration::ZERO);
        let run = Duration::from_millis(25);
        while now < Duration::from_secs(1100) {
            if budget.allows(now) {
                budget.spend(run);
                now += run;
                busy += run;
            } else {
                now += Duration::from_millis(1);
            }
        }
        assert!(busy > Duration::from_secs(24) && busy < Duration::from_secs(29), "{busy:?} of 100 s");
    }

    #[test]
    fn a_run_that_took_long_is_paid_for_in_full() {
        let mut budget = Budget::default();
        assert!(budget.allows(Duration::from_secs(10)));
        budget.spend(Duration::from_secs(5));
        assert!(!budget.allows(Duration::from_secs(15)));
        assert!(!budget.allows(Duration::from_secs(21)));
        assert!(budget.allows(Duration::from_secs(23)));
    }

    #[test]
    fn a_keyring_that_is_gone_is_noticed() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(theirs);
        let home = Home { home: "/h".into(), exe: "/e".into() };
        let mut keyrings = Keyrings::new(vec![home], vec![ours.into()]);
        let gpg = Gpg {
            home: "/h".into(),
            exe: "/e".into(),
            decrypt_id: None,
            signatures: crate::access::Signatures::Ignored,
        };
        let text = format!("EMA76bsLt/9fGwAQ{}", "A".repeat(500));
        let packet = spa::SealedPacket::parse(text.as_bytes()).unwrap();
        let ciphertext = packet.unauthenticated_gpg(spa::Recipients::Stock).unwrap().ciphertext().unwrap();
        let question = Question { ciphertext: &ciphertext, passphrase: "", authenticated: true };
        assert!(keyrings.decrypt(&gpg, &question).is_err());
        assert!(keyrings.gone());
    }
}
