//! The real `bauta`, as somebody at a shell has it: a home of their own, commands that end, networks that are ended with the
//! test that started them. It must not know what any test wants to see.
#![allow(dead_code, reason = "each test file and example uses its own part of it")]

pub(crate) mod round_trip;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Whoever waits longer has failed. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at what another process does.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Loopback networks of users: second byte of the first, and how many there are.
const USER_NETS: (u8, u8) = (221, 30);

/// Where the program is: cargo tells tests; beside the folder of examples otherwise.
pub(crate) fn program() -> PathBuf {
    if let Some(path) = option_env!("CARGO_BIN_EXE_bauta") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(Path::parent).unwrap().join("bauta");
    assert!(path.exists(), "{} is missing: first `cargo build --release` (examples do not build it)", path.display());
    path
}

/// A child process, killed with this.
pub(crate) struct Running {
    child: Child,
    lines: Mutex<Receiver<String>>,
}

impl Running {
    /// Starts it; its standard output is read line by line.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines: Mutex::new(lines) }
    }

    /// The next line, `None` when there are no more.
    pub(crate) fn line(&self) -> Option<String> {
        match self.lines.lock().unwrap().recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("it says nothing"),
        }
    }

    /// Reads on to a line that begins so.
    pub(crate) fn line_with(&self, start: &str) -> String {
        let mut before = Vec::new();
        while let Some(line) = self.line() {
            if line.starts_with(start) {
                return line;
            }
            before.push(line);
        }
        panic!("it ended without saying {start:?}, but {before:?}")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.ended_within(PATIENCE)
    }

    /// The same, and no longer than so.
    pub(crate) fn ended_within(&mut self, time: Duration) -> ExitStatus {
        let lines = self.lines.get_mut().unwrap();
        loop {
            match lines.recv_timeout(time) {
                Ok(_) => (),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
                Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that it has ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// It ended so, and did not panic.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert!(!self.err.contains("panicked"), "{self:?}");
        assert_eq!(self.code, Some(code), "\n{}\n{}", self.out, self.err);
        self
    }

    /// It went well.
    #[track_caller]
    pub(crate) fn fine(self) -> Self {
        self.with(0)
    }

    /// One object alone on standard output, with the outcome that belongs to this exit code.
    #[track_caller]
    pub(crate) fn object(self, code: i32, outcome: &str) -> Value {
        let ended = self.with(code);
        assert_eq!(ended.out.lines().count(), 1, "{ended:?}");
        let object: Value = serde_json::from_str(&ended.out).unwrap_or_else(|why| panic!("{why}: {ended:?}"));
        assert!(object.is_object(), "{ended:?}");
        assert_eq!(
            (object["outcome"].as_str(), object["exit_code"].as_i64()),
            (Some(outcome), Some(code.into())),
            "{ended:?}"
        );
        if code != 0 {
            assert!(object["error"].as_str().is_some_and(|error| ended.err.contains(error)), "{ended:?}");
        }
        object
    }

    /// The object of a command that went well.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        self.object(0, "done")
    }

    /// Its only line of result.
    #[track_caller]
    pub(crate) fn alone(self) -> String {
        let ended = self.fine();
        let mut lines = ended.out.lines();
        match (lines.next(), lines.next()) {
            (Some(line), None) => line.to_owned(),
            _ => panic!("not one line: {ended:?}"),
        }
    }
}

/// Waits until something that another process does has come about.
pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    // Looks, then lets others run: a bound of looks is a bound of time.
    let (_tell, never) = channel::<()>();
    let looks = PATIENCE.as_millis() / LOOK_EVERY.as_millis();
    for _ in 0..looks {
        if is_so() {
            return;
        }
        let _ = never.recv_timeout(LOOK_EVERY);
    }
    panic!("it never came");
}

/// Runs a command to its end, with this on its standard input.
pub(crate) fn run_with(command: &mut Command, input: &[u8]) -> Ended {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, err, mut stdin) =
        (child.stdout.take().unwrap(), child.stderr.take().unwrap(), child.stdin.take().unwrap());
    let (_, no_lines) = channel();
    let mut running = Running { child, lines: Mutex::new(no_lines) };
    let (out, err) = (read_all(out), read_all(err));
    // Whoever reads nothing closes it early.
    let _ = stdin.write_all(input);
    drop(stdin);
    let bytes = out.recv_timeout(PATIENCE).expect("it hangs");
    let err = err.recv_timeout(PATIENCE).expect("it hangs");
    let code = running.child.wait().unwrap().code();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code, out: text(&bytes), err: text(&err), bytes }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    run_with(command, b"")
}

fn read_all(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        let _ = tell.send(bytes);
    });
    told
}

/// Somebody at a shell: a home, with files and a file of settings at the usual place.
pub(crate) struct User {
    home: TempDir,
}

impl User {
    /// Whose file of settings says this; state is at the usual place.
    pub(crate) fn with(settings: &str) -> Self {
        let user = Self { home: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(user.config().parent().unwrap()).unwrap();
        std::fs::write(user.config(), settings).unwrap();
        user
    }

    /// Without any settings.
    pub(crate) fn nobody() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path(".config/bauta/config.toml")
    }

    /// The state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.path(".local/state/bauta")
    }

    /// A file of the state directory, in the folder of the one network that it knows.
    pub(crate) fn state_file(&self, name: &str) -> PathBuf {
        let folders = std::fs::read_dir(self.state()).unwrap().map(|entry| entry.unwrap());
        let mut networks = folders.filter(|entry| entry.file_name() != "keys" && entry.path().is_dir());
        networks.next().expect("a network was joined").path().join(name)
    }

    /// A path in the home.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file; its name serves as an argument.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        std::fs::write(self.path(name), content).unwrap();
        name.to_owned()
    }

    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
    }

    /// The program in this home, with nothing else of the environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        self.at_home(&mut command).args(arguments);
        command
    }

    /// Any program there.
    pub(crate) fn at_home<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env_clear().env("HOME", self.home.path()).env("PATH", "/usr/bin:/bin").current_dir(self.home.path())
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        run(&mut self.command(arguments))
    }

    /// The same with input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Ended {
        run_with(&mut self.command(arguments), input)
    }

    /// The same with a variable of the environment.
    pub(crate) fn run_where(&self, variable: (&str, &str), arguments: &[&str]) -> Ended {
        run(self.command(arguments).env(variable.0, variable.1))
    }

    /// Every file of the state directory, as it is now.
    pub(crate) fn snapshot(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut files, mut folders) = (Vec::new(), vec![self.state()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path)
                } else {
                    files.push((path.clone(), std::fs::read(path).unwrap()))
                }
            }
        }
        files.sort();
        files
    }
}

/// `bauta devnet`, ended with this.
pub(crate) struct Devnet {
    running: Running,
    folder: TempDir,
}

impl Devnet {
    /// Returns once it is ready.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(program());
        command.env_clear().env("HOME", folder.path()).current_dir(folder.path()).stdin(Stdio::null()).stderr(log);
        command.args(["devnet", "--dir", "net"]).args(arguments);
        let devnet = Self { running: Running::start(&mut command), folder };
        match devnet.running.line().as_deref() {
            Some("ready") => devnet,
            other => panic!("{other:?} instead of ready\n{}", devnet.log()),
        }
    }

    /// One for all tests of a file that run at the time; it ends with the last of them.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Devnet>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let started = Arc::new(Self::start(&[]));
        *shared = Arc::downgrade(&started);
        started
    }

    /// Where it writes.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("net")
    }

    /// What it said on standard error.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub(crate) fn running(&mut self) -> &mut Running {
        &mut self.running
    }

    /// A user of this network, in a loopback network of their own.
    pub(crate) fn user(&self) -> User {
        User::with(&of_one_user(&std::fs::read_to_string(self.folder().join("client.toml")).unwrap()))
    }
}

/// The same settings for one of many users: the usual state directory, an own address.
pub(crate) fn of_one_user(settings: &str) -> String {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    let net = USER_NETS.0 + COUNT.fetch_add(1, Ordering::Relaxed) % USER_NETS.1;
    let kept = settings.lines().filter(|line| !line.starts_with("state ="));
    let own =
        kept.map(
            |line| if line.starts_with("bind =") { format!("bind = \"127.{net}.0.1\"\n") } else { format!("{line}\n") },
        );
    own.collect()
}

/// Bytes of a size, others for each seed.
pub(crate) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = move || -> u8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}
