//! Completions and man pages, made from the same definitions that parse the command line.

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;

use super::output::say;
use super::{Arguments, Said, files};

/// What `completions` takes.
#[derive(clap::Args)]
pub(super) struct CompletionsArguments {
    /// For which shell.
    shell: Shell,
}

/// What `man` takes.
#[derive(clap::Args)]
pub(super) struct ManArguments {
    /// The folder, made if it is not there; pages of the same names in it are replaced.
    folder: PathBuf,
}

/// Prints the completions.
pub(super) fn completions(arguments: &CompletionsArguments) -> anyhow::Result<Said> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "bauta", &mut script);
    let (shell, script) = (arguments.shell.to_string(), String::from_utf8(script)?);
    Ok(Said::default().line(script.trim_end()).with("shell", shell).with("script", script))
}

/// Writes a page for each command.
pub(super) fn pages(arguments: &ManArguments) -> anyhow::Result<Said> {
    std::fs::create_dir_all(&arguments.folder)
        .map_err(|why| files::FileError::Write(arguments.folder.display().to_string(), why))?;
    let mut command = Arguments::command();
    // Each command's own name is then `bauta-get`, as its page is called.
    command.build();
    let written = page(&command, &arguments.folder)?;
    say(&format!("{written} pages in {}", arguments.folder.display()));
    Ok(Said::default().with("pages", written).with("folder", arguments.folder.display().to_string()))
}

fn page(command: &clap::Command, folder: &Path) -> anyhow::Result<usize> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut bytes = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).render(&mut bytes)?;
    files::write(&folder.join(format!("{name}.1")), &bytes, true)?;
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    below.map(|below| page(below, folder)).try_fold(1, |sum, written| written.map(|written| sum + written))
}
