//! Tokens by which a cluster vouches for its ServiceAccounts. Who can ask the cluster is somebody else: only
//! the question stands here.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use millrace_model::auth::AccountToken;

/// A cluster that gives out tokens of its ServiceAccounts.
#[async_trait]
pub trait AccountTokens: Send + Sync + fmt::Debug {
    /// A new token. The caller's deadline bounds it.
    ///
    /// # Errors
    /// A sentence that says why there is none, and repeats no secret.
    async fn issue(&self, wanted: &AccountToken) -> Result<Issued, String>;
}

/// A token that was given out.
#[derive(Clone)]
pub struct Issued {
    /// The token.
    pub token: Box<[u8]>,
    /// How long it is valid from now on.
    pub lifetime: Duration,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lifetime = &self.lifetime;
        f.debug_struct("Issued")
            .field("lifetime", lifetime)
            .finish_non_exhaustive()
    }
}
