//! `ipvsd validate`.

use std::path::Path;
use std::process::ExitCode;

pub fn main(path: &Path) -> ExitCode {
    match super::load(path) {
        Ok(loaded) => {
            let services = loaded.config.services.len();
            let servers: usize = loaded.config.services.iter().map(|service| service.servers.len()).sum();
            println!(
                "{} is valid: {}, {}",
                path.display(),
                super::counted(services, "service"),
                super::counted(servers, "server")
            );
            ExitCode::SUCCESS
        }
        Err(status) => status,
    }
}
