//! arrival (being written)
