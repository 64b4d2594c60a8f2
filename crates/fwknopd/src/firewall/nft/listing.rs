//! What `--fw-list` and `--fw-list-all` show: the doors in the shape of an iptables listing, because
//! people and scripts know it, and the whole ruleset in the words of `nft`.
use std::path::Path;
use std::time::Duration;

use super::super::FirewallError;
use super::super::runner::{Command, Programs, Runner as _};
use super::doors::{self, Version};
use super::repair::tables_with;
use super::ruleset::{Element, Ruleset, TableId, load_elements};
use super::socket::Socket;

/// How long `nft` may take to list everything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Our chain in each table that has it.
pub(super) fn ours(socket: &mut Socket, chain: &str) -> Result<String, FirewallError> {
    let ruleset = Ruleset::load(socket)?;
    let mut text = String::new();
    for table in tables_with(&ruleset, chain) {
        let mut lines = Vec::new();
        for version in Version::of(table.family) {
            let set = version.set(chain);
            if ruleset.set(&table, &set).is_some() {
                let elements = load_elements(socket, &table, &set)?;
                lines.extend(elements.iter().filter_map(line));
            }
        }
        lines.sort();
        text.push_str(&heading(&ruleset, &table, chain));
        for (number, (_, line)) in (1..).zip(lines) {
            text.push_str(&format!("{number:<4} {line}\n"));
        }
    }
    if text.is_empty() {
        text = format!("\nThere is no chain {chain} in nftables.\n");
    }
    Ok(text)
}

fn heading(ruleset: &Ruleset, table: &TableId, chain: &str) -> String {
    let jumps = ruleset.rules.iter().filter(|rule| rule.table == *table && rule.is_plain_jump(chain)).count();
    format!(
        "\nChain {chain} ({jumps} references) in table {table}\n\
         num  target     prot opt source               destination\n"
    )
}

/// One door, with its end to sort by.
fn line(element: &Element) -> Option<(String, String)> {
    let door = doors::door(&element.key)?;
    let anywhere = if door.client.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    let comment = element.comment.clone().unwrap_or_default();
    let (client, protocol, port) = (door.client.to_string(), door.port.protocol, door.port.port);
    let number = protocol.number();
    let text = format!("ACCEPT     {number:<4} --  {client:<20} {anywhere:<20} {protocol} dpt:{port} /* {comment} */");
    Some((comment, text))
}

/// The whole ruleset, by the program that people know; the daemon itself never runs it.
pub(super) fn all(exe: Option<&Path>) -> Result<String, FirewallError> {
    let is_nft = |exe: &&Path| exe.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nft"));
    let program = exe.filter(is_nft).unwrap_or(Path::new("nft"));
    let command = Command::new(program, vec!["list".into(), "ruleset".into()]);
    let output = Programs { limit: PATIENCE }.run(&command)?;
    Ok(format!("\n{}{}", output.text, output.complaints))
}
