//! `fwknop qr`: what the built program draws is read back by another program's eye.

#![allow(clippy::unwrap_used)] // a test that cannot go on shall end, and say where

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _},
    path::Path,
    process::{Command, Output, Stdio},
};

const RC: &str = "[home]\nSPA_SERVER h\nACCESS tcp/22\nKEY_BASE64 3q2+7w==\nHMAC_KEY_BASE64 AAECAwQF\n\
                  [raw]\nKEY sekret\nHMAC_KEY hmacsekret\n[gpg]\nUSE_GPG Y\nGPG_RECIPIENT x\n";

fn qr(home: &Path, words: &[&str]) -> Command {
    fs::write(home.join(".fwknoprc"), RC).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fwknop"));
    command.arg("qr").args(words).env_clear().env("HOME", home).stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    qr(home.path(), words).output().unwrap()
}

/// Takes a photograph of the half blocks, eight pixels to a module, and reads it.
fn read(drawn: &str) -> String {
    const SIZE: usize = 8;
    let rows: Vec<Vec<char>> = drawn.lines().map(|line| line.chars().collect()).collect();
    let width = rows.iter().map(Vec::len).max().unwrap();
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width * SIZE, rows.len() * 2 * SIZE, |x, y| {
        let (column, line) = (x / SIZE, y / SIZE);
        let is_dark = match rows.get(line / 2).and_then(|row| row.get(column)) {
            Some('█') => true,
            Some('▀') => line % 2 == 0,
            Some('▄') => line % 2 == 1,
            _ => false,
        };
        if is_dark { 0 } else { 255 }
    });
    let grids = image.detect_grids();
    grids.first().expect("a code is found").decode().unwrap().1
}

#[test]
fn a_phone_reads_the_keys_of_the_stanza() {
    for (stanza, payload) in [
        ("home", "KEY_BASE64:3q2+7w== HMAC_KEY_BASE64:AAECAwQF"),
        ("raw", "KEY_BASE64:c2VrcmV0 HMAC_KEY_BASE64:aG1hY3Nla3JldA=="),
    ] {
        let shown = run(&["-n", stanza, "--force"]);
        let complaints = String::from_utf8(shown.stderr).unwrap();
        assert!(shown.status.success() && complaints.contains("WARNING: whoever sees"), "{complaints}");
        assert!(complaints.contains("an HMAC of SHA256"), "{complaints}");
        assert_eq!(read(&String::from_utf8(shown.stdout).unwrap()), payload);
    }
}

#[test]
fn keys_are_not_drawn_into_a_file_or_a_pipe_by_mistake() {
    for (words, told) in [
        (&["-n", "home"][..], "not a terminal"),
        (&["-n", "gpg", "--force"], "GnuPG"),
        (&["-n", "nobody", "--force"], "[nobody] was not found"),
        (&["--nope", "--force"], "unrecognized option '--nope'"),
    ] {
        let refused = run(words);
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{words:?}");
        let complaints = String::from_utf8(refused.stderr).unwrap();
        assert!(complaints.contains(told), "{complaints}");
    }
}

#[test]
fn a_terminal_shows_it_black_on_white() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let home = tempfile::tempdir().unwrap();
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&screen).unwrap();
    unlockpt(&screen).unwrap();
    let name = ptsname(&screen, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options().read(true).write(true).open(name).unwrap();
    let mut child = qr(home.path(), &["-n", "home"]).stdout(terminal).stderr(Stdio::null()).spawn().unwrap();
    let mut seen = Vec::new();
    let mut screen = File::from(screen);
    let mut part = [0; 4096];
    loop {
        match screen.read(&mut part) {
            Ok(0) => break,
            Ok(length) => seen.extend(part.iter().take(length)),
            Err(error) if error.kind() == ErrorKind::Interrupted => (),
            Err(_hung_up) => break,
        }
    }
    assert!(child.wait().unwrap().success());
    let seen = String::from_utf8(seen).unwrap();
    let drawn = seen.replace("\x1b[38;5;16;48;5;231m", "").replace("\x1b[0m", "").replace('\r', "");
    assert_ne!(seen.len(), drawn.len());
    assert_eq!(read(&drawn), "KEY_BASE64:3q2+7w== HMAC_KEY_BASE64:AAECAwQF");
}
