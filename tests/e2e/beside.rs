//! The real keepalived and ipvsd on the same keepalived.conf: the kernel ends up the same, but for what a note announced.

mod answers;
mod imported;
mod tables;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lab::{Netns, Process, case, wait_until};
use libtest_mimic::Trial;

use self::answers::Answers;
use self::imported::Imported;
use self::tables::{Table, differences};
use crate::keepalived::sample;
use crate::setup::{IPVSD, LIMIT};

/// So many random files are compared; `KEEPALIVED_SEEDS=from-to` takes others.
const SEEDS: std::ops::Range<u64> = 100..150;
/// Of these, so many that ipvsd takes are enough.
const ENOUGH: usize = 20;
/// So many files at a time.
const AT_ONCE: usize = 6;
/// For so long both must agree.
const SETTLED: Duration = Duration::from_secs(4);

/// Files in the shapes that are in use, such as can live in the lab.
const FILES: [(&str, &str); 9] = [
    ("kube", include_str!("../keepalived/lab/kube.conf")),
    ("sip", include_str!("../keepalived/lab/sip.conf")),
    ("generic_nat", include_str!("../keepalived/lab/generic_nat.conf")),
    ("vyos", include_str!("../keepalived/lab/vyos.conf")),
    ("anycast", include_str!("../keepalived/lab/anycast.conf")),
    ("radius", include_str!("../keepalived/lab/radius.conf")),
    ("syslog", include_str!("../keepalived/lab/syslog.conf")),
    ("groups", include_str!("../keepalived/lab/groups.conf")),
    ("workaround", include_str!("../keepalived/lab/workaround.conf")),
];

pub fn tests() -> Vec<Trial> {
    vec![
        case("beside::files_in_use_end_up_the_same", || compare(files())),
        case("beside::random_files_end_up_the_same", || compare(random())),
        case("beside::the_fifo_has_the_same_lines", fifo),
    ]
}

fn files() -> Vec<(String, String)> {
    FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn random() -> Vec<(String, String)> {
    let seeds = std::env::var("KEEPALIVED_SEEDS").ok().and_then(|range| {
        let (from, to) = range.split_once('-')?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    let all = seeds.is_some();
    let taken = seeds.unwrap_or(SEEDS).map(|seed| (format!("seed {seed}"), hurried(&sample::valid(seed))));
    let taken = taken.filter(|(name, text)| {
        let imported = Imported::new(text);
        if let Some(refused) = &imported.refused {
            println!("{name} is refused: {refused}");
        }
        imported.refused.is_none()
    });
    taken.take(if all { usize::MAX } else { ENOUGH }).collect()
}

/// The same file with commands that are there, and with the haste of a test.
fn hurried(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let word = line.trim_start().split(' ').next().unwrap_or_default();
        let comment = line.find(" # ").unwrap_or(line.len());
        let (end, more) = match line.trim_end().strip_suffix('\\') {
            Some(line) => (line, "\\"),
            None => (&line[..comment], ""),
        };
        match word {
            "delay_loop" => out.push_str("delay_loop 1"),
            "warmup" => out.push_str("warmup 0.1"),
            "lvs_method" | "lb_kind" => {
                out.push_str(&format!("{end} {more}\ndelay_loop 1 {more}\nwarmup 0.1 {more}"));
            }
            _ => out.push_str(
                &line.replace("/nonexistent/check", "/bin/true").replace("/nonexistent/hook", "/bin/true"),
            ),
        }
        out.push('\n');
    }
    out
}

/// One of the two on a file, in a namespace where all its addresses are.
struct Run {
    netns: Netns,
    _answers: Answers,
    process: Process,
}

impl Run {
    fn start(name: &str, imported: &Imported, command: impl FnOnce(&Netns) -> Command) -> Self {
        let netns = Netns::new(name);
        netns.check("sysctl", &["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
        for address in imported.addresses() {
            let length = if address.is_ipv4() { 32 } else { 128 };
            let mut words = vec!["address".to_owned(), "add".to_owned(), format!("{address}/{length}")];
            words.extend(["dev".to_owned(), "lo".to_owned()]);
            words.extend(address.is_ipv6().then(|| "nodad".to_owned()));
            netns.check("ip", &words.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let answers = Answers::start(&netns);
        let process = Process::start(&netns, &mut command(&netns));
        Self { netns, _answers: answers, process }
    }

    fn table(&self) -> Table {
        Table::read(&self.netns.check("ipvsadm", &["-Sn"]))
    }
}

fn keepalived(file: &Path, folder: &Path) -> Command {
    let mut command = Command::new("keepalived");
    command.args(["--dont-fork", "--log-console", "--log-detail", "--check", "--use-file"]).arg(file);
    command.arg("--pid").arg(folder.join("parent.pid"));
    command.arg("--checkers_pid").arg(folder.join("checker.pid"));
    command
}

fn ipvsd(file: &Path, netns: &Netns) -> Command {
    let mut command = Command::new(IPVSD);
    command.args(["run", "--config"]).arg(file);
    command.env("RUNTIME_DIRECTORY", netns.runtime_directory());
    command.env("STATE_DIRECTORY", netns.state_directory());
    command
}

/// Both of them on one file.
struct Pair<'f> {
    name: &'f str,
    text: &'f str,
    imported: Imported,
    theirs: Run,
    ours: Run,
    /// Since when they agree.
    since: Option<Instant>,
    /// The notes that explain what is left.
    explained: BTreeSet<String>,
}

impl<'f> Pair<'f> {
    fn start(name: &'f str, text: &'f str) -> Self {
        let imported = Imported::new(text);
        assert_eq!(imported.refused, None, "{name}:\n{text}");
        let (file, folder) = (imported.file(), imported.folder.path().to_owned());
        let theirs = Run::start("keepalived", &imported, |_| keepalived(&file, &folder));
        let ours = Run::start("ipvsd", &imported, |netns| ipvsd(&file, netns));
        Self { name, text, imported, theirs, ours, since: None, explained: BTreeSet::new() }
    }

    /// Whether both agree, and have for a while; else why not.
    fn agree(&mut self) -> Result<(), String> {
        let (their, our) = (self.theirs.table(), self.ours.table());
        let (explained, unexplained) = differences(&their, &our, |service| self.imported.noted_of(service));
        self.explained = explained;
        if !unexplained.is_empty() || our.is_empty() {
            self.since = None;
            let Self { name, text, imported, theirs, ours, .. } = self;
            return Err(format!(
                "{name}:\n{text}\n{}\n{unexplained:#?}\nkeepalived:\n{their}ipvsd:\n{our}{}\n{}",
                imported.toml,
                theirs.process.lines().join("\n"),
                ours.process.lines().join("\n")
            ));
        }
        let settled = self.since.get_or_insert_with(Instant::now).elapsed() > SETTLED;
        if settled { Ok(()) } else { Err(format!("{} has just come to agree", self.name)) }
    }
}

/// Waits until both agree on each file, and go on to.
fn compare(files: Vec<(String, String)>) {
    assert!(!files.is_empty());
    let mut explained = BTreeSet::new();
    for some in files.chunks(AT_ONCE) {
        let mut pairs: Vec<Pair> = some.iter().map(|(name, text)| Pair::start(name, text)).collect();
        let begin = Instant::now();
        loop {
            let failed: Vec<String> = pairs.iter_mut().filter_map(|pair| pair.agree().err()).collect();
            let Some(first) = failed.first() else { break };
            assert!(begin.elapsed() < LIMIT * 4, "{first}");
            std::thread::sleep(Duration::from_millis(500));
        }
        for Pair { name, explained: by, .. } in pairs {
            // A guest that says nothing for minutes is taken for dead.
            println!("{name}: the same, but for what was announced: {by:?}");
            explained.extend(by);
        }
    }
    println!("{} files; differences that notes announced: {explained:?}", files.len());
}

/// One server answers and goes, the other is dead.
const TOLD: &str = "
global_defs {
    lvs_notify_fifo FIFO
}
virtual_server 192.0.2.1 53 {
    delay_loop 1
    lvs_sched rr
    lvs_method NAT
    protocol UDP
    alpha
    real_server 10.0.0.1 53 {
        MISC_CHECK { misc_path \"/usr/bin/test -e ALIVE\" }
    }
    real_server 10.0.0.2 5354 {
        UDP_CHECK { retry 0 }
    }
}
";

fn fifo() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let alive = folder.path().join("alive");
    fs::write(&alive, "").expect("a file");
    let text = |name: &str| {
        TOLD.replace("FIFO", &folder.path().join(name).display().to_string())
            .replace("ALIVE", &alive.display().to_string())
    };
    let both = ["keepalived", "ipvsd"].map(|name| {
        let imported = Imported::new(&text(name));
        let (file, folder) = (imported.file(), imported.folder.path().to_owned());
        let run = Run::start(name, &imported, |netns| match name {
            "keepalived" => keepalived(&file, &folder),
            _ => ipvsd(&file, netns),
        });
        (imported, run)
    });
    let readers = ["keepalived", "ipvsd"].map(|name| {
        let fifo = folder.path().join(name);
        wait_until(LIMIT, "a FIFO", || fifo.exists());
        Process::start(&both[0].1.netns, Command::new("cat").arg(fifo))
    });
    let said = |number: usize| -> BTreeSet<String> { readers[number].lines().into_iter().collect() };
    let up = "RS [10.0.0.1]:udp:53 [192.0.2.1]:udp:53 UP";
    wait_until(LIMIT, "the server that answers", || said(0).contains(up) && said(1).contains(up));
    fs::remove_file(&alive).expect("removing a file");
    let down = up.replace("UP", "DOWN");
    wait_until(LIMIT, "the server that went", || said(0).contains(&down) && said(1).contains(&down));
    wait_until(LIMIT, "the same lines", || said(0) == said(1));
}
