//! Sealing and opening SPA packets from C; what a caller sees is `include/spa.h`.
//!
//! This is a border, not a place: pointers become Rust values on the way in, results become numbers and texts on the way out, and the work is
//! done by the crate `spa`. It is the only crate of the project with unsafe code; each piece says why it is sound, and all it needs is what the
//! header asks of callers. No socket, no clock, no randomness, no GnuPG.
//!
//! ```text
//! spa_request, spa_keys, 32 random bytes ─▶ spa_seal ─▶ packet        bytes, spa_keys ─▶ spa_open ─▶ spa_knock ─▶ texts and numbers
//! ```
//!
//! | file | what it is |
//! | --- | --- |
//! | `inward` | C's pointers and structures become keys and a knock |
//! | `outward` | an opened knock, kept in the texts that C reads |
//! | `failure` | why the last call of a thread failed |

mod failure;
mod inward;
mod outward;

use std::{
    ffi::{c_char, c_int},
    panic::{AssertUnwindSafe, catch_unwind},
};

use spa::{Decoding, SealedPacket};

use crate::{
    failure::{Failure, tell},
    inward::{RawKeys, RawRequest, bytes, structure},
    outward::OpenedKnock,
};

/// Writes a packet and a NUL into a buffer; see the header.
///
/// # Safety
/// Pointers are null, or point to what the header says: structures whose texts end with a NUL, `RANDOM_SIZE` bytes, `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spa_seal(
    request: *const RawRequest,
    keys: *const RawKeys,
    random: *const u8,
    packet: *mut c_char,
    size: usize,
) -> c_int {
    guarded(|| {
        // SAFETY: null or valid and unchanged during the call, as the caller promises.
        let (request, keys) = unsafe { (structure(request, "request")?, structure(keys, "keys")?) };
        // SAFETY: as above: the header asks for that many bytes.
        let random = unsafe { bytes(random, inward::RANDOM_SIZE, "random")? };
        if packet.is_null() {
            return Err(Failure::misuse("packet is null"));
        }
        // SAFETY: the texts inside end with a NUL or are null, as the caller promises.
        let (knock, digest, keys) = unsafe { (request.knock(random)?, request.digest()?, keys.read()?) };
        let sealed = knock.seal_with_salt(&keys, digest, inward::salt(random)?)?;
        let text = sealed.text();
        if text.len() >= size {
            return Err(Failure::misuse(format!(
                "the packet needs a buffer of {} bytes",
                text.len().saturating_add(1)
            )));
        }
        // SAFETY: `size` bytes may be written, which is more than the text has; it and the buffer cannot overlap, we have just made it.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), packet.cast::<u8>(), text.len()) };
        // SAFETY: `text.len() < size`, so this is inside the buffer too.
        unsafe { packet.cast::<u8>().add(text.len()).write(0) };
        Ok(())
    })
}

/// Opens a packet; see the header.
///
/// # Safety
/// Pointers are null, or point to what the header says: `length` bytes, keys whose texts end with a NUL, a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spa_open(
    packet: *const u8,
    length: usize,
    keys: *const RawKeys,
    knock: *mut *mut OpenedKnock,
) -> c_int {
    guarded(|| {
        if knock.is_null() {
            return Err(Failure::misuse("knock is null"));
        }
        // SAFETY: not null, so it is a place for a pointer, as the caller promises.
        unsafe { knock.write(std::ptr::null_mut()) };
        // SAFETY: null or valid and unchanged during the call, as the caller promises.
        let (packet, keys) = unsafe { (bytes(packet, length, "packet")?, structure(keys, "keys")?) };
        // SAFETY: the texts inside end with a NUL or are null, as the caller promises.
        let keys = unsafe { keys.read()? };
        let packet = SealedPacket::parse(packet)?;
        let opened = packet.open(&keys, &Decoding { ipv6_allow: true })?;
        let opened = Box::new(OpenedKnock::new(&opened, &packet.replay_digest())?);
        // SAFETY: as above. The box is given away here and comes back in `spa_knock_free`.
        unsafe { knock.write(Box::into_raw(opened)) };
        Ok(())
    })
}

/// Version of this library.
#[unsafe(no_mangle)]
pub extern "C" fn spa_library_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Does it, remembers why it failed, and lets no panic across the border. (Built with `panic = "abort"`, as the release profile is, a panic
/// ends the process instead; none is known.)
fn guarded(work: impl FnOnce() -> Result<(), Failure>) -> c_int {
    let done = catch_unwind(AssertUnwindSafe(work));
    tell(done.unwrap_or_else(|_| Err(Failure::misuse("a fault in this library"))))
}
