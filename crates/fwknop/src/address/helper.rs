//! Asking by way of a program: `wget -U AGENT --secure-protocol=auto --quiet -O - URL`.
//!
//! The program is what `-w` says, which may bring arguments of its own, split at blanks; agent and URL are one argument each whatever is in them.
//! Only standard output counts, and only its first line. The exit status is not looked at, as in the original.

use std::{
    io::Read,
    net::IpAddr,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{Unresolved, address_in};
use crate::output::Output;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks.
pub(super) fn ask(
    command: &str,
    agent: Option<&str>,
    url: &str,
    output: &mut Output<'_>,
) -> Result<IpAddr, Unresolved> {
    let mut words: Vec<&str> = command.split(' ').filter(|word| !word.is_empty()).collect();
    if let Some(agent) = agent {
        words.extend(["-U", agent]);
    }
    words.extend(["--secure-protocol=auto", "--quiet", "-O", "-", url]);
    let shown = words.join(" ");
    let (program, arguments) = words.split_first().ok_or(Unresolved::Url)?;
    let child =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let found = match child {
        Ok(child) => first_line(child, PATIENCE).ok_or_else(|| Unresolved::Slow(shown.clone(), PATIENCE.as_secs()))?,
        Err(_) => String::new(),
    };
    let address = address_in(&found).ok_or_else(|| Unresolved::Helper(shown.clone()))?;
    output.info(format_args!("\n[+] Resolved external IP (via '{shown}') as: {address}"));
    Ok(address)
}

/// The beginning of what the program prints, or nothing if it takes too long.
fn first_line(mut child: Child, patience: Duration) -> Option<String> {
    let (said, heard) = mpsc::channel();
    let stdout = child.stdout.take();
    thread::spawn(move || {
        let mut first = Vec::new();
        if let Some(mut stdout) = stdout {
            let _broken = (&mut stdout).take(256).read_to_end(&mut first);
            // Read on, lest the program be killed for talking.
            let _rest = std::io::copy(&mut stdout, &mut std::io::sink());
        }
        let _nobody = said.send(first);
    });
    let Ok(first) = heard.recv_timeout(patience) else {
        let _gone = child.kill();
        let _status = child.wait();
        return None;
    };
    let line = first.split(|&byte| byte == b'\n').next().unwrap_or_default();
    Some(String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, patience: Duration) -> Option<String> {
        let child = Command::new("/bin/sh").arg("-c").arg(script).stdout(Stdio::piped()).spawn().unwrap();
        first_line(child, patience)
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        assert_eq!(run("exec sleep 60", Duration::from_millis(100)), None);
    }

    #[test]
    fn only_the_first_line_counts() {
        assert_eq!(run("printf '1.2.3.4 x\\n5.6.7.8\\n'", PATIENCE).as_deref(), Some("1.2.3.4 x"));
    }
}
