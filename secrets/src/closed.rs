//! What no flag opens: places that belong to Millrace, to the identity of its process or its machine, or to
//! the kernel.

use std::fs;
use std::io::Read as _;
use std::path::{Component, Path};

use millrace_model::NamedFile;
use rustix::fs::{Mode, OFlags, open};

use crate::place::real;
use crate::rule::SecretRule;

/// The places that a rule never opens.
pub(crate) struct Closed<'a> {
    pub(crate) rule: &'a SecretRule,
}

/// Where container engines and Kubernetes mount secrets, of which some are not meant for documents.
/// `/var/run` is `/run` on most systems.
const MOUNTED: &[&str] = &["/run/secrets", "/var/run/secrets"];
/// Where Kubernetes and clouds put the tokens of a pod's own service account, below [`MOUNTED`].
const SERVICE_ACCOUNTS: &[&str] = &[
    "kubernetes.io",
    "eks.amazonaws.com",
    "pods.eks.amazonaws.com",
    "azure/tokens",
    "tokens",
    "workload-spiffe-credentials",
];
/// The name of the folder with such a token in OpenShift and at Google, whatever lies above it.
const SERVICE_ACCOUNT: &str = "serviceaccount";
/// Where Red Hat's container engines put the subscription of the machine, below [`MOUNTED`].
const SUBSCRIPTION: &[&str] = &["etc-pki-entitlement", "rhsm"];
/// Where the kernel shows itself and processes as regular files.
const KERNEL: &[&str] = &["/proc", "/sys"];
/// The beginning of the file `FORMAT` in each data folder.
const FORMAT: &[u8] = b"millrace data ";

const DATA: &str = "the data folder of Millrace";

// === impl Closed ===

impl Closed<'_> {
    /// The owner of a place that is never open.
    pub(crate) fn owner_of(&self, named: &NamedFile, place: &Path) -> Option<&'static str> {
        let is = |closed: &Path| is_below(place, closed);
        let kernel = |path: &Path| KERNEL.iter().any(|folder| is_below(path, Path::new(folder)));
        if self.rule.data.iter().any(|folder| is(folder)) {
            Some(DATA)
        } else if self.rule.identities.iter().any(|file| is(file)) {
            Some("an identity of this process")
        // The target of such a link would tell what the process has open.
        } else if kernel(place) || kernel(&named.path) {
            Some("the kernel")
        } else {
            MOUNTED.iter().find_map(|mounted| mounted_owner(mounted, place))
        }
    }
}

/// The owner, if the place lies in a data folder of Millrace that the rule does not know: another role's.
/// Blocking.
pub(crate) fn data_around(place: &Path) -> Option<&'static str> {
    let is_data = |folder: &Path| is_format(&folder.join("FORMAT"));
    place.ancestors().skip(1).any(is_data).then_some(DATA)
}

/// The owner of a place below a mount of secrets, unless it is open to documents.
fn mounted_owner(mounted: &str, place: &Path) -> Option<&'static str> {
    let mounted = Path::new(mounted);
    let below = place
        .strip_prefix(mounted)
        .or_else(|_| place.strip_prefix(real(mounted)));
    let below = below.ok()?;
    let is_any = |folders: &[&str]| folders.iter().any(|folder| below.starts_with(folder));
    let is_account = |part: Component<'_>| part.as_os_str() == SERVICE_ACCOUNT;
    if is_any(SERVICE_ACCOUNTS) || below.components().any(is_account) {
        Some("the service account of this pod")
    } else if is_any(SUBSCRIPTION) {
        Some("the subscription of this machine")
    } else {
        None
    }
}

fn is_below(place: &Path, folder: &Path) -> bool {
    place.starts_with(folder) || place.starts_with(real(folder))
}

fn is_format(path: &Path) -> bool {
    // Opening a pipe would otherwise wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let is_file = fs::symlink_metadata(path).is_ok_and(|about| about.is_file());
    let Some(opened) = is_file.then(|| open(path, flags, Mode::empty()).ok()).flatten() else {
        return false;
    };
    let mut begins = [0; FORMAT.len()];
    let read = fs::File::from(opened).read_exact(&mut begins);
    read.is_ok() && begins == FORMAT
}
