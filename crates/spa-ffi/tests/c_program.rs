//! The header and the library, used by a C program, as a stranger would.

use std::{env, io::Write as _, path::Path, process::Command};

/// Where cargo has put the library it built for this test: beside the test's own program.
fn library_folder() -> std::path::PathBuf {
    let program = env::current_exe().expect("a program knows where it is");
    program.parent().expect("a program lies in a folder").to_owned()
}

#[test]
fn a_c_program_seals_and_opens_and_is_told_what_it_does_wrong() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    for (kind, linked) in [("static", "libspa_c.a"), ("dynamic", "libspa_c.so")] {
        let program = folder.path().join(kind);
        let made = Command::new("cc")
            .args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g", "-I"])
            .arg(here.join("include"))
            .arg(here.join("tests/round.c"))
            .arg(library_folder().join(linked))
            .args(["-lpthread", "-ldl", "-lm", "-o"])
            .arg(&program)
            .output();
        let made = match made {
            Ok(made) => made,
            Err(why) => {
                assert_ne!(env::var("CI").as_deref(), Ok("true"), "no C compiler: {why}");
                // Not eprintln!, which the test harness would swallow.
                let _ = writeln!(std::io::stderr(), "skipped: no C compiler: {why}");
                return;
            }
        };
        assert!(made.status.success(), "{kind}: {}", String::from_utf8_lossy(&made.stderr));
        let run = Command::new(&program).env("LD_LIBRARY_PATH", library_folder()).output().expect("it was just made");
        let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert_eq!((run.status.code(), &*out, &*err), (Some(0), "all as the header says\n", ""), "{kind}");
    }
}
