//! The directory that outlives a run: kernels and guest roots, made once, shared by all checkouts of a user.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::fcntl::{Flock, FlockArg};

/// `${XDG_CACHE_HOME:-$HOME/.cache}/ipvsd-lab`, created if need be.
pub fn dir() -> Result<PathBuf, String> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(std::env::var_os("HOME").ok_or("neither HOME nor XDG_CACHE_HOME is set")?)
            .join(".cache"),
    };
    let dir = base.join("ipvsd-lab");
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(dir)
}

/// Waits until no other run prepares anything in `dir`; the lock ends with the value.
pub fn lock(dir: &Path) -> Result<Flock<File>, String> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((file, _)) => {
            println!("waiting for another run that prepares the VM");
            Flock::lock(file, FlockArg::LockExclusive)
                .map_err(|(_, errno)| format!("{}: {errno}", path.display()))
        }
    }
}

/// Makes the directory `path` by filling a new one beside it, and renames it when it is whole.
pub fn make(path: &Path, what: &str, fill: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), String> {
    let start = Instant::now();
    println!("preparing {what} (once)");
    let new = path.with_added_extension("new");
    let said = |error: std::io::Error| format!("{}: {error}", new.display());
    if new.exists() {
        fs::remove_dir_all(&new).map_err(said)?;
    }
    fs::create_dir_all(&new).map_err(said)?;
    fill(&new)?;
    fs::rename(&new, path).map_err(said)?;
    println!("   {:.0} s", start.elapsed().as_secs_f32());
    Ok(())
}

/// Runs a command to its end; its output is shown only in the error.
pub fn run(command: &mut std::process::Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        return Err(format!("{name} failed ({}): {}", output.status, last.join("; ")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
