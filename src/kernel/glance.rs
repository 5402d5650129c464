//! A cheap look at IPVS: `/proc/net/ip_vs` costs about half of a full dump, and shows nearly all of it.
//!
//! It does not show thresholds, tunnels and the persistence engine, so every so often the full look is made anyway;
//! a small table is cheap enough to be looked at in full each time.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};

const TABLE: &str = "/proc/net/ip_vs";

/// Tables of at most so many lines are dumped in full each time.
const SMALL: usize = 300;

/// So many glances that show nothing, then a full look.
const ROUNDS: u32 = 15;

/// What the last glance showed.
#[derive(Debug, Default)]
pub struct Glance {
    last: Option<u64>,
    rounds: u32,
}

impl Glance {
    /// Whether a full look is due: something has changed, the table is small, or the last one is long ago.
    pub fn changed(&mut self) -> bool {
        // A table that cannot be read is one for the full look, which says why.
        fs::read(TABLE).map_or(true, |text| self.is_due(&text))
    }

    fn is_due(&mut self, text: &[u8]) -> bool {
        let mut lines = 0;
        let mut hasher = DefaultHasher::new();
        for line in text.split(|byte| *byte == b'\n') {
            lines += 1;
            without_counters(line).hash(&mut hasher);
        }
        let now = Some(hasher.finish());
        self.rounds += 1;
        let due = lines <= SMALL || self.rounds >= ROUNDS || self.last != now;
        if due {
            self.rounds = 0;
        }
        self.last = now;
        due
    }
}

/// A server's line ends in its connections, active and inactive; they change without anybody changing anything.
fn without_counters(line: &[u8]) -> &[u8] {
    if !line.starts_with(b"  ->") {
        return line;
    }
    let mut end = line.len();
    for _ in 0..2 {
        let kept = line[..end].trim_ascii_end();
        end = kept.iter().rposition(u8::is_ascii_whitespace).unwrap_or(0);
    }
    line[..end].trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_table_is_always_due_and_a_large_one_when_it_changes_and_every_15_times() {
        let server =
            |weight: u32, connections: u32| format!("  -> 0A00010B:14B4 Masq {weight} 0 {connections}\n");
        let mut glance = Glance::default();
        assert!((0..3).all(|_| glance.is_due(server(1, 0).repeat(SMALL - 1).as_bytes())));
        let mut due = |table: &str| glance.is_due(table.as_bytes());
        let large = server(1, 0).repeat(SMALL);
        assert!(due(&large), "it was another table before");
        assert!((1..15).all(|_| !due(&large)));
        assert!(due(&large), "the fifteenth");
        assert!(!due(&server(1, 7).repeat(SMALL)), "connections come and go");
        assert!(due(&server(2, 7).repeat(SMALL)));
    }

    #[test]
    fn only_the_counters_of_servers_are_left_out() {
        let server = b"  -> 0A00010B:14B4      Masq    1      7          42        ";
        assert_eq!(without_counters(server), b"  -> 0A00010B:14B4      Masq    1");
        assert_eq!(without_counters(b"UDP  C0000235:0035 rr ops"), b"UDP  C0000235:0035 rr ops");
        assert_eq!(without_counters(b"  ->"), b"");
    }
}
