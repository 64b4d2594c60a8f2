//! Standard input goes over a connection, what comes back goes to standard output, until the other side ends.
//!
//! Nothing is kept back: what arrives is passed on at once, since people type.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
};

/// More than one segment, less than anybody minds.
const PIECE: usize = 64 * 1024;

/// Carries both ways. Ends when the other side does, or when nobody listens to our output any more; the end of our input is passed on, and is not the end.
pub(super) fn carry(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut outward = stream.try_clone()?;
    // Not joined: it may wait for a keyboard for ever, and ends with the program.
    thread::spawn(move || {
        let sent = copy(&mut io::stdin().lock(), &mut outward);
        // After an error as after the end: nothing more will come from here.
        let _closed_already = outward.shutdown(if sent.is_ok() { Shutdown::Write } else { Shutdown::Both });
    });
    match copy(&mut &*stream, &mut io::stdout().lock()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                to.write_all(piece.get(..length).unwrap_or_default())?;
                to.flush()?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
}
