//! The command line: one file a subcommand. Exit status 0 done, 1 failed, 2 usage or config error;
//! `plan` 3 there are changes, and 1 with a config that is wrong, too.

mod ask;
mod doctor;
mod explain;
mod flush;
mod import;
mod operate;
mod plan;
mod reload;
mod run;
mod status;
mod table;
mod validate;
mod watch;
mod words;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::config::{self, LoadError, Loaded};
use crate::logging::Format;

/// A UDP load balancer on Linux IPVS: every datagram is scheduled on its own, dead servers get none,
/// and every reply comes from the address that the client asked.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the services of the config in the foreground.
    ///
    /// SIGTERM ends it and leaves the kernel forwarding, unless the config says `on_stop = "remove"`.
    /// SIGHUP, as `ipvsd reload`, reads the config again.
    Run {
        #[command(flatten)]
        file: ConfigFile,
        /// The log as lines for people, or as JSON; without it, with fields to the journal of systemd if standard error is that.
        #[arg(long, value_name = "FORMAT")]
        log: Option<Format>,
    },
    /// Say what `run` would change, the kernel against the config, and change nothing.
    ///
    /// Exit status 0 nothing, 3 something, 1 that cannot be said, with a bad config for one.
    ///
    /// Without `--config` the running daemon is asked, which needs no privilege; if none runs, the default config is taken.
    Plan {
        /// The config, not that of the running daemon; one whose name ends in `.conf` is a keepalived.conf.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show how services and servers stand: weight, verdict and why, as the running daemon knows it.
    Status {
        /// This service only.
        service: Option<String>,
        /// As JSON.
        #[arg(long, conflicts_with = "check")]
        json: bool,
        /// Say nothing if every service has its minimum of servers up; otherwise, or if no daemon runs, exit with 1.
        ///
        /// For keepalived's track_script, anycast-healthchecker, exabgp and their like.
        #[arg(long)]
        check: bool,
    },
    /// Say why a server, or each server of a service, has the weight that it has, and what happened to it.
    Explain {
        /// The service.
        service: String,
        /// This server only: its address, with the port where there are several.
        server: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the same live, with what changes, and keys to drain, undrain and weigh servers.
    Watch {
        /// This service only.
        service: Option<String>,
    },
    /// Take the weight from a server, over reloads and restarts, until `undrain`.
    Drain {
        #[command(flatten)]
        server: operate::Server,
        #[command(flatten)]
        terms: operate::Terms,
    },
    /// Take back `drain` or `weight`: the config's weight again, if its checks agree.
    Undrain {
        #[command(flatten)]
        server: operate::Server,
    },
    /// Give a server another weight than the config's, over reloads and restarts, until `undrain`.
    Weight {
        #[command(flatten)]
        server: operate::Server,
        /// Its weight when it is up; 0 is `drain`.
        #[arg(value_parser = clap::value_parser!(u32).range(..=i32::MAX as i64))]
        weight: u32,
        #[command(flatten)]
        terms: operate::Terms,
    },
    /// Find why it does not work, and say what to do.
    ///
    /// Reads the config and the kernel, whether a daemon runs or not, and changes nothing without `--probe`. Exit status 0
    /// nothing found, 1 something found or a probe that could not be made, 2 usage or config error.
    Doctor(doctor::Options),
    /// Let the running daemon read its config again, and wait until it has.
    ///
    /// If anything is wrong with it, the running config goes on, and all that is wrong is said here.
    Reload,
    /// Say all that is wrong with the config, and change nothing.
    #[command(visible_alias = "check")]
    Validate(ConfigFile),
    /// Print a keepalived.conf as ipvsd.toml, and what differs and why on standard error.
    ///
    /// Exit status 0 all is taken, 2 something is refused: what is printed then lacks it.
    Import {
        /// The keepalived.conf.
        file: PathBuf,
        /// What `nft -j list ruleset` or `iptables-save` has printed: say which of its rules ipvsd makes unnecessary.
        #[arg(long, value_name = "FILE")]
        ruleset: Option<PathBuf>,
        /// All as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove from the kernel the services of the config and the reply rules, and nothing else.
    Flush(ConfigFile),
}

const DEFAULT_CONFIG: &str = "/etc/ipvsd/ipvsd.toml";

#[derive(Args)]
struct ConfigFile {
    /// The config; one whose name ends in `.conf` is a keepalived.conf.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

/// The command line, for those who write about it: man pages, completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command that the process was given.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { file, log } => run::main(&file.config, log),
        Command::Plan { config, json } => plan::main(config.as_deref(), json),
        Command::Status { service, json, check } => status::main(service.as_deref(), json, check),
        Command::Explain { service, server, json } => explain::main(&service, server.as_deref(), json),
        Command::Watch { service } => watch::main(service.as_deref()),
        Command::Drain { server, terms } => operate::drain(&server, &terms),
        Command::Undrain { server } => operate::undrain(&server),
        Command::Weight { server, weight, terms } => operate::weight(&server, weight, &terms),
        Command::Doctor(options) => doctor::main(&options),
        Command::Reload => reload::main(),
        Command::Validate(file) => validate::main(&file.config),
        Command::Import { file, ruleset, json } => import::main(&file, ruleset.as_deref(), json),
        Command::Flush(file) => flush::main(&file.config),
    }
}

const FAILED: u8 = 1;
const BAD_CONFIG: u8 = 2;
const CHANGES: u8 = 3;

/// The config, its warnings printed; or its errors, printed, as an exit status.
fn load(path: &Path) -> Result<Loaded, ExitCode> {
    let colour = std::io::stderr().is_terminal();
    match config::load(path) {
        Ok(loaded) => {
            say(std::io::stderr(), &loaded.warnings.render(colour));
            Ok(loaded)
        }
        Err(error) => {
            match error {
                LoadError::Invalid(report) => say(std::io::stderr(), &report.render(colour)),
                LoadError::Read { .. } => say(std::io::stderr(), &format!("ipvsd: {error}\n")),
            }
            Err(ExitCode::from(BAD_CONFIG))
        }
    }
}

/// Writes a text. Whether anybody reads it (`ipvsd validate 2>&1 | head`) changes neither the work nor the status.
fn say(mut to: impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes());
}

/// The columns of the terminal; no limit where there is none.
fn width() -> usize {
    terminal_size::terminal_size().map_or(usize::MAX, |(width, _)| width.0.into())
}

/// For futures that run on this thread.
fn runtime() -> Result<Runtime, ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        eprintln!("ipvsd: cannot start the runtime: {error}");
        ExitCode::from(FAILED)
    })
}

/// Runs a future to its end, logging.
fn block_on(work: impl Future<Output = Result<(), crate::daemon::Refusal>>) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(status) => return status,
    };
    let done = runtime.block_on(work);
    // A thread that reads a file may never end.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            for line in refusal.to_string().lines() {
                tracing::error!("{line}");
            }
            ExitCode::from(FAILED)
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
