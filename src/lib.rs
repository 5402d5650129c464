//! The rooms of ipvsd; docs/architecture.md has the map. A room uses only rooms above it in this list.

pub mod config;
pub mod core;
pub mod health;
pub mod kernel;
pub mod nft;
