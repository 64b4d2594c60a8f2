//! No file, no TCP port, nobody else's sockets and signals: Landlock with an empty list of exceptions.
//!
//! What is open already stays usable. The kernel's version decides how much is covered: files since 5.13, TCP since 6.7,
//! signals and abstract Unix sockets since 6.12. All that this kernel knows is asked for.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset, RulesetAttr, RulesetError,
    RulesetStatus, Scope,
};

use super::{Layer, SandboxError, step};

/// The newest list of rights that this program was written against.
const KNOWN: ABI = ABI::V6;

/// Closes the file system for this thread, and says how much was closed.
///
/// # Errors
/// If the kernel has Landlock but refuses to use it.
pub fn close() -> Result<Layer, SandboxError> {
    let status = restrict().map_err(|error| step("restrict files with Landlock")(io::Error::other(error)))?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => Layer::Missing("switched off at boot".into()),
        (RulesetStatus::NotEnforced, _) => Layer::Missing("not in this kernel".into()),
        (_, LandlockStatus::Available { effective_abi, .. }) => {
            Layer::Holds(format!("ABI {}", effective_abi.min(KNOWN)))
        }
        (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => Layer::Missing("not enforced".into()),
    })
}

fn restrict() -> Result<landlock::RestrictionStatus, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .restrict_self()
}
