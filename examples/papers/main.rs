//! Writes what belongs to an installed ipvsd beside the program: man pages and completions, from the same source as `--help`,
//! and the man page of the config, from its schema. `cargo run --example papers DIRECTORY`

mod config_page;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

const SHELLS: [(Shell, &str); 3] = [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")];

fn main() -> io::Result<()> {
    let Some(directory) = std::env::args_os().nth(1) else {
        return Err(io::Error::other("usage: papers DIRECTORY"));
    };
    write(&PathBuf::from(directory))
}

fn write(directory: &Path) -> io::Result<()> {
    let folder = |name: &str| {
        let folder = directory.join(name);
        fs::create_dir_all(&folder).map(|()| folder)
    };
    let man8 = folder("man8")?;
    let mut command = ipvsd::cli::command().disable_help_subcommand(true);
    command.build();
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        // So that a page is called ipvsd-run, and its synopsis says `ipvsd run`.
        let name = format!("ipvsd-{}", subcommand.get_name());
        page(&man8, &name, subcommand.clone(), "ipvsd(8), ipvsd.toml(5)")?;
    }
    let pages = command.get_subcommands().map(|command| format!("ipvsd-{}(8)", command.get_name()));
    let see = pages.chain(["ipvsd.toml(5)".to_owned(), "ipvsadm(8)".to_owned(), "nft(8)".to_owned()]);
    let see = see.collect::<Vec<_>>().join(", ");
    page(&man8, "ipvsd", command, &see)?;

    fs::write(folder("man5")?.join("ipvsd.toml.5"), config_page::page())?;
    for (shell, name) in SHELLS {
        clap_complete::generate_to(shell, &mut ipvsd::cli::command(), "ipvsd", folder(name)?)?;
    }
    fs::rename(directory.join("bash/ipvsd.bash"), directory.join("bash/ipvsd"))
}

fn page(folder: &Path, name: &str, command: Command, see: &str) -> io::Result<()> {
    let mut text = Vec::new();
    let man = Man::new(command).title(name).section("8").manual("ipvsd").date("");
    man.render(&mut text)?;
    text.extend(format!(".SH \"SEE ALSO\"\n{see}\n").into_bytes());
    fs::write(folder.join(format!("{name}.8")), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page_and_every_key_is_in_that_of_the_config() {
        let directory = tempfile::tempdir().expect("a folder");
        write(directory.path()).expect("the papers");
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).expect(name);
        for command in ipvsd::cli::command().get_subcommands() {
            let name = command.get_name();
            let page = read(&format!("man8/ipvsd-{name}.8"));
            assert!(
                page.contains(&format!("ipvsd {name}")) || page.contains(&format!("ipvsd\\ {name}")),
                "{page}"
            );
            for shell in ["bash/ipvsd", "zsh/_ipvsd", "fish/ipvsd.fish"] {
                assert!(read(shell).contains(name), "{shell} without {name}");
            }
        }
        let page = read("man5/ipvsd.toml.5");
        for key in ["on_stop", "when_all_down", "retry_interval", "secret_credential", "hide_servers"] {
            assert!(page.contains(&format!("\\fB{key}\\fR")), "{key} is not in {page}");
        }
    }
}
