//! Expected text with placeholders, as the vectors write it: `{RAND16}`, `{SPA:182}`, `{PORT}`, …
//!
//! All `{PORT}`s of one text must be the same number. What a placeholder may be is written in the vectors' own description.

/// Whether `text` is what `pattern` expects.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    matches(pattern.as_bytes(), text.as_bytes(), &mut None)
}

/// The placeholder that `pattern` begins with, as its name, its number, and what follows.
fn placeholder(pattern: &[u8]) -> Option<(&str, usize, &[u8])> {
    let end = pattern.iter().position(|&byte| byte == b'}')?;
    let inside = std::str::from_utf8(pattern.strip_prefix(b"{")?.get(..end - 1)?).ok()?;
    let (name, number) = inside.split_once(':').unwrap_or((inside, "0"));
    let known =
        ["RAND16", "TS", "PORT", "U16", "B64", "B64KEY", "B64TEXT", "SPA", "SPAURL", "USAGE", "INITIAL_RC", "GPGLEN"];
    known.contains(&name).then(|| (name, number.parse().unwrap_or(0), &pattern[end + 1..]))
}

fn matches<'t>(pattern: &[u8], text: &'t [u8], port: &mut Option<&'t [u8]>) -> bool {
    let Some((name, number, rest)) = placeholder(pattern) else {
        return match (pattern, text) {
            ([], []) => true,
            ([wanted, pattern @ ..], [found, text @ ..]) => wanted == found && matches(pattern, text, port),
            _ => false,
        };
    };
    let digit = |byte: &u8| byte.is_ascii_digit();
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let (allowed, lengths): (&dyn Fn(&u8) -> bool, _) = match (name, number) {
        ("RAND16", _) => (&digit, 16..=16),
        ("TS" | "PORT" | "U16", _) => (&digit, 1..=20),
        ("GPGLEN", _) => (&digit, 3..=4),
        ("B64KEY", bytes) => (&|byte| base64(byte) || *byte == b'=', bytes.div_ceil(3) * 4..=bytes.div_ceil(3) * 4),
        ("SPAURL", length) => (&|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'), length..=length),
        ("USAGE" | "INITIAL_RC", _) => (&|_| true, 100..=text.len()),
        (_, 0) => (&base64, 1..=1500),
        (_, length) => (&base64, length..=length),
    };
    let longest = text.iter().take_while(|byte| allowed(byte)).count();
    lengths.rev().filter(|length| *length <= longest).any(|length| {
        let (found, after) = text.split_at(length);
        let before = *port;
        if name == "PORT" {
            let number: u32 = String::from_utf8_lossy(found).parse().unwrap_or(0);
            if before.is_some_and(|before| before != found) || !(10000..=65534).contains(&number) {
                return false;
            }
            *port = Some(found);
        }
        let fits = matches(rest, after, port);
        if !fits {
            *port = before;
        }
        fits
    })
}

#[test]
fn placeholders_fit_what_they_stand_for() {
    assert!(fits("a {RAND16}:{B64TEXT}:{B64:3}", "a 1234567890123456:abc:xyz"));
    assert!(!fits("{B64:3}", "abcd"));
    assert!(fits("{PORT} {PORT}", "10000 10000"));
    assert!(!fits("{PORT} {PORT}", "10000 10001"));
    assert!(fits("'{B64KEY:32}'", &format!("'{}='", "A".repeat(43))));
}
