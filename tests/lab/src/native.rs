//! Whether kernel tests can run on the running kernel.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Ok if the running kernel has IPVS and this user may make network namespaces; otherwise why not.
pub fn can_run() -> Result<(), String> {
    static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
    ANSWER.get_or_init(find_out).clone()
}

/// Whether this is the VM of `tests/run`: what a test does to the machine itself goes with it.
pub fn in_vm() -> bool {
    let ports = fs::read_dir("/sys/class/virtio-ports").into_iter().flatten().flatten();
    let mut names = ports.filter_map(|port| fs::read_to_string(port.path().join("name")).ok());
    names.any(|name| name.trim_end() == "lab.control")
}

fn find_out() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root can make named network namespaces".into());
    }
    // On a thread of its own, which takes the namespace with it when it ends.
    let made = std::thread::spawn(|| nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)).join();
    match made {
        Ok(Ok(())) => {}
        Ok(Err(errno)) => return Err(format!("this user may not make network namespaces: {errno}")),
        Err(_) => return Err("the thread that tried to make a namespace died".into()),
    }
    let ipvs = Path::new("/proc/net/ip_vs");
    if !ipvs.exists() {
        // The first `ipvsadm` would load it as well. Whether it worked is seen in /proc.
        let _ = Command::new("/sbin/modprobe").args(["-q", "ip_vs"]).status();
    }
    if ipvs.exists() { Ok(()) } else { Err("the running kernel has no IPVS (no /proc/net/ip_vs)".into()) }
}
