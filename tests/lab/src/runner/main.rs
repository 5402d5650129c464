//! `tests/run`: builds once, runs the ordinary tests here and the kernel tests on a kernel with IPVS: this one
//! if it has it, otherwise a VM that is prepared on the way. Arguments and the order of things; nothing else.

mod cache;
mod cargo;
mod guest;
mod initramfs;
mod job;
mod kernel;
mod root;
mod tally;
mod vm;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::cargo::Workspace;
use crate::job::{Command, Job};
use crate::tally::Tally;
use crate::vm::Clock;

/// Runs all tests; those that need IPVS run on this kernel if it has IPVS, otherwise in a VM.
#[derive(Parser)]
#[command(name = "tests/run")]
struct Args {
    /// Kernel of the VM: 5.10, 6.1, 6.12 or 7.2; asks for the VM even where this kernel has IPVS
    #[arg(long, value_name = "VERSION")]
    kernel: Option<String>,
    /// Run the kernel tests on this very kernel, or fail
    #[arg(long, conflicts_with = "kernel")]
    native: bool,
    /// Keep the VM's directory (kernel console, initramfs) and say where it is
    #[arg(long)]
    keep: bool,
    /// List the tests and run none
    #[arg(long)]
    list: bool,
    /// Run this one command in the VM, as root in the checkout, and give its exit status
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true, conflicts_with_all = ["list", "native"])]
    exec: Vec<String>,
    /// Run the benchmarks instead, each in a VM of its own whose clock counts instructions
    #[arg(long, conflicts_with_all = ["list", "native", "exec"])]
    bench: bool,
    /// Only tests whose name contains one of these; skips rustfmt, clippy and documentation tests
    filter: Vec<String>,
}

/// So many VMs are booted for the kernel tests before a guest that dies is a failure: the emulator of an overloaded machine hangs once in a while.
const VMS: usize = 3;
/// The kernel of the VM unless `--kernel` says otherwise.
const DEFAULT_KERNEL: &str = "6.1";

fn main() -> ExitCode {
    if std::process::id() == 1 {
        guest::main();
    }
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tests/run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<bool, String> {
    let workspace = Workspace::read()?;
    let wanted = args.kernel.as_deref().unwrap_or(DEFAULT_KERNEL);
    if !args.exec.is_empty() {
        let command = Command::new(args.exec.clone(), &workspace.root);
        let mut vm = vm::prepare(wanted, &workspace, Clock::Host, args.keep)?;
        let status = vm.run(&Job { commands: vec![command] }, None, &mut |_| {})?;
        std::process::exit(status[0]);
    }
    if args.bench {
        return run_benches(args, wanted, &workspace);
    }

    let tests = workspace.build_tests()?;
    let (kernel_tests, ordinary): (Vec<_>, Vec<_>) = tests.into_iter().partition(cargo::Test::needs_ipvs);
    if args.list {
        for test in ordinary.iter().chain(&kernel_tests) {
            println!("{} {}:", test.package, test.name);
            test.command(&["--list".into()]).run_here(&mut |_| {})?;
        }
        return Ok(true);
    }

    let mut tally = Tally::default();
    if args.filter.is_empty() {
        tally.step("cargo fmt --check", workspace.cargo(&["fmt", "--all", "--check"])?);
        let clippy = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
        tally.step("cargo clippy", workspace.cargo(&clippy)?);
        let doc = ["rustdoc", "--quiet", "--package", "ipvsd", "--lib", "--", "--deny", "warnings"];
        tally.step("cargo rustdoc", workspace.cargo(&doc)?);
    }
    let filters = filters(args);
    let mut found = false;
    for test in &ordinary {
        let mut any = false;
        for filter in &filters {
            any |= test.has(*filter)?;
        }
        if !any {
            continue;
        }
        found = true;
        println!("== {} {}", test.package, test.name);
        tally.run_here(&test.command(&args.filter))?;
    }
    if args.filter.is_empty() {
        let doc = ["test", "--quiet", "--workspace", "--doc"].map(String::from);
        tally.run_here(&Command::new([vec!["cargo".into()], doc.into()].concat(), &workspace.root))?;
    }
    // libtest-mimic takes one filter: a run for each, or for each theme. One thread, for tests measure time and share two processors.
    let mut commands = Vec::new();
    for test in &kernel_tests {
        let wanted = if args.filter.is_empty() { test.themes()? } else { args.filter.clone() };
        for filter in wanted {
            if test.has(Some(&filter))? {
                commands.push(test.command(&["--test-threads=1".to_owned(), filter]));
            }
        }
    }
    if !found && commands.is_empty() {
        return Err(format!("no test has a name with {}", args.filter.join(" or ")));
    }
    let package = |test: &cargo::Test| {
        let names = filters.iter().map(|filter| test.names(*filter)).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, String>(names.iter().flatten().any(|name| name.starts_with("package::")))
    };
    for test in &kernel_tests {
        if package(test)? {
            tally.step("the Debian package", workspace.build_packages()?);
        }
    }
    if !commands.is_empty() {
        run_kernel_tests(args, wanted, &workspace, commands, &mut tally)?;
    }
    Ok(tally.finish())
}

/// The filters; None = all tests.
fn filters(args: &Args) -> Vec<Option<&String>> {
    if args.filter.is_empty() { vec![None] } else { args.filter.iter().map(Some).collect() }
}

/// Runs each benchmark in a VM that has just been booted: what was made and deleted before makes the kernel slower.
fn run_benches(args: &Args, wanted: &str, workspace: &Workspace) -> Result<bool, String> {
    let benches = workspace.build_benches()?;
    let mut vm = vm::prepare(wanted, workspace, Clock::Instructions, args.keep)?;
    println!("== benchmarks under Linux {}: guest instructions, the kernel's among them", vm.release());
    let mut good = true;
    for bench in &benches {
        for name in bench.names(None)? {
            if filters(args).iter().any(|filter| filter.is_none_or(|filter| name.contains(filter))) {
                let command = bench.command(&["--exact".to_owned(), name]);
                good &= vm.run(&Job { commands: vec![command] }, None, &mut |_| {})? == [0];
            }
        }
    }
    Ok(good)
}

/// Runs the kernel tests here or in a VM; where neither can be, says so and counts them as skipped.
fn run_kernel_tests(
    args: &Args,
    wanted: &str,
    workspace: &Workspace,
    commands: Vec<Command>,
    tally: &mut Tally,
) -> Result<(), String> {
    let here = lab::can_run();
    if args.native || (args.kernel.is_none() && here.is_ok()) {
        here.map_err(|why| format!("--native: {why}"))?;
        println!("== kernel tests on this kernel");
        return commands.iter().try_for_each(|command| tally.run_here(command));
    }
    let mut vm = match vm::prepare(wanted, workspace, Clock::Host, args.keep) {
        Ok(vm) => vm,
        Err(why) => {
            tally.skip_all(&format!("the kernel tests: no VM could be prepared: {why}"));
            return Ok(());
        }
    };
    println!("== kernel tests in a VM with Linux {}", vm.release());
    let mut job = Job { commands };
    let mut good = true;
    for number in 1..=VMS {
        let codes = match vm.run(&job, Some(vm::TEST_LIMITS), &mut |line| tally.line(line)) {
            Ok(codes) => codes,
            Err(died) => {
                eprintln!("\n{}", died.why);
                tally.vm_died(number == VMS);
                died.codes
            }
        };
        good &= codes.iter().all(|code| *code == 0);
        job.commands.drain(..codes.len());
        if job.commands.is_empty() {
            break;
        }
    }
    tally.step("kernel tests", good);
    Ok(())
}

/// A command of the machine, found also where a user's PATH does not lead (`/usr/sbin`).
fn tool(name: impl AsRef<Path>) -> std::process::Command {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let mut command = std::process::Command::new(name.as_ref());
    command.env("PATH", path);
    command
}
