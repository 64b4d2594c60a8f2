//! What one junk packet costs: the right port, the right shape, the wrong keys.
//!
//! Processor time of all processes of a server per packet it took in, less what it uses when nothing comes. The servers run
//! as they do on a real host: as daemons that log to syslog, each with what it thinks worth a line. Evenly spaced,
//! 500 a second (the original's default mode takes in at most a thousand), which costs ours one wake-up per packet while the
//! original, which looks ten times a second, takes fifty at a time. And as a flood, for ours: bursts of 64 every millisecond.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use interop::lab::SERVER;
use interop::{Keys, Lab, Maker, Setup};

use crate::figures::Figures;
use crate::service::Service;
use crate::{Contender, ORIGINAL, OURS_NFT};

/// So many packets, in bursts of so many, so often.
#[derive(Clone, Copy)]
struct Stream {
    packets: u32,
    burst: u32,
    every: Duration,
}

const EVEN: Stream = Stream { packets: 1000, burst: 1, every: Duration::from_millis(2) };
const FLOOD: Stream = Stream { packets: 128_000, burst: 64, every: Duration::from_millis(1) };

/// Measures both with 1 and with 100 stanzas.
pub(crate) fn measure(figures: &mut Figures) -> Result<(), String> {
    for (stanzas, even, flood) in [
        (1, "CPU per junk packet, 1 stanza", "flood: CPU per junk packet, 1 stanza"),
        (100, "CPU per junk packet, 100 stanzas", "flood: CPU per junk packet, 100 stanzas"),
    ] {
        let original = Ring::set_up(ORIGINAL, stanzas)?.costs(EVEN);
        let original = figures.add(even, ORIGINAL.name, "us", original);
        let ours = Ring::set_up(OURS_NFT, stanzas)?;
        let spaced = figures.add(even, OURS_NFT.name, "us", ours.costs(EVEN));
        let flooded = figures.add(flood, OURS_NFT.name, "us", ours.costs(FLOOD));
        figures.at_least(format!("{even}: less than the original"), original / spaced, 20.0);
        figures.at_least(format!("{flood}: less than the original"), original / flooded, 20.0);
    }
    Ok(())
}

struct Ring {
    service: Service,
    lab: Lab,
}

impl Ring {
    fn set_up(contender: Contender, stanzas: usize) -> Result<Self, String> {
        let lab = Lab::new()?;
        contender.wall.raise(&lab.server);
        let access: String = (0..stanzas).map(|_| Keys::generate(Maker::Original, &lab.client).stanza()).collect();
        let setup = Setup::new(contender.maker, contender.wall, &access).with(contender.arguments);
        Ok(Self { service: Service::start(&lab, &setup)?, lab })
    }

    fn costs(&self, stream: Stream) -> Vec<f64> {
        (0..3).map(|_| self.cost(stream)).collect()
    }

    /// Microseconds of processor time per packet that was taken in.
    fn cost(&self, stream: Stream) -> f64 {
        let duration = stream.every * (stream.packets / stream.burst) + Duration::from_millis(500);
        let begin = self.service.cpu();
        std::thread::sleep(duration);
        let idle = self.service.cpu() - begin;
        let (begin, lost) = (self.service.cpu(), self.lost());
        let end = Instant::now() + duration;
        self.lab.client.inside(|| send(stream));
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        let busy = (self.service.cpu() - begin).saturating_sub(idle);
        let taken = stream.packets.saturating_sub(self.lost() - lost).max(1);
        busy.as_secs_f64() * 1e6 / f64::from(taken)
    }

    /// Packets the kernel dropped because a socket's buffer was full: `skmem:(…,d<number>)` in the listing of packet sockets.
    fn lost(&self) -> u32 {
        let listing = self.lab.server.must(&["ss", "-0", "-n", "-m"]);
        let memories = listing.split("skmem:(").skip(1).filter_map(|memory| memory.split(')').next());
        memories.filter_map(|memory| memory.rsplit_once(",d")?.1.parse::<u32>().ok()).sum()
    }
}

/// Packets of SPA shape, each another one.
fn send(stream: Stream) {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket can be had");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut junk = [0_u8; 225];
    let mut next = Instant::now();
    for _ in 0..stream.packets / stream.burst {
        for _ in 0..stream.burst {
            for word in junk.chunks_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                for (byte, random) in word.iter_mut().zip(state.to_le_bytes()) {
                    *byte = ALPHABET[usize::from(random & 63)];
                }
            }
            // The port is closed: an ICMP answer may be waiting as an error.
            let _ = socket.send_to(&junk, (SERVER, 62201));
        }
        next += stream.every;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
