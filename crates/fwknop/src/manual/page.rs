//! The man page, from the table of settings: `fwknop manual > fwknop.1`.

use std::fmt::Write as _;

use super::{CHAPTERS, chapter, value_of};
use crate::plan::COMPATIBLE_VERSION;

/// The page as roff.
#[must_use]
pub fn page() -> String {
    let mut page = format!(".TH FWKNOP 1 \"\" \"compatible with {COMPATIBLE_VERSION}\"\n{BEFORE}");
    for (topic, title) in CHAPTERS {
        let _whole = writeln!(page, ".SS {}", escaped(title));
        for row in chapter(*topic) {
            for spelling in row.spellings {
                let short = spelling.short.map_or(String::new(), |short| format!("\\-{short}, "));
                let value = value_of(spelling).map_or(String::new(), |value| format!(" \\fI{}\\fR", escaped(value)));
                let variable = row.variable.map_or(String::new(), |variable| format!(" (\\fB{variable}\\fR)"));
                let _whole = writeln!(
                    page,
                    ".TP\n\\fB{short}\\-\\-{}\\fR{value}\n{}{variable}",
                    escaped(spelling.long),
                    escaped(spelling.help)
                );
            }
        }
    }
    page + AFTER
}

/// Text that roff would take for commands, or break at.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

const BEFORE: &str = "\
.SH NAME
fwknop \\- ask a firewall to let us in, with a single packet
.SH SYNOPSIS
.B fwknop
\\fB\\-A\\fR \\fIports\\fR [\\fB\\-s\\fR|\\fB\\-R\\fR|\\fB\\-a\\fR \\fIaddress\\fR] \\fB\\-D\\fR \\fIserver\\fR [\\fIoptions\\fR]
.br
.B fwknop
\\fB\\-n\\fR \\fIstanza\\fR
.br
.B fwknop
\\fB\\-\\-key\\-gen\\fR [\\fB\\-\\-save\\-rc\\-stanza\\fR \\fB\\-n\\fR \\fIstanza\\fR]
.br
.B fwknop wait
\\fIhost\\fR \\fIport\\fR [\\fB\\-\\-wait\\fR \\fIseconds\\fR] [\\fIoptions\\fR]
.br
.B fwknop connect
\\fIhost\\fR \\fIport\\fR [\\fB\\-\\-wait\\fR \\fIseconds\\fR] [\\fIoptions\\fR]
.br
.B fwknop qr
[\\fB\\-\\-force\\fR] \\fB\\-n\\fR \\fIstanza\\fR
.br
.B fwknop manual
| \\fBfwknop completions bash\\fR|\\fBzsh\\fR|\\fBfish\\fR
.SH DESCRIPTION
Seals one request into one packet and sends it to a server that runs
.BR fwknopd (8).
Nothing answers. If the server knows the keys and the request is allowed, it opens the ports for a while.
A knock that was sent says nothing and ends with status 0.
.SH OPTIONS
Names may be abbreviated, short options combined. A word in parentheses is the variable of the rc file that means the same.
";

const AFTER: &str = "\
.SH SUBCOMMANDS
They count only as the very first word. The rc file needs nothing new for them.
.TP
\\fBwait\\fR \\fIhost\\fR \\fIport\\fR [\\fB\\-\\-wait\\fR \\fIseconds\\fR] [\\fIoptions\\fR]
If a connection to this TCP port stands at once, sends nothing and ends with status 0. Else knocks with the options, and tries to connect until it
can (status 0) or the seconds after the knock are over (10, unless said otherwise; status 1).
.TP
\\fBconnect\\fR \\fIhost\\fR \\fIport\\fR [\\fB\\-\\-wait\\fR \\fIseconds\\fR] [\\fIoptions\\fR]
The same, and then carries standard input over the connection and what comes back to standard output. Everything else is said on standard error.
.TP
\\fBqr\\fR [\\fB\\-\\-force\\fR] \\fB\\-n\\fR \\fIstanza\\fR
Shows the keys of the stanza as a QR code that the Android app reads. Whoever sees it has the keys: it is shown on a terminal only, unless
\\fB\\-\\-force\\fR is given.
.TP
\\fBmanual\\fR, \\fBcompletions\\fR \\fIshell\\fR
Print this page, and completions for bash, zsh or fish.
.SH FILES
.TP
.I ~/.fwknoprc
Settings in stanzas: what [default] says counts always, what [name] says counts with \\fB\\-n\\fR \\fIname\\fR and wins over it,
what is typed wins over both. One \\fINAME value\\fR a line; a value ends at a blank, a semicolon or a #. Mode 0600.
.TP
.I ~/.fwknop.run
The last command line, without its keys; for \\fB\\-\\-last\\-cmd\\fR and \\fB\\-\\-show\\-last\\fR.
.SH ENVIRONMENT
.TP
.B SPOOF_USER, LOGNAME, USER
The user name inside the packet, unless \\fB\\-U\\fR says another.
.TP
.B POSIXLY_CORRECT
The first word that is no option ends the options.
.SH EXIT STATUS
0 if all went well, 1 if anything did not.
.SH EXAMPLES
Make keys for a server, and keep them with its settings:
.PP
.nf
    fwknop \\-\\-key\\-gen \\-\\-use\\-hmac \\-\\-save\\-rc\\-stanza \\-n home \\-A tcp/22 \\-D home.example.net
.fi
.PP
Knock, and log in:
.PP
.nf
    fwknop \\-n home \\-R && ssh home.example.net
.fi
.PP
Let ssh knock by itself, and only if the port is not open: one of these in
.IR ~/.ssh/config .
The first leaves the connection to ssh (write it below HostName, if there is one); the second serves where \\fBMatch exec\\fR cannot:
.PP
.nf
    Match originalhost home.example.net exec \\(dqfwknop wait %h 22 \\-n home\\(dq

    Host home.example.net
        ProxyCommand fwknop connect %h %p \\-n home
.fi
.PP
Do anything else once the port is open:
.PP
.nf
    fwknop wait home.example.net 443 \\-n home && curl https://home.example.net/
.fi
.SH SEE ALSO
.BR fwknopd (8)
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SETTINGS;

    #[test]
    fn every_option_and_variable_stands_in_the_page() {
        let page = page();
        for row in SETTINGS {
            row.spellings.iter().for_each(|spelling| {
                assert!(page.contains(&format!("\\-\\-{}\\fR", escaped(spelling.long))), "{}", spelling.long);
            });
            let is_named = row.spellings.is_empty() || row.variable.is_none_or(|variable| page.contains(variable));
            assert!(is_named, "{:?}", row.variable);
        }
        for subcommand in ["wait", "connect", "qr", "manual", "completions"] {
            assert!(page.contains(&format!("\\fB{subcommand}\\fR")), "{subcommand}");
        }
        assert!(page.lines().all(|line| !line.starts_with('\'')));
    }
}
