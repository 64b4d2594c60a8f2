//! Where in an iptables ruleset our rules live: the six words of an `IPT_*_ACCESS` setting.
//!
//! ```text
//! IPT_INPUT_ACCESS   ACCEPT, filter, INPUT,      1,             FWKNOP_INPUT, 1
//!                    target  table   from_chain  jump_position  to_chain      rule_position
//! ```
//!
//! Rules go into `to_chain`; `from_chain` gets a jump to it at `jump_position`. Not here: whether the
//! kernel has such chains; the back ends find that out.
use std::str::FromStr;

use thiserror::Error;

/// One chain definition (server specification, section 9.1.2). Names hold only letters, digits and
/// underscores, so none of them can be mistaken for an option of the firewall program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSpec {
    /// What our rules do with a packet that matches, `ACCEPT`. Empty switches this chain off.
    pub target: String,
    /// The table both chains are in.
    pub table: String,
    /// The chain that jumps to ours.
    pub from_chain: String,
    /// Where in `from_chain` the jump is inserted, from 1.
    pub jump_position: u32,
    /// Our chain.
    pub to_chain: String,
    /// Read and checked for the sake of old files, used for nothing.
    pub rule_position: u32,
}

impl ChainSpec {
    /// Whether this chain is used at all: an empty target switches it off.
    pub fn is_enabled(&self) -> bool {
        !self.target.is_empty()
    }

    /// The built-in `IPT_INPUT_ACCESS`.
    pub fn input() -> Self {
        Self {
            target: "ACCEPT".into(),
            table: "filter".into(),
            from_chain: "INPUT".into(),
            jump_position: 1,
            to_chain: "FWKNOP_INPUT".into(),
            rule_position: 1,
        }
    }
}

/// The longest name; the original cuts longer ones silently, we refuse them.
const LONGEST_NAME: usize = 63;
/// The highest position in a chain.
const HIGHEST_POSITION: u32 = 65_536;

impl FromStr for ChainSpec {
    type Err = BadChain;

    fn from_str(text: &str) -> Result<Self, BadChain> {
        let shape = |why| BadChain::Shape { text: text.into(), why };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ' ' | ',');
        if !text.chars().all(legal) {
            return Err(shape("only letters, digits, underscores, blanks and commas are allowed"));
        }
        let bare = text.replace(' ', "");
        let fields: Vec<&str> = bare.split(',').collect();
        let &[target, table, from_chain, jump, to_chain, rule] = fields.as_slice() else {
            return Err(shape("six fields are needed, separated by commas"));
        };
        let names = [table, from_chain, to_chain];
        if !target.is_empty() && names.iter().any(|name| name.is_empty()) {
            return Err(shape("table and both chains need a name"));
        }
        if names.iter().chain([&target]).any(|name| name.len() > LONGEST_NAME) {
            return Err(shape("a name is longer than 63 characters"));
        }
        Ok(Self {
            target: target.into(),
            table: table.into(),
            from_chain: from_chain.into(),
            jump_position: position(jump).ok_or_else(|| BadChain::JumpPosition(text.into()))?,
            to_chain: to_chain.into(),
            rule_position: position(rule).ok_or_else(|| BadChain::RulePosition(text.into()))?,
        })
    }
}

fn position(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = digits.then(|| text.parse().ok())??;
    (number <= HIGHEST_POSITION).then_some(number)
}

/// What is wrong with a chain definition. The texts are those of the output contract, section 2.5; a
/// [`BadChain::Shape`] is reported for every definition, the other two only for those in use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadChain {
    /// Not six fields of legal characters; report it together with [`BadChain::about`].
    #[error("[*] Custom chain config parse error: {why}: {text}")]
    Shape {
        /// The whole value.
        text: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// The fourth field is not a number from 0 to 65536.
    #[error("[*] invalid jump rule position in Line: {0}")]
    JumpPosition(String),
    /// The sixth field is not a number from 0 to 65536.
    #[error("[*] invalid to_chain rule position in Line: {0}")]
    RulePosition(String),
}

impl BadChain {
    /// The line that names the setting.
    pub fn about(variable: &str) -> String {
        format!("Invalid {variable} specification, see fwknopd.conf comments")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_built_in_definition() {
        assert_eq!("ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 1".parse(), Ok(ChainSpec::input()));
        assert_eq!("ACCEPT,filter,INPUT,1,FWKNOP_INPUT,1".parse(), Ok(ChainSpec::input()));
    }

    #[test]
    fn an_empty_target_switches_the_chain_off() {
        let spec: ChainSpec = ", filter, INPUT, 1, FWKNOP_INPUT, 1".parse().unwrap();
        assert!(!spec.is_enabled());
    }

    #[test]
    fn refuses_what_cannot_be_a_definition() {
        for text in [
            "",
            "ACCEPT, filter, INPUT, 1, FWKNOP_INPUT",
            "ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 1, 1",
            "ACCEPT, filter, INPUT, 1, FWKNOP-INPUT, 1",
            "ACCEPT, filter, INPUT,\t1, FWKNOP_INPUT, 1",
            "ACCEPT, filter, INPUT, -1, FWKNOP_INPUT, 1",
            "ACCEPT, filter, , 1, FWKNOP_INPUT, 1",
            &format!("ACCEPT, filter, INPUT, 1, {}, 1", "A".repeat(64)),
        ] {
            assert!(matches!(text.parse::<ChainSpec>(), Err(BadChain::Shape { .. })), "{text}");
        }
    }

    #[test]
    fn refuses_positions_that_are_not_numbers_in_range() {
        for (text, wanted) in [
            ("A,t,I,x,F,1", "[*] invalid jump rule position in Line: A,t,I,x,F,1"),
            ("A,t,I,65537,F,1", "[*] invalid jump rule position in Line: A,t,I,65537,F,1"),
            ("A,t,I,4294967297,F,1", "[*] invalid jump rule position in Line: A,t,I,4294967297,F,1"),
            ("A,t,I,1,F,", "[*] invalid to_chain rule position in Line: A,t,I,1,F,"),
        ] {
            assert_eq!(text.parse::<ChainSpec>().unwrap_err().to_string(), wanted);
        }
        assert!("A,t,I,65536,F,0".parse::<ChainSpec>().is_ok());
    }
}
