//! dump (being written)
