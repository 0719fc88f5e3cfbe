//! The one executable. [`cli`] reads the command line; `run` and `dev` serve, everything else asks or checks.

mod cli;
mod dev;
mod run;

fn main() -> std::process::ExitCode {
    cli::main()
}
