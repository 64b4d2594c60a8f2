//! Decides about packets.
//!
//! An [`Arrival`] goes in, an [`Order`] comes out, or nothing; what there is to tell is left in a list of [`Note`]s.
//! Nothing here opens a socket, reads a clock or touches a firewall, so a test can play a whole day of traffic in a
//! millisecond.
//!
//! ```text
//! Arrival ─▶ Carried ─▶ SealedPacket ─▶ not used? ─▶ each stanza: AuthenticPacket ─▶ Plaintext ─▶ Knock ─▶ claimed ─▶ judged ─▶ Order
//!                                                        (any arrow may end in a Refusal)
//! ```
//!
//! The order of the checks is that of spec `server.md` 7; the first stanza that gets all the way to an order ends the
//! search, and a refusal by one moves on to the next.

mod opening;

use std::os::fd::BorrowedFd;

use spa::{Decoding, SealedPacket, carrier};

use crate::access::{Stanza, StanzaKeys};
use crate::arrival::Arrival;
use crate::clock::Moment;
use crate::forwarded::Requests;
use crate::keyring::Decrypt;
use crate::order::Order;
use crate::policy::{Clocks, Terms};
use crate::refusal::{Note, Refusal};
use crate::replay::{ReplayStore, Unclaimed};
use opening::Opened;

/// Packets of version 3.0.0 name IPv4 addresses only; that an IPv6 address may stand in the same place is ours.
const DECODING: Decoding = Decoding { ipv6_allow: true };

/// A stanza with its keys.
#[derive(Debug)]
pub struct KeyedStanza {
    /// What it allows.
    pub stanza: Stanza,
    /// Who is allowed it.
    pub keys: StanzaKeys,
    /// It was said that it has expired.
    told_expired: bool,
}

impl KeyedStanza {
    /// A stanza with the keys that open its packets; `None` if it has none that could open any.
    pub fn new(stanza: Stanza, keys: StanzaKeys) -> Option<Self> {
        let some = keys.symmetric.is_some() || keys.gpg.is_some();
        some.then_some(Self { stanza, keys, told_expired: false })
    }
}

/// The stanzas, the used packets, and the terms that hold for all.
pub struct Engine<R> {
    stanzas: Vec<KeyedStanza>,
    replays: R,
    terms: Terms,
    requests: Requests,
    /// Then a packet can be cut to another text that says the same (an HMAC, or a block of padding, is taken off), and what
    /// it says is used up beside its text.
    some_without_hmac: bool,
    keyring: Option<Box<dyn Decrypt>>,
}

impl<R: ReplayStore> Engine<R> {
    /// An engine that has heard nothing yet, and takes no HTTP requests.
    pub fn new(stanzas: Vec<KeyedStanza>, replays: R, terms: Terms) -> Self {
        let some_without_hmac = stanzas.iter().any(|keyed| keyed.keys.open_without_hmac());
        Self { stanzas, replays, terms, requests: Requests::default(), some_without_hmac, keyring: None }
    }

    /// The same, taking HTTP requests as they say.
    #[must_use]
    pub fn taking(self, requests: Requests) -> Self {
        Self { requests, ..self }
    }

    /// With somebody who can decrypt what only gpg can.
    #[must_use]
    pub fn with_keyring(self, keyring: Box<dyn Decrypt>) -> Self {
        Self { keyring: Some(keyring), ..self }
    }

    /// What becomes readable when somebody who decrypts has gone.
    pub fn keyring_sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.keyring.as_ref().map(|keyring| keyring.sockets()).unwrap_or_default()
    }

    /// Whether somebody who decrypts has gone.
    pub fn keyring_gone(&self) -> bool {
        self.keyring.as_ref().is_some_and(|keyring| keyring.gone())
    }

    /// The used packets.
    pub fn replays(&mut self) -> &mut R {
        &mut self.replays
    }

    /// Whether the keys of no stanza open a packet, found out as cheaply as it can be: with one HMAC for each stanza that
    /// covers it, and nothing written down. Gives how many lines [`Engine::hear`] would have had for the log; `None` where
    /// only that can tell.
    pub fn finds_strange(&self, arrival: &Arrival<'_>, now: &Moment) -> Option<u64> {
        spa::ingress(arrival.payload).ok()?;
        let packet = SealedPacket::parse(arrival.payload).ok().filter(|packet| !packet.is_of_gpg_size())?;
        let mut lines = 0;
        for KeyedStanza { stanza, keys, .. } in self.stanzas.iter().filter(|keyed| keyed.stanza.covers(arrival)) {
            let hmac = keys.symmetric.as_ref()?.hmac.as_ref()?;
            if stanza.has_expired(now.unix) || packet.authenticate(hmac).is_ok() {
                return None;
            }
            lines += 2;
        }
        (lines > 0).then_some(lines)
    }

    /// Decides about one packet. `notes` gets what there is to tell, in the order of the checks; where there is no
    /// order, its last refusal is the reason.
    pub fn hear(&mut self, arrival: &Arrival<'_>, now: &Moment, notes: &mut Vec<Note>) -> Option<Order> {
        let carried = match carrier::unwrap(arrival.payload, self.requests.http()) {
            Ok(carried) => carried,
            Err(why) => return refuse(notes, Refusal::NotSpa(why)),
        };
        let origin = self.requests.origin(arrival.source, &carried).unwrap_or_else(|doubt| {
            notes.push(Note::Doubted(doubt));
            arrival.source
        });
        let packet = match carried.packet() {
            Ok(packet) => packet,
            Err(why) => return refuse(notes, Refusal::NotSpa(why)),
        };
        if !self.stanzas.iter().any(|keyed| keyed.stanza.source.covers(arrival.source)) {
            return refuse(notes, Refusal::NoStanza);
        }
        let digest = packet.replay_digest();
        if let Some(before) = self.replays.used(&digest) {
            let same = before.is_same_connection(arrival, now.unix);
            return refuse(notes, if same { Refusal::HeardBefore } else { Refusal::Replayed(before) });
        }
        let clocks = Clocks { now: now.unix, booted: now.booted() };
        let mut claimed = false;
        for keyed in &mut self.stanzas {
            let number = keyed.stanza.number;
            let mut no = |why| notes.push(Note::Refused(Some(number), why));
            if !keyed.stanza.covers(arrival) {
                no(Refusal::Elsewhere);
                continue;
            }
            notes.push(Note::Covered(number));
            let mut no = |why| notes.push(Note::Refused(Some(number), why));
            if keyed.stanza.has_expired(now.unix) {
                no(Refusal::Expired { told: std::mem::replace(&mut keyed.told_expired, true) });
                continue;
            }
            let Opened { knock, signature } = match keyed.open(&packet, self.keyring.as_deref_mut()) {
                Ok(opened) => opened,
                Err(why) => {
                    let said = why.of_gpg();
                    no(why);
                    notes.extend(said.map(|text| Note::GpgError(number, text)));
                    continue;
                }
            };
            if !std::mem::replace(&mut claimed, true) {
                let names = std::iter::once(digest).chain(self.some_without_hmac.then(|| knock.content_digest()));
                for name in names {
                    match self.replays.claim(name, arrival, now.unix) {
                        Ok(()) => {}
                        Err(Unclaimed::Replayed(before)) => return refuse(notes, Refusal::Replayed(before)),
                        Err(Unclaimed::Unrecorded(error)) => {
                            no(Refusal::Unrecorded(error));
                            return None; // used up, and never granted without a record
                        }
                    }
                }
            }
            if let Some(signature) = signature {
                notes.push(Note::Signed(number, signature.clone()));
                let gpg = keyed.stanza.gpg.as_ref();
                if let Some(list) = gpg.and_then(|gpg| gpg.signatures.admit(&signature).err()) {
                    notes.push(Note::Refused(Some(number), Refusal::Signer(signature, list)));
                    continue;
                }
            }
            let mut no = |why| notes.push(Note::Refused(Some(number), why));
            match keyed.stanza.judge(arrival, origin, &knock, clocks, &self.terms) {
                Ok(order) => return Some(order),
                Err(why) => no(why),
            }
        }
        None
    }
}

fn refuse(notes: &mut Vec<Note>, why: Refusal) -> Option<Order> {
    notes.push(Note::Refused(None, why));
    None
}
