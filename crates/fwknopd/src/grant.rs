//! grant (being written)
