//! Whole files: the TOML that they become, and what is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::super::outside::Outside;
use super::super::tests::sample;
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

/// The TOML of any text is TOML, its places are in the text, and everything that is said has a place.
fn is_told(text: &str) {
    let outside = Files(BTreeMap::new());
    let file = file(text, &outside);
    let Translation { written, notes } = translate(&file, &outside);
    written.text.parse::<toml::Table>().unwrap_or_else(|error| panic!("{error}: {}", written.text));
    let lines = text.split('\n').count() as u32;
    let within = |place: super::super::Place| place.file == 0 && (1..=lines).contains(&place.line);
    assert!(
        notes.iter().all(|note| !note.places.is_empty()
            && note.places.iter().copied().all(within)
            && !note.said.is_empty()),
        "{notes:#?}"
    );
    assert!((0..written.text.len()).step_by(7).all(|byte| within(written.origin(byte))));
}

#[test]
fn what_is_spoilt_is_translated_as_far_as_it_goes() {
    for seed in 0..300 {
        is_told(&sample::spoilt(seed));
    }
}

proptest! {
    #[test]
    fn any_text_is_translated(
        text in "(virtual_server|real_server|[A-Z]{3}_CHECK|misc_path|quorum_up|url|[a-z_]{1,9}|[0-9./:]{1,9}|[{}\"'\n ]|\\PC){0,60}",
    ) {
        is_told(&text);
    }
}

#[test]
fn a_script_that_only_sets_the_flag_is_one_packet_scheduling() {
    let server = |hook: &str| {
        translated(&format!(
            "virtual_server 192.0.2.1 53 {{\nlvs_sched rr\nlvs_method NAT\nprotocol UDP\n{hook}\nreal_server 10.0.0.1 53 {{\n}}\n}}\n"
        ))
    };
    for hook in ["quorum_up \"ipvsadm -E -u 192.0.2.1:53 --ops -s rr\"", "quorum_up /etc/ops.sh", "ops"] {
        let said = server(hook);
        assert!(!said.contains("ops = false") && !said.contains("on_up"), "{said}");
    }
    assert!(server("quorum_up /etc/ops.sh").contains("note: `ops`: a script that only sets the flag"));
    for hook in ["", "quorum_up \"dig x\""] {
        assert!(server(hook).contains("ops = false"), "{hook}");
    }
    assert!(server("quorum_up \"dig x\"").contains("on_up = { command = [\"/usr/bin/dig\", \"x\"]"));
    assert!(server("quorum_up nothing").contains("refused: `quorum_up`: there is no program `nothing`"));
}

#[test]
fn names_tell_services_apart() {
    let server = |target: &str, protocol: &str| {
        format!(
            "virtual_server {target} {{\nlvs_sched rr\nlvs_method DR\nprotocol {protocol}\nreal_server 10.0.0.1 53 {{\n}}\n}}\n"
        )
    };
    let group = "virtual_server_group both {\n192.0.2.1-3 53\n}\n";
    let text = format!(
        "{group}{}{}{}{}",
        server("group both", "UDP"),
        server("group both", "TCP"),
        server("192.0.2.9 53", "UDP"),
        server("192.0.2.10 514", "UDP")
    );
    let said = translated(&text);
    for part in [
        "name = \"both\"",
        "name = \"both-2\"",
        "name = \"dns\"",
        "name = \"syslog\"",
        "listen = [\"192.0.2.1:53/tcp\", \"192.0.2.2:53/tcp\", \"192.0.2.3:53/tcp\"]",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// A virtual server with a script, and what is said of it.
fn with_script(script: &str) -> String {
    translated(&format!(
        "virtual_server 192.0.2.1 53 {{\n lb_algo rr\n lb_kind DR\n protocol UDP\n quorum_up \"{script}\"\n \
         real_server 10.0.0.1 53 {{\n }}\n}}\n"
    ))
}

#[test]
fn a_script_that_does_more_than_ops_stays_and_is_named() {
    for script in [
        "ipvsadm -E -u 192.0.2.2:53 --ops",
        "sh -c 'ipvsadm -E -u 192.0.2.1:53 --ops && logger done'",
        "ipvsadm -E -u 192.0.2.1:53 --ops -p 60",
    ] {
        let said = with_script(script);
        assert!(said.contains("on_up") && said.contains("it calls `ipvsadm`"), "{script}: {said}");
        assert!(said.contains("ops = false"), "{script}: {said}");
    }
    let said = with_script("sh -c 'sleep 1; ipvsadm -Eu 192.0.2.1:53 -o || true'");
    assert!(!said.contains("on_up") && !said.contains("ops = false"), "{said}");
    assert!(said.contains("gives it `wlc`") && said.contains("stays with `rr`"), "{said}");
}

#[test]
fn servers_keep_their_port_behind_a_group_of_addresses_and_marks() {
    let said = translated(
        "virtual_server_group G {\n 192.0.2.1 53\n fwmark 7\n}\nvirtual_server group G {\n lb_algo rr\n lb_kind DR\n ops\n \
         protocol UDP\n real_server 10.0.0.1 53 {\n }\n}\n",
    );
    assert!(said.contains("10.0.0.1:53") && said.contains("`fwmark`: its servers have the port"), "{said}");
}

#[test]
fn a_first_verdict_that_is_told_is_announced() {
    let said = |globals: &str, more: &str| {
        translated(&format!(
            "global_defs {{\n {globals}\n}}\nvirtual_server 192.0.2.1 53 {{\n lb_algo rr\n lb_kind DR\n ops\n protocol UDP\n {more}\n \
             real_server 10.0.0.1 53 {{\n notify_up /usr/bin/up\n TCP_CHECK {{\n }}\n }}\n}}\n"
        ))
        .contains("`rs_init_notifies`: not given")
    };
    assert!(said("", ""));
    assert!(!said("rs_init_notifies", ""));
    assert!(!said("", "alpha"), "keepalived tells it, too");
}
