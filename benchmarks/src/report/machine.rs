//! On what it was measured, and which versions.

use std::fs;

use crate::Result;
use crate::system::output;

/// The lock file that this build was made with.
const LOCK: &str = include_str!("../../Cargo.lock");

/// The machine in a few words.
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) rust: String,
    pub(crate) date: String,
    pub(crate) commit: String,
}

impl Machine {
    pub(crate) fn this() -> Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let total = value_of(&memory, "MemTotal").unwrap_or_default();
        let kibibytes: u64 = total.trim_end_matches(" kB").parse()?;
        Ok(Self {
            processor: value_of(&processors, "model name")
                .unwrap_or("unknown")
                .to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: (kibibytes + (1 << 19)) >> 20,
            kernel: format!("Linux {}", output("uname", &["-r"])?),
            rust: output("rustc", &["--version"])?,
            date: output("date", &["-u", "+%F"])?,
            commit: output("git", &["rev-parse", "--short", "HEAD"])?,
        })
    }
}

/// What stands behind `key` and a colon, at its first line.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .into_iter()
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

/// The version of a crate in this build.
pub(crate) fn version(name: &str) -> Result<String> {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let after = LOCK.split_once(&entry).map(|(_, after)| after);
    let version = after.and_then(|after| after.split_once('"'));
    let (version, _) = version.ok_or_else(|| format!("the lock file has no {name}"))?;
    Ok(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::ALL;

    #[test]
    fn every_contender_has_its_versions_in_the_lock_file() {
        for name in ALL.iter().flat_map(|entry| entry.crates) {
            assert!(version(name).unwrap().contains('.'), "{name}");
            // Of two versions the report would name the wrong one somewhere.
            assert_eq!(LOCK.matches(&format!("name = \"{name}\"\n")).count(), 1, "{name}");
        }
        assert!(version("no-such-crate").is_err());
    }

    #[test]
    fn values_are_found_by_their_whole_key() {
        let text = "model\t\t: 207\nmodel name\t: Some CPU @ 2.1 GHz\n";
        assert_eq!(value_of(text, "model name"), Some("Some CPU @ 2.1 GHz"));
        assert_eq!(value_of(text, "name"), None);
    }
}
