//! That this process talks to nobody but itself: every socket that it holds is bound to loopback. Linux alone; elsewhere it says
//! that nothing was checked. It knows no network.

use std::collections::BTreeSet;
use std::fs::{read_dir, read_link, read_to_string};
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};

/// # Errors
/// When a socket of this process is bound to anything else, or the system's tables cannot be read.
pub(crate) fn only() -> Result<()> {
    if !cfg!(target_os = "linux") {
        eprintln!("  sockets: not checked on this system");
        return Ok(());
    }
    let own = inodes()?;
    let mut count = 0_usize;
    for table in ["tcp", "udp", "tcp6", "udp6"] {
        // A system without IPv6 has no table of it.
        let Ok(text) = read_to_string(format!("/proc/self/net/{table}")) else { continue };
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (local, inode) = (fields.get(1).context("a local address")?, fields.get(9).context("an inode")?);
            if own.contains(*inode) {
                let ip = local.split(':').next().unwrap_or_default();
                ensure!(is_loopback(ip), "{table}: a socket is bound to {local}, which is not loopback");
                count += 1;
            }
        }
    }
    ensure!(count > 0, "no socket of this process was found: the check has seen nothing");
    eprintln!("  sockets: {count}, all bound to loopback");
    Ok(())
}

/// Sockets that this process has open.
fn inodes() -> Result<BTreeSet<String>> {
    let links = read_dir("/proc/self/fd")?.flatten().filter_map(|entry| read_link(entry.path()).ok());
    let inode = |link: std::path::PathBuf| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    Ok(links.filter_map(inode).collect())
}

/// An address as the kernel's tables write it: words of this machine's byte order, in hexadecimal.
fn is_loopback(hex: &str) -> bool {
    let v4 =
        |word: &str| u32::from_str_radix(word, 16).is_ok_and(|word| Ipv4Addr::from(word.to_ne_bytes()).is_loopback());
    match hex.len() {
        8 => v4(hex),
        32 => hex.starts_with("0000000000000000FFFF0000").then(|| &hex[24..]).is_some_and(v4),
        _ => false,
    }
}
