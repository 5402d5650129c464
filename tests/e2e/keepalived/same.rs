//! The real keepalived and ipvsd on the same file, each in a namespace of its own: what they make of the kernel's table is the
//! same, but for what a note of `ipvsd import` announces.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use lab::{Daemon, Netns};

use super::living::living;
use crate::setup::{IPVSD, command};
use crate::takeover::Keepalived;

/// Shapes of §7 of what is in use, whose servers live in the lab.
const FILES: [(&str, &str); 9] = [
    ("octavia", include_str!("../../keepalived/living/octavia.conf")),
    ("vyos", include_str!("../../keepalived/living/vyos.conf")),
    ("kube", include_str!("../../keepalived/living/kube.conf")),
    ("generic_nat", include_str!("../../keepalived/living/generic_nat.conf")),
    ("sip", include_str!("../../keepalived/living/sip.conf")),
    ("syslog", include_str!("../../keepalived/living/syslog.conf")),
    ("anycast_dns", include_str!("../../keepalived/living/anycast_dns.conf")),
    ("consul_group", include_str!("../../keepalived/living/consul_group.conf")),
    ("radius", include_str!("../../keepalived/living/radius.conf")),
];

/// So many files at a time: they wait more than they work.
const TOGETHER: usize = 5;
/// Both have settled by then, on a slow guest, too.
const LIMIT: Duration = Duration::from_secs(60);
/// Both tables have to stay as they are for so long.
const SETTLED: Duration = Duration::from_secs(3);

/// Each kind of difference, and the keyword of the note that must be there.
const ANNOUNCED: [(Kind, &str); 4] = [
    (Kind::DeadStays, "inhibit_on_failure"),
    (Kind::SorryStays, "sorry_server"),
    (Kind::WeightWithoutUse, "weight"),
    (Kind::OpsByScript, "ops"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// With keepalived it is not in the table, with ipvsd at weight 0.
    DeadStays,
    /// The same for a sorry server that is not needed.
    SorryStays,
    /// Under a scheduler that takes no notice of weights.
    WeightWithoutUse,
    /// Which keepalived has not run.
    OpsByScript,
    /// Anything else.
    Unknown,
}

pub fn the_kernel_ends_up_the_same() {
    let random = super::seeds().map(|seed| (format!("living({seed})"), living(seed)));
    let named = FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let files = Mutex::new(named.chain(random).collect::<Vec<_>>().into_iter());
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                loop {
                    let next = files.lock().expect("the files").next();
                    let Some((name, text)) = next else { break };
                    let result = compare(&text).map_err(|why| format!("{name}:\n{text}\n{why}"));
                    results.lock().expect("the results").push(result);
                }
            });
        }
    });
    let results = results.into_inner().expect("the results");
    let compared = results.len();
    let mut found: BTreeMap<Kind, usize> = BTreeMap::new();
    for kind in results.iter().flatten().flatten() {
        *found.entry(*kind).or_default() += 1;
    }
    println!(
        "measured: {compared} files with keepalived and ipvsd; differences that a note announced: {found:?}"
    );
    let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} of {compared} files:\n{}", failed.len(), failed.join("\n\n"));
}

/// The differences, all announced; or what is wrong.
fn compare(text: &str) -> Result<Vec<Kind>, String> {
    let (theirs, ours) = (place("keepalived"), place("ipvsd"));
    let keepalived = Keepalived::start(&theirs, text);
    let daemon = Daemon::start_with(&ours, IPVSD, "keepalived.conf", text);
    let file = daemon.config_file();
    let (_, imported, said) = command(&ours, &["import", "--json", &file.to_string_lossy()]);
    let imported: serde_json::Value =
        serde_json::from_str(&imported).map_err(|error| format!("{error}: {imported}{said}"))?;
    if imported["refused"] != false {
        return Err(format!("refused: {imported:#}"));
    }
    let notes: BTreeSet<&str> = imported["notes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|note| note["keyword"].as_str())
        .collect();
    let sorry = sorry_servers(text);
    let start = Instant::now();
    let mut since = Instant::now();
    let mut before = (String::new(), String::new());
    loop {
        let now = (theirs.check("ipvsadm", &["-Sn"]), ours.check("ipvsadm", &["-Sn"]));
        if now != before {
            (before, since) = (now, Instant::now());
        }
        let differences = differences(&before.0, &before.1, &sorry);
        let announced = |(kind, _): &(Kind, String)| {
            ANNOUNCED.iter().any(|(other, keyword)| other == kind && notes.contains(keyword))
        };
        let surprises: Vec<_> = differences.iter().filter(|it| !announced(it)).collect();
        let settled = since.elapsed() >= SETTLED && !before.0.is_empty();
        if settled && surprises.is_empty() && !dead_has_weight(&before.0) && !dead_has_weight(&before.1) {
            return Ok(differences.into_iter().map(|(kind, _)| kind).collect());
        }
        if start.elapsed() > LIMIT {
            return Err(format!(
                "differences without a note: {surprises:#?}\nkeepalived:\n{}\nipvsd:\n{}\nnotes: {notes:?}\n{}\n{}",
                before.0,
                before.1,
                keepalived.parent.lines().join("\n"),
                daemon.lines().join("\n")
            ));
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// A server that is never alive: before it is seen to be dead, nothing is settled.
fn dead_has_weight(table: &str) -> bool {
    let dead = |line: &str| line.contains("-r 10.99.") || line.contains("-r [fd00:99:");
    table.lines().any(|line| dead(line) && !line.contains(" -w 0"))
}

/// The addresses of all sorry servers.
fn sorry_servers(text: &str) -> BTreeSet<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == "sorry_server").map(|pair| pair[1].to_owned()).collect()
}

/// The lines of `ipvsadm -Sn` by what they are about: all before the first option that says how.
fn by_subject(table: &str) -> BTreeMap<String, String> {
    let subject = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let end = if words.get(3) == Some(&"-r") { 5 } else { 3 };
        let (subject, how) = words.split_at(end.min(words.len()));
        (subject.join(" "), how.join(" "))
    };
    table.lines().map(|line| subject(line.trim_end())).collect()
}

fn differences(theirs: &str, ours: &str, sorry: &BTreeSet<String>) -> Vec<(Kind, String)> {
    let (theirs, ours) = (by_subject(theirs), by_subject(ours));
    let subjects: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let schedulers = |subject: &str| {
        let service = subject.split(" -r ").next().unwrap_or_default().replacen("-a ", "-A ", 1);
        ours.get(&service).cloned().unwrap_or_default()
    };
    let mut found = Vec::new();
    for subject in subjects {
        let (their, our) = (theirs.get(subject), ours.get(subject));
        let kind = match (their, our) {
            (their, our) if their == our => continue,
            (None, Some(our)) if our.split(" -x ").next().is_some_and(|how| how.ends_with("-w 0")) => {
                let address = subject.split(" -r ").nth(1).unwrap_or_default();
                let is_sorry = sorry.iter().any(|sorry| {
                    address.starts_with(&format!("{sorry}:")) || address.starts_with(&format!("[{sorry}]"))
                });
                if is_sorry { Kind::SorryStays } else { Kind::DeadStays }
            }
            (Some(their), Some(our)) if subject.starts_with("-A") && format!("{their} -o") == *our => {
                Kind::OpsByScript
            }
            (Some(their), Some(our)) if subject.starts_with("-a") => {
                let service = schedulers(subject);
                let unweighted = ["-s rr", "-s lc", "-s dh"]
                    .iter()
                    .any(|scheduler| service == *scheduler || service.starts_with(&format!("{scheduler} ")));
                let weightless = |how: &str| how.split(" -w ").next().map(str::to_owned);
                if unweighted && our.contains("-w 1") && weightless(their) == weightless(our) {
                    Kind::WeightWithoutUse
                } else {
                    Kind::Unknown
                }
            }
            _ => Kind::Unknown,
        };
        found.push((kind, format!("{subject}: keepalived {their:?}, ipvsd {our:?}")));
    }
    found
}

/// A namespace in which all of 10.0.0.0/8 and fd00::/16 is this machine, and answers, but for what is dead.
fn place(role: &str) -> Netns {
    let netns = Netns::new(role);
    netns.ip(&[
        "route add local 10.0.0.0/8 dev lo",
        "route add unreachable 10.99.0.0/16 table local",
        "route add local fd00::/16 dev lo",
        "route add unreachable fd00:99::/32 table local",
    ]);
    netns.set_sysctl("net.ipv4.ip_forward", "1");
    netns.set_sysctl("net.ipv6.conf.all.forwarding", "1");
    for port in [53, 514, 1812, 5060, 5300] {
        let socket = netns.run(|| UdpSocket::bind(("0.0.0.0", port))).expect("a UDP socket");
        serve_datagrams(socket);
    }
    let listener = netns.run(|| TcpListener::bind("[::]:9000")).expect("a TCP socket");
    serve_streams(listener);
    netns
}

/// Each datagram goes back; one that is long enough for DNS as a reply.
fn serve_datagrams(socket: UdpSocket) {
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if length >= 12 {
                buffer[2] |= 0x80;
            }
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
}

/// Whoever asks gets 200.
fn serve_streams(listener: TcpListener) {
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                if stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
                }
            });
        }
    });
}
