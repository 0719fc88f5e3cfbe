//! Which process is to serve which partition: each computes the same from who is there.

use std::collections::{BTreeMap, BTreeSet};

/// The partitions of each member: as many for each as can be, the rest by chance that all share. When a
/// member comes or goes, few of the others' partitions move.
pub fn shares(members: &BTreeSet<String>, partitions: u32) -> BTreeMap<u32, String> {
    let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let mut shares = BTreeMap::new();
    if count == 0 {
        return shares;
    }
    let (least, mut extra) = (partitions / count, partitions % count);
    let mut loads: BTreeMap<&str, u32> = BTreeMap::new();
    for partition in 0..partitions {
        let has_room = |member: &&String| {
            let load = loads.get(member.as_str()).copied().unwrap_or(0);
            load < least || (load == least && extra > 0)
        };
        let best = members
            .iter()
            .filter(has_room)
            .max_by_key(|member| weight(member, partition));
        let Some(member) = best else {
            continue;
        };
        let load = loads.entry(member).or_default();
        if *load == least {
            extra -= 1;
        }
        *load += 1;
        shares.insert(partition, member.clone());
    }
    shares
}

/// How much a partition belongs to a member (FNV-1a, and then mixed).
fn weight(member: &str, partition: u32) -> u64 {
    let octets = member.bytes().chain(partition.to_be_bytes());
    let hash = octets.fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: u32) -> BTreeSet<String> {
        (0..count).map(|n| format!("member-{n}")).collect()
    }

    #[test]
    fn each_partition_has_one_member_and_no_member_has_two_more_than_another() {
        for count in 1..=7 {
            for partitions in [1, 2, 3, 8, 64] {
                let shares = shares(&members(count), partitions);
                assert_eq!(shares.len(), partitions as usize);
                let mut loads: BTreeMap<_, u32> = members(count).into_iter().map(|one| (one, 0)).collect();
                for member in shares.values() {
                    *loads.entry(member.clone()).or_default() += 1;
                }
                let (least, most) = (loads.values().min(), loads.values().max());
                assert!(
                    least.zip(most).is_some_and(|(least, most)| most - least <= 1),
                    "{loads:?}"
                );
            }
        }
        assert_eq!(shares(&members(0), 8), BTreeMap::new());
    }

    #[test]
    fn what_a_member_leaves_is_shared_and_the_rest_hardly_moves() {
        let before = shares(&members(3), 64);
        let mut rest = members(3);
        rest.remove("member-1");
        let after = shares(&rest, 64);
        let kept = before
            .iter()
            .filter(|(partition, member)| after[partition] == **member);
        assert!(kept.count() >= 32, "{before:?} {after:?}");
    }
}
