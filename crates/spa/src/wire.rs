//! A knock as plaintext and back: colon-separated fields, and a digest of them (sections 5 and 6).
//!
//! ```text
//! rand : user : time : version : type : message [: nat] [: server-auth] [: timeout] : digest
//! ```
//!
//! The decoder is the strict one of section 13.2: it takes one spelling of each value, and refuses what no genuine client
//! writes. It is wider than the original in one respect: times from 2^31 to 2^32 - 1. What the original would make of
//! a sloppily spelled value is judged first, the spelling second: so both give the same reason where both refuse.

use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::base64;
use crate::crypto::DigestType;
use crate::{
    AllowIp, CommandText, FieldError, Knock, Nat, NatTarget, Nonce, PortList, Request, ServerAuth, Timeout, UnixTime,
    Username,
};

/// Plaintexts, and the fields in them, have at least this many bytes …
const SHORTEST: usize = 36;
/// … and fewer than this.
const END: usize = 1500;
/// A decoder looks at the first 11 colons only.
const COLONS: usize = 11;
/// The longest message and NAT field, in base64; also the longest rest after them.
pub(crate) const LONGEST_FIELD: usize = 256;
/// The longest user name, in base64.
const LONGEST_USER: usize = 64;
/// The most digits of a time.
const LONGEST_TIME: usize = 12;
/// The longest version.
const LONGEST_VERSION: usize = 8;

/// What a decoder may take beyond the original's message format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoding {
    /// An IPv6 address, in its canonical text, where the message has its IPv4 address.
    pub ipv6_allow: bool,
}

/// Why a plaintext is not a knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not 36 to 1499 bytes.
    #[error("the plaintext has {0} bytes")]
    Length(usize),
    /// It does not begin with 16 digits and a colon: as a rule the key is wrong.
    #[error("it does not begin like a knock")]
    Beginning,
    /// A byte outside 0x20 to 0x7e.
    #[error("a byte is not printable")]
    NotPrintable,
    /// Fewer than 6 colons.
    #[error("too few fields")]
    FewFields,
    /// More fields than its type has.
    #[error("too many fields")]
    ManyFields,
    /// No digest has this many characters.
    #[error("the digest has {0} characters")]
    DigestLength(usize),
    /// The digest is not the one of the fields.
    #[error("the digest is wrong")]
    Digest,
    /// The user name has no characters at all.
    #[error("there is no user name")]
    UserMissing,
    /// The user name is not base64.
    #[error("the user name is not base64")]
    UserBase64,
    /// The user name has more than 64 characters of base64.
    #[error("the user name is too long")]
    UserTooLong,
    /// There is no time.
    #[error("there is no time")]
    TimeMissing,
    /// The time has more than 12 digits.
    #[error("the time is too long")]
    TimeTooLong,
    /// There is no version.
    #[error("there is no version")]
    VersionMissing,
    /// The version has more than 8 characters.
    #[error("the version is too long")]
    VersionTooLong,
    /// There is no type.
    #[error("there is no type")]
    TypeMissing,
    /// The type has more than 2 characters.
    #[error("the type is too long")]
    TypeTooLong,
    /// The type is not one digit from 0 to 6.
    #[error("the type is none")]
    Type,
    /// There is no message.
    #[error("there is no message")]
    MessageMissing,
    /// The message has more than 256 characters of base64.
    #[error("the message is too long")]
    MessageTooLong,
    /// The message is not base64.
    #[error("the message is not base64")]
    MessageBase64,
    /// The command message is not `address,command`.
    #[error("not an address, a comma and a command")]
    Command(FieldError),
    /// A NAT type without its field.
    #[error("there is no NAT target")]
    NatMissing,
    /// The NAT target has more than 256 characters of base64.
    #[error("the NAT target is too long")]
    NatTooLong,
    /// The NAT target is not base64.
    #[error("the NAT target is not base64")]
    NatBase64,
    /// The server authentication is too long.
    #[error("the server authentication is too long")]
    AuthTooLong,
    /// The server authentication is not base64.
    #[error("the server authentication is not base64")]
    AuthBase64,
    /// A timeout type without its field.
    #[error("there is no timeout")]
    TimeoutMissing,
    /// An empty last field, or an empty server authentication.
    #[error("a field is empty")]
    EmptyField,
    /// A value that the protocol does not allow.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl DecodeError {
    /// The stable reason code of the protocol description, section 12.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Length(_) => "E_PT_LEN",
            Self::Beginning => "E_DECRYPT",
            Self::NotPrintable => "E_NOT_PRINTABLE",
            Self::FewFields => "E_FEW_FIELDS",
            Self::ManyFields => "E_MANY_FIELDS",
            Self::DigestLength(_) => "E_DIGEST_LEN",
            Self::Digest => "E_DIGEST",
            Self::UserMissing => "E_USER_EMPTY",
            Self::UserBase64 => "E_USER_B64",
            Self::UserTooLong => "E_USER_TOO_LONG",
            Self::TimeMissing | Self::TimeTooLong => "E_TS",
            Self::VersionMissing | Self::VersionTooLong => "E_VERSION",
            Self::TypeMissing | Self::TypeTooLong | Self::Type => "E_TYPE",
            Self::MessageMissing => "E_MSG_MISSING",
            Self::MessageTooLong => "E_MSG_TOO_LONG",
            Self::MessageBase64 => "E_MSG_B64",
            Self::NatMissing => "E_NAT_MISSING",
            Self::NatTooLong => "E_NAT_TOO_LONG",
            Self::NatBase64 => "E_NAT_B64",
            Self::AuthTooLong => "E_AUTH_TOO_LONG",
            Self::AuthBase64 => "E_AUTH_B64",
            Self::TimeoutMissing => "E_TIMEOUT_MISSING",
            Self::EmptyField => "E_EMPTY_FIELD",
            Self::Field(why) | Self::Command(why) => why.reason(),
        }
    }
}

/// The encoded fields of a knock: everything before the digest (section 5.1).
pub(crate) fn encode(knock: &Knock) -> String {
    let request = &knock.request;
    let mut fields = format!(
        "{}:{}:{}:{}:{}:{}",
        knock.nonce,
        base64::encode(knock.username.as_str().as_bytes()),
        knock.time,
        knock.version,
        request.message_type(),
        base64::encode(&request.message()),
    );
    let mut add = |field: &str| {
        fields.push(':');
        fields.push_str(field);
    };
    if let Some(target) = request.nat_target() {
        add(&base64::encode(target.to_string().as_bytes()));
    }
    if let Some(auth) = &knock.server_auth {
        add(&base64::encode(auth.as_bytes()));
    }
    if let Some(timeout) = request.timeout() {
        add(&timeout.to_string());
    }
    fields
}

/// Reads a plaintext; gives the digest it carried, too (section 5.10).
pub(crate) fn decode(plaintext: &[u8], decoding: &Decoding) -> Result<(Knock, DigestType), DecodeError> {
    limit(plaintext)?;
    let begins = plaintext.get(..16).is_some_and(|nonce| nonce.iter().all(u8::is_ascii_digit));
    if !begins || plaintext.get(16) != Some(&b':') {
        return Err(DecodeError::Beginning);
    }
    decode_gpg(plaintext, decoding)
}

/// The same without its first check, which is how a wrong key shows in a symmetric packet and nowhere else.
pub(crate) fn decode_gpg(plaintext: &[u8], decoding: &Decoding) -> Result<(Knock, DigestType), DecodeError> {
    limit(plaintext)?;
    if !plaintext.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(DecodeError::NotPrintable);
    }
    let text = std::str::from_utf8(plaintext).map_err(|_| DecodeError::NotPrintable)?;
    let colons: Vec<usize> = text.match_indices(':').map(|(at, _)| at).take(COLONS).collect();
    let last = *colons.get(5..).and_then(<[usize]>::last).ok_or(DecodeError::FewFields)?;
    let (fields, digest) = (text.get(..last).unwrap_or_default(), text.get(last + 1..).unwrap_or_default());
    let digest = verify(fields, digest)?;
    Ok((read_fields(fields, decoding)?, digest))
}

fn limit(plaintext: &[u8]) -> Result<(), DecodeError> {
    if (SHORTEST..END).contains(&plaintext.len()) { Ok(()) } else { Err(DecodeError::Length(plaintext.len())) }
}

/// Finds the digest type by the length, and the right one of two of the same length by trying.
fn verify(fields: &str, digest: &str) -> Result<DigestType, DecodeError> {
    let mut fitting = DigestType::ALL.into_iter().filter(|kind| kind.text_length() == digest.len()).peekable();
    if fitting.peek().is_none() {
        return Err(DecodeError::DigestLength(digest.len()));
    }
    fitting
        .find(|kind| kind.of(fields.as_bytes()).as_bytes().ct_eq(digest.as_bytes()).into())
        .ok_or(DecodeError::Digest)
}

fn read_fields(text: &str, decoding: &Decoding) -> Result<Knock, DecodeError> {
    use DecodeError as No;
    let mut fields = Fields(Some(text));
    let mut next = |missing, most, too_long| limited(fields.next().unwrap_or_default(), missing, most, too_long);
    let nonce: Nonce = next(FieldError::Nonce.into(), 16, FieldError::Nonce.into())?.parse()?;
    let username = username(next(No::UserMissing, LONGEST_USER, No::UserTooLong)?)?;
    let time: UnixTime = next(No::TimeMissing, LONGEST_TIME, No::TimeTooLong)?.parse()?;
    if time > UnixTime::LAST_ON_WIRE {
        return Err(FieldError::Time.into());
    }
    let version = next(No::VersionMissing, LONGEST_VERSION, No::VersionTooLong)?.parse()?;
    let kind = match next(No::TypeMissing, 2, No::TypeTooLong)?.as_bytes() {
        [digit @ b'0'..=b'6'] => digit - b'0',
        _ => return Err(No::Type),
    };
    let most = match kind {
        0 | 1 => 2,
        2 | 3 | 5 => 3,
        _ => 4,
    };
    if fields.left() > most {
        return Err(No::ManyFields);
    }
    let mut next = |missing, too_long| limited(fields.next().unwrap_or_default(), missing, LONGEST_FIELD, too_long);
    let message = unpack(next(No::MessageMissing, No::MessageTooLong)?, No::MessageBase64)?;
    let request = read_message(kind, message.until_nul(), decoding)?;
    message.must_be_whole(No::MessageBase64)?;
    let target = if matches!(kind, 2 | 4 | 5 | 6) {
        let target = unpack(next(No::NatMissing, No::NatTooLong)?, No::NatBase64)?;
        let read = NatTarget::read(target.until_nul())?;
        target.must_be_whole(No::NatBase64)?;
        Some(read)
    } else {
        None
    };
    let (server_auth, timeout) = read_rest(fields.0, matches!(kind, 3 | 4 | 6))?;
    let request = match request {
        Message::Command(allow, command) => Request::Command { allow, command },
        Message::Access(allow, ports) => {
            let nat = match (kind, target) {
                (5 | 6, Some(target)) => Nat::Local(target),
                (_, Some(target)) => Nat::Forward(target),
                (_, None) => Nat::None,
            };
            Request::Access { allow, ports, nat, timeout }
        }
    };
    Ok(Knock { nonce, username, time, version, request, server_auth })
}

fn username(text: &str) -> Result<Username, DecodeError> {
    let bytes = unpack(text, DecodeError::UserBase64)?;
    let name = bytes.until_nul();
    let ascii = name.iter().take_while(|byte| byte.is_ascii()).count();
    let name = std::str::from_utf8(name).map_err(|_| FieldError::UserChar { at: ascii })?.parse()?;
    bytes.must_be_whole(DecodeError::UserBase64)?;
    Ok(name)
}

/// What a message asks for, before NAT and timeout are known.
enum Message {
    Command(AllowIp, CommandText),
    Access(AllowIp, PortList),
}

/// `address,command` or `address,ports`.
fn read_message(kind: u8, message: &[u8], decoding: &Decoding) -> Result<Message, DecodeError> {
    let comma = message.iter().position(|byte| *byte == b',');
    let address = message.get(..comma.unwrap_or(message.len())).unwrap_or_default();
    let rest = comma.and_then(|at| message.get(at + 1..)).unwrap_or_default();
    let allow = match std::str::from_utf8(address) {
        Ok(address) => AllowIp::read(address, decoding.ipv6_allow),
        Err(_) => Err(FieldError::AllowIp),
    };
    if kind == 0 {
        let command = |allow| Ok(Message::Command(allow, CommandText::new(rest)?));
        return allow.and_then(command).map_err(DecodeError::Command);
    }
    let ports = std::str::from_utf8(rest).map_err(|_| FieldError::Ports);
    Ok(Message::Access(allow?, ports?.parse()?))
}

/// What stands after the message and the NAT target: perhaps a server authentication, perhaps a timeout. The type
/// decides which, never the characters.
fn read_rest(rest: Option<&str>, has_timeout: bool) -> Result<(Option<ServerAuth>, Option<Timeout>), DecodeError> {
    if rest.is_some_and(|rest| rest.len() > LONGEST_FIELD) {
        return Err(DecodeError::AuthTooLong);
    }
    let (auth, timeout) = match (rest, has_timeout) {
        (auth, false) => (auth, None),
        (None, true) => return Err(DecodeError::TimeoutMissing),
        (Some(rest), true) => match rest.split_once(':') {
            Some((auth, timeout)) => (Some(auth), Some(timeout)),
            None => (None, Some(rest)),
        },
    };
    let timeout = match timeout {
        Some("") => return Err(DecodeError::TimeoutMissing),
        Some(digits) => Timeout::read(digits)?,
        None => None,
    };
    Ok((auth.map(read_auth).transpose()?, timeout))
}

fn read_auth(text: &str) -> Result<ServerAuth, DecodeError> {
    if text.is_empty() {
        return Err(DecodeError::EmptyField);
    }
    let bytes = unpack(text, DecodeError::AuthBase64)?;
    bytes.must_be_whole(DecodeError::AuthBase64)?;
    ServerAuth::new(bytes.until_nul()).map_err(|_| DecodeError::AuthBase64)
}

fn limited(text: &str, missing: DecodeError, most: usize, too_long: DecodeError) -> Result<&str, DecodeError> {
    match text.len() {
        0 => Err(missing),
        length if length > most => Err(too_long),
        _ => Ok(text),
    }
}

/// Reads an inner field as the original does; whether it may stand is for [`Unpacked::must_be_whole`].
fn unpack(text: &str, otherwise: DecodeError) -> Result<Unpacked, DecodeError> {
    let bytes = base64::decode_generously(text).map_err(|_| otherwise)?;
    let whole = base64::decode_field(text).is_ok() && !bytes.contains(&0);
    Ok(Unpacked { bytes, whole })
}

/// The bytes of an inner field.
struct Unpacked {
    bytes: Vec<u8>,
    whole: bool,
}

impl Unpacked {
    /// What the original keeps of them, which takes them for a C string: everything before the first NUL.
    fn until_nul(&self) -> &[u8] {
        self.bytes.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Refuses a second spelling of the same bytes, and a NUL: two decoders would see different values.
    fn must_be_whole(&self, otherwise: DecodeError) -> Result<(), DecodeError> {
        if self.whole { Ok(()) } else { Err(otherwise) }
    }
}

/// Fields, one after the other; `None` once the last one was taken.
struct Fields<'t>(Option<&'t str>);

impl<'t> Fields<'t> {
    fn next(&mut self) -> Option<&'t str> {
        let rest = self.0.take()?;
        match rest.split_once(':') {
            Some((field, rest)) => {
                self.0 = Some(rest);
                Some(field)
            }
            None => Some(rest),
        }
    }

    /// How many fields are left.
    fn left(&self) -> usize {
        self.0.map_or(0, |rest| rest.split(':').count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Decoding = Decoding { ipv6_allow: true };

    /// Adds the right digest and decodes.
    fn read(fields: &str) -> Result<Knock, DecodeError> {
        let digest = DigestType::Sha256.of(fields.as_bytes());
        decode(format!("{fields}:{}", digest.as_str()).as_bytes(), &LOCAL).map(|(knock, _)| knock)
    }

    /// `10.1.2.3,tcp/22`, from user `user`.
    fn with_type(kind: &str, rest: &str) -> String {
        format!("1234567890123456:dXNlcg:1700000000:3.0.0:{kind}:MTAuMS4yLjMsdGNwLzIy{rest}")
    }

    #[test]
    fn every_type_is_written_as_it_was_read() {
        let nat = base64::encode(b"10.0.0.5,22");
        for (kind, rest) in [
            ("0", String::new()),
            ("0", ":1234".to_owned()),
            ("1", String::new()),
            ("1", ":1234".to_owned()),
            ("2", format!(":{nat}")),
            ("2", format!(":{nat}:1234")),
            ("3", ":60".to_owned()),
            ("3", ":1234:60".to_owned()),
            ("4", format!(":{nat}:60")),
            ("4", format!(":{nat}:1234:60")),
            ("5", format!(":{nat}")),
            ("6", format!(":{nat}:1234:65536")),
        ] {
            let fields = with_type(kind, &rest);
            let knock = read(&fields).unwrap_or_else(|why| panic!("{fields}: {why}"));
            assert_eq!(knock.request.message_type().to_string(), kind);
            assert_eq!(
                knock.server_auth.is_some(),
                rest.contains(":1234"),
                "{fields}: the type decides, not the digits"
            );
            assert_eq!(encode(&knock), fields);
        }
    }

    #[test]
    fn no_type_takes_a_field_too_many_or_too_few() {
        let nat = base64::encode(b"10.0.0.5,22");
        for (kind, rest, why) in [
            ("0", ":1234:60".to_owned(), DecodeError::ManyFields),
            ("1", ":1234:60".to_owned(), DecodeError::ManyFields),
            ("1", ":".to_owned(), DecodeError::EmptyField),
            ("2", String::new(), DecodeError::NatMissing),
            ("3", String::new(), DecodeError::TimeoutMissing),
            ("3", ":1234:".to_owned(), DecodeError::TimeoutMissing),
            ("3", "::60".to_owned(), DecodeError::EmptyField),
            ("4", format!(":{nat}"), DecodeError::TimeoutMissing),
            ("5", format!(":{nat}:1234:60"), DecodeError::ManyFields),
            ("6", format!(":{nat}:1234:60:60"), DecodeError::ManyFields),
        ] {
            assert_eq!(read(&with_type(kind, &rest)), Err(why), "{kind}{rest}");
        }
    }

    #[test]
    fn looks_at_the_first_eleven_colons_only() {
        let eleven = with_type("1", ":a:b:c:d:e");
        assert_eq!(eleven.matches(':').count(), 10);
        assert_eq!(read(&eleven), Err(DecodeError::ManyFields));
        let digest_at_twelve = read(&with_type("1", ":a:b:c:d:e:f"));
        assert!(matches!(digest_at_twelve, Err(DecodeError::DigestLength(45))), "{digest_at_twelve:?}");
    }
}
