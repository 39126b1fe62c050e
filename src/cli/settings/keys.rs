//! The table of settings: name, meaning, how a value is read and shown. Everything that names a setting goes through it.

use std::path::Path;

use super::Settings;
use super::units::{self, Bad, bad};
use crate::limits::{
    BOOTSTRAPS_MAX, EXPIRY_MAX_S, EXPIRY_STEP_S, HOPS_CLIENT_MIN, HOPS_MAX, OPERATION_TIMEOUT_MAX, STAGGER_MAX,
    STORE_BYTES_MAX, STORE_BYTES_MIN, STORE_VALUES_MAX,
};
use crate::membership::prefix_rule::PrefixRule;
use crate::request::Consistency;
use crate::time::Duration;
use crate::wire::address::Address;
use crate::wire::codec::Reader;
use crate::wire::contact::Contact;
use crate::wire::hex;

/// One setting.
pub(in crate::cli) struct Key {
    /// As it stands in files; in the environment `BAUTA_` and capitals.
    pub(in crate::cli) name: &'static str,
    /// What it does, for `bauta settings` and the commented file.
    pub(in crate::cli) what: &'static str,
    /// Reads a value; the folder is that of the file it stands in.
    pub(super) set: fn(&mut Settings, &str, &Path) -> Result<(), Bad>,
    /// The value in force.
    pub(in crate::cli) show: fn(&Settings) -> String,
    /// Whether only relays have a use for it.
    pub(in crate::cli) of_relay: bool,
}

const RULES: [(&str, PrefixRule); 2] =
    [("distinct", PrefixRule::Distinct), ("one-host", PrefixRule::RelaxedForOneHost)];
const CONSISTENCIES: [(&str, Consistency); 3] =
    [("one", Consistency::One), ("quorum", Consistency::Quorum), ("all", Consistency::All)];
const SWITCH: [(&str, bool); 2] = [("true", true), ("false", false)];
/// Zero bits that a network can sensibly ask for.
const DIFFICULTY_MAX: u8 = 32;

/// Every setting.
pub(in crate::cli) const KEYS: [Key; 19] = [
    Key {
        name: "network",
        what: "id of the network, 64 hexadecimal digits",
        set: |to, text, _| {
            let id = hex::decode(text).or_else(|_| bad("is not 64 hexadecimal digits", None))?;
            to.network = Some(id);
            Ok(())
        },
        show: |of| of.network.map_or_else(String::new, |id| hex::encode(&id)),
        of_relay: false,
    },
    Key {
        name: "difficulty",
        what: "zero bits that the network's identity puzzle asks for",
        set: |to, text, _| units::number(text, 0, DIFFICULTY_MAX).map(|found| to.difficulty = found),
        show: |of| of.difficulty.to_string(),
        of_relay: false,
    },
    Key {
        name: "bootstraps",
        what: "nodes to start from, IP:PORT/ID/LINK-KEY each",
        set: |to, text, _| bootstraps(text).map(|found| to.bootstraps = found),
        show: |of| of.bootstraps.iter().map(Contact::to_string).collect::<Vec<_>>().join(","),
        of_relay: false,
    },
    Key {
        name: "state",
        what: "folder of guards, keys and identity; relative to the file that says so",
        set: |to, text, folder| {
            if text.is_empty() {
                return bad("is empty", None);
            }
            to.state = folder.join(text);
            Ok(())
        },
        show: |of| of.state.display().to_string(),
        of_relay: false,
    },
    Key {
        name: "use_node",
        what: "whether a running node of the same user and state is used: true or false",
        set: |to, text, _| units::word(text, &SWITCH).map(|found| to.use_node = found),
        show: |of| of.use_node.to_string(),
        of_relay: false,
    },
    Key {
        name: "hops",
        what: "relays in every path, 3 to 5",
        set: |to, text, _| units::number(text, HOPS_CLIENT_MIN, HOPS_MAX).map(|found| to.hops = found),
        show: |of| of.hops.to_string(),
        of_relay: false,
    },
    Key {
        name: "consistency",
        what: "how many of a value's three locations must answer: one, quorum or all",
        set: |to, text, _| units::word(text, &CONSISTENCIES).map(|found| to.consistency = found),
        show: |of| CONSISTENCIES.iter().find(|(_, one)| *one == of.consistency).map_or("", |(name, _)| name).to_owned(),
        of_relay: false,
    },
    Key {
        name: "stagger",
        what: "circuits of one operation start at random within this time; 0ms tells your guard more",
        set: |to, text, _| units::duration(text, Duration::ZERO, STAGGER_MAX).map(|found| to.stagger = found),
        show: |of| units::show_duration(of.stagger),
        of_relay: false,
    },
    Key {
        name: "timeout",
        what: "a lookup or put of a record ends within this time; a batch of a file's chunks has 60s of its own",
        set: |to, text, _| {
            units::duration(text, Duration::from_millis(100), OPERATION_TIMEOUT_MAX).map(|found| to.timeout = found)
        },
        show: |of| units::show_duration(of.timeout),
        of_relay: false,
    },
    Key {
        name: "ttl",
        what: "how long what you publish is kept, 29d at most; it ends on a step of 6h",
        set: |to, text, _| {
            let (min, max) = (Duration::from_secs(1), Duration::from_secs(EXPIRY_MAX_S - 4 * EXPIRY_STEP_S));
            units::duration(text, min, max).map(|found| to.ttl = found)
        },
        show: |of| units::show_duration(of.ttl),
        of_relay: false,
    },
    Key {
        name: "prefix_rule",
        what: "distinct: no two hops in one IPv4 /16; one-host: for tests on a system with one loopback address",
        set: |to, text, _| units::word(text, &RULES).map(|found| to.rule = found),
        show: |of| RULES.iter().find(|(_, rule)| *rule == of.rule).map_or("", |(name, _)| name).to_owned(),
        of_relay: false,
    },
    Key {
        name: "bind",
        what: "address from which links are dialled; empty for the system's choice",
        set: |to, text, _| {
            let parse = || text.parse().or_else(|_| bad("is no IP address", None));
            to.bind = if text.is_empty() { None } else { Some(parse()?) };
            Ok(())
        },
        show: |of| of.bind.map_or_else(String::new, |ip| ip.to_string()),
        of_relay: false,
    },
    Key {
        name: "listen",
        what: "IP:PORT at which the relay listens",
        set: |to, text, _| {
            to.listen = Some(text.parse().or_else(|_| bad("is not IP:PORT", Some("0.0.0.0:4433".into())))?);
            Ok(())
        },
        show: |of| of.listen.map_or_else(String::new, |at| at.to_string()),
        of_relay: true,
    },
    Key {
        name: "advertise",
        what: "IP:PORT at which others reach the relay; as listen, if not set",
        set: |to, text, _| {
            let found: std::net::SocketAddr = text.parse().or_else(|_| bad("is not IP:PORT", None))?;
            let mut bytes = Vec::new();
            Address(found).encode(&mut bytes);
            if found.ip().is_unspecified() || Address::decode(&mut Reader::new(&bytes)).is_err() {
                return bad("is no address that others could dial", None);
            }
            to.advertise = Some(found);
            Ok(())
        },
        show: |of| of.advertise.map_or_else(String::new, |at| at.to_string()),
        of_relay: true,
    },
    Key {
        name: "family",
        what: "16 hexadecimal digits that all relays of one operator share; zeros for none",
        set: |to, text, _| {
            to.family = hex::decode(text).or_else(|_| bad("is not 16 hexadecimal digits", None))?;
            Ok(())
        },
        show: |of| hex::encode(&of.family),
        of_relay: true,
    },
    Key {
        name: "store_bytes",
        what: "room for the values of others, in bytes; a full store gives up few for newcomers, and refuses most of these",
        set: |to, text, _| units::size(text, STORE_BYTES_MIN, STORE_BYTES_MAX).map(|found| to.store_bytes = found),
        show: |of| units::show_size(of.store_bytes),
        of_relay: true,
    },
    Key {
        name: "store_values",
        what: "room for the values of others, in values",
        set: |to, text, _| units::number(text, 1, super::to_u64(STORE_VALUES_MAX)).map(|found| to.store_values = found),
        show: |of| of.store_values.to_string(),
        of_relay: true,
    },
    Key {
        name: "denylist",
        what: "file of chunks' names and locations that the relay neither keeps nor serves; read at start and on SIGHUP",
        set: |to, text, folder| {
            to.denylist = (!text.is_empty()).then(|| folder.join(text));
            Ok(())
        },
        show: |of| of.denylist.as_ref().map_or_else(String::new, |path| path.display().to_string()),
        of_relay: true,
    },
    Key {
        name: "answer_commands",
        what: "whether the relay's process also runs a client for commands of the same user: true or false",
        set: |to, text, _| units::word(text, &SWITCH).map(|found| to.answer_commands = found),
        show: |of| of.answer_commands.to_string(),
        of_relay: true,
    },
];

fn bootstraps(text: &str) -> Result<Vec<Contact>, Bad> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let found: Result<Vec<Contact>, _> = parts.map(str::parse).collect();
    match found {
        Ok(found) if found.len() <= BOOTSTRAPS_MAX => Ok(found),
        Ok(_) => bad(format!("are more than {BOOTSTRAPS_MAX}"), Some(BOOTSTRAPS_MAX.to_string())),
        Err(_) => bad("one is not IP:PORT/ID/LINK-KEY", None),
    }
}
