//! A knock as plaintext and back: colon-separated fields, and a digest of them (sections 5 and 6).
//!
//! ```text
//! rand : user : time : version : type : message [: nat] [: server-auth] [: timeout] : digest
//! ```
//!
//! The decoder is the strict one of section 13.2: it takes one spelling of each value, and refuses what no genuine client
//! writes. It is wider than the original in one respect: times from 2^31 to 2^32 - 1.

use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::base64;
use crate::crypto::DigestType;
use crate::{
    AllowIp, CommandText, FieldError, Knock, Nat, NatTarget, Nonce, PortList, Request, ServerAuth, Timeout, UnixTime,
};

/// Plaintexts, and the fields in them, have at least this many bytes …
const SHORTEST: usize = 36;
/// … and fewer than this.
const END: usize = 1500;
/// A decoder looks at the first 11 colons only.
const COLONS: usize = 11;
/// The longest message and NAT field, in base64; also the longest rest after them.
const LONGEST_FIELD: usize = 256;
/// The longest user name, in base64.
const LONGEST_USER: usize = 64;

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
    /// The user name is not base64.
    #[error("the user name is not base64")]
    UserBase64,
    /// The user name has more than 64 characters of base64.
    #[error("the user name is too long")]
    UserTooLong,
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
    /// The message has no comma.
    #[error("the message has no comma")]
    MessageForm,
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
            Self::UserBase64 => "E_USER_B64",
            Self::UserTooLong => "E_USER_TOO_LONG",
            Self::Type => "E_TYPE",
            Self::MessageMissing => "E_MSG_MISSING",
            Self::MessageTooLong => "E_MSG_TOO_LONG",
            Self::MessageBase64 => "E_MSG_B64",
            Self::MessageForm => "E_MSG_SPEC",
            Self::NatMissing => "E_NAT_MISSING",
            Self::NatTooLong => "E_NAT_TOO_LONG",
            Self::NatBase64 => "E_NAT_B64",
            Self::AuthTooLong => "E_AUTH_TOO_LONG",
            Self::AuthBase64 => "E_AUTH_B64",
            Self::TimeoutMissing => "E_TIMEOUT_MISSING",
            Self::EmptyField => "E_EMPTY_FIELD",
            Self::Field(why) => why.reason(),
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
    if !(SHORTEST..END).contains(&plaintext.len()) {
        return Err(DecodeError::Length(plaintext.len()));
    }
    let begins = plaintext.get(..16).is_some_and(|nonce| nonce.iter().all(u8::is_ascii_digit));
    if !begins || plaintext.get(16) != Some(&b':') {
        return Err(DecodeError::Beginning);
    }
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
    let mut fields = Fields(Some(text));
    let nonce: Nonce = fields.next()?.parse()?;
    let user = fields.next()?;
    if user.is_empty() {
        return Err(FieldError::UserEmpty.into());
    }
    if user.len() > LONGEST_USER {
        return Err(DecodeError::UserTooLong);
    }
    let user = unpack(user, DecodeError::UserBase64)?;
    if user.contains(&0) {
        return Err(DecodeError::UserBase64); // it would end early in the original
    }
    let username = username(&user)?;
    let time = time(fields.next()?)?;
    let version = fields.next()?.parse()?;
    let kind = message_type(fields.next()?)?;
    let most = match kind {
        0 | 1 => 1,
        2 | 3 | 5 => 2,
        _ => 3,
    };
    if fields.left() > most + 1 {
        return Err(DecodeError::ManyFields);
    }
    let message = fields.next().map_err(|_| DecodeError::MessageMissing)?;
    let message = limited(message, DecodeError::MessageMissing, DecodeError::MessageTooLong)?;
    let message = unpack(message, DecodeError::MessageBase64)?;
    if message.contains(&0) {
        return Err(DecodeError::MessageBase64);
    }
    let nat = if matches!(kind, 2 | 4 | 5 | 6) {
        let target = fields.next().map_err(|_| DecodeError::NatMissing)?;
        let target = limited(target, DecodeError::NatMissing, DecodeError::NatTooLong)?;
        Some(NatTarget::read(&unpack(target, DecodeError::NatBase64)?)?)
    } else {
        None
    };
    let (server_auth, timeout) = tail(fields.0, matches!(kind, 3 | 4 | 6))?;
    let request = request(kind, &message, nat, timeout, decoding)?;
    Ok(Knock { nonce, username, time, version, request, server_auth })
}

/// What stands after the message and the NAT target: perhaps a server authentication, perhaps a timeout. The type
/// decides which, never the characters.
fn tail(rest: Option<&str>, has_timeout: bool) -> Result<(Option<ServerAuth>, Option<Timeout>), DecodeError> {
    if rest.is_some_and(|rest| rest.len() > LONGEST_FIELD) {
        return Err(DecodeError::AuthTooLong);
    }
    match (rest, has_timeout) {
        (None, false) => Ok((None, None)),
        (None, true) => Err(DecodeError::TimeoutMissing),
        (Some(auth), false) => Ok((Some(server_auth(auth)?), None)),
        (Some(rest), true) => {
            let (auth, timeout) = match rest.split_once(':') {
                Some((auth, timeout)) => (Some(server_auth(auth)?), timeout),
                None => (None, rest),
            };
            if timeout.is_empty() {
                return Err(DecodeError::TimeoutMissing);
            }
            Ok((auth, Timeout::read(timeout)?))
        }
    }
}

fn server_auth(text: &str) -> Result<ServerAuth, DecodeError> {
    if text.is_empty() {
        return Err(DecodeError::EmptyField);
    }
    let bytes = unpack(text, DecodeError::AuthBase64)?;
    ServerAuth::new(bytes).map_err(|_| DecodeError::AuthBase64)
}

fn request(
    kind: u8,
    message: &[u8],
    nat: Option<NatTarget>,
    timeout: Option<Timeout>,
    decoding: &Decoding,
) -> Result<Request, DecodeError> {
    let comma = message.iter().position(|byte| *byte == b',').ok_or(DecodeError::MessageForm)?;
    let (address, rest) = (message.get(..comma).unwrap_or_default(), message.get(comma + 1..).unwrap_or_default());
    let address = std::str::from_utf8(address).map_err(|_| FieldError::AllowIp)?;
    let allow = AllowIp::read(address, decoding.ipv6_allow)?;
    if kind == 0 {
        return Ok(Request::Command { allow, command: CommandText::new(rest)? });
    }
    let ports: PortList = std::str::from_utf8(rest).map_err(|_| FieldError::Ports)?.parse()?;
    let nat = match (kind, nat) {
        (5 | 6, Some(target)) => Nat::Local(target),
        (_, Some(target)) => Nat::Forward(target),
        (_, None) => Nat::None,
    };
    Ok(Request::Access { allow, ports, nat, timeout })
}

fn username(bytes: &[u8]) -> Result<crate::Username, DecodeError> {
    if bytes.is_empty() {
        return Err(FieldError::UserEmpty.into());
    }
    let not_ascii = bytes.iter().position(|byte| !byte.is_ascii());
    let text = std::str::from_utf8(bytes).map_err(|_| FieldError::UserChar { at: not_ascii.unwrap_or_default() })?;
    Ok(text.parse()?)
}

/// 1 to 12 digits, below 2^32.
fn time(text: &str) -> Result<UnixTime, DecodeError> {
    if text.is_empty() || text.len() > 12 {
        return Err(FieldError::Time.into());
    }
    let time: UnixTime = text.parse()?;
    if time > UnixTime::LAST_ON_WIRE { Err(FieldError::Time.into()) } else { Ok(time) }
}

fn message_type(text: &str) -> Result<u8, DecodeError> {
    match text.as_bytes() {
        [digit @ b'0'..=b'6'] => Ok(digit - b'0'),
        _ => Err(DecodeError::Type),
    }
}

fn limited(text: &str, missing: DecodeError, too_long: DecodeError) -> Result<&str, DecodeError> {
    match text.len() {
        0 => Err(missing),
        1..=LONGEST_FIELD => Ok(text),
        _ => Err(too_long),
    }
}

fn unpack(text: &str, otherwise: DecodeError) -> Result<Vec<u8>, DecodeError> {
    base64::decode_field(text).map_err(|_| otherwise)
}

/// Fields, one after the other; `None` once the last one was taken.
struct Fields<'t>(Option<&'t str>);

impl<'t> Fields<'t> {
    fn next(&mut self) -> Result<&'t str, DecodeError> {
        let rest = self.0.ok_or(DecodeError::FewFields)?;
        match rest.split_once(':') {
            Some((field, rest)) => {
                self.0 = Some(rest);
                Ok(field)
            }
            None => {
                self.0 = None;
                Ok(rest)
            }
        }
    }

    /// How many fields are left.
    fn left(&self) -> usize {
        self.0.map_or(0, |rest| rest.split(':').count())
    }
}
