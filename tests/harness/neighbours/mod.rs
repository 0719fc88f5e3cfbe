//! Two tenants share a mesh: an honest one, and one that attacks it as a row of the table describes.
//!
//! [`Row`] is the table, [`Neighbours`] a mesh for one row, [`Traffic`] what the honest tenant does
//! meanwhile, [`Underway`] what the hostile one does. The suite `neighbours` counts what becomes of the
//! traffic. The benchmark of that name runs the same rows and measures times. The mesh sees the tenants as
//! two peers: they connect from different addresses of this machine.

mod felt;
mod holds;
mod honest;
mod posts;
mod rows;
mod subscribers;
mod traffic;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::documents::Documents;
use crate::mesh::{Mesh, Setup};
use crate::{descriptors, wait_until};

use self::felt::Counts;
use self::rows::Attack;

pub use self::felt::Felt;
pub use self::honest::Honest;
pub use self::rows::Row;
pub use self::traffic::{Outcome, Traffic};

/// The address from which the hostile tenant connects. The honest one uses the address that the system
/// chooses: 127.0.0.1.
const HOSTILE_PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A mesh with both tenants.
#[derive(Debug)]
pub struct Neighbours {
    mesh: Mesh,
    honest: Honest,
    attack: Attack,
}

/// The attack under way. Dropping it ends it.
#[derive(Debug)]
pub struct Underway<'a> {
    neighbours: &'a Neighbours,
    counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

// === impl Neighbours ===

impl Neighbours {
    /// Starts a mesh for a row, in a folder of its own, or for a benchmark with its data at `place`. `None`,
    /// with a remark, if the attack is impossible on this machine and not required.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(row: Row, honest: Honest, place: Option<&Path>) -> anyhow::Result<Option<Self>> {
        descriptors::raise_our_own()?;
        let Some(attack) = row.attack()? else {
            return Ok(None);
        };
        let documents = honest.documents(&attack.terms).and(&attack.documents);
        let budget = format!("{}MiB", Row::BUDGET_MIB);
        let mut setup = Setup::new(documents.text())?.args(&["--memory-budget", &budget]);
        if let Some(place) = place {
            setup = setup.data(place).silent();
        }
        if let Some(volume) = &attack.volume {
            setup = setup.data(&volume.path().join("data"));
        }
        if let Some(names) = &attack.names {
            setup = names.around(setup)?;
        }
        if let Some(limit) = attack.descriptors {
            setup = setup.before(descriptors::at_most(limit));
        }
        let mesh = setup.start().await?;
        Ok(Some(Self { mesh, honest, attack }))
    }

    /// The mesh.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// The honest tenant.
    pub fn honest(&self) -> &Honest {
        &self.honest
    }

    /// Starts the honest tenant's traffic, on the runtime of the caller.
    pub fn traffic(&self) -> Traffic {
        Traffic::begin(&self.mesh, &self.attack.terms)
    }

    /// Starts the attack, on the runtime of the caller. Returns once it has reached the mesh.
    ///
    /// # Errors
    /// When it does not reach the mesh before the deadline.
    pub async fn attack(&self) -> anyhow::Result<Underway<'_>> {
        let counts = Arc::<Counts>::default();
        let mut tasks = JoinSet::new();
        for posts in &self.attack.posts {
            tasks.spawn(posts.run(&self.mesh, counts.clone()));
        }
        for hold in &self.attack.holds {
            hold.run(&self.mesh, &counts, &mut tasks);
        }
        let underway = Underway {
            neighbours: self,
            counts,
            _tasks: tasks,
        };
        if let Some(later) = &self.attack.later {
            underway
                .until("producers to be refused", |felt| felt.refused > 0)
                .await?;
            self.mesh.reload(self.all_documents(later).text()).await?;
        }
        let felt = self.attack.felt;
        underway.until("the attack to reach the mesh", felt).await?;
        Ok(underway)
    }

    /// Checks that the honest tenant felt nothing: everything was accepted, everything came once and at the
    /// first attempt, `/healthz` was answered each time, and nothing was parked.
    ///
    /// # Errors
    /// When it felt something.
    pub async fn is_unharmed(&self, outcome: &Outcome) -> anyhow::Result<()> {
        self.honest
            .is_unharmed(&self.mesh, &self.attack.terms, outcome)
            .await
    }

    fn all_documents(&self, hostile: &Documents) -> Documents {
        self.honest.documents(&self.attack.terms).and(hostile)
    }
}

// === impl Underway ===

impl Underway<'_> {
    /// Waits until the attack has lasted long enough for the mesh.
    ///
    /// # Errors
    /// When that does not happen before the deadline; with what the mesh feels.
    pub async fn lasts(&self) -> anyhow::Result<()> {
        self.until("the attack to last", self.neighbours.attack.lasted)
            .await
    }

    /// Checks that the attack still goes on: the mesh feels it, and the count that grows with it grows from
    /// now on.
    ///
    /// # Errors
    /// When that is not so before the deadline; the error tells what the mesh feels.
    pub async fn goes_on(&self) -> anyhow::Result<()> {
        let Attack { felt, grows, .. } = self.neighbours.attack;
        let then = self.felt().await?;
        let has_grown = |now: &Felt| grows.is_none_or(|count| count(now) > count(&then));
        self.until("the attack to go on", |now| felt(now) && has_grown(now))
            .await
    }

    /// What is visible of it.
    ///
    /// # Errors
    /// When the mesh does not answer.
    pub async fn felt(&self) -> anyhow::Result<Felt> {
        Felt::now(&self.neighbours.mesh, &self.neighbours.attack, &self.counts).await
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Felt) -> bool) -> anyhow::Result<()> {
        wait_until(what, || async {
            let felt = self.felt().await.context("asking what is felt")?;
            anyhow::ensure!(is_so(&felt), "{felt:?}");
            Ok(Some(()))
        })
        .await
    }
}
