//! Who calls, and what they may do: one place for both listeners.
//!
//! The files follow a request. What it shows is read from its head ([`credentials`]), before a byte of its
//! body. Each way to prove who one is implements [`Authenticate`]; today these are the [`token`]s and
//! certificates of an access file ([`mod@file`]), and tokens of the `issuers` that it names ([`jwt`]). The
//! outcome is an [`identity`] with its [`grants`], or a [`refusal`]. [`limits`] say how much it may send.
//! [`gate`] puts them together and is what the listeners ask; its file can be read again at any time.

pub mod credentials;
mod entry;
pub mod file;
pub mod gate;
pub mod grants;
pub mod identity;
mod issuers;
pub mod jwt;
pub mod limits;
mod origins;
pub mod refusal;
pub mod token;

pub use credentials::Shown;
pub use file::FileError;
pub use gate::{Authenticate, Gate};
pub use grants::{Grants, Role};
pub use identity::Identity;
pub use limits::{Counted, Load, Paid, TooMuch};
pub use refusal::{PolicyFault, Refusal};
pub use token::{Token, TokenHash};
