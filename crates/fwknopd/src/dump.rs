//! `-D` and the other modes that end when all was read: what the configuration says, as this program understood it.
//!
//! The layout is the original's, because scripts read it: settings and fields of its iptables build stand in its order, and
//! what it does not show follows, where it is set. Secrets are never printed, only how long they are. Spec: server.md 14.2.
//!
//! ```text
//! Current fwknopd config settings:
//!   0. CONFIG_FILE                  =  '/etc/fwknop/fwknopd.conf'
//!   …
//!
//! Current fwknopd access settings:
//! SOURCE (1):  ANY
//! ==============================================================
//!                 DESTINATION:  <not set>
//!   …
//! ```

use std::fmt::{self, Write as _};

use fwknop_conf::{complaint::Complaints, value::Number};
use jiff::tz::TimeZone;

use crate::{
    access::{self, RawStanza, Stanza, StanzaKeys, asctime},
    args::Args,
    config::{Config, RawConfig, SETTINGS, settings::Origin},
};

mod modes;

pub use modes::run;

const UNSET: &str = "<not set>";
const HIDDEN: &str = "<see the access.conf file>";

/// Everything that was read for `-D`.
#[derive(Debug)]
pub struct Dump<'a> {
    config: &'a RawConfig,
    stanzas: Vec<(&'a RawStanza, Stanza, StanzaKeys)>,
    zone: &'a TimeZone,
}

/// Reads everything that `args` name and gives what `-D` prints; `None` if it cannot be used. All mistakes are told.
pub fn text(args: &Args, zone: &TimeZone, complaints: &mut Complaints) -> Option<String> {
    let (raw, config) = Config::load(args, complaints)?;
    let before = complaints.errors();
    let stanzas = access::read(&config, complaints);
    let dump = Dump::new(&raw, &config, &stanzas, zone, complaints);
    (complaints.errors() == before).then(|| dump.to_string())
}

impl<'a> Dump<'a> {
    /// Checks every stanza; those with mistakes, which are told, are left out.
    pub fn new(
        raw: &'a RawConfig,
        config: &Config,
        stanzas: &'a [RawStanza],
        zone: &'a TimeZone,
        complaints: &mut Complaints,
    ) -> Self {
        let checked = (1..).zip(stanzas).filter_map(|(number, stanza)| {
            let keys = StanzaKeys::new(stanza, complaints);
            let typed = Stanza::new(stanza, number, config, zone, complaints);
            Some((stanza, typed?, keys?))
        });
        Self { config: raw, stanzas: checked.collect(), zone }
    }

    fn setting_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = SETTINGS
            .iter()
            .filter(|setting| setting.origin == Origin::Stock || self.config.explicit(setting.name).is_some());
        let mut index = 0u32;
        for setting in shown {
            let values: Vec<_> = match setting.repeats() {
                true => self.config.all(setting.name).map(Into::into).collect(),
                false => self.config.effective(setting.name).into_iter().collect(),
            };
            for value in values.iter().map(AsRef::as_ref).chain(values.is_empty().then_some(UNSET)) {
                writeln!(f, "{index:3}. {:<28} =  '{value}'", setting.name)?;
                index += 1;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Dump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current fwknopd config settings:\n")?;
        self.setting_lines(f)?;
        f.write_str("\nCurrent fwknopd access settings:\n")?;
        for (raw, stanza, keys) in &self.stanzas {
            let mut fields = Fields { raw, f };
            writeln!(fields.f, "SOURCE ({}):  {}\n{}", stanza.number, stanza.source, "=".repeat(62))?;
            fields.stanza(stanza, keys, self.zone)?;
            f.write_char('\n')?;
        }
        f.write_char('\n')
    }
}

struct Fields<'r, 'f, 'b> {
    raw: &'r RawStanza,
    f: &'f mut fmt::Formatter<'b>,
}

impl Fields<'_, '_, '_> {
    fn line(&mut self, name: &str, value: impl fmt::Display) -> fmt::Result {
        writeln!(self.f, "{name:>27}:  {value}")
    }

    fn option(&mut self, name: &str, value: Option<impl fmt::Display>) -> fmt::Result {
        match value {
            Some(value) => self.line(name, value),
            None => self.line(name, UNSET),
        }
    }

    fn text(&mut self, name: &str) -> fmt::Result {
        self.option(name, self.raw.get(name))
    }

    fn yes(&mut self, name: &str, yes: bool) -> fmt::Result {
        self.line(name, if yes { "Yes" } else { "No" })
    }

    fn secret(&mut self, name: &str, is_set: bool) -> fmt::Result {
        self.option(name, is_set.then_some(HIDDEN))
    }

    fn stanza(&mut self, stanza: &Stanza, keys: &StanzaKeys, zone: &TimeZone) -> fmt::Result {
        let raw = self.raw;
        let has = |name: &str| raw.get(name).is_some();
        self.text("DESTINATION")?;
        self.text("OPEN_PORTS")?;
        self.text("RESTRICT_PORTS")?;
        self.secret("KEY", has("KEY") || has("KEY_BASE64"))?;
        self.secret("KEY_BASE64", has("KEY_BASE64"))?;
        self.line("KEY_LEN", keys.key_length)?;
        self.secret("HMAC_KEY", has("HMAC_KEY") || has("HMAC_KEY_BASE64"))?;
        self.secret("HMAC_KEY_BASE64", has("HMAC_KEY_BASE64"))?;
        self.line("HMAC_KEY_LEN", keys.hmac_length)?;
        self.line("HMAC_DIGEST_TYPE", keys.digest.map_or(0, |digest| digest.number()))?;
        self.line("FW_ACCESS_TIMEOUT", stanza.written_access_timeout)?;
        self.line("MAX_FW_TIMEOUT", stanza.max_timeout)?;
        self.yes("ENABLE_CMD_EXEC", stanza.command.is_some())?;
        self.yes("ENABLE_CMD_SUDO_EXEC", raw.yes("ENABLE_CMD_SUDO_EXEC"))?;
        for name in ["CMD_SUDO_EXEC_USER", "CMD_SUDO_EXEC_GROUP", "CMD_EXEC_USER", "CMD_EXEC_GROUP"] {
            self.text(name)?;
        }
        self.text("CMD_CYCLE_OPEN")?;
        self.text("CMD_CYCLE_CLOSE")?;
        self.line("CMD_CYCLE_TIMER", raw.get("CMD_CYCLE_TIMER").map_or(0, |text| Number::read(text).value))?;
        self.text("REQUIRE_USERNAME")?;
        self.yes("REQUIRE_SOURCE_ADDRESS", stanza.require_source_address)?;
        self.nat(stanza)?;
        self.option("ACCESS_EXPIRE", stanza.expires.map(|time| asctime(time, zone)))?;
        self.gpg(stanza)
    }

    fn nat(&mut self, stanza: &Stanza) -> fmt::Result {
        let nat = &stanza.nat;
        let everywhere = (nat.snat.is_some() && nat.forward_all).then(|| "0.0.0.0".to_owned());
        self.option("FORCE_NAT (ip)", nat.force.map(|force| force.address.to_string()).or(everywhere))?;
        self.line("FORCE_NAT (proto)", UNSET)?;
        self.line("FORCE_NAT (port)", nat.force.map_or(0, |force| force.port))?;
        let (address, masquerade) = match nat.snat {
            Some(access::Snat::Address(address)) => (Some(address), self.raw.yes("FORCE_MASQUERADE")),
            Some(access::Snat::Masquerade) => (None, true),
            None => (None, false),
        };
        self.option("FORCE_SNAT (ip)", address)?;
        self.yes("FORCE_MASQUERADE", masquerade)?;
        self.yes("DISABLE_DNAT", nat.disable_dnat)?;
        self.yes("FORWARD_ALL", nat.forward_all)
    }

    fn gpg(&mut self, stanza: &Stanza) -> fmt::Result {
        use access::Signatures::Required;
        let gpg = stanza.gpg.as_ref();
        let home = gpg.map(|gpg| gpg.home.display().to_string());
        self.option("GPG_HOME_DIR", home.as_deref().or(self.raw.get("GPG_HOME_DIR")))?;
        self.text("GPG_EXE")?;
        self.text("GPG_DECRYPT_ID")?;
        self.secret("GPG_DECRYPT_PW", gpg.is_some())?;
        // Without GPG the setting does nothing, but it is shown as it was written.
        let required = gpg.map_or(self.raw.yes("GPG_REQUIRE_SIG"), |gpg| matches!(gpg.signatures, Required { .. }));
        self.yes("GPG_REQUIRE_SIG", required)?;
        self.yes("GPG_IGNORE_SIG_VERIFY_ERROR", self.raw.yes("GPG_IGNORE_SIG_VERIFY_ERROR"))?;
        self.text("GPG_REMOTE_ID")?;
        self.text("GPG_FINGERPRINT_ID")?;
        for name in ["GPG_DISABLE_SIG", "GPG_ALLOW_NO_PW"] {
            if self.raw.get(name).is_some() {
                self.yes(name, self.raw.yes(name))?;
            }
        }
        match self.raw.get("ENCRYPTION_MODE") {
            Some(mode) => self.line("ENCRYPTION_MODE", mode),
            None => Ok(()),
        }
    }
}
