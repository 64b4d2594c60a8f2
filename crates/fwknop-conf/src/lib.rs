//! Reads what a person wrote for fwknop: command lines, `.fwknoprc`, `fwknopd.conf` and `access.conf`.
//!
//! Text comes in; values that know where they stood go out. Nothing here knows a setting by its name: which names there
//! are, what they mean and what follows from them belongs to the two programs. Only [`mod@file`] touches the disk.
//!
//! ```text
//! arguments ─▶ getopt ─▶ options with their values          (or what was wrong, in the C library's words)
//! a file    ─▶ file ─▶ lines ─▶ key, value, line number ─▶ value ─▶ a number, a yes, networks
//!                        └──────────── complaint ◀───────────┘
//! ```
#![forbid(unsafe_code)]

pub mod complaint;
pub mod file;
pub mod getopt;
pub mod lines;
pub mod networks;
pub mod value;
