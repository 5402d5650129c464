use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn shell(script: &str, timeout: Duration) -> Arc<Command> {
    let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Arc::new(Command { argv, timeout, network: false, user: None })
}

fn run_in(privileges: Privileges, script: &str, timeout: Duration) -> Outcome {
    let runner = Runner::start(privileges, 4).expect("a runner");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(runner.run(shell(script, timeout), vec![("IPVSD_SERVICE", "dns".to_owned())]))
}

fn said(script: &str) -> (End, String) {
    let outcome = run_in(Privileges::None, script, Duration::from_secs(60));
    (outcome.end, String::from_utf8(outcome.said).unwrap())
}

#[test]
fn what_a_command_says_and_how_it_ends_is_kept() {
    assert_eq!(said("echo out; echo err >&2; exit 7"), (End::Exit(7), "out\nerr\n".to_owned()));
    assert_eq!(said("kill -TERM $$"), (End::Signal(15), String::new()));
    let (end, much) = said("head -c 100000 /dev/zero | tr '\\0' x");
    assert_eq!((end, much.len()), (End::Exit(0), KEPT));
    let missing = Arc::new(Command {
        argv: vec!["/no/such/thing".to_owned()],
        timeout: Duration::from_secs(9),
        network: false,
        user: None,
    });
    let runner = Runner::start(Privileges::None, 1).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outcome = runtime.block_on(runner.run(missing, Vec::new()));
    assert!(matches!(&outcome.end, End::Failed(why) if why.contains("No such file")), "{outcome:?}");
}

#[test]
fn a_command_has_a_fixed_environment_and_no_descriptors_of_ours() {
    let (_, environment) = said("/usr/bin/env | sort; pwd");
    let lines: Vec<&str> =
        environment.lines().filter(|line| !line.starts_with("_=") && !line.starts_with("PWD=")).collect();
    assert_eq!(lines, ["IPVSD_SERVICE=dns", &format!("PATH={PATH}"), "/"]);
    let directory = tempfile::tempdir().unwrap();
    let open = std::fs::File::create(directory.path().join("held-open")).unwrap();
    // As one that the daemon itself was started with: it is not closed by itself.
    let _inherited = nix::unistd::dup(&open).unwrap();
    assert_eq!(said("ls -l /proc/$$/fd | grep -c held-open").1, "0\n");
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_its_children() {
    let mark = format!("{}.5", 86_000 + std::process::id() % 1000);
    let outcome =
        run_in(Privileges::None, &format!("sleep {mark} & sleep {mark}"), Duration::from_millis(300));
    assert_eq!(outcome.end, End::Late(Duration::from_millis(300)));
    wait_until_gone(&mark);
}

/// Waits until no process has this in its command line.
fn wait_until_gone(mark: &str) {
    let is_ours = |entry: &Path| {
        std::fs::read(entry.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(mark))
    };
    let gone = || !std::fs::read_dir("/proc").unwrap().flatten().any(|entry| is_ours(&entry.path()));
    let limit = std::time::Instant::now() + Duration::from_secs(60);
    while !gone() {
        assert!(std::time::Instant::now() < limit, "a child is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_command_has_the_capabilities_that_it_may_have_and_no_others() {
    let sets = "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f2 | sort -u; grep NoNewPrivs /proc/self/status";
    assert_eq!(said(sets).1, "0000000000000000\nNoNewPrivs:\t1\n");
    let own = caps::read(None, CapSet::Permitted).unwrap();
    if !own.contains(&Capability::CAP_NET_ADMIN) || !own.contains(&Capability::CAP_NET_RAW) {
        eprintln!("skipped: the network's privileges, which this process lacks itself");
        return;
    }
    let network = run_in(Privileges::Network, sets, Duration::from_secs(60));
    assert_eq!(String::from_utf8(network.said).unwrap(), "0000000000003000\nNoNewPrivs:\t1\n");
    assert!(caps::read(None, CapSet::Permitted).unwrap() == own, "this thread has kept its own");
}

#[test]
fn a_command_of_another_user_is_that_users_alone() {
    if !may_change() {
        eprintln!("skipped: this process may not change users");
        return;
    }
    let runners = Runners::new(4);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = |script: &str, user: &str, timeout| {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let command = Arc::new(Command { argv, timeout, network: true, user: Some(user.to_owned()) });
        runtime.block_on(async {
            runners.of(&command).await.unwrap().run(Arc::clone(&command), Vec::new()).await
        })
    };
    let who = "id -u; id -g; id -G; grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f2 | sort -u";
    let minute = Duration::from_secs(60);
    let outcome = run(who, "4242:4243", minute);
    assert_eq!(String::from_utf8(outcome.said).unwrap(), "4242\n4243\n4243\n0000000000000000\n");
    let outcome = run(who, "nobody", minute);
    assert!(String::from_utf8(outcome.said).unwrap().starts_with("65534\n"));
    let own = run("id -u; grep CapEff /proc/self/status", "root", minute);
    assert_eq!(
        String::from_utf8(own.said).unwrap(),
        "0\nCapEff:\t0000000000003000\n",
        "it is the daemon's own"
    );
    let mark = format!("{}.75", 86_000 + std::process::id() % 1000);
    let late = run(&format!("sleep {mark} & sleep {mark}"), "4242:4243", Duration::from_millis(300));
    assert_eq!(late.end, End::Late(Duration::from_millis(300)));
    wait_until_gone(&mark);
    assert!(
        matches!(run("true", "no-such-user", minute).end, End::Failed(why) if why.contains("no user no-such-user"))
    );
}

#[test]
fn what_others_may_change_is_not_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let user = nix::unistd::geteuid().as_raw();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(&file, 0o644);
    mode(directory.path(), 0o755);
    trusted(&file, user).unwrap();
    mode(&file, 0o664);
    assert!(trusted(&file, user).unwrap_err().to_string().contains("may be written by others (mode 664)"));
    mode(&file, 0o644);
    mode(directory.path(), 0o777);
    let error = trusted(&file, user).unwrap_err();
    assert!(
        matches!(&error, Untrusted::Others { path, .. } if *path == directory.path().canonicalize().unwrap()),
        "{error}"
    );
    mode(directory.path(), 0o1777);
    trusted(&file, user).unwrap();
    if user == 0 {
        std::os::unix::fs::chown(&file, Some(4242), None).unwrap();
        assert!(trusted(&file, user).unwrap_err().to_string().contains("belongs to user 4242"));
        trusted(&file, 4242).unwrap();
    }
    assert!(matches!(trusted(Path::new("/no/such/file"), user), Err(Untrusted::Unseen { .. })));
}

#[test]
fn a_link_that_others_may_turn_elsewhere_is_not_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().canonicalize().unwrap().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let link = folder.join("link");
    std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
    let user = nix::unistd::geteuid().as_raw();
    let mode = |mode| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o755);
    trusted(&link, user).unwrap();
    mode(0o777);
    let error = trusted(&link, user).unwrap_err();
    assert!(matches!(&error, Untrusted::Others { path, .. } if *path == folder), "{error}");
    // One link leads to another: each counts, and its folder.
    let first = directory.path().join("first");
    std::os::unix::fs::symlink("folder/../folder/link", &first).unwrap();
    assert!(trusted(&first, user).is_err());
    mode(0o755);
    trusted(&first, user).unwrap();
    let round = directory.path().join("round");
    std::os::unix::fs::symlink("round", &round).unwrap();
    assert!(matches!(trusted(&round, user), Err(Untrusted::Unseen { .. })));
    if user == 0 {
        // In a sticky folder anybody can make a link, which is then theirs.
        mode(0o1777);
        trusted(&link, user).unwrap();
        std::os::unix::fs::lchown(&link, Some(4242), None).unwrap();
        assert!(trusted(&link, user).unwrap_err().to_string().contains("belongs to user 4242"));
    }
}
