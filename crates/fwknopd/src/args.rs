//! args (being written)
