//! The server: packets become grants, grants become firewall rules, and rules come to an end.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

pub mod access;
pub mod args;
pub mod arrival;
pub mod capture;
pub mod config;
pub mod dump;
pub mod firewall;
pub mod grant;
pub mod sandbox;
