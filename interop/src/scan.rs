//! What can be found out from outside: nmap, and attempts to connect.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::host::Host;

/// What nmap says of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// Somebody answers.
    Open,
    /// Refused: the host is there, the port is not.
    Closed,
    /// No answer at all.
    Filtered,
}

/// `nmap -P0 -n -p <port> <target>`, as the tutorial types it.
///
/// # Panics
/// When nmap fails or says something else.
pub fn nmap(from: &Host, target: IpAddr, port: u16) -> PortState {
    let (port_text, target_text) = (port.to_string(), target.to_string());
    let mut argv = vec!["nmap", "-P0", "-n", "-p", &port_text, &target_text];
    if target.is_ipv6() {
        argv.push("-6");
    }
    let said = from.must(&argv);
    let line = said.lines().find(|line| line.starts_with(&format!("{port}/tcp")));
    match line.and_then(|line| line.split_whitespace().nth(1)) {
        Some("open") => PortState::Open,
        Some("closed") => PortState::Closed,
        Some("filtered") => PortState::Filtered,
        _ => panic!("nmap said something else:\n{said}"),
    }
}

/// Whether a host answers a ping.
pub fn pings(from: &Host, target: IpAddr) -> bool {
    from.run(&["ping", "-c", "1", "-W", "1", &target.to_string()]).code == Some(0)
}

/// Whether a TCP connection comes about with the first attempt, within `patience`.
pub fn connects(from: &Host, to: impl Into<IpAddr>, port: u16, patience: Duration) -> bool {
    let to = SocketAddr::new(to.into(), port);
    from.inside(|| TcpStream::connect_timeout(&to, patience).is_ok())
}

/// One quick attempt to connect to port 22: enough inside a lab, where an answer takes a fraction of a millisecond.
pub fn reaches_ssh(from: &Host, to: impl Into<IpAddr>) -> bool {
    connects(from, to, 22, Duration::from_millis(300))
}
