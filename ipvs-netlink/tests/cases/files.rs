//! What the kernel has in files beside netlink.

use std::fs;

use ipvs_netlink::connection::{self, Origin};
use ipvs_netlink::sysctl::{self, Sysctl, Value};

use super::*;

pub fn connection() {
    let mut client = client();
    let from = traffic(&mut client, &ServiceConfig::new(scheduler("rr"), Family::Inet), 1);
    for (file, origin) in [("ip_vs_conn", None), ("ip_vs_conn_sync", Some(Origin::Local))] {
        let text = fs::read(format!("/proc/thread-self/net/{file}")).unwrap();
        let entries: Vec<_> = text.split(|byte| *byte == b'\n').filter_map(connection::parse).collect();
        let [entry] = &entries[..] else { panic!("{}", text.escape_ascii()) };
        assert_eq!((entry.client, entry.service, entry.destination), (from, vip(0), server(0)));
        assert_eq!((entry.state, entry.origin, entry.engine), (&b"UDP"[..], origin, None));
        assert!((200..=300).contains(&entry.expires), "{}", entry.expires);
    }
}

/// Settings that depend on how the kernel was built, or on a module.
const SOMETIMES: [&str; 3] = ["debug_level", "lblc_expiration", "lblcr_expiration"];

pub fn names() {
    drop(client());
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|char: char| !char.is_ascii_digit()).map(|word| word.parse().unwrap());
    let version: (u16, u16) = (numbers.next().unwrap(), numbers.next().unwrap());
    let mut there: Vec<_> = fs::read_dir("/proc/sys/net/ipv4/vs")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !SOMETIMES.contains(&&name[..]))
        .collect();
    there.sort();
    let known: Vec<_> = sysctl::NAMES
        .iter()
        .filter(|(name, since)| *since <= version && !SOMETIMES.contains(name))
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(there, known, "{release}");
}

pub fn settings() {
    drop(client());
    let numbers: Vec<i32> = (-22..=70).chain([1 << 30, (1 << 30) + 1, i32::MAX]).collect();
    for setting in [
        sysctl::CONN_LFACTOR,
        sysctl::SVC_LFACTOR,
        sysctl::CONN_MAX,
        sysctl::DROP_ENTRY,
        sysctl::DROP_PACKET,
        sysctl::EST_NICE,
        sysctl::SECURE_TCP,
        sysctl::SYNC_PORTS,
        sysctl::SYNC_RETRIES,
        sysctl::SYNC_VERSION,
        sysctl::AM_DROPRATE,
        sysctl::AMEMTHRESH,
        sysctl::CONN_REUSE_MODE,
    ] {
        asked(setting, &numbers);
    }
    // More depends on the kernel's clock, and it takes less than 0 without a meaning.
    asked(sysctl::SYNC_REFRESH_PERIOD, &[0, 1, i32::MAX / 1000]);
    asked(sysctl::SYNC_THRESHOLD, &[[3, 50], [5, 5], [6, 5], [7, 0], [-1, 5], [0, -1]]);
    asked(sysctl::SYNC_QLEN_MAX, &[0, 1, 1 << 40]);
    for switch in [
        sysctl::BACKUP_ONLY,
        sysctl::CACHE_BYPASS,
        sysctl::CONNTRACK,
        sysctl::EXPIRE_NODEST_CONN,
        sysctl::EXPIRE_QUIESCENT_TEMPLATE,
        sysctl::IGNORE_TUNNELED,
        sysctl::NAT_ICMP_SEND,
        sysctl::PMTU_DISC,
        sysctl::RUN_ESTIMATION,
        sysctl::SCHEDULE_ICMP,
        sysctl::SLOPPY_SCTP,
        sysctl::SLOPPY_TCP,
        sysctl::SNAT_REROUTE,
    ] {
        asked(switch, &[true, false, true]);
    }
    let first = sysctl::CpuList(vec![0..=0]);
    asked(sysctl::EST_CPULIST, &[first.clone(), sysctl::CpuList::default(), first]);
}

/// Asks the kernel what it thinks of `values`; nothing if it has no such setting.
fn asked<T: Value + PartialEq + std::fmt::Debug>(setting: Sysctl<T>, values: &[T]) {
    let Ok(before) = fs::read_to_string(setting.path()) else { return };
    assert_eq!(setting.format(&setting.parse(&before).unwrap()).unwrap(), before.trim());
    for value in values {
        let text = value.write();
        let taken = fs::write(setting.path(), &text);
        assert_eq!(taken.is_ok(), setting.format(value).is_ok(), "{} {text}: {taken:?}", setting.name);
        if taken.is_ok() {
            let after = fs::read_to_string(setting.path()).unwrap();
            // Of the modes of a defence the kernel itself turns 1 into 2 and back, as memory is short or not.
            if ["1", "2"].contains(&&text[..]) && ["1", "2"].contains(&after.trim()) {
                continue;
            }
            assert_eq!(setting.parse(&after).unwrap(), *value, "{} {after}", setting.name);
        }
    }
}
