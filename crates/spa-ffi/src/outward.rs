//! An opened knock as C reads it: texts that end with a NUL and live as long as the knock, and numbers.

use std::ffi::{CString, c_char, c_int};

use spa::{Knock, ReplayDigest, Request, Timeout};

use crate::failure::Failure;

/// `spa_knock`.
pub struct OpenedKnock {
    user: CString,
    allow: CString,
    message: CString,
    ports: Option<CString>,
    command: Option<CString>,
    nat: Option<CString>,
    nonce: CString,
    version: CString,
    digest: CString,
    message_type: c_int,
    time: u64,
    timeout: u32,
}

impl OpenedKnock {
    /// A text with a NUL inside cannot be shown whole, so it is refused; the decoder lets none through.
    pub(crate) fn new(knock: &Knock, digest: &ReplayDigest) -> Result<Self, Failure> {
        let request = &knock.request;
        let (ports, command) = match request {
            Request::Access { ports, .. } => (Some(text(ports.to_string())?), None),
            Request::Command { command, .. } => (None, Some(text(command.as_bytes())?)),
        };
        Ok(Self {
            user: text(knock.username.to_string())?,
            allow: text(request.allow().to_string())?,
            message: text(request.message())?,
            ports,
            command,
            nat: request.nat_target().map(|target| text(target.to_string())).transpose()?,
            nonce: text(knock.nonce.as_str())?,
            version: text(knock.version.as_str())?,
            digest: text(digest.to_string())?,
            message_type: c_int::from(request.message_type()),
            time: knock.time.0,
            timeout: request.timeout().map_or(0, Timeout::seconds),
        })
    }
}

fn text(bytes: impl Into<Vec<u8>>) -> Result<CString, Failure> {
    CString::new(bytes).map_err(|_| Failure::misuse("a text of the packet has a NUL in it"))
}

macro_rules! texts {
    ($($name:ident: $pick:expr;)*) => {
        $(
            /// A text of the knock; null for a null knock, and where there is none.
            ///
            /// # Safety
            /// Null, or a knock that `spa_open` gave and that has not been freed.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name(knock: *const OpenedKnock) -> *const c_char {
                let pick: fn(&OpenedKnock) -> Option<&CString> = $pick;
                // SAFETY: null or alive, as the caller promises.
                let knock = unsafe { knock.as_ref() };
                knock.and_then(pick).map_or(std::ptr::null(), |text| text.as_ptr())
            }
        )*
    };
}

texts! {
    spa_knock_user: |knock| Some(&knock.user);
    spa_knock_allow: |knock| Some(&knock.allow);
    spa_knock_message: |knock| Some(&knock.message);
    spa_knock_ports: |knock| knock.ports.as_ref();
    spa_knock_command: |knock| knock.command.as_ref();
    spa_knock_nat: |knock| knock.nat.as_ref();
    spa_knock_nonce: |knock| Some(&knock.nonce);
    spa_knock_version: |knock| Some(&knock.version);
    spa_knock_digest: |knock| Some(&knock.digest);
}

macro_rules! numbers {
    ($($name:ident: $kind:ty, $none:expr, $field:ident;)*) => {
        $(
            /// A number of the knock.
            ///
            /// # Safety
            /// Null, or a knock that `spa_open` gave and that has not been freed.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name(knock: *const OpenedKnock) -> $kind {
                // SAFETY: null or alive, as the caller promises.
                unsafe { knock.as_ref() }.map_or($none, |knock| knock.$field)
            }
        )*
    };
}

numbers! {
    spa_knock_type: c_int, -1, message_type;
    spa_knock_time: u64, 0, time;
    spa_knock_timeout: u32, 0, timeout;
}

/// Frees a knock; null is allowed.
///
/// # Safety
/// Null, or a knock that `spa_open` gave and that has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spa_knock_free(knock: *mut OpenedKnock) {
    if !knock.is_null() {
        // SAFETY: it came from `Box::into_raw` in `spa_open`, and comes back only once, as the caller promises.
        drop(unsafe { Box::from_raw(knock) });
    }
}
