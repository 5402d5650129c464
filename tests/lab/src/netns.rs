//! A network namespace with a name, and doing things in it. Gone when dropped, also after a panic.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{panic, thread};

use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};

/// A named network namespace, visible to `ip netns` while it lives.
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes one with `lo` up. Its name holds this process's id, a number and `role`.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(role: &str) -> Netns {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let netns = Netns { name: format!("lab{}-{number}-{role}", std::process::id()) };
        succeed(Command::new("ip").args(["netns", "add", &netns.name]));
        netns.ip(&["link set lo up"]);
        netns
    }

    /// Its name for `ip netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The `$RUNTIME_DIRECTORY` of a daemon in it, as systemd's would: it outlives the daemon. Gone with the namespace.
    pub fn runtime_directory(&self) -> PathBuf {
        std::env::temp_dir().join(&self.name)
    }

    /// Its `$STATE_DIRECTORY`, in the same way.
    pub fn state_directory(&self) -> PathBuf {
        std::env::temp_dir().join(format!("{}-state", self.name))
    }

    /// Runs `action` on a thread of its own in the namespace. Sockets that it opens stay in the namespace,
    /// processes that it spawns run in it; `/proc/sys/net` and `/proc/thread-self/net` are the namespace's.
    ///
    /// # Panics
    /// With the action's own panic, or if the namespace cannot be entered.
    pub fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        let inside = || {
            let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            setns(&file, CloneFlags::CLONE_NEWNET).unwrap_or_else(|errno| panic!("setns {path}: {errno}"));
            action()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|cause| panic::resume_unwind(cause))
    }

    /// Starts a process in the namespace.
    ///
    /// # Panics
    /// If it does not start.
    pub fn spawn(&self, command: &mut Command) -> Child {
        self.run(|| command.spawn().unwrap_or_else(|error| panic!("{command:?} in {}: {error}", self.name)))
    }

    /// Runs a process in the namespace to its end, without input.
    ///
    /// # Panics
    /// If it does not start.
    pub fn output(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null());
        self.run(|| command.output().unwrap_or_else(|error| panic!("{command:?} in {}: {error}", self.name)))
    }

    /// Runs a process that has to succeed, and returns what it wrote to its standard output.
    ///
    /// # Panics
    /// If it fails, with what it said.
    pub fn check(&self, program: &str, args: &[&str]) -> String {
        let output = self.output(program, args);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            output.status.success(),
            "{}: {program} {} failed ({}): {out}{err}",
            self.name,
            args.join(" "),
            output.status
        );
        out.into_owned()
    }

    /// Runs a process that has to succeed with this text as its input.
    ///
    /// # Panics
    /// If it fails, with what it said.
    pub fn feed(&self, program: &str, args: &[&str], input: &str) {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), input).expect("writing a temporary file");
        let mut command = Command::new(program);
        command.args(args).stdin(file.reopen().expect("opening a temporary file"));
        self.run(|| succeed(&mut command));
    }

    /// Runs `ip` commands, given without the leading `ip`, in one process.
    ///
    /// # Panics
    /// At the first that fails.
    pub fn ip(&self, commands: &[impl AsRef<str>]) {
        let commands: Vec<&str> = commands.iter().map(AsRef::as_ref).collect();
        self.feed("ip", &["-batch", "-"], &format!("{}\n", commands.join("\n")));
    }

    /// Loads rules in nft's own syntax.
    ///
    /// # Panics
    /// If nft refuses them.
    pub fn nft(&self, rules: &str) {
        self.feed("nft", &["-f", "-"], rules);
    }

    /// Writes a sysctl of the namespace (`net.ipv4.ip_forward`).
    ///
    /// # Panics
    /// If there is no such key, or the kernel refuses the value.
    pub fn set_sysctl(&self, key: &str, value: &str) {
        let path = sysctl_path(key);
        self.run(|| fs::write(&path, value)).unwrap_or_else(|error| panic!("{path} = {value}: {error}"));
    }

    /// Reads a sysctl of the namespace, without the newline.
    ///
    /// # Panics
    /// If there is no such key.
    pub fn sysctl(&self, key: &str) -> String {
        let path = sysctl_path(key);
        let text = self.run(|| fs::read_to_string(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        text.trim_end().to_owned()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.runtime_directory());
        let _ = fs::remove_dir_all(self.state_directory());
        // As `ip netns del` does it. The kernel ends the namespace with the last process in it.
        let path = format!("/run/netns/{}", self.name);
        let gone = umount2(path.as_str(), MntFlags::MNT_DETACH).is_ok() && fs::remove_file(&path).is_ok();
        if !gone {
            eprintln!("{path} could not be removed");
        }
    }
}

/// Removes the namespaces of test processes that were killed and are no more.
pub(crate) fn remove_stale() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix("lab").and_then(|rest| rest.split_once('-')?.0.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            drop(Netns { name });
        }
    }
}

fn sysctl_path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed ({}): {said}", output.status);
}
