//! access (being written)
