//! `ipvsd validate`.

use std::path::Path;
use std::process::ExitCode;

pub fn main(path: &Path) -> ExitCode {
    match super::load(path) {
        Ok(loaded) => {
            for note in &loaded.notes {
                super::say(std::io::stderr(), &format!("{note}\n"));
            }
            let services = loaded.config.services.len();
            let servers: usize = loaded.config.services.iter().map(|service| service.servers.len()).sum();
            let (file, services) = (path.display(), super::counted(services, "service"));
            let said = format!("{file} is valid: {services}, {}\n", super::counted(servers, "server"));
            super::say(std::io::stdout(), &said);
            ExitCode::SUCCESS
        }
        Err(status) => status,
    }
}
