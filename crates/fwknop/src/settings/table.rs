//! The one table of everything that can be set, wherever it may be written.
//!
//! Command line, rc file, saving of stanzas, usage text: all of them read this table and nothing else. A row is a thing
//! that can be set; its spellings are the options that set it. Rows with an rc variable come first, in the order in which
//! `--save-rc-stanza` writes them (client.md section 5.7); two variables may set the same thing.
//!
//! ```text
//! AllowIp   ALLOW_IP   -a, --allow-ip ADDRESS   the address
//!                      -s, --source-ip          the same as the word `source`
//! ```

use super::{Gives, Kind, Kind::*, Name, Name::*, Saved, Setting, Spelling, Topic};

/// An option that takes a value.
const fn takes(long: &'static str, short: &'static str, value: &'static str, help: &'static str) -> Spelling {
    spelling(long, short, Gives::Value(value), help)
}

/// An option that takes none: it stands for this text.
const fn means(long: &'static str, short: &'static str, text: &'static str, help: &'static str) -> Spelling {
    spelling(long, short, Gives::Fixed(text), help)
}

/// An option that switches something on.
const fn flag(long: &'static str, short: &'static str, help: &'static str) -> Spelling {
    spelling(long, short, Gives::Fixed("Y"), help)
}

const fn spelling(long: &'static str, short: &'static str, gives: Gives, help: &'static str) -> Spelling {
    let short = match short.as_bytes() {
        [letter, ..] => Some(*letter as char),
        [] => None,
    };
    Spelling { long, short, gives, help }
}

/// A row with a variable that `--save-rc-stanza` writes.
const fn row(name: Name, variable: &'static str, kind: Kind, topic: Topic, spellings: &'static [Spelling]) -> Setting {
    Setting { name, variable: Some(variable), kind, topic, saved: Saved::Yes, implies: &[], spellings }
}

/// A row without a variable: it exists on the command line only.
const fn option(name: Name, kind: Kind, topic: Topic, spellings: &'static [Spelling]) -> Setting {
    Setting { variable: None, saved: Saved::No, ..row(name, "", kind, topic, spellings) }
}

/// A second variable for something that has a row already; read, never written.
const fn synonym(name: Name, variable: &'static str, kind: Kind, saved: Saved) -> Setting {
    Setting { saved, ..row(name, variable, kind, Topic::Keys, &[]) }
}

impl Setting {
    /// The same row, asked about before a saved stanza loses it: it identifies or authenticates somebody.
    const fn asked(self) -> Self {
        Self { saved: Saved::Asked, ..self }
    }

    /// The same row; given on the command line it switches these on.
    const fn implying(self, implies: &'static [Name]) -> Self {
        Self { implies, ..self }
    }
}

const HMAC: &[Name] = &[UseHmac];
const GPG: &[Name] = &[UseGpg];

/// All settings. Spec: client.md sections 3 and 5.7.
#[rustfmt::skip] // one row, one thing; a formatter makes four hundred lines of it
pub const SETTINGS: &[Setting] = &[
    row(InnerDigest, "DIGEST_TYPE", Digest, Topic::Keys, &[
        takes("digest-type", "m", "DIGEST", "Digest inside the packet: md5, sha1, sha256 (default), sha384, sha512, sha3_256 or sha3_512."),
    ]),
    row(Transport, "SPA_SERVER_PROTO", Vehicle, Topic::Send, &[
        takes("server-proto", "P", "PROTOCOL", "How the packet travels: udp (default), tcp, http, udpraw, tcpraw or icmp. The last three need root."),
    ]),
    row(ServerPort, "SPA_SERVER_PORT", Port, Topic::Send, &[
        takes("server-port", "p", "PORT", "Destination port of the packet (default 62201)."),
    ]),
    row(SourcePort, "SPA_SOURCE_PORT", Port, Topic::Send, &[
        takes("source-port", "S", "PORT", "Source port of the packet."),
    ]),
    row(Timeout, "FW_TIMEOUT", Seconds, Topic::Ask, &[
        takes("fw-timeout", "f", "SECONDS", "How long the server shall let us in: 1 to 65536; 0 leaves it to the server."),
    ]),
    row(AllowIp, "ALLOW_IP", Allow, Topic::Ask, &[
        takes("allow-ip", "a", "ADDRESS", "The address to let in, IPv4 or IPv6."),
        means("source-ip", "s", "source", "Let in whatever address the packet comes from. An attacker who can forge that address profits: prefer -a or -R."),
    ]),
    row(TimeOffset, "TIME_OFFSET", Offset, Topic::Ask, &[
        takes("time-offset-plus", "", "OFFSET", "Add to the time in the packet: seconds, or 5m, 2h, 1d."),
        spelling("time-offset-minus", "", Gives::Negative("OFFSET"), "Subtract from the time in the packet; wins over adding."),
    ]),
    row(Mode, "ENCRYPTION_MODE", EncryptionMode, Topic::Keys, &[
        takes("encryption-mode", "M", "MODE", "CBC (default), ECB, CFB, OFB, CTR, legacy or Asymmetric; the server must be set to the same."),
    ]),
    row(UseGpg, "USE_GPG", YesNo, Topic::Gpg, &[
        flag("gpg-encryption", "g", "Encrypt with GnuPG."),
    ]),
    row(GpgAgent, "USE_GPG_AGENT", YesNo, Topic::Gpg, &[
        flag("gpg-agent", "", "The agent knows the signing passphrase."),
    ]).implying(GPG),
    row(GpgRecipient, "GPG_RECIPIENT", Text, Topic::Gpg, &[
        takes("gpg-recipient-key", "", "KEY", "The server's key: id, fingerprint, or part of its name."),
    ]).asked().implying(GPG),
    row(GpgSigner, "GPG_SIGNER", Text, Topic::Gpg, &[
        takes("gpg-signer-key", "", "KEY", "Our key, to sign with."),
    ]).asked().implying(GPG),
    row(GpgHome, "GPG_HOMEDIR", Text, Topic::Gpg, &[
        takes("gpg-home-dir", "", "DIRECTORY", "GnuPG's directory."),
    ]).implying(GPG),
    row(GpgExe, "GPG_EXE", Text, Topic::Gpg, &[
        takes("gpg-exe", "", "PATH", "The gpg program."),
    ]).implying(GPG),
    row(GpgNoPassphrase, "GPG_NO_SIGNING_PW", YesNo, Topic::Gpg, &[
        flag("gpg-no-signing-pw", "", "Our key has no passphrase."),
    ]).implying(GPG),
    row(SpoofUser, "SPOOF_USER", Text, Topic::Ask, &[
        takes("spoof-user", "U", "NAME", "The user name inside the packet, up to 48 bytes."),
    ]),
    row(SpoofSource, "SPOOF_SOURCE_IP", Text, Topic::Send, &[
        takes("spoof-source", "Q", "ADDRESS", "Forge this IPv4 source address (udpraw, tcpraw and icmp)."),
        takes("spoof-src", "", "ADDRESS", "The same."),
    ]),
    row(Access, "ACCESS", Text, Topic::Ask, &[
        takes("access", "A", "PORTS", "The ports to ask for, as in tcp/22,udp/53."),
    ]),
    row(Server, "SPA_SERVER", Text, Topic::Send, &[
        takes("destination", "D", "SERVER", "The server: a name or an address."),
    ]),
    row(RandomPort, "RAND_PORT", YesNo, Topic::Send, &[
        flag("rand-port", "r", "Send to a random port, 10000 to 65534; the server must watch all of them."),
    ]),
    row(Key, "KEY", Secret, Topic::Keys, &[
        takes("key-rijndael", "", "KEY", "The encryption key as it is. Others on this machine can see it while we run."),
    ]).asked(),
    row(KeyBase64, "KEY_BASE64", SecretBase64("Rijndael"), Topic::Keys, &[
        takes("key-base64-rijndael", "", "BASE64", "The encryption key in base64. Others on this machine can see it while we run."),
    ]).asked(),
    synonym(Key, "GPG_SIGNING_PW", Secret, Saved::AskedOnly),
    synonym(KeyBase64, "GPG_SIGNING_PW_BASE64", SecretBase64("Rijndael"), Saved::AskedOnly),
    row(HmacDigest, "HMAC_DIGEST_TYPE", HmacType, Topic::Keys, &[
        takes("hmac-digest-type", "", "DIGEST", "Digest of the HMAC; the same names as for -m, default sha256."),
    ]).implying(HMAC),
    row(HmacKeyBase64, "HMAC_KEY_BASE64", SecretBase64("HMAC"), Topic::Keys, &[
        takes("key-base64-hmac", "", "BASE64", "The HMAC key in base64. Others on this machine can see it while we run."),
    ]).asked().implying(HMAC),
    row(HmacKey, "HMAC_KEY", Secret, Topic::Keys, &[
        takes("key-hmac", "", "KEY", "The HMAC key as it is. Others on this machine can see it while we run."),
    ]).asked().implying(HMAC),
    row(UseHmac, "USE_HMAC", YesNo, Topic::Keys, &[
        flag("use-hmac", "", "Authenticate the packet with an HMAC. Always do."),
    ]),
    row(HelperAgent, "USE_WGET_USER_AGENT", YesNo, Topic::Address, &[
        flag("use-wget-user-agent", "", "Let wget name itself instead of us."),
    ]),
    row(KeyFile, "KEY_FILE", Text, Topic::Keys, &[
        takes("get-key", "G", "FILE", "Take the encryption key from a file of lines 'server: key'."),
    ]),
    row(HmacKeyFile, "HMAC_KEY_FILE", Text, Topic::Keys, &[
        takes("get-hmac-key", "", "FILE", "Take the HMAC key from such a file."),
    ]).implying(HMAC),
    row(NatAccess, "NAT_ACCESS", Text, Topic::Nat, &[
        takes("nat-access", "N", "HOST[:PORT]", "Have the port forwarded to an internal host."),
    ]),
    row(UserAgent, "HTTP_USER_AGENT", Text, Topic::Address, &[
        takes("user-agent", "u", "TEXT", "How we name ourselves over HTTP; a server only listens to names that begin with Fwknop/."),
    ]),
    row(ResolveUrl, "RESOLVE_URL", Text, Topic::Address, &[
        takes("resolve-url", "", "URL", "Ask this page and no other (default https://www.cipherdyne.org/cgi-bin/myip, then others, then STUN)."),
    ]),
    row(ResolveIpv4, "SERVER_RESOLVE_IPV4", YesNo, Topic::Send, &[
        flag("server-resolve-ipv4", "", "Use only IPv4 addresses of the server."),
        flag("ipv4", "4", "The same; and with -R, find out our IPv4 address."),
    ]),
    row(NatLocal, "NAT_LOCAL", YesNo, Topic::Nat, &[
        flag("nat-local", "", "Have the port forwarded to the server itself."),
    ]),
    row(NatRandomPort, "NAT_RAND_PORT", YesNo, Topic::Nat, &[
        flag("nat-rand-port", "", "Choose the external port at random, and print it."),
    ]),
    row(NatPort, "NAT_PORT", Port, Topic::Nat, &[
        takes("nat-port", "", "PORT", "The external port to connect to."),
    ]),
    row(Verbose, "VERBOSE", Level, Topic::Other, &[
        flag("verbose", "v", "Say more; twice, still more."),
    ]),
    synonym(Resolve, "RESOLVE_IP_HTTP", YesNo, Saved::No),
    row(Resolve, "RESOLVE_IP_HTTPS", YesNo, Topic::Address, &[
        flag("resolve-ip-https", "R", "Find out the address we are seen with, and ask for that."),
        flag("resolve-ip-http", "", "The same."),
    ]),
    row(ResolveHttpOnly, "RESOLVE_HTTP_ONLY", YesNo, Topic::Address, &[
        flag("resolve-http-only", "", "Find it out over plain HTTP. Whoever is on the way can choose the answer."),
    ]).implying(&[Resolve]),
    row(Helper, "WGET_CMD", Text, Topic::Address, &[
        takes("wget-cmd", "w", "COMMAND", "Find it out with this program, wget or one like it, instead of asking ourselves."),
    ]),
    row(NoSaveArgs, "NO_SAVE_ARGS", YesNo, Topic::Files, &[
        flag("no-save-args", "", "Do not remember this command line in ~/.fwknop.run."),
    ]),

    option(Command, Text, Topic::Ask, &[
        takes("server-cmd", "C", "COMMAND", "Ask the server to run a command."),
    ]),
    option(Proxy, Text, Topic::Send, &[
        takes("http-proxy", "H", "HOST[:PORT]", "Send through this HTTP proxy."),
    ]),
    option(OnlyIpv6, YesNo, Topic::Send, &[
        flag("ipv6", "6", "Use only IPv6 addresses of the server; and with -R, find out our IPv6 address."),
    ]),
    option(IcmpType, Small { what: "icmp type", lowest: 0, highest: 40 }, Topic::Send, &[
        takes("icmp-type", "", "NUMBER", "ICMP type for -P icmp, 0 (default) to 40."),
    ]),
    option(IcmpCode, Small { what: "icmp code", lowest: 0, highest: 15 }, Topic::Send, &[
        takes("icmp-code", "", "NUMBER", "ICMP code for -P icmp, 0 (default) to 15."),
    ]),
    option(Descriptor, Number, Topic::Keys, &[
        means("stdin", "", "0", "Read the key from standard input."),
        takes("fd", "", "NUMBER", "Read the key from this file descriptor."),
    ]),
    option(KeyGen, YesNo, Topic::KeyGen, &[
        flag("key-gen", "k", "Make an encryption and an HMAC key, and send nothing."),
    ]),
    option(KeyGenFile, Text, Topic::KeyGen, &[
        takes("key-gen-file", "K", "FILE", "Make keys and write them to a file."),
    ]).implying(&[KeyGen]),
    option(KeyLength, Small { what: "key length", lowest: 1, highest: 128 }, Topic::KeyGen, &[
        takes("key-len", "", "BYTES", "Length of the encryption key, 1 to 32 (default)."),
    ]),
    option(HmacKeyLength, Small { what: "hmac key length", lowest: 1, highest: 128 }, Topic::KeyGen, &[
        takes("hmac-key-len", "", "BYTES", "Length of the HMAC key, 1 to 128."),
    ]).implying(HMAC),
    option(Stanza, Text, Topic::Files, &[
        takes("named-config", "n", "STANZA", "Use, or save, this stanza of the rc file."),
    ]),
    option(RcFile, Text, Topic::Files, &[
        takes("rc-file", "", "FILE", "Use this file instead of ~/.fwknoprc."),
    ]),
    option(NoRcFile, YesNo, Topic::Files, &[
        flag("no-rc-file", "", "Neither read nor make an rc file."),
    ]),
    option(NoHome, YesNo, Topic::Files, &[
        flag("no-home-dir", "", "Never look into the home directory."),
    ]),
    option(SaveStanza, YesNo, Topic::Files, &[
        flag("save-rc-stanza", "", "Save the options of this command line as a stanza, named by -n or -D."),
    ]),
    option(ForceStanza, YesNo, Topic::Files, &[
        flag("force-stanza", "", "Save without asking about keys that are there."),
    ]),
    option(ListStanzas, YesNo, Topic::Files, &[
        flag("stanza-list", "", "List the stanzas of the rc file."),
    ]),
    option(ArgsFile, Text, Topic::Files, &[
        takes("save-args-file", "E", "FILE", "Remember the command line here instead of ~/.fwknop.run."),
    ]),
    option(LastCommand, YesNo, Topic::Other, &[
        flag("last-cmd", "l", "Do again what the remembered command line says."),
    ]),
    option(ShowLast, YesNo, Topic::Other, &[
        flag("show-last", "", "Print the remembered command line."),
    ]),
    option(Test, YesNo, Topic::Other, &[
        flag("test", "T", "Make the packet and show it, but do not send it."),
    ]),
    option(PacketFile, Text, Topic::Other, &[
        takes("save-packet", "B", "FILE", "Write the packet to a file, too."),
    ]),
    option(AppendPacket, YesNo, Topic::Other, &[
        flag("save-packet-append", "b", "Append it to that file."),
    ]),
    option(Version, YesNo, Topic::Other, &[
        flag("version", "V", "Print the version."),
    ]),
    option(Help, YesNo, Topic::Other, &[
        flag("help", "h", "Print this text."),
    ]),
    option(FaultInjection, Text, Topic::Other, &[
        takes("fault-injection-tag", "", "TAG", "Refused: for builds of the original that test themselves."),
    ]),
];
