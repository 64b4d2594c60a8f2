//! Every form of packet our client can send is opened by the original server, and the other way round.

use std::time::Duration;

use interop::lab::CLIENT;
use interop::{Daemon, Keys, Knock, Lab, Maker, Setup, Wall, eventually};

use Maker::{Original, Ours};
use Wall::{Iptables, Nft};

/// Arguments of the client, and the line of the stanza that goes with them.
const FORMS: &[(&[&str], &str)] = &[
    (&["-m", "md5"], ""),
    (&["-m", "sha1"], ""),
    (&["-m", "sha384"], ""),
    (&["-m", "sha512"], ""),
    (&["-m", "sha3_256"], ""),
    (&["-m", "sha3_512"], ""),
    (&["--hmac-digest-type", "md5"], "HMAC_DIGEST_TYPE md5"),
    (&["--hmac-digest-type", "sha1"], "HMAC_DIGEST_TYPE sha1"),
    (&["--hmac-digest-type", "sha384"], "HMAC_DIGEST_TYPE sha384"),
    (&["--hmac-digest-type", "sha512"], "HMAC_DIGEST_TYPE sha512"),
    (&["--hmac-digest-type", "sha3_256"], "HMAC_DIGEST_TYPE sha3_256"),
    (&["--hmac-digest-type", "sha3_512"], "HMAC_DIGEST_TYPE sha3_512"),
    (&["--encryption-mode", "ecb"], "ENCRYPTION_MODE ECB"),
    (&["--encryption-mode", "cfb"], "ENCRYPTION_MODE CFB"),
    (&["--encryption-mode", "ofb"], "ENCRYPTION_MODE OFB"),
    (&["--encryption-mode", "ctr"], "ENCRYPTION_MODE CTR"),
    (&["-U", "bob"], "REQUIRE_USERNAME bob"),
    (&["--fw-timeout", "100"], ""),
];

#[test]
fn our_clients_forms_at_the_original_server() {
    every_form(Ours, Original, Iptables);
}

#[test]
fn the_original_clients_forms_at_our_server() {
    every_form(Original, Ours, Nft);
}

fn every_form(client: Maker, server: Maker, wall: Wall) {
    let Some(lab) = Lab::or_skip() else { return };
    let keys: Vec<Keys> = FORMS.iter().map(|_| Keys::generate(client, &lab.client)).collect();
    let port = |form: usize| 2000 + u16::try_from(form).expect("a handful of forms");
    let stanzas =
        keys.iter().zip(FORMS).enumerate().map(|(form, (keys, (_, line)))| {
            keys.stanza().replace("tcp/22", &format!("tcp/{}", port(form))) + line + "\n"
        });
    wall.raise(&lab.server);
    let daemon = Daemon::start(&lab, &Setup::new(server, wall, &stanzas.collect::<String>()));
    for (form, (keys, (arguments, _))) in keys.iter().zip(FORMS).enumerate() {
        Knock::new(client, keys).ports(&format!("tcp/{}", port(form))).with(arguments).send(&lab.client);
        let open = || wall.doors(&lab.server).iter().any(|door| door.client == CLIENT && door.port == port(form));
        assert!(eventually(Duration::from_secs(3), open), "{arguments:?} opens nothing:\n{}", daemon.log());
    }
}
