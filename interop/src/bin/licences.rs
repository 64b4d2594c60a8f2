//! Checks that every dependency has a licence that `deny.toml` allows, and comes from a registry.
//!
//! Building cargo-deny would take longer than all other checks together; what it would say about licences and
//! sources is said here from `cargo metadata`, for every workspace of the project and every platform.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::Value;

/// What the source of a package from a registry begins with; others come from a repository or a folder.
const REGISTRY: &str = "registry+";

fn main() -> ExitCode {
    let allowed = allowed();
    let workspaces = [".", "interop", "fuzz"].map(|place| root().join(place).join("Cargo.toml"));
    let packages: Vec<Value> = workspaces.iter().filter(|path| path.exists()).flat_map(|path| packages(path)).collect();
    let complaints: Vec<String> = packages.iter().filter_map(|package| complaint(package, &allowed)).collect();
    for complaint in &complaints {
        eprintln!("licences: {complaint}");
    }
    println!("{} packages, {} complaints", packages.len(), complaints.len());
    if complaints.is_empty() && packages.len() > 50 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn complaint(package: &Value, allowed: &[String]) -> Option<String> {
    let text = |field: &str| package[field].as_str().unwrap_or_default();
    let (name, source, licence) = (text("name"), text("source"), text("license"));
    // What has no source is part of the project.
    if !source.is_empty() && !source.starts_with(REGISTRY) {
        return Some(format!("{name} comes from {source}"));
    }
    (!is_allowed(licence, allowed)).then(|| format!("{name} has the licence {licence:?}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn packages(manifest: &Path) -> Vec<Value> {
    let done = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features", "--manifest-path"])
        .arg(manifest)
        .output()
        .expect("cargo runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let metadata: Value = serde_json::from_slice(&done.stdout).expect("cargo metadata is JSON");
    metadata["packages"].as_array().expect("a list of packages").clone()
}

/// The list `allow` of `deny.toml`: one quoted name per line.
fn allowed() -> Vec<String> {
    let text = fs::read_to_string(root().join("deny.toml")).expect("deny.toml is kept");
    let list =
        text.split_once("\nallow = [\n").and_then(|(_, rest)| rest.split_once("\n]")).expect("a list of licences").0;
    list.lines().map(|line| line.trim().trim_matches([',', '"']).to_owned()).collect()
}

/// Whether a licence expression can be met with allowed licences: any of those joined with OR, all of those joined with AND.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    either(&mut expression.replace('(', " ( ").replace(')', " ) ").split_whitespace().peekable(), allowed)
}

type Words<'e> = std::iter::Peekable<std::str::SplitWhitespace<'e>>;

fn either(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut verdict = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        verdict |= both(words, allowed);
    }
    verdict
}

fn both(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut verdict = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        verdict &= one(words, allowed);
    }
    verdict
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let verdict = either(words, allowed);
        words.next_if_eq(&")");
        return verdict;
    }
    let mut name = words.next().unwrap_or_default().to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        name += &format!(" WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_read_as_they_are_meant() {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(String::from);
        for (expression, verdict) in [
            ("MIT", true),
            ("MIT OR Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-only OR MIT", true),
            ("(MIT OR GPL-2.0) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
            ("MIT AND GPL-2.0", false),
            ("GPL-3.0-or-later", false),
            ("LGPL-2.1 OR GPL-3.0", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed), verdict, "{expression}");
        }
    }
}
