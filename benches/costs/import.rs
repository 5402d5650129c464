//! A keepalived.conf of 10 000 virtual servers, read, translated and judged.

use std::fmt::Write;

use ipvsd::config;

use crate::meter::{instructions, row};

const VIRTUAL_SERVERS: u32 = 10_000;

/// One virtual server with two real servers, as in most files.
fn text() -> String {
    let mut text = String::new();
    for number in 0..VIRTUAL_SERVERS {
        let (high, low) = (number / 250, number % 250 + 1);
        let _ = write!(
            text,
            "virtual_server 192.{high}.0.{low} 53 {{\n    delay_loop 5\n    lvs_sched rr\n    lvs_method NAT\n    protocol UDP\n    ops\n"
        );
        for server in 1..=2 {
            let _ = write!(
                text,
                "    real_server 10.{high}.{server}.{low} 53 {{\n        weight 1\n        DNS_CHECK {{\n            type A\n            \
                 name example.com\n            connect_timeout 2\n        }}\n    }}\n"
            );
        }
        text.push_str("}\n");
    }
    text
}

/// What reading it costs, from the file to the config.
pub fn ten_thousand() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("keepalived.conf");
    std::fs::write(&file, text()).expect("a file");
    let (loaded, cost) = instructions(|| config::load(&file));
    let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.config.services.len(), VIRTUAL_SERVERS as usize);
    // A second of a processor that does four in a nanosecond; on the developers' machine it took half a second.
    let figure = format!("{:.0} M", cost as f64 / 1e6);
    row("keepalived.conf of 10 000 × 2, read and judged", &figure, "≤ 4 000 M", cost <= 4_000_000_000);
}
