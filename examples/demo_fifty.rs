//! Runs the real `bauta demo` fifty times, each time with another seed and another file, and says how often it held and how
//! long it took. First `cargo build --release`, then `cargo run --release --example demo_fifty [TIMES]`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "an experiment for a terminal"
)]
#![allow(clippy::disallowed_methods, reason = "it is about how long things take")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// Names and sizes, in turn.
const FILES: [(&str, usize); 10] = [
    ("empty", 0),
    ("one byte", 1),
    ("kibibyte", 1 << 10),
    ("below a chunk", 63 << 10),
    ("a chunk", 64 << 10),
    ("above a chunk", 65 << 10),
    ("mebibyte", 1 << 20),
    ("twenty", 20 << 20),
    ("ein Name mit Lücken – и буквы", 5_000),
    ("大きさ (2) #&'\".tar.gz", 70_000),
];

fn main() {
    let times: usize = std::env::args().nth(1).map_or(50, |times| times.parse().unwrap());
    let binary: PathBuf = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("bauta");
    let folder = tempfile::tempdir().unwrap();
    for (name, len) in FILES {
        let content: Vec<u8> = (0..len).map(|at| u8::try_from((at * 31 + at / 255) % 256).unwrap()).collect();
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let (mut held, mut all) = (0, Vec::new());
    for run in 0..times {
        let (name, len) = FILES[run % FILES.len()];
        let seed = (1_000 + run).to_string();
        let start = Instant::now();
        let output = Command::new(&binary)
            .args(["demo", "--json", "--seed", &seed])
            .arg(folder.path().join(name))
            .output()
            .expect("build the binary first: cargo build --release");
        let took = start.elapsed().as_secs_f64();
        if output.status.success() {
            held += 1;
        } else {
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            println!("seed {seed}, {name} ({len} bytes): {}\n{err}\n{out}", output.status);
        }
        all.push((len, took));
        println!("{run:>3}  {took:>6.2} s  {len:>9} bytes  {name}");
    }
    println!("{held} of {times} held");
    show("all", all.iter().map(|(_, took)| *took).collect());
    show("up to 1 MiB", all.iter().filter(|(len, _)| *len <= 1 << 20).map(|(_, took)| *took).collect());
    show("20 MiB", all.iter().filter(|(len, _)| *len > 1 << 20).map(|(_, took)| *took).collect());
    std::process::exit(i32::from(held != times));
}

fn show(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    if let (Some(least), Some(most)) = (times.first(), times.last()) {
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        println!("{what}: least {least:.2} s, median {:.2} s, 90 % {:.2} s, most {most:.2} s", at(50), at(90));
    }
}
