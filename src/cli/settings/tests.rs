//! Where settings come from, which source wins, and what is said of wrong ones.

use super::*;
use crate::limits::CONFIG_LEN_MAX;

const ID: &str = "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f";

struct Sources {
    folder: tempfile::TempDir,
    given: Given,
    variables: BTreeMap<String, String>,
}

impl Sources {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), given: Given::default(), variables: BTreeMap::new() }
    }

    fn file(mut self, text: &str) -> Self {
        let path = self.folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        self.given.config = Some(path);
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    fn set(mut self, set: &str) -> Self {
        self.given.sets.push(set.into());
        self
    }

    fn gather(&self) -> Result<Settings, SettingsError> {
        let home = |name: &str| (name == "HOME").then(|| self.folder.path().to_owned());
        Settings::from_sources(&self.given, &self.variables, &home)
    }

    /// What is said, without the folder's name.
    fn refused(&self) -> String {
        let said = self.gather().map(|_| ()).unwrap_err().to_string();
        said.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

#[test]
fn the_nearer_source_wins_and_each_value_knows_where_it_comes_from() {
    let sources = Sources::new().file("hops = 4\ntimeout = \"10s\"\nttl = \"6h\"\n");
    let sources = sources.variable("BAUTA_HOPS", "5").variable("BAUTA_TTL", "12h").set("ttl = 1d");
    let settings = sources.gather().unwrap();
    assert_eq!((settings.hops, settings.timeout), (5, Duration::from_secs(10)));
    assert_eq!(settings.ttl, Duration::from_secs(86_400));
    assert!(matches!(&settings.origins["timeout"], Origin::File(_, 2)));
    assert_eq!(settings.origins["hops"], Origin::Environment("BAUTA_HOPS".into()));
    assert_eq!(settings.origins["ttl"], Origin::CommandLine);
}

#[test]
fn every_value_that_is_shown_can_be_set_again() {
    let file = format!(
        "network = \"{ID}\"\ndifficulty = 0\nfamily = \"0011223344556677\"\nlisten = \"[::1]:1\"\nadvertise = \"[::1]:2\"\nbind = \
         \"::1\"\nuse_node = false\nanswer_commands = false\nconsistency = \"all\"\nstagger = \"0ms\"\nprefix_rule = \"one-host\"\nstore_bytes = \"64MiB\"\n"
    );
    for file in [&file, "difficulty = 3"] {
        let settings = Sources::new().file(file).gather().unwrap();
        for key in KEYS.iter().filter(|key| !(key.show)(&settings).is_empty()) {
            let shown = (key.show)(&settings);
            let again = Sources::new().set(&format!("{}={shown}", key.name)).gather();
            let again = again.unwrap_or_else(|error| unreachable!("{}: {error}", key.name));
            assert_eq!((key.show)(&again), shown, "{}", key.name);
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_the_nearest_good_value() {
    for (file, said) in [
        (
            "\nhop = 4\n",
            "config.toml line 2: there is no setting \"hop\"; did you mean \"hops\"? (`bauta settings` lists all)",
        ),
        ("hops = 7", "config.toml line 1: hops = \"7\": is not 3 to 5; nearest: 5"),
        ("hops = 2", "config.toml line 1: hops = \"2\": is not 3 to 5; nearest: 3"),
        ("hops = \"x\"", "config.toml line 1: hops = \"x\": is no whole number from 3 to 5; nearest: 3"),
        (
            "timeout = 30",
            "config.toml line 1: timeout = \"30\": the unit is missing; there are ms, s, m, h, d; nearest: 30s",
        ),
        (
            "timeout = \"30sec\"",
            "config.toml line 1: timeout = \"30sec\": \"sec\" is no unit; there are ms, s, m, h, d; nearest: 30s",
        ),
        ("timeout = \"2h\"", "config.toml line 1: timeout = \"2h\": is not 100ms to 10m; nearest: 10m"),
        (
            "store_bytes = \"1kb\"",
            "config.toml line 1: store_bytes = \"1kb\": \"kb\" is no unit; there are KiB, MiB, GiB, B; nearest: 1MiB",
        ),
        (
            "consistency = \"quorom\"",
            "config.toml line 1: consistency = \"quorom\": is none of one, quorum, all; nearest: quorum",
        ),
        ("listen = \"here\"", "config.toml line 1: listen = \"here\": is not IP:PORT; nearest: 0.0.0.0:4433"),
        (
            "advertise = \"0.0.0.0:1\"",
            "config.toml line 1: advertise = \"0.0.0.0:1\": is no address that others could dial",
        ),
        ("hops = 4\nhops = 4", "config.toml: line 2: duplicate key"),
        ("hops = 4.5", "config.toml: config.toml line 1: hops: a text, a number, true, false or a list of texts"),
        ("[relay]\n", "config.toml: config.toml line 1: relay: a text, a number, true, false or a list of texts"),
        ("state = \"\"", "config.toml line 1: state = \"\": is empty"),
        ("bootstraps = [\"a\"]", "config.toml line 1: bootstraps = \"a\": one is not IP:PORT/ID/LINK-KEY"),
    ] {
        assert_eq!(Sources::new().file(file).refused(), said);
    }
    let said = Sources::new().variable("BAUTA_STAET", "x").refused();
    assert!(
        said.starts_with("environment BAUTA_STAET: there is no setting \"staet\"; did you mean \"state\"?"),
        "{said}"
    );
    let said = Sources::new().set("colour=red").refused();
    assert_eq!(said, "command line: there is no setting \"colour\" (`bauta settings` lists all)", "none is like it");
    assert_eq!(Sources::new().set("hops").refused(), "--set takes KEY=VALUE, not \"hops\"");
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let said = Sources::new().file("advertise = \"1.2.3.4:5\"\nlisten = \"[::]:5\"").refused();
    assert_eq!(said, "config.toml line 1: advertise does not go with listen: one is IPv4, the other IPv6");
    let node = format!("127.0.0.1:1/{}/{}", "07".repeat(20), "09".repeat(32));
    let said = Sources::new().file(&format!("bootstraps = [\"{node}\", \"{node}\"]")).refused();
    assert!(said.contains("stands there twice"), "{said}");
}

#[test]
fn what_is_for_one_machine_alone_is_refused_for_a_network() {
    let node = |ip: &str| format!("bootstraps = [\"{ip}:1/{}/{}\"]", "07".repeat(20), "09".repeat(32));
    let said = Sources::new().file(&format!("{}\nprefix_rule = \"one-host\"", node("192.0.2.1"))).refused();
    assert!(said.contains("prefix_rule does not go with bootstraps: one-host is for tests on loopback"), "{said}");
    assert!(Sources::new().file(&format!("{}\nprefix_rule = \"one-host\"", node("127.0.0.1"))).gather().is_ok());
    let away = format!("{}\nnetwork = \"{ID}\"", node("192.0.2.1"));
    assert!(Sources::new().file(&away).refused().starts_with("difficulty is not set"));
    assert!(Sources::new().file(&format!("{away}\ndifficulty = 0")).gather().is_ok());
}

// [MEMB-W-066]
#[test]
fn where_identities_have_a_price_addresses_that_are_not_global_are_refused_with_what_to_do() {
    let node = |ip: &str| format!("bootstraps = [\"{ip}/{}/{}\"]\n", "07".repeat(20), "09".repeat(32));
    let both = "listen = \"0.0.0.0:4433\"\nadvertise = \"192.168.1.9:4433\"\n".to_owned();
    for (addresses, named) in [
        (node("192.168.1.9:4433"), "bootstraps does not go with difficulty: 192.168.1.9:4433 is no address"),
        (node("127.0.0.1:4433"), "bootstraps does not go with difficulty: 127.0.0.1:4433 is no address"),
        (node("[fd00::1]:4433"), "bootstraps does not go with difficulty: [fd00::1]:4433 is no address"),
        (both, "advertise does not go with difficulty: 192.168.1.9:4433 is no address"),
        ("listen = \"10.0.0.7:0\"\n".to_owned(), "listen does not go with difficulty: 10.0.0.7:0 is no address"),
    ] {
        let file = |difficulty: u8| format!("network = \"{ID}\"\ndifficulty = {difficulty}\n{addresses}");
        let said = Sources::new().file(&file(8)).refused();
        assert!(said.contains(named) && said.contains("set difficulty = 0 at every node"), "{said}");
        assert!(Sources::new().file(&file(0)).gather().is_ok(), "{addresses}");
    }
    // Behind a router a relay listens at an address that it does not tell.
    let routed = "listen = \"192.168.1.9:4433\"\nadvertise = \"20.1.0.1:4433\"\n".to_owned();
    let given = "listen = \"20.1.0.1:0\"\n".to_owned();
    for fine in [node("20.1.0.1:4433"), node("[2600::1]:4433"), routed, given] {
        assert!(Sources::new().file(&format!("difficulty = 8\nnetwork = \"{ID}\"\n{fine}")).gather().is_ok(), "{fine}");
    }
}

#[test]
fn a_file_that_is_no_file_of_settings_is_refused() {
    let mut sources = Sources::new();
    sources.given.config = Some(sources.folder.path().to_owned());
    assert!(sources.refused().contains("directory"));
    sources.given.config = Some("/nonexistent/config.toml".into());
    assert!(sources.refused().starts_with("/nonexistent/config.toml: "));
    let long = format!("# {}", "x".repeat(CONFIG_LEN_MAX));
    assert!(Sources::new().file(&long).refused().contains("not a file of settings"));
}

#[test]
fn without_a_home_there_is_no_state_and_nothing_goes() {
    let none = |_: &str| None;
    let refused = Settings::from_sources(&Given::default(), &BTreeMap::new(), &none);
    assert!(matches!(refused, Err(SettingsError::NoHome)));
    let xdg = |name: &str| (name == "XDG_STATE_HOME").then(|| PathBuf::from("/somewhere"));
    let settings = Settings::from_sources(&Given::default(), &BTreeMap::new(), &xdg).unwrap();
    assert_eq!(settings.state, Path::new("/somewhere/bauta"));
}

#[test]
fn a_path_in_a_file_is_seen_from_that_file() {
    let sources = Sources::new().file("state = \"client\"");
    assert_eq!(sources.gather().unwrap().state, sources.folder.path().join("client"));
    assert!(matches!(sources.gather().unwrap().network(), Err(SettingsError::Missing { key: "network", .. })));
    assert!(matches!(sources.gather().unwrap().bootstraps(), Err(SettingsError::Missing { key: "bootstraps", .. })));
}
