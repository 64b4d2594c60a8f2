//! Writes the inputs that fuzzing starts from: `seeds VECTORS CORPUS` reads the test vectors of the crate `spa` and fills
//! one folder for each target, one file for each input. It is built without instrumentation, so it stands apart.

use std::path::Path;
use std::{env, fs, io};

use serde_json::Value;

fn main() -> io::Result<()> {
    let [vectors, corpus] = env::args_os().skip(1).collect::<Vec<_>>().try_into().map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "seeds takes two arguments: the folder of vectors and a folder to fill",
        )
    })?;
    let (vectors, corpus) = (Path::new(&vectors), Path::new(&corpus));
    let read = |name: &str| -> io::Result<Value> { Ok(serde_json::from_slice(&fs::read(vectors.join(name))?)?) };
    let (valid, invalid, quirks) = (read("valid.json")?, read("invalid.json")?, read("quirks.json")?);
    let micro = read("micro.json")?;

    let mut seeds = Seeds { corpus, written: 0 };
    for (at, vector) in list(&valid).iter().enumerate() {
        seeds.add("open", &[at as u8], text(&vector["packet"]))?;
        seeds.add("decode", &[0], text(&vector["intermediate"]["encoded"]))?;
        if at < 8 {
            seeds.add("round_trip", &[], text(&vector["packet"]))?; // any bytes will do
        }
    }
    for vector in list(&invalid).iter().chain(list(&quirks)) {
        let fields = text(&vector["plaintext"]).rsplit_once(':').map_or("", |(fields, _digest)| fields);
        seeds.add("decode", &[0], fields)?;
        seeds.add("carrier", &[1], text(&vector["packet"]))?;
    }
    for vector in list(&micro["http"]) {
        seeds.add("carrier", &[7], text(&vector["request"]))?;
    }
    println!("{} inputs to start from", seeds.written);
    Ok(())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

struct Seeds<'c> {
    corpus: &'c Path,
    written: usize,
}

impl Seeds<'_> {
    /// Strings of the vectors are Latin-1: one character, one byte.
    fn add(&mut self, target: &str, choice: &[u8], text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let folder = self.corpus.join(target);
        fs::create_dir_all(&folder)?;
        let bytes = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'));
        let input: Vec<u8> = choice.iter().copied().chain(bytes).collect();
        self.written += 1;
        fs::write(folder.join(format!("{:04}", self.written)), input)
    }
}
