//! The memory that this process may use: that of its control group, or of the machine.

use std::fs;
use std::path::Path;

/// Assumed where nothing can be found out, as outside of Linux.
const UNKNOWN: u64 = 2 << 30;

/// Bytes of memory that the process may have.
pub(super) fn memory() -> u64 {
    at(Path::new("/"))
}

/// The same for a file system that begins here.
fn at(root: &Path) -> u64 {
    let machine = total(&text(&root.join("proc/meminfo"))).unwrap_or(UNKNOWN);
    let groups = text(&root.join("proc/self/cgroup"));
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        if controllers.is_empty() {
            lowest(&root.join("sys/fs/cgroup"), path, "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            lowest(&root.join("sys/fs/cgroup/memory"), path, "memory.limit_in_bytes")
        } else {
            None
        }
    });
    limits.fold(machine, u64::min)
}

/// The lowest limit from the group up to the root of the hierarchy: each holds for all below it. In a
/// container the path may be that of the machine, and only its root is visible.
fn lowest(hierarchy: &Path, group: &str, file: &str) -> Option<u64> {
    let group = Path::new(group.trim_start_matches('/'));
    group
        .ancestors()
        .filter_map(|group| text(&hierarchy.join(group).join(file)).trim().parse().ok())
        .min()
}

/// `MemTotal:  16384 kB`
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> u64 {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        at(root.path())
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       8192 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_lowest_limit_counts() {
        let group = |text| ("proc/self/cgroup", text);
        let v2 = group("0::/a/b\n");
        let v1 = group("5:cpu,cpuacct:/x\n4:memory:/docker/1\n");
        let cases: [(&[(&str, &str)], u64); 8] = [
            (&[], UNKNOWN),
            (&[MEMINFO], 8 << 20),
            (&[MEMINFO, v2, ("sys/fs/cgroup/a/b/memory.max", "max\n")], 8 << 20),
            (&[MEMINFO, v2, ("sys/fs/cgroup/a/b/memory.max", "1000\n")], 1000),
            (&[MEMINFO, v2, ("sys/fs/cgroup/a/memory.max", "2000\n")], 2000),
            // A container that sees only its own group, as the root.
            (&[MEMINFO, v2, ("sys/fs/cgroup/memory.max", "3000\n")], 3000),
            (
                &[
                    MEMINFO,
                    v1,
                    ("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "4000"),
                ],
                4000,
            ),
            // The value that version 1 uses for "no limit".
            (
                &[
                    MEMINFO,
                    v1,
                    (
                        "sys/fs/cgroup/memory/memory.limit_in_bytes",
                        "9223372036854771712",
                    ),
                ],
                8 << 20,
            ),
        ];
        for (files, expected) in cases {
            assert_eq!(machine(files), expected, "{files:?}");
        }
        let nested = [
            MEMINFO,
            v2,
            ("sys/fs/cgroup/a/b/memory.max", "5000"),
            ("sys/fs/cgroup/a/memory.max", "4000"),
        ];
        assert_eq!(machine(&nested), 4000);
    }
}
