//! Echo servers: processes of their own, so that they can be killed. A test executable starts itself again with
//! `lab-agent` as first argument; commands come to its standard input, reports leave by its standard output.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, io, process, thread};

use serde::{Deserialize, Serialize};

use crate::Netns;
use crate::udp::Udp;

const ARGUMENT: &str = "lab-agent";

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// `<name> <request>`.
    Echo,
    /// The same, filled with `.` to this many bytes.
    Padded(usize),
    /// Always this text.
    Text(String),
    /// As `Echo`, but so many milliseconds later.
    Late(u64),
    /// Nothing; requests are counted all the same.
    Silent,
}

/// A server to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EchoSpec {
    /// Its name, the first word of what it echoes; without spaces.
    pub name: String,
    /// Addresses to listen on; each answers from itself.
    pub listen: Vec<SocketAddr>,
    /// What it answers at first.
    pub answer: Answer,
    /// Replies carry no UDP checksum (IPv4 only).
    pub zero_checksum: bool,
}

/// A datagram that a server got.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Received {
    /// When, in microseconds since 1970.
    pub micros: u64,
    /// Who sent it: a client, or the director with a probe.
    pub from: SocketAddr,
    /// The address that listened.
    pub to: SocketAddr,
    /// Payload bytes.
    pub length: usize,
}

impl Received {
    /// When it came.
    pub fn at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.micros)
    }
}

#[derive(Serialize, Deserialize)]
enum Request {
    Report,
    Answer(Answer),
}

/// A running echo server; killed when dropped.
pub struct Echo {
    child: Child,
    commands: ChildStdin,
    reports: BufReader<ChildStdout>,
    name: String,
}

impl Echo {
    /// Starts a server that echoes on these addresses.
    ///
    /// # Panics
    /// As [`Echo::with`].
    pub fn start(netns: &Netns, name: &str, listen: &[SocketAddr]) -> Echo {
        let spec = EchoSpec {
            name: name.to_owned(),
            listen: listen.to_vec(),
            answer: Answer::Echo,
            zero_checksum: false,
        };
        Echo::with(netns, &spec)
    }

    /// Starts a server; it listens when this returns.
    ///
    /// # Panics
    /// If it does not start or cannot bind.
    pub fn with(netns: &Netns, spec: &EchoSpec) -> Echo {
        let program = env::current_exe().expect("the path of this test executable");
        let spec_text = serde_json::to_string(spec).expect("a spec is JSON");
        let mut command = Command::new(program);
        command.args([ARGUMENT, &spec_text]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = netns.spawn(&mut command);
        let commands = child.stdin.take().expect("a piped stdin");
        let reports = BufReader::new(child.stdout.take().expect("a piped stdout"));
        let mut echo = Echo { child, commands, reports, name: spec.name.clone() };
        assert_eq!(echo.answer_line(), "ready\n", "server {} did not start", spec.name);
        echo
    }

    fn ask(&mut self, request: &Request) -> String {
        let line = serde_json::to_string(request).expect("a request is JSON");
        writeln!(self.commands, "{line}").unwrap_or_else(|error| panic!("server {}: {error}", self.name));
        self.answer_line()
    }

    fn answer_line(&mut self) -> String {
        let mut line = String::new();
        self.reports.read_line(&mut line).unwrap_or_else(|error| panic!("server {}: {error}", self.name));
        line
    }

    /// Every datagram it got so far.
    ///
    /// # Panics
    /// If it has been killed.
    pub fn received(&mut self) -> Vec<Received> {
        let line = self.ask(&Request::Report);
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("server {}: {error}: {line:?}", self.name))
    }

    /// Changes what it answers from now on.
    ///
    /// # Panics
    /// If it has been killed.
    pub fn set_answer(&mut self, answer: Answer) {
        assert_eq!(self.ask(&Request::Answer(answer)), "done\n", "server {}", self.name);
    }

    /// SIGKILL; its ports are closed when this returns.
    pub fn kill(&mut self) {
        // Killing what has ended already is an error that means success here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.kill();
    }
}

/// If this process was started as an agent: is one until its input ends, and exits. Otherwise does nothing.
/// The first thing that an executable does which starts an [`Echo`]; [`suite`](crate::suite) does it itself.
pub fn agent_main() {
    let mut args = env::args().skip(1);
    if args.next().as_deref() != Some(ARGUMENT) {
        return;
    }
    let result = args.next().ok_or_else(|| io::Error::other("no spec")).and_then(|spec| serve(&spec));
    if let Err(error) = result {
        eprintln!("{ARGUMENT}: {error}");
        process::exit(1);
    }
    process::exit(0);
}

fn serve(spec: &str) -> io::Result<()> {
    let spec: EchoSpec = serde_json::from_str(spec)?;
    let answer = Arc::new(Mutex::new(spec.answer));
    let log = Arc::new(Mutex::new(Vec::new()));
    for address in spec.listen {
        let named = |error: io::Error| io::Error::other(format!("{} on {address}: {error}", spec.name));
        let socket = Udp::bind(address, spec.zero_checksum).map_err(named)?;
        let socket = Arc::new(socket);
        let late = send_later(Arc::clone(&socket));
        let (name, answer, log) = (spec.name.clone(), Arc::clone(&answer), Arc::clone(&log));
        thread::spawn(move || {
            loop {
                echo_one(&socket, &late, address, &name, &answer, &log)
                    .unwrap_or_else(|error| eprintln!("{name}: {error}"));
            }
        });
    }
    println!("ready");
    for line in io::stdin().lines() {
        match serde_json::from_str(&line?)? {
            Request::Report => {
                let log = log.lock().unwrap_or_else(PoisonError::into_inner);
                println!("{}", serde_json::to_string(&*log)?);
            }
            Request::Answer(new) => {
                *answer.lock().unwrap_or_else(PoisonError::into_inner) = new;
                println!("done");
            }
        }
    }
    Ok(())
}

/// A reply that waits, and where it goes.
type Waiting = (Instant, Vec<u8>, SocketAddr);

/// Sends replies when their time has come, in the order in which they were given.
fn send_later(socket: Arc<Udp>) -> Sender<Waiting> {
    let (later, waiting) = channel::<Waiting>();
    thread::spawn(move || {
        for (due, reply, to) in waiting {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            socket.send_to(&reply, to).unwrap_or_else(|error| eprintln!("a late reply to {to}: {error}"));
        }
    });
    later
}

fn echo_one(
    socket: &Udp,
    late: &Sender<Waiting>,
    to: SocketAddr,
    name: &str,
    answer: &Mutex<Answer>,
    log: &Mutex<Vec<Received>>,
) -> io::Result<()> {
    let Some((request, from)) = socket.receive(Duration::from_secs(60))? else { return Ok(()) };
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
    log.lock().unwrap_or_else(PoisonError::into_inner).push(Received {
        micros,
        from,
        to,
        length: request.len(),
    });
    let mut reply = [name.as_bytes(), b" ", &request].concat();
    match &*answer.lock().unwrap_or_else(PoisonError::into_inner) {
        Answer::Echo => {}
        Answer::Padded(size) => reply.resize(reply.len().max(*size), b'.'),
        Answer::Late(millis) => {
            let due = Instant::now() + Duration::from_millis(*millis);
            return late.send((due, reply, from)).map_err(io::Error::other);
        }
        Answer::Text(text) => reply = text.clone().into_bytes(),
        Answer::Silent => return Ok(()),
    }
    socket.send_to(&reply, from)
}
