//! From a knock on the wire to the first connection that is accepted.
//!
//! All servers run at once, each in a lab of its own, and take turns. Each round knocks for another port, on which the kernel would accept
//! connections if the firewall let them through.

use std::net::TcpListener;
use std::time::Duration;

use interop::lab::SERVER;
use interop::stopwatch::from_packet_to_connection;
use interop::{Daemon, Keys, Knock, Lab, Maker, Setup, Wall};

use crate::figures::Figures;
use crate::{Contender, ORIGINAL, ORIGINAL_UDP, OURS_IPTABLES, OURS_NFT};

const FIRST_PORT: u16 = 3000;
const PATIENCE: Duration = Duration::from_secs(3);

/// Measures all contenders in turns.
pub(crate) fn measure(figures: &mut Figures, rounds: u16) -> Result<(), String> {
    let contenders = [
        ORIGINAL,
        ORIGINAL_UDP,
        OURS_NFT,
        OURS_IPTABLES,
        Contender { name: "ours, nft, UDP mode", arguments: &["-U"], ..OURS_NFT },
    ];
    let mut rings: Vec<Ring> =
        contenders.into_iter().map(|contender| Ring::set_up(contender, rounds)).collect::<Result<_, _>>()?;
    for round in 0..rounds {
        for ring in &mut rings {
            ring.fight(round)?;
        }
    }
    let medians: Vec<f64> = rings
        .into_iter()
        .map(|ring| figures.add("knock on the wire -> first SYN accepted", ring.contender.name, "ms", ring.samples))
        .collect();
    if let [original, original_udp, nft, iptables, _] = medians[..] {
        figures.at_least("nft shorter than the original's default mode", original / nft, 100.0);
        figures.at_least("nft shorter than the original's UDP mode", original_udp / nft, 20.0);
        figures.at_least("iptables shorter than the original's UDP mode", original_udp / iptables, 3.0);
    }
    Ok(())
}

struct Ring {
    contender: Contender,
    samples: Vec<f64>,
    packets: Vec<String>,
    // Dropped in this order: the daemon ends before its lab goes.
    daemon: Daemon,
    _listeners: Vec<TcpListener>,
    lab: Lab,
}

impl Ring {
    fn set_up(contender: Contender, rounds: u16) -> Result<Self, String> {
        let lab = Lab::new()?;
        let ports = FIRST_PORT..FIRST_PORT + rounds;
        let listeners =
            lab.server.inside(|| ports.clone().map(|port| TcpListener::bind((SERVER, port))).collect::<Result<_, _>>());
        hide(&lab, contender.wall, ports.start, ports.end);
        let keys = Keys::generate(Maker::Original, &lab.client);
        let access = keys.stanza().replace("OPEN_PORTS tcp/22\n", "FW_ACCESS_TIMEOUT 300\n");
        let daemon =
            Daemon::start(&lab, &Setup::new(contender.maker, contender.wall, &access).with(contender.arguments));
        let packet = |port| Knock::new(Maker::Original, &keys).ports(&format!("tcp/{port}")).packet(&lab.client);
        let packets = ports.map(packet).collect();
        let listeners = listeners.map_err(|e| format!("cannot listen: {e}"))?;
        Ok(Self { contender, samples: Vec::new(), packets, daemon, _listeners: listeners, lab })
    }

    fn fight(&mut self, round: u16) -> Result<(), String> {
        let packet = &self.packets[usize::from(round)];
        let took = from_packet_to_connection(&self.lab.client, packet.as_bytes(), FIRST_PORT + round, PATIENCE);
        let took =
            took.ok_or_else(|| format!("{}: no connection came about\n{}", self.contender.name, self.daemon.log()))?;
        self.samples.push(took.as_secs_f64() * 1000.0);
        Ok(())
    }
}

fn hide(lab: &Lab, wall: Wall, first: u16, end: u16) {
    match wall {
        Wall::Iptables => drop(lab.server.sh(&format!("iptables -A INPUT -p tcp --dport {first}:{end} -j DROP"))),
        Wall::Nft => drop(lab.server.sh(&format!(
            "nft 'table inet filter {{ chain input {{ type filter hook input priority 0; tcp dport {first}-{end} drop; }}; }}'"
        ))),
    }
}
