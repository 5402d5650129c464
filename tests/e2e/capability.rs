//! Takes CAP_NET_ADMIN from a running process, and gives it back. No system call does that to another process: each of
//! its threads is stopped, and made to call capset(2) itself, as a debugger would do it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use lab::wait_until;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::setup::LIMIT;

/// `CAP_NET_ADMIN` of linux/capability.h.
const CAP_NET_ADMIN: u64 = 1 << 12;
/// `_LINUX_CAPABILITY_VERSION_3`.
const VERSION: u32 = 0x2008_0522;
/// The number of capset(2), and the instruction that enters the kernel.
const CAPSET: u64 = 126;
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// Whether the process may administer the network from now on; programs that it starts as root may in any case.
///
/// # Panics
/// If it cannot be done.
pub fn set_net_admin(process: u32, on: bool) {
    for thread in fs::read_dir(format!("/proc/{process}/task")).expect("its threads").flatten() {
        let thread = thread.file_name().to_string_lossy().parse().expect("a number");
        set(process, Pid::from_raw(thread), on);
    }
}

fn set(process: u32, thread: Pid, on: bool) {
    let status = fs::read_to_string(format!("/proc/{process}/task/{thread}/status")).expect("its status");
    let read = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        u64::from_str_radix(line.trim(), 16).expect(name)
    };
    let (permitted, inheritable) = (read("CapPrm:"), read("CapInh:"));
    let effective = if on { permitted } else { permitted & !CAP_NET_ADMIN };

    let memory =
        File::options().read(true).write(true).open(format!("/proc/{process}/mem")).expect("its memory");
    // It is to wait in a system call, behind the instruction that got it there.
    let mut before = None;
    wait_until(LIMIT, "a thread in a system call", || {
        ptrace::attach(thread).expect("stopping it");
        wait(thread);
        let registers = ptrace::getregs(thread).expect("its registers");
        let mut code = [0; 2];
        memory.read_exact_at(&mut code, registers.rip - 2).expect("its code");
        if code == SYSCALL {
            before = Some(registers);
        } else {
            ptrace::detach(thread, None).expect("letting it go");
        }
        before.is_some()
    });
    let before = before.expect("it was waited for");

    // The header and the sets, their lower halves first: below the stack, and what the compiler may use there.
    let half = |set: u64, shift: u32| (set >> shift) as u32;
    let words = [0, 32].map(|shift| [effective, permitted, inheritable].map(|set| half(set, shift)));
    let data: Vec<u8> =
        [VERSION, 0].iter().chain(words.iter().flatten()).flat_map(|word| word.to_ne_bytes()).collect();
    let at = (before.rsp - 1024) & !15;
    let mut saved = vec![0; data.len()];
    memory.read_exact_at(&mut saved, at).expect("its stack");
    memory.write_all_at(&data, at).expect("its stack");
    let mut registers = before;
    (registers.rip, registers.rax, registers.orig_rax) = (before.rip - 2, CAPSET, u64::MAX);
    (registers.rdi, registers.rsi) = (at, at + 8);
    ptrace::setregs(thread, registers).expect("its registers");
    ptrace::step(thread, None).expect("one instruction");
    wait(thread);
    let result = ptrace::getregs(thread).expect("its registers").rax;
    memory.write_all_at(&saved, at).expect("its stack");
    ptrace::setregs(thread, before).expect("its registers");
    ptrace::detach(thread, None).expect("letting it go");
    assert_eq!(result, 0, "capset of thread {thread}");
}

fn wait(thread: Pid) {
    let status = waitpid(thread, Some(WaitPidFlag::__WALL)).expect("waiting for it");
    assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
}
