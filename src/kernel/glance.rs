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
        let Ok(text) = fs::read(TABLE) else { return true };
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
    fn only_the_counters_of_servers_are_left_out() {
        let server = b"  -> 0A00010B:14B4      Masq    1      7          42        ";
        assert_eq!(without_counters(server), b"  -> 0A00010B:14B4      Masq    1");
        assert_eq!(without_counters(b"UDP  C0000235:0035 rr ops"), b"UDP  C0000235:0035 rr ops");
        assert_eq!(without_counters(b"  ->"), b"");
    }
}
