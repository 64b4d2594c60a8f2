//! What the fuzz targets share: packets that are known to be good, and a second opinion on how things are spelled.
//!
//! Each file in `fuzz_targets/` states one property of the crate `spa` and nothing else. This is not a test of its own; the
//! script `run` builds the targets, starts them from packets of the original, and shows with `run --planted` that each of
//! them finds a fault that was put in its way on purpose.
//!
//! | target | property |
//! | --- | --- |
//! | `open` | only a genuine packet opens, and only in its own spelling |
//! | `decode` | a decoded knock says what stands in the plaintext, and can be sealed again |
//! | `round_trip` | what is sealed opens to the same knock; under an HMAC no byte can be changed |
//! | `carrier` | what is taken out of a request is a packet that was put in, never one with a prefix |

pub mod draw;
pub mod genuine;
pub mod spelling;
