//! Whether the kernel tests can run on this very kernel.

use std::path::Path;

/// Ok if this kernel has IPVS and this user may make network namespaces; otherwise why not.
pub fn can_run() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root can make named network namespaces".into());
    }
    // On a thread of its own, which takes the namespace with it when it ends.
    let made = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).map_err(|errno| errno.to_string())
    });
    made.join()
        .map_err(|_| "the thread that tries namespaces died".to_owned())?
        .map_err(|why| format!("this user may not make network namespaces: {why}"))?;
    let ipvs = Path::new("/proc/net/ip_vs");
    if !ipvs.exists() {
        // Loading it is what the first `ipvsadm` would do as well; the answer is in /proc.
        let _ = crate::tool("modprobe").args(["-q", "ip_vs"]).status();
    }
    if ipvs.exists() { Ok(()) } else { Err("this kernel has no IPVS (no /proc/net/ip_vs)".into()) }
}
