//! What a command is told beside its arguments: a file, the environment, `--set`; one table of keys for all three.
//! Source: spec/cli.md §5.

mod file;
mod keys;
mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

pub(super) use self::file::{quoted, text as file_text};
pub(super) use self::keys::KEYS;
use self::units::Bad;
pub(super) use self::units::{did_you_mean, duration, show_duration};
use crate::dht::store::Quota;
use crate::limits::{
    BOOTSTRAPS_AGREE_MIN, EXPIRY_STEP_S, HOPS_CLIENT_MIN, OPERATION_TIMEOUT, STAGGER_MAX, STORE_BYTES, STORE_VALUES,
};
use crate::membership::prefix_rule::PrefixRule;
use crate::request::Consistency;
use crate::time::Duration;
use crate::wire::address::Address;
use crate::wire::contact::Contact;
use crate::wire::network::Network;

/// Variables of the environment that are no settings.
const OTHER_VARIABLES: [&str; 3] = ["BAUTA_CONFIG", "BAUTA_LOG", "BAUTA_PASSPHRASE"];

/// Every setting, with its value in force.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) network: Option<[u8; 32]>,
    pub(super) difficulty: u8,
    pub(super) bootstraps: Vec<Contact>,
    pub(super) state: PathBuf,
    pub(super) use_node: bool,
    pub(super) hops: usize,
    pub(super) consistency: Consistency,
    pub(super) stagger: Duration,
    pub(super) timeout: Duration,
    pub(super) ttl: Duration,
    pub(super) rule: PrefixRule,
    pub(super) bind: Option<IpAddr>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) advertise: Option<SocketAddr>,
    pub(super) family: [u8; 8],
    pub(super) store_bytes: u64,
    pub(super) store_values: u64,
    pub(super) denylist: Option<PathBuf>,
    pub(super) answer_commands: bool,
    /// Where each value that is no default comes from.
    pub(super) origins: BTreeMap<&'static str, Origin>,
    /// The network and its difficulty as they were in force after each source.
    said: Vec<([u8; 32], u8)>,
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// A line of a file.
    File(PathBuf, usize),
    /// A variable of the environment.
    Environment(String),
    /// `--set`, or a flag of its own.
    CommandLine,
}

/// Why settings are refused. Nothing has been done then.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingsError {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    File(String, String),
    /// A key that there is not.
    #[error("{origin}: there is no setting {key:?}{near} (`bauta settings` lists all)")]
    Unknown { origin: Origin, key: String, near: String },
    /// A value that its key does not take.
    #[error("{origin}: {key} = {value:?}: {bad}")]
    Value { origin: Origin, key: &'static str, value: String, bad: Bad },
    /// `--set` without an equals sign.
    #[error("--set takes KEY=VALUE, not {0:?}")]
    NoEquals(String),
    /// Two settings that do not go together.
    #[error("{origin}: {key} does not go with {other}: {why}")]
    Conflict { origin: String, key: &'static str, other: &'static str, why: String },
    /// There is no place for the state directory.
    #[error("no home directory: set `state`, or $XDG_STATE_HOME, or $HOME; nothing goes without a state directory")]
    NoHome,
    /// Something that the command needs is not set.
    #[error("{key} is not set: {hint}")]
    Missing { key: &'static str, hint: &'static str },
}

/// What the command line says of settings.
#[derive(Clone, Default)]
pub(super) struct Given {
    pub(super) config: Option<PathBuf>,
    pub(super) sets: Vec<String>,
    /// Flags of their own: key and value.
    pub(super) flags: Vec<(&'static str, String)>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{} line {line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

impl Settings {
    /// Defaults, then the file, then the environment, then the command line.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub(super) fn gather(given: &Given) -> Result<Self, SettingsError> {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let variables = variables.filter(|(name, _)| name.starts_with("BAUTA_"));
        let variables = variables.map(|(name, value)| (name, value.to_string_lossy().into_owned())).collect();
        let home = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self::from_sources(given, &variables, &home)
    }

    fn from_sources(
        given: &Given,
        variables: &BTreeMap<String, String>,
        home: &dyn Fn(&str) -> Option<PathBuf>,
    ) -> Result<Self, SettingsError> {
        let mut settings = Self::defaults(place(home, "XDG_STATE_HOME", ".local/state"));
        let named = given.config.clone().or_else(|| variables.get("BAUTA_CONFIG").map(PathBuf::from));
        let usual = place(home, "XDG_CONFIG_HOME", ".config").map(|folder| folder.join("config.toml"));
        if let Some(path) = named.or_else(|| usual.filter(|path| path.exists())) {
            file::read_into(&mut settings, &path)?;
            settings.note_network();
        }
        for (name, value) in variables {
            if OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let key = name.trim_start_matches("BAUTA_").to_ascii_lowercase();
            settings.set(&key, value, Origin::Environment(name.clone()))?;
        }
        settings.note_network();
        for set in &given.sets {
            let (key, value) = set.split_once('=').ok_or_else(|| SettingsError::NoEquals(set.clone()))?;
            settings.set(key.trim(), value.trim(), Origin::CommandLine)?;
        }
        for (key, value) in &given.flags {
            settings.set(key, value, Origin::CommandLine)?;
        }
        settings.check()?;
        Ok(settings)
    }

    fn note_network(&mut self) {
        self.said.extend(self.network.map(|id| (id, self.difficulty)));
    }

    /// What a nearer source has replaced: another difficulty of the same network, if that is above 0.
    pub(super) fn other_difficulty(&self) -> Option<u8> {
        let of_this = self.said.iter().filter(|(id, said)| Some(*id) == self.network && *said != self.difficulty);
        of_this.map(|(_, said)| *said).find(|said| *said > 0)
    }

    /// What a file of this text says alone, whatever is around it.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub(super) fn of_text(text: &str) -> Result<Self, SettingsError> {
        let mut settings = Self::defaults(Some(PathBuf::from("state")));
        file::read_text(&mut settings, text, Path::new("config.toml"))?;
        settings.check()?;
        Ok(settings)
    }

    fn defaults(state: Option<PathBuf>) -> Self {
        Self {
            network: None,
            difficulty: 0,
            bootstraps: Vec::new(),
            state: state.unwrap_or_default(),
            use_node: true,
            hops: HOPS_CLIENT_MIN,
            consistency: Consistency::default(),
            stagger: STAGGER_MAX,
            timeout: OPERATION_TIMEOUT,
            ttl: Duration::from_secs(4 * EXPIRY_STEP_S),
            rule: PrefixRule::Distinct,
            bind: None,
            listen: None,
            advertise: None,
            family: [0; 8],
            store_bytes: to_u64(STORE_BYTES),
            store_values: to_u64(STORE_VALUES),
            denylist: None,
            answer_commands: true,
            origins: BTreeMap::new(),
            said: Vec::new(),
        }
    }

    /// A flag of its own that stands for a setting.
    ///
    /// # Errors
    /// [`SettingsError::Value`], [`SettingsError::Conflict`].
    pub(super) fn set_flag(&mut self, name: &str, value: &str) -> Result<(), SettingsError> {
        self.set(name, value, Origin::CommandLine)?;
        self.check()
    }

    fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), SettingsError> {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            let near = did_you_mean(name, KEYS.iter().map(|key| key.name));
            return Err(SettingsError::Unknown { origin, key: name.escape_debug().to_string(), near });
        };
        // A path in a file is seen from that file.
        let folder = match &origin {
            Origin::File(path, _) => path.parent().map(Path::to_owned).unwrap_or_default(),
            _ => PathBuf::new(),
        };
        if let Err(bad) = (key.set)(self, value, &folder) {
            let value = value.escape_debug().to_string();
            return Err(SettingsError::Value { origin, key: key.name, value, bad });
        }
        self.origins.insert(key.name, origin);
        Ok(())
    }

    /// What single values cannot show.
    fn check(&self) -> Result<(), SettingsError> {
        let conflict = |key, other, why: &str| {
            let origin = self.origins.get(key).or_else(|| self.origins.get(other));
            let origin = origin.map_or_else(|| "default".to_owned(), ToString::to_string);
            Err(SettingsError::Conflict { origin, key, other, why: why.to_owned() })
        };
        if self.timeout <= self.stagger {
            let nearest = format!("an operation would end before its circuits begin; nearest timeout: {}", {
                units::show_duration(self.stagger + Duration::from_secs(1))
            });
            return conflict("timeout", "stagger", &nearest);
        }
        if let (Some(listen), Some(advertise)) = (self.listen, self.advertise)
            && listen.is_ipv4() != advertise.is_ipv4()
        {
            return conflict("advertise", "listen", "one is IPv4, the other IPv6");
        }
        let away = |ip: IpAddr| !ip.is_loopback();
        let is_away = self.bootstraps.iter().any(|one| away(one.address.0.ip()))
            || self.listen.is_some_and(|listen| away(listen.ip()))
            || self.advertise.is_some_and(|advertise| away(advertise.ip()));
        if self.rule == PrefixRule::RelaxedForOneHost && is_away {
            return conflict(
                "prefix_rule",
                "bootstraps",
                "one-host is for tests on loopback; nearest prefix_rule: distinct",
            );
        }
        if is_away && self.network.is_some() && !self.origins.contains_key("difficulty") {
            let hint =
                "say what the network asks for (0 for none): with a lower one, cheap identities would be believed";
            return Err(SettingsError::Missing { key: "difficulty", hint });
        }
        if let Some((key, address)) = self.first_unreachable() {
            let why = format!(
                "{address} is no address of the public internet. Where difficulty is above 0 such addresses are neither believed nor \
                 dialled, or strangers could have relays dial into networks that are not theirs. In a network of your own, on one \
                 machine or behind one router, set difficulty = 0 at every node; else name an address that everybody reaches"
            );
            return conflict(key, "difficulty", &why);
        }
        let mut known: Vec<_> = self.bootstraps.iter().map(|one| one.id).collect();
        known.sort_unstable();
        if known.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
            return conflict(
                "bootstraps",
                "bootstraps",
                "one node stands there twice; two voices of one node prove nothing",
            );
        }
        if self.state.as_os_str().is_empty() { Err(SettingsError::NoHome) } else { Ok(()) }
    }

    /// An address that nodes of a network of this difficulty have no use for, and the setting that names it.
    fn first_unreachable(&self) -> Option<(&'static str, SocketAddr)> {
        let network = Network { id: [0; 32], difficulty: self.difficulty };
        let bootstraps = self.bootstraps.iter().map(|one| ("bootstraps", one.address.0));
        // What others are told; a listener on every address has `advertise`, or is refused for that. A port of 0 is still to be given.
        let told = self.advertise.map(|told| ("advertise", told)).or(self.listen.map(|told| ("listen", told)));
        let told = told.filter(|(_, told)| !told.ip().is_unspecified());
        let is_unreachable =
            |address: SocketAddr| !network.may_reach(&Address((address.ip(), address.port().max(1)).into()));
        bootstraps.chain(told).find(|(_, address)| is_unreachable(*address))
    }

    /// The network.
    ///
    /// # Errors
    /// [`SettingsError::Missing`].
    pub(super) fn network(&self) -> Result<Network, SettingsError> {
        let hint = "give --config FILE (`bauta devnet` writes one), or set network and bootstraps";
        let id = self.network.ok_or(SettingsError::Missing { key: "network", hint })?;
        Ok(Network { id, difficulty: self.difficulty })
    }

    /// What a relay may keep for others.
    pub(super) fn quota(&self) -> Quota {
        Quota { values: self.store_values, bytes: self.store_bytes }
    }

    /// Where a relay listens.
    ///
    /// # Errors
    /// [`SettingsError::Missing`].
    pub(super) fn listen(&self) -> Result<SocketAddr, SettingsError> {
        let hint = "IP:PORT at which the relay listens, such as 0.0.0.0:4433 (with `advertise`, if others see another address)";
        let listen = self.listen.ok_or(SettingsError::Missing { key: "listen", hint })?;
        if listen.ip().is_unspecified() && self.advertise.is_none() {
            let hint = "listen is every address of this machine, so say by which one others reach it";
            return Err(SettingsError::Missing { key: "advertise", hint });
        }
        Ok(listen)
    }

    /// The nodes to start from; as many as must agree, at least.
    ///
    /// # Errors
    /// [`SettingsError::Missing`].
    pub(super) fn bootstraps(&self) -> Result<Vec<Contact>, SettingsError> {
        let hint = "two or three nodes to start from, each IP:PORT/ID/LINK-KEY; two must agree on what they tell";
        if self.bootstraps.len() < BOOTSTRAPS_AGREE_MIN {
            return Err(SettingsError::Missing { key: "bootstraps", hint });
        }
        Ok(self.bootstraps.clone())
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn place(home: &dyn Fn(&str) -> Option<PathBuf>, variable: &str, below_home: &str) -> Option<PathBuf> {
    // The XDG rules: what is not absolute is ignored.
    let xdg = home(variable).filter(|path| path.is_absolute());
    Some(xdg.or_else(|| Some(home("HOME")?.join(below_home)))?.join("bauta"))
}

#[cfg(test)]
mod tests;
