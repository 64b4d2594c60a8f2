//! The modes that read, print and end: `-D`, `--exit-parse-config`, `--exit-parse-digest-cache`, `--dump-serv-err-codes`.

use std::{error::Error, path::Path, process::ExitCode};

use fwknop_conf::complaint::{Complaints, Severity};
use jiff::tz::TimeZone;
use spa::UnixTime;

use super::text;
use crate::{
    args::{Args, Mode},
    config::Config,
    journal::Journal,
    refusal::SERVER_ERRORS,
    replay::DigestFile,
    runfiles::Digests,
};

/// Reads what `args` name, prints what the mode asks for, and gives the exit status. Everything that is wrong goes to
/// standard error, with and without `-f`; the original may tell the log alone.
pub fn run(args: &Args) -> ExitCode {
    let mut complaints = Complaints::new();
    // The numbers need no stanza, but as in the original the settings must be good.
    let printed = match args.mode {
        Mode::ErrorCodes => Config::load(args, &mut complaints).map(|_| error_codes()),
        _ => text(args, &TimeZone::system(), &mut complaints),
    };
    for complaint in complaints.iter().filter(|complaint| complaint.severity > Severity::Debug || args.verbose > 0) {
        eprintln!("{complaint}");
    }
    let Some(printed) = printed else { return ExitCode::FAILURE };
    match args.mode {
        Mode::ParseConfig => eprintln!("Configs parsed, exiting."),
        Mode::ParseDigestCache => match digest_cache(args) {
            Ok(told) => eprint!("{told}"),
            Err(error) => {
                eprintln!("{}", crate::chain(&*error));
                return ExitCode::FAILURE;
            }
        },
        _ => print!("{printed}"),
    }
    ExitCode::SUCCESS
}

/// Scripts know the server's errors by number and by text.
fn error_codes() -> String {
    SERVER_ERRORS.iter().map(|(number, text)| format!("err code: {number}, err string: '{text}'\n")).collect()
}

/// Reads the file of used packets as a server would, and makes it if it is missing.
fn digest_cache(args: &Args) -> Result<String, Box<dyn Error>> {
    let (_, config) = Config::load(args, &mut Complaints::new()).ok_or("the configuration has just changed")?;
    let digests = Digests::open(&config, args.rotate_digest_cache, &mut Journal::on_stderr(config.verbose))?;
    let mut file = DigestFile::new(digests.reading()?.into(), digests.appending()?.into());
    let mut told = String::new();
    for bad in file.read_on(UnixTime(0))? {
        told.push_str(&format!("*Skipping invalid digest file entry at line {}.\n - {}\n", bad.number, bad.text));
    }
    let name = config.digest_file.as_deref().unwrap_or(Path::new("memory")).display();
    told.push_str(&format!("Using Digest Cache: '{name}' (entry count = {})\n", file.entries()));
    told.push_str("Digest cache parsed, exiting.\n");
    Ok(told)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn error_numbers_have_their_texts() {
        let text = error_codes();
        assert_eq!(text.lines().count(), 17);
        assert!(text.starts_with("err code: 4096, err string: 'Data is not a valid SPA message format'\n"), "{text}");
    }

    #[test]
    fn the_file_of_used_packets_is_made_and_its_entries_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("conf"), format!("DIGEST_FILE {}\n", path("digests"))).unwrap();
        let args = Args { config_file: Some(path("conf")), ..Args::default() };
        let expected =
            format!("Using Digest Cache: '{}' (entry count = 0)\nDigest cache parsed, exiting.\n", path("digests"));
        assert_eq!(digest_cache(&args).unwrap(), expected);
        assert!(Path::new(&path("digests")).exists());
    }
}
