//! Turns a knock into a sealed packet, and a sealed packet back into a knock.
//!
//! This is the wire format of single packet authorization as *fwknop* speaks it (protocol 3.0.0): one encrypted,
//! authenticated, never-repeatable packet that asks a server to open a port. The crate is what both ends share. It has no IO,
//! no clock and no randomness of its own: time and a random source are arguments. It does not decide whether a knock may
//! have what it asks for, and does not remember used packets; it gives them a name, [`ReplayDigest`].
//!
//! ```
//! use spa::*;
//! # struct Seeded(u64);
//! # impl rand_core::TryRng for Seeded {
//! #     type Error = core::convert::Infallible;
//! #     fn try_next_u32(&mut self) -> Result<u32, Self::Error> { Ok(self.try_next_u64()? as u32) }
//! #     fn try_next_u64(&mut self) -> Result<u64, Self::Error> { self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1); Ok(self.0) }
//! #     fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> { for b in bytes { *b = (self.try_next_u64()? >> 33) as u8; } Ok(()) }
//! # }
//! # impl rand_core::TryCryptoRng for Seeded {}
//! # let mut rng = Seeded(1); // in a program: the system's generator
//! let keys = Keys {
//!     cipher: CipherKey::generate(&mut rng, 32)?,
//!     mode: CipherMode::Cbc,
//!     hmac: Some(HmacKey::generate(&mut rng, DigestType::Sha256, 64)?),
//! };
//!
//! // The client seals,
//! let request = Request::Access { allow: "198.51.100.7".parse()?, ports: "tcp/22".parse()?, nat: Nat::None, timeout: None };
//! let knock = Knock::new(Nonce::new(&mut rng), "alice".parse()?, UnixTime(1_700_000_000), request);
//! let sealed = knock.seal(&keys, DigestType::Sha256, &mut rng)?;
//!
//! // the server opens.
//! let packet = SealedPacket::parse(sealed.text().as_bytes())?;
//! assert_eq!(packet.open(&keys, &Decoding::default())?, knock);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to | use |
//! | --- | --- |
//! | say what is asked for | [`Knock`], [`Request`], [`PortList`], [`Nat`] |
//! | make, read, keep keys | [`Keys`], [`CipherKey`], [`HmacKey`] |
//! | send | [`Knock::seal`] |
//! | receive | [`carrier::unwrap`], [`SealedPacket::parse`], [`SealedPacket::open`], [`SealedPacket::replay_digest`] |
//! | leave encryption to gpg | [`Knock::unsealed`], [`Unsealed::seal`]; [`SealedPacket::authenticate_gpg`], [`GpgPacket::ciphertext`], [`GpgPlaintext`] |
//! | go through HTTP | [`carrier::Request`], [`carrier::unwrap`] |
//! | speak of errors as the original does | [`Fko`]; stable reason codes: `reason()` of each error |

mod base64;
pub mod carrier;
mod crypto;
mod fields;
mod fko;
mod gpg;
mod keys;
mod knock;
mod packet;
mod ports;
mod replay_digest;
mod request;
mod seal;
mod wire;

#[cfg(test)]
mod micro;

pub use carrier::ingress;
pub use crypto::{CipherMode, DigestType, UnknownName};
pub use fields::{AllowIp, FieldError, Nonce, ServerAuth, UnixTime, Username, Version};
pub use fko::Fko;
pub use gpg::{Ciphertext, GpgPacket, GpgPlaintext, GpgUnfit, Recipients, Unsealed};
pub use keys::{CipherKey, HmacKey, KeyError, Keys};
pub use knock::Knock;
pub use packet::{AuthenticPacket, NotSpa, OpenError, Plaintext, SealedPacket};
pub use ports::{PortList, PortSpec, Protocol};
pub use replay_digest::{NotADigest, ReplayDigest};
pub use request::{CommandText, Nat, NatHost, NatTarget, Request, Timeout};
pub use seal::{SealError, Sealed};
pub use wire::{DecodeError, Decoding};
