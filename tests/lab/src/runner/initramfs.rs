//! The initramfs: busybox, the modules that reach the root, the job, and a script that mounts everything and
//! hands over to this same program as the guest's first process.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::kernel::Kernel;
use crate::{cache, tool};

/// What it takes to see the root and to talk to the host.
/// ext4 asks for crc32c by a name that modules.dep does not know; newer kernels have it built in.
const MODULES: [&str; 8] =
    ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "9pnet_virtio", "9p", "overlay", "virtio_console"];

/// A host directory that the guest sees read-only at the same path.
pub struct Mount {
    /// The 9p mount tag.
    pub tag: String,
    /// Its path in the guest.
    pub path: PathBuf,
}

/// The whole archive.
pub fn build(
    kernel: &Kernel,
    busybox: &Path,
    mounts: &[Mount],
    program: &Path,
    job: &[u8],
) -> Result<Vec<u8>, String> {
    let mut archive = Archive::default();
    for dir in ["dev", "lower", "rw", "new", "modules"] {
        archive.add(dir, 0o040_755, &[]);
    }
    let busybox = fs::read(busybox).map_err(|error| format!("{}: {error}", busybox.display()))?;
    archive.add("busybox", 0o100_755, &busybox);
    let mut order = Vec::new();
    for module in closure(kernel, &MODULES)? {
        let name = format!("modules/{}.ko", order.len());
        archive.add(&name, 0o100_644, &unpacked(&kernel.modules().join(&module))?);
        order.push(name);
    }
    archive.add("job.json", 0o100_644, job);
    archive.add("init", 0o100_755, script(&order, mounts, program)?.as_bytes());
    Ok(archive.finish())
}

fn script(modules: &[String], mounts: &[Mount], program: &Path) -> Result<String, String> {
    let mut script = String::from(
        "#!/busybox sh\n\
         export PATH=/\n\
         b() { /busybox \"$@\" || { /busybox echo \"initramfs: $* failed\"; /busybox poweroff -f; }; }\n\
         b mount -t devtmpfs dev /dev\n\
         b ln -s /proc/self/fd /dev/fd\n\
         b ln -s /proc/self/fd/0 /dev/stdin\n\
         b ln -s /proc/self/fd/1 /dev/stdout\n\
         b ln -s /proc/self/fd/2 /dev/stderr\n",
    );
    for module in modules {
        script += &format!("b insmod /{module}\n");
    }
    script += "b mount -t ext2 -o ro /dev/vda /lower\n\
               b mount -t tmpfs -o mode=755 rw /rw\n\
               b mkdir /rw/upper /rw/work\n\
               b mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work root /new\n";
    for mount in mounts {
        let path = quoted(&mount.path)?;
        script += &format!("b mkdir -p /new{path}\n");
        // The host's files do not change while a guest runs: it may cache as it likes.
        script += &format!(
            "b mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=262144 {} /new{path}\n",
            mount.tag
        );
    }
    script += "b cp /job.json /new/job.json\n\
               b mount --move /dev /new/dev\n";
    script += &format!("exec /busybox switch_root /new {}\n", quoted(program)?);
    Ok(script)
}

fn quoted(path: &Path) -> Result<String, String> {
    match path.to_str() {
        Some(text) if text.starts_with('/') && !text.contains('\'') => Ok(format!("'{text}'")),
        _ => Err(format!("{}: such a path cannot be given to the guest", path.display())),
    }
}

/// These modules and all that they need, each after what it needs; those built into the kernel are left out.
fn closure(kernel: &Kernel, names: &[&str]) -> Result<Vec<String>, String> {
    let path = kernel.modules().join("modules.dep");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let dependencies: HashMap<&str, (&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, needs)| (name_of(path), (path, needs)))
        .collect();
    let mut order: Vec<String> = Vec::new();
    for name in names {
        let Some((path, needs)) = dependencies.get(name) else { continue };
        // modules.dep lists what is needed from the nearest to the farthest.
        for module in needs.split_whitespace().rev().chain([*path]) {
            if !order.iter().any(|known| known == module) {
                order.push(module.to_owned());
            }
        }
    }
    Ok(order)
}

fn name_of(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file)
}

fn unpacked(path: &Path) -> Result<Vec<u8>, String> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).map_err(|error| format!("{}: {error}", path.display())),
    };
    let to = tempfile::NamedTempFile::new().map_err(|error| format!("a temporary file: {error}"))?;
    let file = to.reopen().map_err(|error| format!("a temporary file: {error}"))?;
    cache::run(tool(program).arg("-dcq").arg(path).stdout(file))?;
    fs::read(to.path()).map_err(|error| format!("{}: {error}", path.display()))
}

/// A cpio archive in the "newc" format, as Documentation/driver-api/early-userspace/buffer-format.rst of Linux has it.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let fields =
            [self.entries, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{Archive, name_of, quoted};

    #[test]
    fn every_entry_of_an_archive_starts_at_a_multiple_of_four() {
        let mut archive = Archive::default();
        archive.add("a", 0o100_644, b"12345");
        let second = archive.bytes.len();
        archive.add("bcd", 0o100_644, b"");
        let bytes = archive.finish();
        assert_eq!(second % 4, 0);
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[second..second + 6], b"070701");
        assert!(bytes.windows(10).any(|window| window == b"TRAILER!!!"));
    }

    #[test]
    fn module_names_and_paths() {
        assert_eq!(name_of("kernel/fs/9p/9p.ko.xz"), "9p");
        assert!(quoted("/a b".as_ref()).is_ok_and(|text| text == "'/a b'"));
        assert!(quoted("/a'b".as_ref()).is_err());
    }
}
