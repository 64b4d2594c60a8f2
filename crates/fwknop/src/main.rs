//! The doorway of the client; the house is the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    fwknop::run(std::env::args_os())
}
