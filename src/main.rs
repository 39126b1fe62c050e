//! The `bauta` command.

use mimalloc::MiMalloc;

/// Cells have just over 2 KiB: the system's allocator takes them from a heap that all threads share, this one from one of their own.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    bauta::cli::main()
}
