//! The reply rewrite: the tables `ip ipvsd` and `ip6 ipvsd` as a pure function of [`Rules`], what is found of them in
//! the kernel, the edits that lead from one to the other, and running `nft`.
//!
//! ```text
//! Rules ──ruleset──> Table (wanted) ──┐
//!                                     ├──edit──> Document ──run──> nft -j -f -
//! nft -j list ──listing──> Listing ───┘
//! nft -j list ruleset ──firewall──> findings: who would drop our packets
//! ```

mod counts;
mod document;
mod edit;
pub mod firewall;
mod listing;
mod refusals;
mod ruleset;
mod run;
mod statement;
mod table;

#[cfg(test)]
mod edit_tests;
#[cfg(test)]
mod kernel_tests;
#[cfg(test)]
mod packet_tests;
#[cfg(test)]
mod refusal_tests;

pub use document::Document;
pub use edit::edit;
pub use listing::Listing;
pub use run::{Error, Nft};
pub use table::{Family, NAME as TABLE};

#[cfg(doc)]
use crate::core::model::Rules;
