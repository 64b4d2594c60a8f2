//! Completions for the shells, from the table of settings: `fwknop completions bash`.
//!
//! Behind `-n` the names of the stanzas are offered, as `--stanza-list` prints them.

use super::value_of;
use crate::settings::{Name, SETTINGS, Setting, Spelling};

/// The completions for a shell: bash, zsh or fish.
#[must_use]
pub fn completions(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => Some(zsh()),
        "fish" => Some(fish()),
        _ => None,
    }
}

const STANZAS: &str = "fwknop --stanza-list 2>/dev/null | sed -n 's/^ - //p'";

fn options() -> impl Iterator<Item = (&'static Setting, &'static Spelling)> {
    SETTINGS.iter().flat_map(|row| row.spellings.iter().map(move |spelling| (row, spelling)))
}

fn is_file(row: &Setting) -> bool {
    let files = [Name::ArgsFile, Name::GpgExe, Name::GpgHome, Name::HmacKeyFile, Name::KeyFile, Name::KeyGenFile];
    files.contains(&row.name) || matches!(row.name, Name::PacketFile | Name::RcFile)
}

fn bash() -> String {
    let names: Vec<String> = options().map(|(_, spelling)| format!("--{}", spelling.long)).collect();
    let files: Vec<String> = options()
        .filter(|(row, _)| is_file(row))
        .flat_map(|(_, spelling)| {
            let short = spelling.short.map(|short| format!("-{short}"));
            short.into_iter().chain([format!("--{}", spelling.long)])
        })
        .collect();
    format!(
        "_fwknop() {{\n    local word=${{COMP_WORDS[COMP_CWORD]}}\n    case ${{COMP_WORDS[COMP_CWORD-1]}} in\n    \
         -n|--named-config) mapfile -t COMPREPLY < <(compgen -W \"$({STANZAS})\" -- \"$word\");;\n    \
         {}) mapfile -t COMPREPLY < <(compgen -f -- \"$word\");;\n    \
         *) mapfile -t COMPREPLY < <(compgen -W \"{}\" -- \"$word\");;\n    esac\n}}\ncomplete -F _fwknop fwknop\n",
        files.join("|"),
        names.join(" ")
    )
}

fn zsh() -> String {
    let mut text = String::from("#compdef fwknop\n_arguments -s \\\n");
    for (row, spelling) in options() {
        let help = spelling.help.replace('\'', "'\\''").replace(['[', ']', ':'], " ");
        let value = match value_of(spelling) {
            None => String::new(),
            Some(_) if row.name == Name::Stanza => format!(":stanza:($({}))", STANZAS.replace('\'', "'\\''")),
            Some(value) if is_file(row) => format!(":{value}:_files"),
            Some(value) => format!(":{}:", value.replace(['[', ']', ':'], " ")),
        };
        let names = spelling.short.into_iter().map(|short| format!("-{short}")).chain([format!("--{}", spelling.long)]);
        names.for_each(|name| text.push_str(&format!("  '*{name}[{help}]{value}' \\\n")));
    }
    text + "  '*:: :'\n"
}

fn fish() -> String {
    let mut text = String::from("complete -c fwknop -f\n");
    for (row, spelling) in options() {
        let short = spelling.short.map_or(String::new(), |short| format!(" -s {short}"));
        let value = match value_of(spelling) {
            None => String::new(),
            Some(_) if row.name == Name::Stanza => format!(" -x -a \"({STANZAS})\""),
            Some(_) if is_file(row) => " -r -F".to_owned(),
            Some(_) => " -x".to_owned(),
        };
        let help = spelling.help.replace('\\', "\\\\").replace('\'', "\\'");
        text.push_str(&format!("complete -c fwknop -l {}{short}{value} -d '{help}'\n", spelling.long));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_offered_in_every_shell() {
        for shell in ["bash", "zsh", "fish"] {
            let text = completions(shell).unwrap();
            options().for_each(|(_, spelling)| assert!(text.contains(spelling.long), "{shell}: {}", spelling.long));
        }
        assert_eq!(completions("csh"), None);
    }

    #[test]
    fn bash_understands_its_completions() {
        let text = bash();
        let status = std::process::Command::new("bash").args(["-n", "-c", &text]).status();
        assert!(status.unwrap().success(), "{text}");
    }
}
