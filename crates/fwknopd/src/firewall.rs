//! firewall (being written)
