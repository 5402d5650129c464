//! The guest's first process: mounts what a program expects, runs the job, tells the host how each command ended
//! and switches the machine off.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::Pid;

use crate::job::{Command, Job};

/// Runs the job of `/job.json`; never returns. A failure before the first command is a kernel panic, which the host sees.
pub fn main() -> ! {
    let result = run();
    if let Err(why) = &result {
        eprintln!("guest: {why}");
    }
    nix::unistd::sync();
    let off = reboot(RebootMode::RB_POWER_OFF);
    panic!("cannot switch off ({off:?}) after {result:?}");
}

fn run() -> Result<(), String> {
    set_up().map_err(|error| format!("setting up: {error}"))?;
    let job = fs::read("/job.json").map_err(|error| format!("/job.json: {error}"))?;
    let job: Job = serde_json::from_slice(&job).map_err(|error| format!("/job.json: {error}"))?;
    let mut control = port("lab.control")?;
    let output = port("lab.output")?;
    let said = |error: io::Error| format!("telling the host: {error}");
    writeln!(control, "ready").map_err(said)?;
    for command in &job.commands {
        let code = run_command(command, &output);
        writeln!(control, "exit {code}").map_err(said)?;
    }
    Ok(())
}

fn set_up() -> io::Result<()> {
    let mounts = [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/run"),
        ("devpts", "/dev/pts"),
        ("tmpfs", "/dev/shm"),
        ("cgroup2", "/sys/fs/cgroup"),
    ];
    for (kind, target) in mounts {
        fs::create_dir_all(target).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })?;
        let options = (kind == "tmpfs" && target == "/run").then_some("mode=755");
        mount(Some(kind), target, Some(kind), MsFlags::empty(), options)?;
    }
    // A busy host stops the guest for a third of a second at times. What piles up then is not to be lost: the lab is to
    // see what ipvsd loses.
    for (key, value) in
        [("netdev_max_backlog", "100000"), ("rmem_default", "8388608"), ("rmem_max", "8388608")]
    {
        fs::write(format!("/proc/sys/net/core/{key}"), value)?;
    }
    let up = std::process::Command::new("/sbin/ip").args(["link", "set", "lo", "up"]).status()?;
    if up.success() { Ok(()) } else { Err(io::Error::other("ip link set lo up failed")) }
}

/// The virtio port of this name, which the host gave the guest.
fn port(name: &str) -> Result<File, String> {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let ports = fs::read_dir("/sys/class/virtio-ports").into_iter().flatten().flatten();
        let found = ports
            .filter(|port| fs::read_to_string(port.path().join("name")).is_ok_and(|text| text.trim() == name))
            .map(|port| PathBuf::from("/dev").join(port.file_name()))
            .find_map(|path| File::options().write(true).open(path).ok());
        if let Some(file) = found {
            return Ok(file);
        }
        if Instant::now() > limit {
            return Err(format!("the host gave no port {name}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs one command and gives its exit code, as a shell counts it.
fn run_command(command: &Command, output: &File) -> i32 {
    match try_command(command, output) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(&*output, "guest: {}: {error}", command.argv.join(" "));
            127
        }
    }
}

fn try_command(command: &Command, output: &File) -> io::Result<i32> {
    // A pipe between them: a port can be opened only once, and programs open /dev/stdout again.
    let (mut reader, writer) = io::pipe()?;
    let mut to = output.try_clone()?;
    let pump = std::thread::spawn(move || {
        // Not io::copy: that would splice, and a virtio port loses what is spliced into it.
        let mut chunk = [0; 16384];
        while let Ok(length @ 1..) = reader.read(&mut chunk) {
            to.write_all(&chunk[..length])?;
        }
        io::Result::Ok(())
    });
    let mut process = command.process();
    process.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
    process.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let child = process.spawn();
    // The command's own copies of the pipe's end go with it; the pump ends when all are closed.
    drop(process);
    let child = Pid::from_raw(child?.id().cast_signed());
    // The first process inherits every orphan, and buries it.
    let code = loop {
        match wait()? {
            WaitStatus::Exited(pid, code) if pid == child => break code,
            WaitStatus::Signaled(pid, signal, _) if pid == child => break 128 + signal as i32,
            _ => {}
        }
    };
    // What a left-over process of the command still holds open is not waited for.
    let limit = Instant::now() + Duration::from_secs(2);
    while !pump.is_finished() && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(code)
}
