//! What a process has cost so far, as the kernel counts it.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// The processor time of a process, user and system together.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks(&stat).with_context(|| format!("not as proc(5) says: {stat}"))?;
    Ok(Duration::from_secs(1) * u32::try_from(ticks)?
        / u32::try_from(rustix::param::clock_ticks_per_second())?)
}

/// Fields 14 and 15; the second, the program's name, may itself hold spaces and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(") ")?;
    let mut fields = after.split(' ').skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// The memory that a process holds now, in MiB.
pub(crate) fn rss(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// The descriptors that a process has open, but for sockets.
pub(crate) fn files(pid: u32) -> anyhow::Result<usize> {
    let open = fs::read_dir(format!("/proc/{pid}/fd"))?;
    // One that is closed meanwhile leads nowhere.
    let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(targets
        .filter(|target| !target.to_string_lossy().starts_with("socket:"))
        .count())
}

/// The threads of a process.
pub(crate) fn threads(pid: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_a_strange_name() {
        assert_eq!(ticks("7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20"), Some(42));
    }

    #[test]
    fn this_process_costs_something() {
        assert!(cpu(std::process::id()).is_ok());
        assert!(rss(std::process::id()).expect("rss") > 0.5);
        assert!(threads(std::process::id()).expect("threads") > 0);
        assert!(files(std::process::id()).expect("files") > 0);
    }
}
