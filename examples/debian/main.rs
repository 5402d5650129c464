//! Packs what is built already as a Debian package: `[package.metadata.deb]` of Cargo.toml says what is in it. `examples/debian/build`
//! builds that and calls this.

use std::path::PathBuf;
use std::process::ExitCode;

use cargo_deb::compress::{CompressConfig, Format};
use cargo_deb::config::{BuildOptions, DebConfigOverrides};
use cargo_deb::listener::{Listener, NoOpListener};
use cargo_deb::{BuildProfile, CargoDeb, OutputPath};
use clap::Parser;

#[derive(Parser)]
struct Args {
    /// The profile that cargo has built
    #[arg(long, default_value = "release")]
    profile: String,
    /// The revision of the package: what follows the program's version
    #[arg(long, default_value = "1")]
    revision: String,
    /// The package, or the directory for it [default: target/debian]
    #[arg(long)]
    output: Option<PathBuf>,
    /// Compress less, in less time
    #[arg(long)]
    fast: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut overrides = DebConfigOverrides::default();
    overrides.deb_revision = Some(args.revision);
    let packed = CargoDeb {
        no_build: true,
        verbose: false,
        verbose_cargo_build: false,
        install: (false, false),
        deb_output: args
            .output
            .as_deref()
            .map(|path| OutputPath { path, is_dir: path.extension().is_none() }),
        compress_config: CompressConfig {
            fast: args.fast,
            compress_type: Format::Xz,
            compress_system: false,
            rsyncable: false,
        },
        options: BuildOptions {
            selected_package_name: Some("ipvsd"),
            overrides,
            build_profile: BuildProfile { profile_name: Some(args.profile), ..Default::default() },
            ..Default::default()
        },
    }
    .process(&Quiet);
    match packed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            NoOpListener.error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Says where the package is, and nothing else: the tests use a profile that cargo-deb warns of.
struct Quiet;

impl Listener for Quiet {
    fn warning(&self, _: String) {}
    fn info(&self, _: String) {}
}
