//! The VM: prepared from the cache, booted by qemu for one job, watched until it is done, dead or too late.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cargo::Workspace;
use crate::initramfs::{self, Mount};
use crate::job::Job;
use crate::kernel::Kernel;
use crate::root::Root;
use crate::{cache, tool};

/// How long a guest may take from power-on to its first command, on a machine that is busy besides.
const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// What a kernel with KVM needs far less than; one that cannot start under this machine's KVM never gets there.
const KVM_BOOT_LIMIT: Duration = Duration::from_secs(15);
/// Limits of a job made of tests.
pub const TEST_LIMITS: Limits =
    Limits { silence: Duration::from_secs(240), whole: Duration::from_secs(4000) };

/// What the guest's clock goes by.
#[derive(Clone, Copy, PartialEq)]
pub enum Clock {
    /// Real time.
    Host,
    /// One nanosecond for each instruction of its one processor; while that sleeps, the clock jumps to the next timer.
    Instructions,
}

/// When a running job counts as hung.
#[derive(Clone, Copy)]
pub struct Limits {
    silence: Duration,
    whole: Duration,
}

/// A guest that did not come to the end of its job.
pub struct Died {
    /// Why, with its kernel's last words.
    pub why: String,
    /// Exit codes of the commands that had ended.
    pub codes: Vec<i32>,
}

impl From<String> for Died {
    fn from(why: String) -> Died {
        Died { why, codes: Vec::new() }
    }
}

impl From<Died> for String {
    fn from(died: Died) -> String {
        died.why
    }
}

/// A VM that can be booted, again and again.
pub struct Vm {
    kernel: Kernel,
    root: Root,
    mounts: Vec<PathBuf>,
    cache: PathBuf,
    dir: TempDir,
    clock: Clock,
}

/// Gets the kernel and the root, from the cache or from the mirror.
pub fn prepare(version: &str, workspace: &Workspace, clock: Clock, keep: bool) -> Result<Vm, String> {
    if std::env::consts::ARCH != "x86_64" {
        return Err(format!("the VM is made for x86_64, not for {}", std::env::consts::ARCH));
    }
    cache::run(tool("qemu-system-x86_64").arg("--version"))?;
    let cache = cache::dir()?;
    let _lock = cache::lock(&cache)?;
    let root = Root::prepare(&cache)?;
    let kernel = Kernel::prepare(&cache, version, &root.mirror()?)?;
    let mut mounts = vec![workspace.root.clone()];
    if !workspace.target.starts_with(&workspace.root) {
        mounts.push(workspace.target.clone());
    }
    let mut dir = tempfile::Builder::new();
    let dir = dir.prefix("ipvsd-lab-").disable_cleanup(keep).tempdir();
    let dir = dir.map_err(|error| format!("a temporary directory: {error}"))?;
    if keep {
        println!("the VM's directory: {}", dir.path().display());
    }
    Ok(Vm { kernel, root, mounts, cache, dir, clock })
}

impl Vm {
    /// The kernel, as `uname -r` says it.
    pub fn release(&self) -> &str {
        &self.kernel.release
    }

    /// Boots, runs the job and returns the exit code of each command. Output goes to our own as it comes, and each
    /// whole line of it to `line`. A guest that dies, hangs or does not boot is an error that shows its kernel's last words.
    pub fn run(
        &mut self,
        job: &Job,
        limits: Option<Limits>,
        line: &mut dyn FnMut(&str),
    ) -> Result<Vec<i32>, Died> {
        let said = |error: io::Error| format!("{}: {error}", self.dir.path().display());
        let mut mounts = vec![(
            Mount { tag: "modules".into(), path: Path::new("/usr/lib/modules").join(&self.kernel.release) },
            self.kernel.modules(),
        )];
        for (number, path) in self.mounts.iter().enumerate() {
            mounts.push((Mount { tag: format!("host{number}"), path: path.clone() }, path.clone()));
        }
        let program = std::env::current_exe().map_err(said)?;
        let (tags, paths): (Vec<Mount>, Vec<PathBuf>) = mounts.into_iter().unzip();
        let json = serde_json::to_vec(job).map_err(|error| format!("the job: {error}"))?;
        let archive = initramfs::build(&self.kernel, &self.root.busybox(), &tags, &program, &json)?;
        fs::write(self.dir.path().join("initramfs"), archive).map_err(said)?;

        let shares: Vec<(&str, &Path)> =
            tags.iter().map(|mount| mount.tag.as_str()).zip(paths.iter().map(PathBuf::as_path)).collect();
        let start = Instant::now();
        let mut guest = self.boot(&shares)?;
        eprintln!("VM: Linux {} ready after {:.1} s", self.kernel.release, start.elapsed().as_secs_f32());
        let ended = guest.follow(limits, line);
        let codes = guest.codes();
        let all = || match job.commands.len() {
            all if all == codes.len() => Ok(()),
            all => Err(format!("the VM ended after {} of {all} commands", codes.len())),
        };
        match ended.and_then(|()| all()) {
            Ok(()) => Ok(codes),
            Err(why) => Err(Died { why: self.last_words(&why), codes }),
        }
    }

    /// A guest that is ready for its job: under KVM if this machine's KVM can start this kernel, else emulated.
    fn boot(&self, shares: &[(&str, &Path)]) -> Result<Guest, String> {
        let note = self.cache.join("kvm-does-not-boot");
        let host = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let usable = File::options().read(true).write(true).open("/dev/kvm").is_ok();
        let try_kvm =
            usable && self.clock == Clock::Host && fs::read_to_string(&note).ok().as_ref() != Some(&host);
        if try_kvm {
            let mut guest = self.start(&["-accel", "kvm", "-cpu", "host", "-smp", "2"], shares)?;
            if guest.boots_within(KVM_BOOT_LIMIT) {
                return Ok(guest);
            }
        }
        let processors: &[&str] = match self.clock {
            Clock::Host => &["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"],
            Clock::Instructions => {
                &["-accel", "tcg", "-cpu", "max", "-smp", "1", "-icount", "shift=0,sleep=off"]
            }
        };
        let mut guest = self.start(processors, shares)?;
        if !guest.boots_within(BOOT_LIMIT) {
            return Err(self.last_words("the VM did not boot"));
        }
        if try_kvm {
            eprintln!(
                "VM: this machine's KVM does not start {}: emulating, now and later",
                self.kernel.release
            );
            fs::write(&note, host).map_err(|error| format!("{}: {error}", note.display()))?;
        }
        Ok(guest)
    }

    fn start(&self, processors: &[&str], shares: &[(&str, &Path)]) -> Result<Guest, String> {
        let dir = self.dir.path();
        // qemu shall not outlive this program, however this one ends.
        let mut qemu = tool("setpriv");
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        qemu.args(["-machine", "q35", "-m", "3G"]).args(processors);
        qemu.args(["-nodefaults", "-display", "none", "-no-reboot"]);
        qemu.arg("-kernel").arg(self.kernel.image()).arg("-initrd").arg(dir.join("initramfs"));
        qemu.args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init net.ifnames=0"]);
        let options = |qemu: &mut std::process::Command, name: &str, text: String| {
            qemu.args([name, &text]);
        };
        let image = escaped(&self.root.image())?;
        options(&mut qemu, "-drive", format!("id=root,if=none,format=raw,readonly=on,file={image}"));
        qemu.args(["-device", "virtio-blk-pci,drive=root", "-device", "virtio-rng-pci"]);
        for (tag, path) in shares {
            let path = escaped(path)?;
            options(
                &mut qemu,
                "-fsdev",
                format!("local,id={tag},path={path},security_model=none,readonly=on,multidevs=remap"),
            );
            options(&mut qemu, "-device", format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"));
        }
        options(&mut qemu, "-serial", format!("file:{}", escaped(&dir.join("console"))?));
        let control = dir.join("control");
        options(&mut qemu, "-chardev", format!("file,id=control,path={}", escaped(&control)?));
        qemu.args(["-chardev", "stdio,id=output,signal=off", "-device", "virtio-serial-pci"]);
        qemu.args(["-device", "virtserialport,chardev=control,name=lab.control"]);
        qemu.args(["-device", "virtserialport,chardev=output,name=lab.output"]);
        let _ = fs::remove_file(&control);
        let errors = File::create(dir.join("qemu")).map_err(|error| format!("{}: {error}", dir.display()))?;
        // An input that never ends: at its end qemu would close the port.
        qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = qemu.spawn().map_err(|error| format!("setpriv qemu-system-x86_64: {error}"))?;
        let mut from = child.stdout.take().ok_or("qemu has no output")?;
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 16384];
            while let Ok(length @ 1..) = from.read(&mut chunk) {
                if sender.send(chunk[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Guest { child, output, control })
    }

    /// The error with the ends of what qemu and the guest's kernel said.
    fn last_words(&self, why: &str) -> String {
        let mut text = why.to_owned();
        for file in ["qemu", "console"] {
            let said = fs::read(self.dir.path().join(file)).unwrap_or_default();
            let said = String::from_utf8_lossy(&said).into_owned();
            let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
            for line in &lines[lines.len().saturating_sub(25)..] {
                text += &format!("\n   {file}: {}", line.trim_end());
            }
        }
        text
    }
}

/// qemu's options end a value at a comma; a doubled one is part of it.
fn escaped(path: &Path) -> Result<String, String> {
    let text = path.to_str().ok_or_else(|| format!("{}: not UTF-8", path.display()))?;
    Ok(text.replace(',', ",,"))
}

/// A running qemu; killed when dropped.
struct Guest {
    child: Child,
    output: Receiver<Vec<u8>>,
    control: PathBuf,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Guest {
    fn control(&self) -> String {
        fs::read_to_string(&self.control).unwrap_or_default()
    }

    fn boots_within(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if self.control().starts_with("ready\n") {
                return true;
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                // It may have run a short job already.
                return self.control().starts_with("ready\n");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Passes the output on until the guest has switched itself off.
    fn follow(&mut self, limits: Option<Limits>, line: &mut dyn FnMut(&str)) -> Result<(), String> {
        let start = Instant::now();
        let mut heard = start;
        let mut pending = Vec::new();
        loop {
            match self.output.recv_timeout(Duration::from_millis(200)) {
                Ok(chunk) => {
                    heard = Instant::now();
                    let mut out = io::stdout().lock();
                    // A closed pipe downstream is no reason to stop the guest's job.
                    let _ = out.write_all(&chunk).and_then(|()| out.flush());
                    pending.extend(chunk);
                    while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                        let whole: Vec<u8> = pending.drain(..=end).collect();
                        line(String::from_utf8_lossy(&whole).trim_end());
                    }
                }
                // qemu has closed its output: it is ending.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(limits) = limits {
                if heard.elapsed() > limits.silence {
                    return Err(format!(
                        "the VM said nothing for {} s and was stopped",
                        limits.silence.as_secs()
                    ));
                }
                if start.elapsed() > limits.whole {
                    return Err(format!("the VM was stopped after {} s", limits.whole.as_secs()));
                }
            }
        }
        self.child.wait().map(drop).map_err(|error| format!("qemu: {error}"))
    }

    /// Exit codes of the commands that have ended.
    fn codes(&self) -> Vec<i32> {
        self.control().lines().filter_map(|line| line.strip_prefix("exit ")?.parse().ok()).collect()
    }
}
