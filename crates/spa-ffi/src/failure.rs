//! Why the last call of a thread failed: a number to return, a text for people, and the stable code of the protocol's description.

use std::{
    cell::RefCell,
    ffi::{CStr, CString, c_char, c_int},
};

use spa::{FieldError, KeyError, NotSpa, OpenError, SealError};

/// What went wrong.
#[derive(Debug)]
pub(crate) struct Failure {
    number: c_int,
    text: CString,
    reason: CString,
}

const MISUSE: c_int = 1;
const KEY: c_int = 2;
const REQUEST: c_int = 3;
const PACKET: c_int = 4;

impl Failure {
    /// The caller broke the header's rules.
    pub(crate) fn misuse(text: impl Into<String>) -> Self {
        Self::new(MISUSE, text.into(), "")
    }

    fn new(number: c_int, text: String, reason: &str) -> Self {
        let plain = |text: String| CString::new(text.replace('\0', " ")).unwrap_or_default();
        Self { number, text: plain(text), reason: plain(reason.to_owned()) }
    }
}

macro_rules! failures {
    ($($error:ty => $number:ident),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new($number, error.to_string(), error.reason())
            }
        })*
    };
}
failures!(KeyError => KEY, FieldError => REQUEST, SealError => REQUEST, NotSpa => PACKET, OpenError => PACKET);

thread_local! {
    static LAST: RefCell<(CString, CString)> = RefCell::default();
}

/// Remembers how a call ended, and gives its number.
pub(crate) fn tell(ended: Result<(), Failure>) -> c_int {
    let (number, texts) = match ended {
        Ok(()) => (0, Default::default()),
        Err(Failure { number, text, reason }) => (number, (text, reason)),
    };
    // A thread that is just ending has nobody left who would ask.
    let _ending = LAST.try_with(|last| last.replace(texts));
    number
}

fn last(pick: impl Fn(&(CString, CString)) -> *const c_char) -> *const c_char {
    LAST.try_with(|last| pick(&last.borrow())).unwrap_or(CStr::as_ptr(c""))
}

/// Why the last call of this thread failed, for people.
#[unsafe(no_mangle)]
pub extern "C" fn spa_error_text() -> *const c_char {
    last(|(text, _)| text.as_ptr())
}

/// The same as a stable code.
#[unsafe(no_mangle)]
pub extern "C" fn spa_error_reason() -> *const c_char {
    last(|(_, reason)| reason.as_ptr())
}
