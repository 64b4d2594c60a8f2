//! What C gives us becomes Rust values: each pointer is looked at once, for null, for length, for UTF-8.
//!
//! The structures have the layout of `include/spa.h`; a change there is a change here.

use std::{
    ffi::{c_char, c_int},
    net::IpAddr,
};

use spa::{
    AllowIp, CipherKey, CipherMode, DigestType, FieldError, HmacKey, Keys, Knock, Nat, Nonce, Request, Timeout,
    UnixTime,
};

use crate::failure::Failure;

/// Random bytes for one packet.
pub(crate) const RANDOM_SIZE: usize = 32;
/// Bytes of any text that comes in.
const TEXT_LIMIT: usize = 4096;

/// `spa_keys`.
#[repr(C)]
pub struct RawKeys {
    key: *const c_char,
    hmac_key: *const c_char,
    is_base64: c_int,
    hmac_digest: c_int,
}

/// `spa_request`.
#[repr(C)]
pub struct RawRequest {
    user: *const c_char,
    allow: *const c_char,
    ports: *const c_char,
    nat: *const c_char,
    time: u64,
    timeout: u32,
    digest: c_int,
}

impl RawKeys {
    /// # Safety
    /// The texts are null or end with a NUL.
    pub(crate) unsafe fn read(&self) -> Result<Keys, Failure> {
        // SAFETY: as the caller promises.
        let (cipher, hmac) = unsafe { (text(self.key, "key")?, text(self.hmac_key, "hmac_key")?) };
        let cipher = cipher.ok_or_else(|| Failure::misuse("key is null"))?;
        let digest = digest(self.hmac_digest)?;
        let is_base64 = self.is_base64 != 0;
        let cipher = if is_base64 { CipherKey::from_base64(cipher) } else { CipherKey::from_text(cipher) }?;
        let hmac = match hmac {
            None => None,
            Some(key) if is_base64 => Some(HmacKey::from_base64(digest, key)?),
            Some(key) => Some(HmacKey::from_text(digest, key)?),
        };
        Ok(Keys { cipher, mode: CipherMode::Cbc, hmac })
    }
}

impl RawRequest {
    /// # Safety
    /// The texts are null or end with a NUL.
    pub(crate) unsafe fn knock(&self, random: &[u8]) -> Result<Knock, Failure> {
        // SAFETY: as the caller promises.
        let (user, allow) = unsafe { (text(self.user, "user")?, text(self.allow, "allow")?) };
        // SAFETY: as the caller promises.
        let (ports, nat) = unsafe { (text(self.ports, "ports")?, text(self.nat, "nat")?) };
        let user = user.ok_or_else(|| Failure::misuse("user is null"))?.parse()?;
        let allow = match allow {
            None => AllowIp::Source,
            Some(allow) => allow.parse::<IpAddr>().map_err(|_| FieldError::AllowIp)?.try_into()?,
        };
        let ports = ports.ok_or_else(|| Failure::misuse("ports is null"))?.parse()?;
        let nat = match nat {
            None => Nat::None,
            Some(target) => Nat::Forward(target.parse()?),
        };
        let request = Request::Access { allow, ports, nat, timeout: Timeout::new(self.timeout)? };
        Ok(Knock::new(nonce(random)?, user, UnixTime(self.time), request))
    }

    pub(crate) fn digest(&self) -> Result<DigestType, Failure> {
        digest(self.digest)
    }
}

/// The numbers of the header; they are those of the wire format's description.
fn digest(number: c_int) -> Result<DigestType, Failure> {
    Ok(match number {
        0 | 3 => DigestType::Sha256,
        1 => DigestType::Md5,
        2 => DigestType::Sha1,
        4 => DigestType::Sha384,
        5 => DigestType::Sha512,
        6 => DigestType::Sha3_256,
        7 => DigestType::Sha3_512,
        other => return Err(Failure::misuse(format!("{other} is no digest"))),
    })
}

/// The first eight of the random bytes. Bytes that were never filled would make the same packet key each time.
pub(crate) fn salt(random: &[u8]) -> Result<[u8; 8], Failure> {
    let salt = random.first_chunk().copied().filter(|_| random.iter().any(|byte| *byte != 0));
    salt.ok_or_else(|| Failure::misuse("random is all zeroes: fill it from the system's generator"))
}

/// Sixteen digits from the last sixteen bytes: so many that no digit is likelier than another by more than 10^-22.
fn nonce(random: &[u8]) -> Result<Nonce, Failure> {
    const DIGITS: u128 = 10_000_000_000_000_000;
    let number = u128::from_le_bytes(random.last_chunk().copied().unwrap_or_default()) % DIGITS;
    Ok(format!("{number:016}").parse()?)
}

/// # Safety
/// Null, or a structure that does not change while it is used.
pub(crate) unsafe fn structure<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    if !pointer.is_aligned() {
        return Err(Failure::misuse(format!("{name} is not aligned")));
    }
    // SAFETY: aligned, and null or valid, as the caller promises.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::misuse(format!("{name} is null")))
}

/// # Safety
/// Null, or `length` bytes that do not change while they are used.
pub(crate) unsafe fn bytes<'a>(pointer: *const u8, length: usize, name: &str) -> Result<&'a [u8], Failure> {
    if pointer.is_null() {
        return Err(Failure::misuse(format!("{name} is null")));
    }
    if isize::try_from(length).is_err() {
        return Err(Failure::misuse(format!("{name}: no memory is that large")));
    }
    // SAFETY: not null, bytes need no alignment, the length is possible, and the caller promises that so many are there.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// # Safety
/// Null, or a text that ends with a NUL and does not change while it is used.
unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: we stop at the first NUL, so every byte that is read is one of the text.
    let length = (0..=TEXT_LIMIT).find(|at| unsafe { pointer.add(*at).read() } == 0);
    let length = length.ok_or_else(|| Failure::misuse(format!("{name} has more than {TEXT_LIMIT} bytes")))?;
    // SAFETY: so many bytes have just been read.
    let bytes = unsafe { bytes(pointer.cast(), length, name)? };
    std::str::from_utf8(bytes).map(Some).map_err(|_| Failure::misuse(format!("{name} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_up_to_its_end_and_no_further_than_the_limit() {
        let at_limit = [vec![b'x'; TEXT_LIMIT], vec![0]].concat();
        let beyond = [vec![b'x'; TEXT_LIMIT + 1], vec![0]].concat();
        for (given, length) in [
            (&b"\0junk"[..], Some(0)),
            (b"abc\0", Some(3)),
            (b"\xff\0", None),
            (&at_limit, Some(TEXT_LIMIT)),
            (&beyond, None),
        ] {
            // SAFETY: each ends with a NUL.
            let read = unsafe { text(given.as_ptr().cast(), "given") };
            assert_eq!(read.ok().flatten().map(str::len), length);
        }
    }

    #[test]
    fn random_bytes_that_were_never_filled_are_refused() {
        assert!(salt(&[0; RANDOM_SIZE]).is_err());
        let random: Vec<u8> = (0..32).collect();
        assert_eq!(salt(&random).unwrap_or_default(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(nonce(&random).map(|nonce| nonce.as_str().len()).ok(), Some(16));
    }
}
