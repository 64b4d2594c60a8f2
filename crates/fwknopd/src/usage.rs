//! `--help`: the options, for a person.

use crate::VERSION;

/// The text.
pub fn text() -> String {
    format!("\nfwknopd server version {VERSION}\n{OPTIONS}")
}

const OPTIONS: &str = "\
Single packet authorization - opens a port for whoever sends the right packet

Usage: fwknopd [options]

 -a, --access-file FILE       who may come in (default /etc/fwknop/access.conf)
     --access-folder DIR      every file in it, instead
 -c, --config-file FILE       settings (default /etc/fwknop/fwknopd.conf)
 -O, --override-config FILES  settings that win over those, separated by commas
 -i, --interface NAME         hear packets on this interface, or any
 -P, --pcap-filter TEXT       which packets to look at (default udp port 62201)
     --pcap-any-direction     packets that leave this machine, too
     --pcap-file FILE         read packets from a capture file
 -U, --udp-server             hear on a UDP port instead of capturing
 -f, --foreground             stay in the foreground, log to the error stream
     --syslog-enable          with -f: log to the system log as well
 -t, --test                   decide about packets, but open nothing
 -C, --packet-limit N         end after N packets
 -v, --verbose                say more; may be repeated

 -S, --status                 is a daemon running?
 -R, --restart                have it read its configuration again
 -K, --kill                   stop it
 -D, --dump-config            print settings and stanzas as they were understood
     --exit-parse-config      check the configuration, and end
     --exit-parse-digest-cache  read the file of used packets, and end
     --fw-list                list the rules of fwknopd
     --fw-list-all            list all rules of the tables it uses
     --fw-flush               remove the rules and chains of fwknopd
     --dump-serv-err-codes    print the server's error numbers

     --key-gen                make keys and print them
     --key-gen-file FILE      make keys into a file
     --key-len N              bytes of the encryption key (1 to 32)
     --hmac-key-len N         bytes of the HMAC key (1 to 128)
     --hmac-digest-type NAME  md5, sha1, sha256, sha384, sha512, sha3_256, sha3_512

 -r, --run-dir DIR            for the PID file and the file of used packets
 -p, --pid-file FILE          the PID file
 -d, --digest-file FILE       the file of used packets
     --rotate-digest-cache    begin a new one
     --gpg-exe FILE           the gpg program
     --gpg-home-dir DIR       its folder
     --sudo-exe FILE          the sudo program
     --no-ipt-check-support, --no-firewd-check-support
                              accepted, and without effect
 -l, --locale NAME            the locale
 -h, --help                   this text
 -V, --version                the version
";
