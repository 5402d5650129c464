//! Random keepalived.conf files, each a plain function of its seed.

use std::fmt::Write;

/// A file that keepalived takes without an error: all kinds of virtual servers, checks, spellings and layouts.
///
/// Its warnings are about defaults only: a missing scheduler, protocol or method.
pub fn valid(seed: u64) -> String {
    let mut sample = Sample { random: Random(seed), out: String::new(), depth: 0 };
    sample.file();
    sample.out
}

/// The same with a few of its words spoilt.
pub fn spoilt(seed: u64) -> String {
    let mut random = Random(!seed);
    let mut lines: Vec<String> = valid(seed).lines().map(str::to_owned).collect();
    for _ in 0..=random.below(3) {
        let at = random.below(lines.len());
        if lines[at].contains("virtual_server fwmark") {
            continue; // 2.2.7 makes nonsense of the mark 0
        }
        let line = &mut lines[at];
        let mut words: Vec<&str> = line.split(' ').collect();
        // Braces and variables stay as they are: what follows a wrong one is read differently by each version.
        let Some(index) = words
            .iter()
            .rposition(|word| !word.is_empty() && !word.contains(['{', '}', '$', '~', '"', '#', '\\']))
        else {
            continue;
        };
        words[index] = random.of(&[
            "x",
            "0",
            "-1",
            "99999999999999",
            "1.5",
            "70000",
            "5s",
            "TCP",
            "fd00::1",
            "10.0.0.300",
            "yes",
            "rr",
        ]);
        *line = words.join(" ");
    }
    lines.join("\n") + "\n"
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

struct Sample {
    random: Random,
    out: String,
    depth: usize,
}

impl Sample {
    fn line(&mut self, text: impl AsRef<str>) {
        let comment = if self.random.once_in(12) { "  # why not { this } too" } else { "" };
        let _ = writeln!(self.out, "{:indent$}{}{comment}", "", text.as_ref(), indent = self.depth * 4);
        if self.random.once_in(20) {
            self.out.push('\n');
        }
    }

    /// Says it once in so many times.
    fn maybe(&mut self, times: usize, text: impl AsRef<str>) {
        if self.random.once_in(times) {
            self.line(text);
        }
    }

    fn block(&mut self, head: &str, body: impl FnOnce(&mut Self)) {
        if self.random.once_in(6) {
            self.line(head);
            self.line("{");
        } else {
            self.line(format!("{head} {{"));
        }
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.line("}");
    }

    fn file(&mut self) {
        self.maybe(2, "! made by a seed");
        if self.random.once_in(2) {
            self.block("global_defs", |sample| {
                sample.maybe(2, "router_id lb_1");
                sample.maybe(3, "lvs_timeouts tcp 900 tcpfin 60 udp 30");
                sample.maybe(4, "checker_log_all_failures yes");
                sample.maybe(4, "enable_script_security");
                sample.maybe(4, "smtp_connect_timeout 30");
            });
        }
        self.block("track_file busy", |sample| {
            sample.line("file /nonexistent/busy");
            sample.maybe(2, "weight 2");
        });
        for number in 0..=self.random.below(3) {
            self.server(number);
        }
        if self.random.once_in(3) {
            self.generated();
        }
    }

    fn server(&mut self, number: usize) {
        let v6 = self.random.once_in(4);
        let net = if v6 { format!("fd00:{number}::") } else { format!("10.{number}.0.") };
        let method =
            self.random.of(&["NAT", "NAT", "DR", "TUN", "TUN type gue port 5555", "TUN type gre csum"]);
        let port = self.random.of(&[53, 514, 1812, 5060]);
        let kind = self.random.below(5);
        let head = match kind {
            0 => format!("virtual_server fwmark {}", number + 1),
            1 => {
                self.group(number, v6, port);
                format!("virtual_server group group_{number}")
            }
            _ => format!("virtual_server {net}1 {port}"),
        };
        self.block(&head, |sample| sample.server_body(kind, v6, &net, method, port));
    }

    fn group(&mut self, number: usize, v6: bool, port: u16) {
        self.block(&format!("virtual_server_group group_{number}"), |sample| {
            let net = if v6 { format!("fd00:{number}:1::") } else { format!("10.{number}.1.") };
            sample.line(format!("{net}1 {port}"));
            sample.maybe(2, format!("{net}10-19 {port}"));
            sample.maybe(
                2,
                format!("{net}{}/{} {port}", if v6 { "a0" } else { "32" }, if v6 { 126 } else { 30 }),
            );
        });
    }

    fn server_body(&mut self, kind: usize, v6: bool, net: &str, method: &str, port: u16) {
        let fwmark = kind == 0;
        if fwmark && v6 {
            self.line("ip_family inet6");
        }
        let scheduler = self
            .random
            .of(&["rr", "wrr", "lc", "wlc", "sh", "mh", "dh", "sed", "nq", "lblc", "lblcr", "fo", "ovf"]);
        let spelling = self.random.of(&["lvs_sched", "lb_algo"]);
        if !self.random.once_in(8) {
            self.line(format!("{spelling} {scheduler}"));
            if matches!(scheduler, "sh" | "mh") {
                self.maybe(2, format!("{scheduler}-port"));
                self.maybe(2, format!("{scheduler}-fallback"));
            }
        }
        self.maybe(6, "flag-1");
        let spelling = self.random.of(&["lvs_method", "lb_kind"]);
        self.line(format!("{spelling} {method}"));
        let protocol = self.random.of(&["UDP", "UDP", "udp", "TCP", "SCTP"]);
        if !fwmark && !self.random.once_in(8) {
            self.line(format!("protocol {protocol}"));
            if protocol.eq_ignore_ascii_case("udp") {
                self.maybe(2, "ops");
            }
        }
        let timer = self.random_timer("delay_loop");
        self.maybe(4, timer);
        self.maybe(6, "retry 2");
        self.maybe(6, "delay_before_retry 0.5");
        self.maybe(6, "warmup 0");
        self.maybe(6, "connect_timeout 2");
        self.maybe(6, "persistence_timeout 50");
        self.maybe(8, "persistence_timeout");
        self.maybe(
            8,
            if v6 { "persistence_granularity 64" } else { "persistence_granularity 255.255.255.0" },
        );
        self.maybe(8, "alpha");
        self.maybe(8, "omega");
        self.maybe(8, "inhibit_on_failure");
        self.maybe(8, "virtualhost label.example");
        self.maybe(8, "quorum 2\nhysteresis 1");
        self.maybe(8, "quorum_up \"/nonexistent/hook up 'a b'\"");
        self.maybe(8, "weight 3");
        let dr = method != "NAT";
        if self.random.once_in(4) && kind > 1 {
            let sorry = if self.random.once_in(2) { String::new() } else { format!(" {port}") };
            self.line(format!("sorry_server {net}99{sorry}"));
            self.maybe(2, "sorry_server_inhibit");
            self.maybe(3, "sorry_server_lvs_method DR");
        }
        for server in 2..4 + self.random.below(3) {
            let own = match (kind, dr) {
                (0, true) => String::new(),
                (0 | 1, _) | (_, true) => format!(" {port}"),
                _ => self.random.of(&["", " 5300", " 53"]).to_owned(),
            };
            self.block(&format!("real_server {net}{server}{own}"), Self::real_server);
        }
    }

    fn random_timer(&mut self, keyword: &str) -> String {
        format!("{keyword} {}", self.random.of(&["1", "5", "0.25", "10.5", "60"]))
    }

    fn real_server(&mut self) {
        let weight = self.random.of(&[1, 2, 10, 100]);
        self.line(format!("weight {weight}"));
        self.maybe(8, "uthreshold 1000");
        self.maybe(8, "lthreshold 500");
        self.maybe(8, "inhibit_on_failure");
        self.maybe(8, "alpha no");
        self.maybe(8, "notify_down \"/nonexistent/hook down\"");
        self.maybe(8, "retry 3");
        for _ in 0..self.random.below(3) {
            let kind = self.random.of(&[
                "TCP_CHECK",
                "UDP_CHECK",
                "PING_CHECK",
                "DNS_CHECK",
                "MISC_CHECK",
                "HTTP_GET",
                "FILE_CHECK",
            ]);
            self.block(kind, |sample| sample.check(kind));
        }
    }

    fn check(&mut self, kind: &str) {
        if kind == "FILE_CHECK" {
            self.line("track_file busy");
            return self.maybe(2, "weight 3 reverse");
        }
        match kind {
            "UDP_CHECK" => {
                self.maybe(2, "payload 00 1a2b 3");
                self.maybe(2, "require_reply 00 Xb");
                self.maybe(3, "min_reply_length 12");
            }
            "DNS_CHECK" => {
                let record = self.random.of(&["A", "soa", "TXT"]);
                self.maybe(2, format!("type {record}"));
                let name = self.random.of(&["example.org", "example.org.", "a.example.org"]);
                self.maybe(2, format!("name {name}"));
            }
            "MISC_CHECK" => {
                self.line("misc_path \"/nonexistent/check 'a b' { # }\"");
                self.maybe(3, "misc_timeout 3");
                self.maybe(3, "misc_dynamic");
            }
            "HTTP_GET" => self.block("url", |sample| {
                sample.line("path /health");
                sample.maybe(2, "status_code 200-299 401");
            }),
            _ => {}
        }
        if kind != "MISC_CHECK" {
            self.maybe(5, "connect_port 8053");
            self.maybe(5, "connect_timeout 1.5");
            self.maybe(8, "fwmark 7");
        }
        self.maybe(5, "retry 0");
        let timer = self.random_timer("delay_loop");
        self.maybe(5, timer);
        self.maybe(5, "warmup 2");
    }

    /// The same server over and over, with all that makes text.
    fn generated(&mut self) {
        self.line("$PORT=514");
        for line in [
            "$SERVER= \\",
            "    virtual_server 192.0.2.${N} ${PORT} { \\",
            "        lvs_sched rr \\",
            "        lvs_method NAT \\",
            "        protocol UDP \\",
            "        @^nobody ops \\",
            "        @nobody ops no such thing \\",
            "        ~SEQ(R,1,3) real_server 198.51.100.${R} $PORT { weight ${R} } \\",
            "    }",
        ] {
            let _ = writeln!(self.out, "{line}");
        }
        self.line("~LST(N, 5, 7) $SERVER");
    }
}
