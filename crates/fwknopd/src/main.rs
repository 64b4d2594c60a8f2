//! The doorway of the server.
fn main() {}
