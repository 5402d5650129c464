//! `ipvsd watch` on a terminal: what an operator sees there, and does by keys.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread;

use lab::{Family, Network, case, wait_until};
use libtest_mimic::Trial;
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use vt100::Parser;

use crate::setup::{IPVSD, LIMIT, PATIENT, command, config, echoes, ipvsd, server, wait_for_weights};
use crate::traffic::Traffic;

const FAMILY: Family = Family::V4;

pub fn tests() -> Vec<Trial> {
    vec![
        case("terminal::watch_shows_a_dead_server_and_drains_by_keys", watched),
        case("terminal::watch_says_that_the_daemon_is_gone_and_goes_on", gone),
        case("terminal::watch_gives_the_terminal_back_however_it_ends", restored),
    ]
}

/// A terminal with `ipvsd watch` on it.
struct Screen {
    child: Child,
    keyboard: File,
    parser: Arc<Mutex<Parser>>,
    /// The program's end, and how it was set before.
    end: OwnedFd,
    before: Termios,
}

impl Screen {
    const SIZE: (u16, u16) = (24, 80);

    fn watch(network: &Network) -> Screen {
        let (rows, columns) = Self::SIZE;
        let window = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave: end } = openpty(&window, None).expect("a terminal");
        let before = tcgetattr(&end).expect("its settings");
        let fd = || end.try_clone().expect("the terminal");
        // In a session of its own, so that this is its terminal.
        let mut command = Command::new("setsid");
        command.args(["--ctty", IPVSD, "watch"]).stdin(fd()).stdout(fd()).stderr(fd());
        command.env("TERM", "xterm-256color").env("RUNTIME_DIRECTORY", network.director.runtime_directory());
        let child = network.director.spawn(&mut command);
        let size = |cells| NonZero::new(cells).expect("a size");
        let parser = Arc::new(Mutex::new(Parser::new(size(rows), size(columns), 0)));
        let keyboard = File::from(master);
        let (mut output, seen) = (keyboard.try_clone().expect("the terminal"), Arc::clone(&parser));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Once all ends of the program's side are closed, reading fails.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                seen.lock().expect("the screen").process(&bytes[..count]);
            }
        });
        Screen { child, keyboard, parser, end, before }
    }

    fn text(&self) -> String {
        self.parser.lock().expect("the screen").screen().contents()
    }

    /// Waits until all of these are on the screen.
    fn wait(&self, expected: &[&str]) {
        wait_until(LIMIT, &format!("{expected:?} on the screen"), || {
            let text = self.text();
            expected.iter().all(|expected| text.contains(expected))
        });
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("typing");
    }

    /// Its exit status; the terminal must be as it was.
    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until(LIMIT, "its end", || {
            status = self.child.try_wait().expect("its exit status");
            status.is_some()
        });
        wait_until(LIMIT, "the terminal as it was", || {
            let parser = self.parser.lock().expect("the screen");
            !parser.screen().alternate_screen() && !parser.screen().hide_cursor()
        });
        assert_eq!(tcgetattr(&self.end).expect("its settings"), self.before);
        status.expect("an exit status")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- on the screen:\n{}", self.text());
        }
    }
}

fn watched() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let _daemon = ipvsd(&network, &config(&network, FAMILY, 5300, &format!("check = {PATIENT}")));
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    let traffic = Traffic::start(&network);
    let [first, second, third] = [0, 1, 2].map(|number| server(&network, number, FAMILY).to_string());
    let mut screen = Screen::watch(&network);
    screen.wait(&["echo", "3 of 3 up", &first, &second, &third]);

    servers[2].kill();
    let died = format!("{third}  up → down: refused");
    screen.wait(&["IN/s", "2 of 3 up", &died, &format!("{third}  weight 1 → 0")]);
    println!("{}", screen.text());

    screen.press("jd");
    screen.wait(&[&format!("drain {first} of echo?"), "y do it"]);
    println!("{}", screen.text());
    screen.press("n");
    screen.wait(&["d drain"]);
    screen.press("d10my");
    screen.wait(&[&format!("echo {first}: drained for 10m"), &format!("{first}  weight 1 → 0"), "1 drained"]);
    wait_for_weights(&network, FAMILY, &[0, 1, 0]);
    println!("{}", screen.text());

    // Nobody would be left.
    screen.press("jdy");
    screen.wait(&["is the last server with weight", "--force"]);
    wait_for_weights(&network, FAMILY, &[0, 1, 0]);
    println!("{}", screen.text());
    screen.press("\r");
    screen.press("kuy");
    screen.wait(&[&format!("echo {first}: as the config says"), &format!("{first}  weight 0 → 1")]);
    wait_for_weights(&network, FAMILY, &[1, 1, 0]);
    screen.press("q");
    assert!(screen.ended().success());
    drop(traffic);
}

fn gone() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}"));
    let mut daemon = ipvsd(&network, &text);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    let mut screen = Screen::watch(&network);
    screen.wait(&["2 of 2 up"]);
    daemon.signal(Signal::SIGSTOP);
    screen.wait(&["NO ANSWER for", "says nothing"]);
    daemon.signal(Signal::SIGKILL);
    daemon.wait_exit(LIMIT);
    screen.wait(&["NO ANSWER for", "nobody listens"]);
    screen.press("jdy");
    screen.wait(&["is ipvsd running?"]);
    screen.press("n");
    let _daemon = ipvsd(&network, &text);
    wait_until(LIMIT, "an answer", || {
        let text = screen.text();
        !text.contains("NO ANSWER") && text.contains("2 of 2 up")
    });
    screen.press("q");
    assert!(screen.ended().success());
}

fn restored() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}"));
    let (status, _, said) = command(&network.director, &["watch"]);
    assert!(status == 1 && said.contains("needs a terminal") && said.contains("ipvsd status"), "{said}");
    let mut screen = Screen::watch(&network);
    screen.wait(&["is ipvsd running?"]);
    assert_eq!(screen.ended().code(), Some(1), "no daemon runs");

    let _daemon = ipvsd(&network, &text);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGINT), Some(Signal::SIGHUP)] {
        let mut screen = Screen::watch(&network);
        screen.wait(&["of 2 up"]);
        match signal {
            None => screen.press("\u{3}"),
            Some(signal) => {
                kill(Pid::from_raw(screen.child.id().cast_signed()), signal).expect("a signal");
            }
        }
        assert!(screen.ended().success(), "{signal:?}");
    }
}
