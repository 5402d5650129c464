//! keepalived.conf of versions 2.0 to 2.4: read as keepalived reads it, with the place of everything.

mod finding;
mod outside;
mod place;
mod text;
mod tree;

pub use finding::{Finding, Rule, Severity};
pub use outside::{Machine, Outside};
pub use place::{At, Place, Sources};
