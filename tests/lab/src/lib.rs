//! The network and the machine in which ipvsd is tested.
//!
//! A test builds a [`Network`] of namespaces, starts [`Echo`] servers and a [`Daemon`] in it, sends traffic with
//! [`Burst`] or [`Stream`], watches with a [`Capture`], and reads the kernel with [`reading`]. Its executable has
//! `harness = false` and `fn main() -> ExitCode { lab::suite(vec![lab::case("name", test), …]) }`.
//! `tests/run` (the binary of this package) gives it a kernel with IPVS.

mod agent;
mod capture;
mod daemon;
mod native;
mod netns;
mod network;
mod packet;
mod process;
pub mod reading;
mod suite;
mod traffic;
mod udp;

pub use agent::{Answer, Echo, EchoSpec, Received, agent_main};
pub use capture::Capture;
pub use daemon::Daemon;
pub use native::{can_run, in_vm};
pub use netns::Netns;
pub use network::{Family, Network, Side, vip};
pub use packet::{Checksum, Packet};
pub use process::Process;
pub use suite::{case, case_in_vm, suite, wait_until};
pub use traffic::{Answered, Burst, Flow, Reply, Running, Stream};
