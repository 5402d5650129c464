//! The rooms of ipvsd; docs/architecture.md has the map.

pub mod admin;
mod apart;
pub mod cli;
pub mod command;
pub mod config;
pub mod core;
pub mod daemon;
pub mod doctor;
pub mod health;
pub mod keepalived;
pub mod kernel;
pub mod logging;
pub mod metrics;
pub mod nft;
mod pieces;
