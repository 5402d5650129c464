//! Whole files: the TOML that they become, and what is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::outside::Outside;
use super::super::{File, parse};
use super::*;

/// A machine that has these files, and programs in /usr/bin.
pub struct Files(pub BTreeMap<&'static str, &'static str>);

impl Outside for Files {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        let text = path.to_str().and_then(|path| self.0.get(path));
        text.map(|text| text.as_bytes().to_vec()).ok_or(std::io::ErrorKind::NotFound.into())
    }

    fn matches(&self, pattern: &str) -> Vec<PathBuf> {
        let name = pattern.strip_prefix("/usr/bin/").filter(|name| !name.starts_with("no"));
        name.map(|_| pattern.into()).into_iter().collect()
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn random(&self, least: u32, _: u32) -> u32 {
        least
    }

    fn config_id(&self) -> &str {
        "somebody"
    }
}

fn file(text: &str, outside: &dyn Outside) -> File {
    parse(Path::new("/etc/keepalived/keepalived.conf"), text.as_bytes(), outside)
}

/// The TOML, and the notes as lines.
fn translated(text: &str) -> String {
    let outside =
        Files(BTreeMap::from([("/etc/ops.sh", "#!/bin/sh\nipvsadm -E -u 192.0.2.1:53 --ops -s rr\n")]));
    let file = file(text, &outside);
    let Translation { written, notes } = translate(&file, &outside);
    let notes: Vec<String> = notes.iter().map(|note| note.line(&file.sources)).collect();
    format!("{}\n{}", written.text, notes.join("\n"))
}

#[test]
fn files_in_the_shapes_that_are_in_use() {
    for (name, text) in [
        ("octavia", include_str!("../../../tests/keepalived/conf/octavia.conf")),
        ("syslog_templates", include_str!("../../../tests/keepalived/conf/syslog_templates.conf")),
        ("anycast_dns", include_str!("../../../tests/keepalived/conf/anycast_dns.conf")),
        ("consul_group", include_str!("../../../tests/keepalived/conf/consul_group.conf")),
        ("radius_udp_check", include_str!("../../../tests/keepalived/conf/radius_udp_check.conf")),
        ("vrrp_beside", include_str!("../../../tests/keepalived/conf/vrrp_beside.conf")),
    ] {
        insta::assert_snapshot!(name, translated(text));
    }
}
