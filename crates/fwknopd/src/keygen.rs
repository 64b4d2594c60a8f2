//! `--key-gen`: a pair of keys as two lines that can be pasted into `access.conf` and `.fwknoprc`.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::ExitCode;

use getrandom::SysRng;
use rand_core::UnwrapErr;
use spa::{CipherKey, DigestType, HmacKey};

use crate::args::KeyGen;

/// Makes the keys and prints them, or writes them to the file that was asked for, which only its owner can read.
pub fn run(wanted: &KeyGen) -> ExitCode {
    match make(wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fwknopd: {}", crate::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn make(wanted: &KeyGen) -> Result<(), Box<dyn std::error::Error>> {
    let mut rng = UnwrapErr(SysRng);
    let digest = wanted.digest.unwrap_or(DigestType::Sha256);
    let cipher = CipherKey::generate(&mut rng, length(wanted.key_length, 32)?)?;
    let hmac = HmacKey::generate(&mut rng, digest, length(wanted.hmac_length, digest.usual_key_length())?)?;
    let lines = zeroize::Zeroizing::new(format!(
        "KEY_BASE64: {}\nHMAC_KEY_BASE64: {}\n",
        &*cipher.to_base64(),
        &*hmac.to_base64()
    ));
    match &wanted.file {
        None => io::stdout().write_all(lines.as_bytes())?,
        Some(path) => {
            File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(path)?
                .write_all(lines.as_bytes())?;
            println!("[+] Wrote Rijndael and HMAC keys to: {}", path.display());
        }
    }
    Ok(())
}

fn length(wanted: Option<u32>, usual: usize) -> Result<usize, std::num::TryFromIntError> {
    wanted.map_or(Ok(usual), usize::try_from)
}
