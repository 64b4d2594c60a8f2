//! Start to ready, wake-ups at rest, memory.

use std::time::{Duration, Instant};

use interop::vitals::Vitals;
use interop::{Daemon, Keys, Lab, Maker, Setup};

use crate::figures::Figures;
use crate::{ORIGINAL, OURS_IPTABLES, OURS_NFT};

const STARTS: usize = 7;
const REST: Duration = Duration::from_secs(3);

/// Measures all contenders.
pub(crate) fn measure(figures: &mut Figures) -> Result<(), String> {
    for contender in [ORIGINAL, OURS_NFT, OURS_IPTABLES] {
        let lab = Lab::new()?;
        contender.wall.raise(&lab.server);
        let access = Keys::generate(Maker::Original, &lab.client).stanza();
        let setup = Setup::new(contender.maker, contender.wall, &access);
        // What it takes to get into the namespace is not the daemon's.
        let entry = Instant::now();
        lab.server.must(&["true"]);
        let entry = entry.elapsed();
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            let mut daemon = Daemon::start(&lab, &setup);
            starts.push(daemon.start_took.saturating_sub(entry).as_secs_f64() * 1000.0);
            daemon.stop();
        }
        let ready = figures.add("start to ready", contender.name, "ms", starts);

        let daemon = Daemon::start(&lab, &setup);
        std::thread::sleep(Duration::from_millis(500));
        let sleeps = || -> u64 { daemon.family().into_iter().map(Vitals::sleeps).sum() };
        let before = sleeps();
        std::thread::sleep(REST);
        let woken = u32::try_from(sleeps() - before).unwrap_or(u32::MAX);
        let woken =
            figures.add("wake-ups at rest", contender.name, "per second", vec![f64::from(woken) / REST.as_secs_f64()]);
        let resident: u64 = daemon.family().into_iter().map(Vitals::resident_kib).sum();
        let resident = f64::from(u32::try_from(resident).unwrap_or(u32::MAX)) / 1024.0;
        let resident = figures.add("resident memory, all processes", contender.name, "MiB", vec![resident]);
        if contender.maker == Maker::Ours {
            figures.at_most(format!("{}: start to ready, ms", contender.name), ready, 100.0);
            figures.at_most(format!("{}: wake-ups at rest, per second", contender.name), woken, 0.0);
            figures.at_most(format!("{}: resident, MiB", contender.name), resident, 12.0);
        }
    }
    Ok(())
}
