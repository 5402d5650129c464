//! The counters of a whole network namespace, from `/proc/net/ip_vs_stats` and `/proc/net/ip_vs_stats_percpu`: netlink
//! has none for all services together. Readers without I/O of their own.

use crate::{DecodeError, Stats};

/// What `/proc/net/ip_vs_stats_percpu` has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerCpu {
    /// The counters of each processor by its number, up to the last packet, other than all other counters that the kernel
    /// tells; their rates are 0, for the kernel has none.
    pub cpus: Vec<(u32, Stats)>,
    /// All processors together as of the last estimation (every 2 seconds), with its rates.
    pub total: Stats,
}

/// Reads `/proc/net/ip_vs_stats`: all services that are or were, since the last [`zero_all`](crate::request::zero_all).
///
/// `ip_vs_ctl.c: ip_vs_stats_show`: two lines of headings, connections, packets in and out, bytes in and out, a line of
/// headings, and the rates of the same per second; all hexadecimal.
///
/// # Errors
/// [`DecodeError::Malformed`] if that is not what the text is.
///
/// ```
/// let text = "   Total Incoming Outgoing         Incoming         Outgoing
///    Conns  Packets  Packets            Bytes            Bytes
///        A       10        0              4B0                0
///
///  Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
///        1        2        0               3C                0
/// ";
/// let stats = ipvs_netlink::totals::parse(text)?;
/// assert_eq!((stats.connections, stats.packets_in, stats.bytes_in_rate), (10, 16, 60));
/// # Ok::<(), ipvs_netlink::DecodeError>(())
/// ```
pub fn parse(text: &str) -> Result<Stats, DecodeError> {
    let mut rows = text.lines().filter_map(numbers);
    match (rows.next(), rows.next(), rows.next()) {
        (Some(counters), Some(rates), None) => Ok(stats(counters, rates)),
        _ => Err(malformed("/proc/net/ip_vs_stats")),
    }
}

/// Reads `/proc/net/ip_vs_stats_percpu`.
///
/// `ip_vs_ctl.c: ip_vs_stats_percpu_show`: as [`parse`] says, with the number of the processor, or `~` for all, before
/// the counters.
///
/// # Errors
/// [`DecodeError::Malformed`] if that is not what the text is.
pub fn parse_per_cpu(text: &str) -> Result<PerCpu, DecodeError> {
    let (mut cpus, mut total, mut rates) = (Vec::new(), None, None);
    for line in text.lines() {
        let split = line.trim_start().split_once(' ');
        if let Some(row) = numbers(line) {
            rates = Some(row);
        } else if let Some((cpu, row)) = split.and_then(|(cpu, rest)| Some((cpu, numbers(rest)?))) {
            match (cpu, u32::from_str_radix(cpu, 16)) {
                ("~", _) => total = Some(row),
                (_, Ok(number)) => cpus.push((number, stats(row, [0; 5]))),
                _ => return Err(malformed("/proc/net/ip_vs_stats_percpu")),
            }
        }
    }
    match (total, rates) {
        (Some(total), Some(rates)) => Ok(PerCpu { cpus, total: stats(total, rates) }),
        _ => Err(malformed("/proc/net/ip_vs_stats_percpu")),
    }
}

/// A line of five hexadecimal numbers.
fn numbers(line: &str) -> Option<[u64; 5]> {
    let mut words = line.split_ascii_whitespace().map(|word| u64::from_str_radix(word, 16));
    let mut row = [0; 5];
    for number in &mut row {
        *number = words.next()?.ok()?;
    }
    words.next().is_none().then_some(row)
}

fn stats(counters: [u64; 5], rates: [u64; 5]) -> Stats {
    let mut all = [0; 10];
    all[..5].copy_from_slice(&counters);
    all[5..].copy_from_slice(&rates);
    Stats::of(all)
}

fn malformed(file: &str) -> DecodeError {
    DecodeError::Malformed(format!("{file} has not the lines that this library knows"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PER_CPU: &str = "\
       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0        A       10        0              4B0                0
 1F        1        2        3                4                5
  ~        B       12        3              4B4                5

     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
           1        2        0               3C                0
";

    #[test]
    fn every_processor_and_their_sum_are_read() {
        let read = parse_per_cpu(PER_CPU).unwrap();
        assert_eq!(read.cpus.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 31]);
        assert_eq!(read.cpus[1].1, stats([1, 2, 3, 4, 5], [0; 5]));
        assert_eq!(read.total, stats([11, 18, 3, 0x4b4, 5], [1, 2, 0, 60, 0]));
    }

    #[test]
    fn a_file_that_is_cut_or_another_is_refused() {
        for text in ["", "1 2 3 4 5", "   Total", PER_CPU] {
            assert!(matches!(parse(text), Err(DecodeError::Malformed(_))), "{text}");
        }
        for length in 0..PER_CPU.rfind("3C").unwrap() {
            assert!(parse_per_cpu(&PER_CPU[..length]).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_counters_are_read_as_they_were_written(counters in any::<[u64; 5]>(), rates in any::<[u64; 5]>()) {
            let row = |[a, b, c, d, e]: [u64; 5]| format!("{a:8X} {b:8X} {c:8X} {d:16X} {e:16X}");
            let text = format!("Total\nConns\n{}\n\nConns/s\n{}\n", row(counters), row(rates));
            prop_assert_eq!(parse(&text).unwrap(), stats(counters, rates));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), rows in "([0-9A-F~ \n]){0,200}") {
            let _ = (parse(&text), parse_per_cpu(&text), parse(&rows), parse_per_cpu(&rows));
        }
    }
}
