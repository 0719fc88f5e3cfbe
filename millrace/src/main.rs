//! The one executable. [`cli`] reads the command line; `run`, `sources` and `dev` serve, each of them a
//! [`role`]; everything else asks or checks.

mod cli;
mod dev;
mod reasons;
mod role;
mod run;
mod sources;

/// A request costs some allocations of a few KiB each (hyper's table of 256 headers is one), for which the
/// system's allocator takes a quarter more of the processor's time for a whole event than this one; see
/// `docs/operations/performance.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    use_small_pages();
    cli::main()
}

/// Memory in pages of 4 KiB: the allocator asks for pages of 2 MiB, which takes 9 MiB more when idle and 50
/// MiB more under load, and is not faster here. Where the system does not have the choice, it stays as it is.
fn use_small_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
