//! What one junk packet costs: the right port, the right shape, the wrong keys.
//!
//! Processor time of all processes of a server, over a thousand packets at 500 a second (the most that the original's default mode takes in
//! without loss is a thousand), less what it uses when nothing comes. Ours once more at full speed.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use interop::lab::SERVER;
use interop::vitals::Vitals;
use interop::{Daemon, Keys, Lab, Maker, Setup};

use crate::figures::Figures;
use crate::{Contender, ORIGINAL, OURS_NFT};

const PACKETS: u32 = 1000;
const PACE: Duration = Duration::from_millis(2);
const FLOOD: u32 = 50_000;

/// Measures both with 1 and with 100 stanzas.
pub(crate) fn measure(figures: &mut Figures) -> Result<(), String> {
    for (stanzas, what, flood) in [
        (
            1,
            "CPU per junk packet, 1 stanza",
            "flood: CPU per junk packet, 1 stanza",
        ),
        (
            100,
            "CPU per junk packet, 100 stanzas",
            "flood: CPU per junk packet, 100 stanzas",
        ),
    ] {
        let mut medians = [0.0; 2];
        for (median, contender) in medians.iter_mut().zip([ORIGINAL, OURS_NFT]) {
            let ring = Ring::set_up(contender, stanzas)?;
            let samples = (0..3).map(|_| ring.cost(PACKETS, PACE)).collect();
            *median = figures.add(what, contender.name, "us", samples);
            if contender.maker == Maker::Ours {
                figures.add(
                    flood,
                    contender.name,
                    "us",
                    vec![ring.cost(FLOOD, Duration::ZERO)],
                );
            }
        }
        figures.at_least(
            format!("{what}: less than the original"),
            medians[0] / medians[1],
            20.0,
        );
    }
    Ok(())
}

struct Ring {
    daemon: Daemon,
    lab: Lab,
}

impl Ring {
    fn set_up(contender: Contender, stanzas: usize) -> Result<Self, String> {
        let lab = Lab::new()?;
        contender.wall.raise(&lab.server);
        let access: String = (0..stanzas)
            .map(|_| Keys::generate(Maker::Original, &lab.client).stanza())
            .collect();
        let setup = Setup::new(contender.maker, contender.wall, &access).with(contender.arguments);
        Ok(Self {
            daemon: Daemon::start(&lab, &setup),
            lab,
        })
    }

    /// Microseconds of processor time per packet.
    fn cost(&self, packets: u32, pace: Duration) -> f64 {
        let duration = (pace * packets).max(Duration::from_secs(1)) + Duration::from_millis(500);
        let begin = self.cpu();
        std::thread::sleep(duration);
        let idle = self.cpu() - begin;
        let begin = self.cpu();
        let end = Instant::now() + duration;
        self.lab.client.inside(|| send(packets, pace));
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        let busy = (self.cpu() - begin).saturating_sub(idle);
        busy.as_secs_f64() * 1e6 / f64::from(packets)
    }

    fn cpu(&self) -> Duration {
        self.daemon.family().into_iter().map(Vitals::cpu).sum()
    }
}

/// Packets of SPA shape, each another one.
fn send(packets: u32, pace: Duration) {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket can be had");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut junk = [0_u8; 225];
    let mut next = Instant::now();
    for _ in 0..packets {
        for byte in &mut junk {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = ALPHABET[usize::try_from(state >> 58).unwrap_or(0)];
        }
        // The port is closed: an ICMP answer may be waiting as an error.
        let _ = socket.send_to(&junk, (SERVER, 62201));
        next += pace;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
