//! The doorway of the client.
fn main() {}
