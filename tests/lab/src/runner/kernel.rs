//! Kernels: a Debian kernel package, downloaded and unpacked into the cache; nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{cache, tool};

/// The versions that can be asked for, and the Debian suite that carries each.
const KERNELS: [(&str, &str); 4] =
    [("5.10", "bullseye"), ("6.1", "bookworm"), ("6.12", "trixie"), ("7.2", "sid")];

/// An unpacked kernel.
pub struct Kernel {
    dir: PathBuf,
    /// As `uname -r` says it.
    pub release: String,
}

impl Kernel {
    /// Finds a kernel of this version in the cache, or downloads it from the mirror.
    pub fn prepare(cache: &Path, version: &str, mirror: &str) -> Result<Kernel, String> {
        let (_, suite) = KERNELS.iter().find(|(known, _)| *known == version).ok_or_else(|| {
            format!("no kernel {version}: there are {}", KERNELS.map(|(known, _)| known).join(", "))
        })?;
        let prefix = format!("linux-{version}.");
        let cached = || {
            let names =
                fs::read_dir(cache).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names.filter(|name| name.starts_with(&prefix) && !name.ends_with(".new")).max()
        };
        let name = match cached() {
            Some(name) => name,
            None => {
                download(cache, version, suite, mirror)?;
                cached().ok_or_else(|| format!("no {prefix}* in {}", cache.display()))?
            }
        };
        let dir = cache.join(name);
        let modules = dir.join("lib/modules");
        let release = fs::read_dir(&modules)
            .ok()
            .and_then(|mut entries| entries.next()?.ok()?.file_name().into_string().ok())
            .ok_or_else(|| format!("{} is empty: remove {}", modules.display(), dir.display()))?;
        Ok(Kernel { dir, release })
    }

    /// The compressed kernel.
    pub fn image(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    /// All its modules, with modules.dep.
    pub fn modules(&self) -> PathBuf {
        self.dir.join("lib/modules").join(&self.release)
    }
}

/// apt with lists of its own, so that the machine's are left alone.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(state: &Path, mirror: &str, suite: &str) -> Result<Apt, String> {
        let sources = state.join("sources.list");
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        fs::create_dir_all(state.join("lists/partial"))
            .and_then(|()| fs::create_dir_all(state.join("cache/archives/partial")))
            .and_then(|()| fs::write(&sources, format!("deb [signed-by={keyring}] {mirror} {suite} main\n")))
            .map_err(|error| format!("{}: {error}", state.display()))?;
        let options = [
            format!("Dir::Etc::SourceList={}", sources.display()),
            "Dir::Etc::SourceParts=/dev/null".into(),
            format!("Dir::State::Lists={}", state.join("lists").display()),
            format!("Dir::Cache={}", state.join("cache").display()),
            // A suite that is no longer maintained is no longer re-signed either.
            "Acquire::Check-Valid-Until=false".into(),
            "APT::Architecture=amd64".into(),
            // The download directory belongs to this user, not to apt's.
            "APT::Sandbox::User=".into(),
        ];
        Ok(Apt { options: options.iter().flat_map(|option| ["-o".to_owned(), option.clone()]).collect() })
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = tool(program);
        command.args(&self.options).args(args);
        command
    }
}

/// The mirrors to try: a suite that has left the mirrors stays on the archive host of the same domain.
fn mirrors(mirror: &str) -> Vec<String> {
    let archive = mirror.replacen("://deb.", "://archive.", 1);
    if archive == mirror { vec![mirror.into()] } else { vec![mirror.into(), archive] }
}

fn download(cache: &Path, version: &str, suite: &str, mirror: &str) -> Result<(), String> {
    let work = tempfile::tempdir_in(cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    let mut failure = String::new();
    for mirror in mirrors(mirror) {
        let apt = Apt::new(work.path(), &mirror, suite)?;
        println!("asking for kernel {version} of Debian {suite}");
        match cache::run(&mut apt.command("apt-get", &["update", "--error-on=any"]))
            .and_then(|_| unpack(&apt, work.path(), cache, version))
        {
            Ok(()) => return Ok(()),
            Err(why) => failure = format!("{failure}kernel {version} from Debian {suite}: {why}. "),
        }
    }
    Err(failure)
}

/// Downloads the newest package of this version and lays it out as vmlinuz and lib/modules.
fn unpack(apt: &Apt, work: &Path, cache: &Path, version: &str) -> Result<(), String> {
    let escaped = version.replace('.', r"\.");
    // Not the cloud, rt, unsigned and debug variants: those have one more dash.
    let pattern = format!(r"^linux-(image|modules|binary|base)-{escaped}\.[^-]*(-[0-9]+)?-amd64$");
    let found = cache::run(&mut apt.command("apt-cache", &["search", "--names-only", &pattern]))?;
    let names: Vec<&str> = found.lines().filter_map(|line| line.split(' ').next()).collect();
    let numbers = |name: &&str| -> Vec<u32> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    let images = names.iter().copied().filter(|name| name.starts_with("linux-image-"));
    let image = images.max_by_key(numbers).ok_or("there is no such package any more")?;
    // In newer releases the image package is only a name, and the kernel and its modules are in others beside it.
    let part = |name: &&str| image.ends_with(name.trim_start_matches(|c: char| !c.is_ascii_digit()));
    let wanted: Vec<&str> = names.iter().copied().filter(part).collect();

    let show = cache::run(&mut apt.command("apt-cache", &["show", "--no-all-versions", image]))?;
    let package = show
        .lines()
        .find_map(|line| line.strip_prefix("Version: "))
        .filter(|package| package.starts_with(version) && !package.contains('/'))
        .ok_or("the package has no version")?;
    cache::make(&cache.join(format!("linux-{package}")), &format!("kernel {package}"), |new| {
        cache::run(apt.command("apt-get", &["download", "-q"]).args(&wanted).current_dir(work))?;
        let tree = work.join("tree");
        for entry in fs::read_dir(work).map_err(|error| error.to_string())?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "deb") {
                cache::run(tool("dpkg").arg("-x").arg(entry.path()).arg(&tree))?;
            }
        }
        lay_out(&tree, new)
    })
}

fn lay_out(tree: &Path, new: &Path) -> Result<(), String> {
    let said = |error: std::io::Error| format!("unpacking the kernel: {error}");
    let merged = tree.join("usr/lib/modules");
    let modules = if merged.exists() { merged } else { tree.join("lib/modules") };
    let release =
        fs::read_dir(&modules).map_err(said)?.next().ok_or("no modules in the package")?.map_err(said)?;
    let release = release.file_name().to_string_lossy().into_owned();
    let places = [modules.join(&release).join("vmlinuz"), tree.join(format!("boot/vmlinuz-{release}"))];
    let image = places.iter().find(|path| path.exists()).ok_or("no vmlinuz in the package")?;
    fs::rename(image, new.join("vmlinuz")).map_err(said)?;
    fs::create_dir_all(new.join("lib/modules")).map_err(said)?;
    fs::rename(modules.join(&release), new.join("lib/modules").join(&release)).map_err(said)?;
    cache::run(tool("depmod").arg("-b").arg(new).arg(&release)).map(drop)
}
