//! Values as text and back; the kernel's own opinion is asked by the live case `settings_are_what_the_kernel_takes`.

use proptest::prelude::*;

use super::*;

#[test]
fn each_kind_is_read_and_written_as_the_kernel_does() {
    assert_eq!(CONNTRACK.path(), "/proc/sys/net/ipv4/vs/conntrack");
    assert!(CONNTRACK.parse("1\n").unwrap() && !CONNTRACK.parse("0\n").unwrap());
    assert!(CONNTRACK.parse("-7\n").unwrap());
    assert_eq!(CONNTRACK.format(&true).unwrap(), "1");
    assert_eq!(SYNC_QLEN_MAX.parse("18446744073709551615\n").unwrap(), u64::MAX);
    assert_eq!(SYNC_THRESHOLD.format(&[3, 50]).unwrap(), "3\t50");
    let cpus = CpuList(vec![0..=3, 6..=6]);
    assert_eq!(EST_CPULIST.parse("0-3,6\n").unwrap(), cpus);
    assert_eq!(EST_CPULIST.format(&cpus).unwrap(), "0-3,6");
    assert_eq!(EST_CPULIST.parse("\n").unwrap(), CpuList::default());
    assert_eq!(EST_CPULIST.format(&CpuList::default()).unwrap(), "\n");
}

#[test]
fn what_the_kernel_would_refuse_is_refused() {
    let error = EST_NICE.format(&20).unwrap_err();
    assert_eq!(error.to_string(), "net.ipv4.vs.est_nice cannot be `20`: it is -20 to 19");
    for ports in [-1, 0, 3, 6] {
        assert!(SYNC_PORTS.format(&ports).is_err());
    }
    for pair in [[-1, 5], [5, 5], [0, -1]] {
        assert!(SYNC_THRESHOLD.format(&pair).is_err());
    }
    assert!(SYNC_THRESHOLD.format(&[7, 0]).is_ok());
}

#[test]
fn other_text_is_refused() {
    for text in ["", "x", "1 2", "4294967296"] {
        assert!(AM_DROPRATE.parse(text).is_err() && CONNTRACK.parse(text).is_err(), "{text}");
    }
    assert!(SYNC_THRESHOLD.parse("1").is_err() && SYNC_THRESHOLD.parse("1 2 3").is_err());
    assert!(EST_CPULIST.parse("0-").is_err() && SYNC_QLEN_MAX.parse("-1").is_err());
}

proptest! {
    #[test]
    fn values_survive_their_text(
        number in any::<i32>(),
        pair in any::<[i32; 2]>(),
        long in any::<u64>(),
        ranges in proptest::collection::vec((any::<u32>(), any::<u32>()), 0..5),
    ) {
        fn survives<T: Value + PartialEq + std::fmt::Debug>(setting: Sysctl<T>, value: T) {
            if let Ok(text) = setting.format(&value) {
                assert_eq!(setting.parse(&text).unwrap(), value);
            }
        }
        survives(AM_DROPRATE, number);
        survives(SYNC_THRESHOLD, pair);
        survives(SYNC_QLEN_MAX, long);
        survives(EST_CPULIST, CpuList(ranges.into_iter().map(|(first, last)| first..=last).collect()));
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), list in "[0-9,-]{0,20}") {
        let _ = (SYNC_THRESHOLD.parse(&text), EST_CPULIST.parse(&text), EST_CPULIST.parse(&list));
    }
}
