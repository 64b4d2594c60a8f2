//! Asking over plain HTTP, by ourselves.
//!
//! One request, one answer that must say 2xx; a body in chunks is put together. Nothing takes longer than ten seconds.
//!
//! ```text
//! GET /ip HTTP/1.0 ─▶ HTTP/1.1 200 OK … 203.0.113.77
//! ```

use std::{
    io::{Read, Write},
    net::{IpAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use super::{Page, Unresolved, address_in};
use crate::output::{Output, reason};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest answer that is read, in bytes.
const LARGEST: u64 = 64 << 10;

/// Asks.
pub(super) fn ask(page: &Page, agent: &str, output: &mut Output<'_>) -> Result<IpAddr, Unresolved> {
    if page.https {
        return Err(Unresolved::HttpsOnly);
    }
    let Page { host, path, .. } = page;
    let request = format!(
        "GET {path} HTTP/1.0\r\nUser-Agent: {agent}\r\nAccept: */*\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    );
    output.debug(format_args!("\nHTTP request: {request}"));
    let answer = fetch(page, &request).map_err(|error| Unresolved::Connect(reason(&error)))?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    output.debug(format_args!("\nHTTP response: {answer}"));
    match address_of(&answer) {
        Ok(address) => {
            output.info(format_args!("\n[+] Resolved external IP (via http://{host}{path}) as: {address}"));
            Ok(address)
        }
        Err(found) => Err(Unresolved::Answer { page: format!("{host}{path}"), found, answer }),
    }
}

fn fetch(page: &Page, request: &str) -> std::io::Result<Vec<u8>> {
    let name = page.host.trim_start_matches('[').trim_end_matches(']');
    let mut last = None;
    for address in (name, page.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.write_all(request.as_bytes())?;
                let mut answer = Vec::new();
                stream.take(LARGEST).read_to_end(&mut answer)?;
                return Ok(answer);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::ErrorKind::NotFound.into()))
}

/// The address in an answer, or what stands where it should be.
fn address_of(answer: &str) -> Result<IpAddr, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("did not find the end of HTTP header")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        return Err(format!("status {status}"));
    }
    let is_chunked = head.lines().any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("transfer-encoding:") && line.contains("chunked")
    });
    let body = if is_chunked { first_chunk(body) } else { body };
    address_in(body).ok_or_else(|| body.chars().take(16).take_while(|character| !character.is_control()).collect())
}

/// An address is short: it is in the first chunk.
fn first_chunk(body: &str) -> &str {
    let Some((size, rest)) = body.split_once("\r\n") else {
        return "";
    };
    let size = size.split(';').next().unwrap_or_default().trim();
    let size = usize::from_str_radix(size, 16).unwrap_or(0);
    rest.get(..size).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_must_say_that_all_is_well() {
        let you = Ok(IpAddr::from([203, 0, 113, 77]));
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nX: y\r\n\r\n203.0.113.77\r\n", you.clone()),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n203.0.113.77\n\r\n0\r\n\r\n", you),
            ("HTTP/1.1 404 Not Found\r\n\r\n203.0.113.77\r\n", Err("status 404".into())),
            ("HTTP/1.1 200 OK\r\n\r\n<html>", Err("<html>".into())),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz", Err(String::new())),
            ("203.0.113.77", Err("did not find the end of HTTP header".into())),
        ] {
            assert_eq!(address_of(answer), expected, "{answer:?}");
        }
    }
}
