//! The address lists of `SOURCE` and `DESTINATION`: whom a stanza is for.
//!
//! ```text
//! ANY                                   everybody, of both families
//! 10.1.2.3, 192.168.0.0/16              addresses and networks; bits behind the prefix do not count
//! 10.1.2.0/255.255.255.0                a mask; it need not be contiguous
//! 2001:db8::/32                         IPv6, which the original does not know
//! ```
//!
//! IPv4 addresses may have the classic C forms (`10.1`, `010.0.0.1`), because the original takes them; [`Networks::odd`] tells.
//! A prefix of 0 is ANY within its family. IPv4 addresses mapped into IPv6 are refused: arrivals are unmapped before.
//!
//! ```
//! use fwknop_conf::networks::Networks;
//!
//! let networks: Networks = "10.1.2.3/24, 2001:db8::/32".parse().unwrap();
//! assert!(networks.covers("10.1.2.200".parse().unwrap()));
//! assert!(!networks.covers("2001:db9::1".parse().unwrap()));
//! ```

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::value::elements;

/// A list of networks, as the text that was written and as what it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks {
    text: String,
    members: Vec<Member>,
    odd: Vec<(String, Ipv4Addr)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Any,
    V4 { base: u32, mask: u32 },
    V6 { base: u128, mask: u128 },
}

impl Networks {
    /// Everybody.
    #[must_use]
    pub fn any() -> Self {
        Self { text: "ANY".into(), members: vec![Member::Any], odd: Vec::new() }
    }

    /// Whether the address lies in one of the networks. Mapped IPv4 addresses are to be unmapped before.
    #[must_use]
    pub fn covers(&self, address: IpAddr) -> bool {
        self.members.iter().any(|member| match (*member, address) {
            (Member::Any, _) => true,
            (Member::V4 { base, mask }, IpAddr::V4(address)) => address.to_bits() & mask == base,
            (Member::V6 { base, mask }, IpAddr::V6(address)) => address.to_bits() & mask == base,
            _ => false,
        })
    }

    /// The addresses that were written in a classic C form, and what each means.
    #[must_use]
    pub fn odd(&self) -> &[(String, Ipv4Addr)] {
        &self.odd
    }
}

/// As it was written.
impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a list is none. Displays in the original's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    /// Not an address; perhaps a name, or nothing at all.
    #[error("[*] Fatal error parsing IP to int for: {0}")]
    Address(String),
    /// Neither a prefix length that fits nor a dotted mask.
    #[error("[*] Invalid IP mask str '{0}'.")]
    Mask(String),
    /// A slash and nothing behind it.
    #[error("[*] Missing mask value.")]
    MaskMissing,
    /// An IPv4 address written as IPv6; say it as IPv4.
    #[error("[*] Fatal error parsing IP to int for: {0} (an IPv4 address: write {1})")]
    Mapped(String, Ipv4Addr),
}

impl FromStr for Networks {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let mut networks = Self { text: text.into(), members: Vec::new(), odd: Vec::new() };
        for element in elements(text) {
            let member = match element.split_once('/') {
                None if element.eq_ignore_ascii_case("any") => Member::Any,
                None => networks.member(element.trim_end(), None)?,
                Some((_, "")) => return Err(BadNetwork::MaskMissing),
                Some((address, mask)) => networks.member(address.trim_end(), Some(mask))?,
            };
            networks.members.push(member);
        }
        Ok(networks)
    }
}

impl Networks {
    fn member(&mut self, address: &str, mask: Option<&str>) -> Result<Member, BadNetwork> {
        if let Ok(v6) = address.parse::<Ipv6Addr>() {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return Err(BadNetwork::Mapped(address.into(), v4));
            }
            let mask = match mask {
                None => u128::MAX,
                Some(text) => {
                    let bits = prefix(text, 128).ok_or_else(|| BadNetwork::Mask(text.into()))?;
                    u128::MAX.checked_shl(128 - bits).unwrap_or(0)
                }
            };
            return Ok(Member::V6 { base: v6.to_bits() & mask, mask });
        }
        let v4 = classic(address).ok_or_else(|| BadNetwork::Address(address.into()))?;
        if address.parse() != Ok(v4) {
            self.odd.push((address.into(), v4));
        }
        let mask = match mask {
            None => u32::MAX,
            Some(text) if text.contains('.') => classic(text.trim_end())
                .filter(|_| (7..=15).contains(&text.len()))
                .ok_or_else(|| BadNetwork::Mask(text.into()))?
                .to_bits(),
            Some(text) => {
                let bits = prefix(text, 32).ok_or_else(|| BadNetwork::Mask(text.into()))?;
                u32::MAX.checked_shl(32 - bits).unwrap_or(0)
            }
        };
        Ok(Member::V4 { base: v4.to_bits() & mask, mask })
    }
}

/// A prefix length up to `most`. It may have as many characters as `most` has, blanks behind it among them: the original
/// takes `/8 ,` but not `/16 ,`.
fn prefix(text: &str, most: u32) -> Option<u32> {
    let room = if most > 99 { 3 } else { 2 };
    let digits = text.trim_end();
    let plain = text.len() <= room && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|bits| plain && *bits <= most)
}

/// An IPv4 address as the C library's `inet_aton` reads it: one to four parts, each decimal, octal (`010`) or hexadecimal
/// (`0x10`); the last part fills what is left.
fn classic(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(part).collect::<Option<_>>()?;
    let (&last, leading) = parts.split_last()?;
    let room = 32 - 8 * u32::try_from(leading.len()).ok().filter(|&count| count <= 3)?;
    let mut bits = last;
    for (place, &part) in [24, 16, 8].into_iter().zip(leading) {
        bits |= u32::from(u8::try_from(part).ok()?) << place;
    }
    (u64::from(last) < 1 << room).then(|| Ipv4Addr::from_bits(bits))
}

fn part(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // from_str_radix would take a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covers(list: &str, address: &str) -> bool {
        list.parse::<Networks>().unwrap().covers(address.parse().unwrap())
    }

    #[test]
    fn covers_what_was_written() {
        for (list, inside, outside) in [
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.3/24", "10.1.2.200", "10.1.3.1"),
            ("128.0.0.0/1", "255.0.0.1", "127.0.0.1"),
            ("10.1.2.0/255.255.255.0", "10.1.2.9", "10.1.3.9"),
            ("10.0.0.1/255.0.0.255", "10.9.9.1", "10.0.0.2"),
            ("10.1.2.3 , 192.168.0.0/16,172.16.0.1", "172.16.0.1", "172.16.0.2"),
            ("0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
            ("0.0.0.0/0.0.0.0", "8.8.8.8", "::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("2001:db8::1/32", "2001:db8:ffff::", "2001:db9::"),
            ("fe80::1", "fe80::1", "fe80::2"),
            ("10.1", "10.0.0.1", "10.1.0.0"),
            ("010.0.0.1", "8.0.0.1", "10.0.0.1"),
            ("0xa.0.0.1", "10.0.0.1", "0.0.0.1"),
            ("1", "0.0.0.1", "1.0.0.0"),
            ("10.0.0.0 /8 ,192.0.2.1", "10.9.9.9", "11.0.0.0"),
            ("10.0.0.0/255.0.0.0 ,192.0.2.1", "10.9.9.9", "11.0.0.0"),
            ("10.0.0.0/08", "10.9.9.9", "11.0.0.0"),
        ] {
            assert!(covers(list, inside), "{list} covers {inside}");
            assert!(!covers(list, outside), "{list} does not cover {outside}");
        }
    }

    #[test]
    fn any_covers_both_families() {
        for list in ["ANY", "any", "10.0.0.1, Any"] {
            assert!(covers(list, "192.0.2.1") && covers(list, "2001:db8::1"), "{list}");
        }
    }

    #[test]
    fn refuses_in_the_words_of_the_original() {
        for (list, told) in [
            ("localhost", "[*] Fatal error parsing IP to int for: localhost"),
            ("ANYTHING", "[*] Fatal error parsing IP to int for: ANYTHING"),
            ("10.0.0.256", "[*] Fatal error parsing IP to int for: 10.0.0.256"),
            ("10.0.0.1.2", "[*] Fatal error parsing IP to int for: 10.0.0.1.2"),
            ("10.0.0.+1", "[*] Fatal error parsing IP to int for: 10.0.0.+1"),
            ("10.0.0.1,", "[*] Fatal error parsing IP to int for: "),
            ("", "[*] Fatal error parsing IP to int for: "),
            ("fe80::1%eth0", "[*] Fatal error parsing IP to int for: fe80::1%eth0"),
            ("10.0.0.0/", "[*] Missing mask value."),
            ("10.0.0.0/ab", "[*] Invalid IP mask str 'ab'."),
            ("10.0.0.0/024", "[*] Invalid IP mask str '024'."),
            ("10.0.0.0/33", "[*] Invalid IP mask str '33'."),
            ("10.0.0.0/+3", "[*] Invalid IP mask str '+3'."),
            ("10.0.0.0/16 ,10.1.0.0", "[*] Invalid IP mask str '16 '."),
            ("ANY ,10.1.0.0", "[*] Fatal error parsing IP to int for: ANY"),
            ("2001:db8::/129", "[*] Invalid IP mask str '129'."),
            ("2001:db8::/255.0.0.0", "[*] Invalid IP mask str '255.0.0.0'."),
            (
                "::ffff:10.0.0.1",
                "[*] Fatal error parsing IP to int for: ::ffff:10.0.0.1 (an IPv4 address: write 10.0.0.1)",
            ),
        ] {
            assert_eq!(list.parse::<Networks>().unwrap_err().to_string(), told);
        }
    }

    #[test]
    fn classic_forms_are_told() {
        let networks: Networks = "10.1, 10.0.0.1/8".parse().unwrap();
        assert_eq!(networks.odd(), [("10.1".to_owned(), Ipv4Addr::new(10, 0, 0, 1))]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*|[0-9a-fx.:/, ANY]{0,40}") {
            if let Ok(networks) = text.parse::<Networks>() {
                prop_assert!(!networks.covers(Ipv4Addr::LOCALHOST.into()) || !text.is_empty());
                prop_assert_eq!(networks.to_string(), text);
            }
        }

        #[test]
        fn a_network_covers_its_own_address(bits in any::<u32>(), prefix in 0u32..=32) {
            let address = Ipv4Addr::from_bits(bits);
            let text = format!("{address}/{prefix}");
            prop_assert!(covers(&text, &address.to_string()));
        }
    }
}
