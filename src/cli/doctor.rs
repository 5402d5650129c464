//! `ipvsd doctor`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anstyle::Style;
use clap::Args;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::status::{BAD, BOLD, WARN};
use crate::doctor::{self, Progress, Report};
use crate::kernel::finding::{Finding, Severity};

#[derive(Args)]
pub struct Options {
    /// This service only.
    service: Option<String>,
    /// As JSON: an array of findings, and of what could not be looked at (severity "skipped").
    #[arg(long)]
    json: bool,
    /// Send datagrams through the VIPs from a network namespace made for it, and say at which hop they are lost (root only).
    ///
    /// The client's address is 192.0.0.2 or fd69:7076:7364::2: the servers' way to it must lead over the director, as that to
    /// all clients. The namespace, its interface and the table `inet ipvsd_doctor`, which counts, are gone afterwards.
    #[arg(long)]
    probe: bool,
    #[command(flatten)]
    file: super::ConfigFile,
}

pub fn main(options: &Options) -> ExitCode {
    let (loaded, runtime) = match super::load(&options.file.config).and_then(|it| Ok((it, super::runtime()?)))
    {
        Ok(both) => both,
        Err(status) => return status,
    };
    let config = loaded.config;
    if let Some(name) = &options.service
        && !config.services.iter().any(|service| service.name == *name)
    {
        let known: Vec<&str> = config.services.iter().map(|service| service.name.as_str()).collect();
        eprintln!("ipvsd: the config has no service \"{name}\"; it has: {}", known.join(", "));
        return ExitCode::from(super::BAD_CONFIG);
    }
    let report = runtime.block_on(async {
        let progress = Progress::default();
        let report = doctor::examine(&config, options.service.as_deref(), options.probe, &progress);
        tokio::select! {
            report = report => Some(report),
            () = tell(&progress) => None,
            () = interrupted() => None,
        }
    });
    // A datagram that nobody answers may still be waited for.
    runtime.shutdown_background();
    let Some(report) = report else {
        eprintln!("ipvsd: interrupted");
        return ExitCode::from(super::FAILED);
    };
    if options.json {
        super::say(std::io::stdout(), &format!("{:#}\n", as_json(&report)));
    } else {
        let columns = if std::io::stdout().is_terminal() { super::width() } else { WIDTH };
        super::say(anstream::stdout(), &render(&report, columns.clamp(NARROW, WIDTH)));
    }
    if report.findings.is_empty() && !report.unprobed {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(super::FAILED)
    }
}

/// Says every second what is being done; never ends.
async fn tell(progress: &Progress) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        eprintln!("ipvsd: {} …", progress.now());
    }
}

/// Ends with SIGINT or SIGTERM, so that what the probe made is taken away.
async fn interrupted() {
    let [Ok(mut interrupt), Ok(mut terminate)] =
        [SignalKind::interrupt(), SignalKind::terminate()].map(signal)
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

const WIDTH: usize = 80;
const NARROW: usize = 40;

fn as_json(report: &Report) -> Value {
    let findings = report.findings.iter().map(|finding| json!(finding));
    let skipped = report.skipped.iter().map(
        |it| json!({ "id": null, "severity": "skipped", "seen": it.what, "follows": it.why, "cure": null }),
    );
    findings.chain(skipped).collect()
}

/// For people, within so many columns; commands stay whole.
fn render(report: &Report, width: usize) -> String {
    let mut text = format!("{}\n", report.kernel);
    for it in &report.probed {
        text += &paragraph("probed  ", it, width);
    }
    for finding in &report.findings {
        text.push('\n');
        text += &render_finding(finding, width);
    }
    if !report.skipped.is_empty() {
        text.push('\n');
    }
    for it in &report.skipped {
        text += &paragraph("skipped ", &format!("{}: {}", it.what, it.why), width);
    }
    let counts = [(Severity::Error, "error"), (Severity::Warning, "warning")]
        .map(|(severity, word)| (report.findings.iter().filter(|it| it.severity == severity).count(), word));
    let found: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| super::counted(count, word))
        .collect();
    text += &match found.is_empty() {
        true if report.skipped.is_empty() => "nothing found\n".to_owned(),
        true => "nothing found in what could be looked at\n".to_owned(),
        false => format!("\n{}: see docs/troubleshooting.md\n", found.join(", ")),
    };
    text
}

fn render_finding(finding: &Finding, width: usize) -> String {
    let (style, word): (Style, &str) = match finding.severity {
        Severity::Error => (BAD, "error"),
        Severity::Warning => (WARN, "warning"),
    };
    let head = format!("{style}{word}{style:#} {BOLD}{}{BOLD:#}\n", finding.id.name());
    let mut cure = finding.cure.lines();
    let mut text = head
        + &paragraph("  seen  ", &finding.seen, width)
        + &paragraph("  so    ", &finding.follows, width)
        + &paragraph("  do    ", cure.next().unwrap_or_default(), width);
    for command in cure {
        text += &format!("        {command}\n");
    }
    text
}

/// Words under each other behind a head.
fn paragraph(head: &str, words: &str, width: usize) -> String {
    let indent = head.chars().count();
    let (mut text, mut column) = (head.to_owned(), indent);
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if column > indent && column + length > width {
            text.truncate(text.trim_end().len());
            text += &format!("\n{}", " ".repeat(indent));
            column = indent;
        }
        text += &format!("{word} ");
        column += length + 1;
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Skipped;
    use crate::kernel::finding::Id;

    fn report() -> Report {
        let cure = "let them pass:\nnft insert rule inet filter input ct state untracked ip daddr . udp dport { 192.0.2.53 . 53 } accept";
        Report {
            kernel: "Linux 6.1.0, IPVS 1.2.1".into(),
            findings: vec![Finding::error(Id::DropsRequests, "chain input of table inet filter (hook input, policy drop) drops the requests to 192.0.2.53:53".into(), "requests do not reach IPVS", cure)],
            skipped: vec![Skipped { what: "reply rules".into(), why: "not permitted".into() }],
            probed: Vec::new(),
            unprobed: false,
        }
    }

    #[test]
    fn text_fits_and_commands_stay_whole() {
        let text = anstream::adapter::strip_str(&render(&report(), 60)).to_string();
        insta::assert_snapshot!(text);
        for line in text.lines().filter(|line| !line.contains("nft insert rule")) {
            assert!(line.chars().count() <= 60, "{line}");
        }
    }

    #[test]
    fn json_is_an_array_of_what_was_found_and_skipped() {
        let json = as_json(&report());
        assert_eq!((&json[0]["id"], &json[0]["severity"]), (&json!("drops-requests"), &json!("error")));
        assert_eq!((&json[1]["severity"], json.as_array().map(Vec::len)), (&json!("skipped"), Some(2)));
    }
}
