//! The golden cases: the built program does, word for word and byte for byte, what was recorded of the original.
//!
//! Each case runs as an unprivileged account `alice` in a fresh home directory, in a network of its own that has only a loopback, with names
//! of its own; so the test needs root, and says so where there is none. What the vectors call `must` has to be identical, what they call
//! `should` may differ in wording, and what they call `fix` is a defect of the original: `fixes` says what we do instead. Cases in which we
//! differ on purpose are listed below with the reason, and are checked to differ indeed, so that the list stays true.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on shall end, and say where

mod golden {
    pub(crate) mod case;
    pub(crate) mod fixes;
    pub(crate) mod pattern;
    pub(crate) mod ring;
    pub(crate) mod run;
    pub(crate) mod surroundings;
}

use golden::{
    case::Compat,
    fixes, run,
    surroundings::{self, Surroundings},
};

/// Where we differ from the original although it calls the case one to be identical in.
const ON_PURPOSE: &[(&str, &str)] = &[
    ("acc-zeros", "one port has one spelling: tcp/00022 is sent as tcp/22"),
    ("err-allow-v6", "an IPv6 address can be let in"),
    ("err-v6-dest", "a server can have an IPv6 address"),
    ("err-raw-nonroot", "the message says why (D36)"),
    ("run-E", "keys are not remembered (D5)"),
    ("run-saved-on-failure", "keys are not remembered (D5)"),
    ("parse-synonyms", "keys are not remembered (D5)"),
    ("save-all", "keys are not shown (D5)"),
    ("save-cmd-lost", "-s is saved (D17)"),
];

#[test]
fn the_program_does_what_was_recorded_of_the_original() {
    if !surroundings::are_ours() {
        return surroundings::enter("the_program_does_what_was_recorded_of_the_original");
    }
    let surroundings = Surroundings::prepare();
    let cases = golden::case::all();
    assert_eq!(cases.len(), 372, "the vectors");
    let only = std::env::var("FWKNOP_CASE").ok();
    let mut wrong = Vec::new();
    for case in cases.iter().filter(|case| only.as_ref().is_none_or(|only| case.id == *only)) {
        if case.gpg_fixture && surroundings.ring.is_none() {
            continue; // it has been said
        }
        let outcome = run::run(case, &surroundings);
        let differs = ON_PURPOSE.iter().find(|(id, _)| *id == case.id);
        let found = match case.compat {
            Compat::Fix => fixes::check(case, &outcome),
            Compat::Must => run::compare(case, &outcome, true),
            Compat::Should => run::compare(case, &outcome, false),
        };
        match (found, differs) {
            (Ok(()), Some((_, reason))) => wrong.push(format!("{}: no longer differs; it was said: {reason}", case.id)),
            (Err(what), None) => wrong.push(format!("{}: {}\n{what}", case.id, case.title)),
            (Ok(()), None) | (Err(_), Some(_)) => (),
        }
    }
    assert!(wrong.is_empty(), "{} cases are wrong:\n\n{}", wrong.len(), wrong.join("\n\n"));
}
