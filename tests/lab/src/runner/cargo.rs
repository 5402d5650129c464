//! What cargo knows and builds: where the workspace is, and its test executables.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;

use crate::job::Command;

/// Test targets that need a kernel with IPVS.
const KERNEL_TESTS: [&str; 2] = ["e2e", "live"];

/// The workspace and its target directory.
pub struct Workspace {
    /// The checkout.
    pub root: PathBuf,
    /// Where cargo puts what it builds; may be outside of the checkout.
    pub target: PathBuf,
}

/// One executable with tests or benchmarks.
pub struct Test {
    /// The package's name.
    pub package: String,
    /// The target's name.
    pub name: String,
    bench: bool,
    executable: String,
    package_dir: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    pub fn read() -> Result<Workspace, String> {
        let output = std::process::Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version=1"])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cargo metadata: {error}"))?;
        let metadata: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
        let path = |key: &str| {
            metadata[key].as_str().map(PathBuf::from).ok_or_else(|| format!("cargo metadata has no {key}"))
        };
        Ok(Workspace { root: path("workspace_root")?, target: path("target_directory")? })
    }

    /// Runs cargo in the workspace; true = success.
    pub fn cargo(&self, args: &[&str]) -> Result<bool, String> {
        println!("== cargo {}", args.join(" "));
        let status = std::process::Command::new("cargo").args(args).current_dir(&self.root).status();
        Ok(status.map_err(|error| format!("cargo: {error}"))?.success())
    }

    /// Builds all targets of the workspace and returns its test executables.
    pub fn build_tests(&self) -> Result<Vec<Test>, String> {
        println!("== building all targets");
        let mut tests = self.build(&["test", "--workspace", "--all-targets"])?;
        tests.retain(|test| !test.bench);
        Ok(tests)
    }

    /// Builds the benchmarks of the workspace, optimised as a release is.
    pub fn build_benches(&self) -> Result<Vec<Test>, String> {
        println!("== building the benchmarks");
        self.build(&["bench", "--workspace", "--bench", "*"])
    }

    /// Makes the Debian package of what was built, and a second one of a newer revision, and asks lintian about it: the tests of it install
    /// `packages/ipvsd-1.deb` and `-2.deb`, beside the program. True = without errors.
    pub fn build_packages(&self) -> Result<bool, String> {
        println!("== building the Debian package");
        let (start, folder) = (Instant::now(), self.target.join("debug/packages"));
        let file = |revision: u32| folder.join(format!("ipvsd-{revision}.deb"));
        for revision in [1, 2] {
            let mut build = std::process::Command::new(self.root.join("examples/debian/build"));
            build.args(["--profile", "dev", "--fast"]);
            build.args(["--revision", &revision.to_string(), "--output"]);
            let status = build.arg(file(revision)).stdout(Stdio::null()).current_dir(&self.root).status();
            if !status.map_err(|error| format!("examples/debian/build: {error}"))?.success() {
                return Ok(false);
            }
        }
        println!("   {:.0} s", start.elapsed().as_secs_f32());
        let lintian =
            ["--fail-on=error", "--allow-root", "--no-cfg", "--suppress-tags=initial-upload-closes-no-bugs"];
        let status = crate::tool("lintian").args(lintian).arg(file(1)).status();
        Ok(status.map_err(|error| format!("lintian: {error}"))?.success())
    }

    fn build(&self, args: &[&str]) -> Result<Vec<Test>, String> {
        let start = Instant::now();
        let said = |error: std::io::Error| format!("cargo {}: {error}", args[0]);
        let mut child = std::process::Command::new("cargo")
            .args(args)
            .args(["--no-run", "--message-format=json-render-diagnostics"])
            .current_dir(&self.root)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(said)?;
        let mut tests = Vec::new();
        for line in BufReader::new(child.stdout.take().ok_or("cargo: no output")?).lines() {
            if let Ok(message) = serde_json::from_str::<Value>(&line.map_err(said)?) {
                tests.extend(Test::from_message(&message));
            }
        }
        if !child.wait().map_err(said)?.success() {
            return Err("the workspace does not build".into());
        }
        println!("   {:.0} s", start.elapsed().as_secs_f32());
        Ok(tests)
    }
}

impl Test {
    fn from_message(message: &Value) -> Option<Test> {
        if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
            return None;
        }
        let package_dir = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
        let id = message["package_id"].as_str()?;
        // `path+file:///dir#version`, or `…/dir#name@version` where the directory has another name
        let (dir, version) = id.split_once('#')?;
        let package = match version.split_once('@') {
            Some((name, _)) => name,
            None => dir.rsplit('/').next()?,
        };
        Some(Test {
            package: package.to_owned(),
            name: message["target"]["name"].as_str()?.to_owned(),
            bench: message["target"]["kind"][0] == "bench",
            executable: message["executable"].as_str()?.to_owned(),
            package_dir,
        })
    }

    /// True for what runs only on a kernel with IPVS.
    pub fn needs_ipvs(&self) -> bool {
        KERNEL_TESTS.contains(&self.name.as_str())
    }

    /// True if it has a test whose name contains `filter`.
    pub fn has(&self, filter: Option<&String>) -> Result<bool, String> {
        Ok(!self.names(filter)?.is_empty())
    }

    /// The names of its tests that contain `filter`.
    pub fn names(&self, filter: Option<&String>) -> Result<Vec<String>, String> {
        let args: Vec<String> = ["--list".to_owned()].into_iter().chain(filter.cloned()).collect();
        let command = self.command(&args);
        let output = command.process().output();
        let output = output.map_err(|error| format!("{}: {error}", self.executable))?;
        let lines = String::from_utf8_lossy(&output.stdout);
        Ok(lines.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }

    /// What stands before the first `::` of its tests' names, with it, each once.
    pub fn themes(&self) -> Result<Vec<String>, String> {
        let theme = |name: &String| name.split_inclusive("::").next().unwrap_or(name).to_owned();
        let mut themes: Vec<String> = self.names(None)?.iter().map(theme).collect();
        themes.dedup();
        Ok(themes)
    }

    /// The executable with these arguments, as cargo would run it.
    pub fn command(&self, args: &[String]) -> Command {
        let argv = [std::slice::from_ref(&self.executable), args].concat();
        let mut command = Command::new(argv, &self.package_dir);
        command.env.push(("CARGO_MANIFEST_DIR".into(), self.package_dir.display().to_string()));
        command
    }
}
