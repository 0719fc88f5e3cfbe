//! The one executable. [`cli`] reads the command line; `run`, `sources` and `dev` serve, everything else asks or checks.

mod cli;
mod dev;
mod run;
mod sources;

/// A request costs some allocations of a few KiB each (hyper's table of 256 headers is one), for which the system's
/// allocator takes a quarter more of the processor's time for a whole event than this one; see
/// `docs/operations/performance.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
