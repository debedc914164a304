//! What the operating system knows: memory, disk, and the machine itself.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use crate::Result;

/// Bytes of the blocks in which `st_blocks` counts, whatever the file system's own are.
const BLOCK_BYTES: u64 = 512;

/// Most memory that this process ever had in use, mapped files included.
pub(crate) fn peak_memory_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: u64 = kibibytes
        .ok_or("the kernel does not tell VmHWM")?
        .trim()
        .parse()?;
    Ok(kibibytes << 10)
}

/// What the files of a directory take on the disk: allocated blocks, not lengths.
pub(crate) fn disk_bytes(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            disk_bytes(&entry.path())?
        } else {
            metadata.blocks() * BLOCK_BYTES
        };
    }
    Ok(bytes)
}

/// Copies a directory to one that does not exist yet.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.metadata()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Lets the disk finish what others began, so that it does not count as the next one's.
pub(crate) fn settle() -> Result<()> {
    output("sync", &[])?;
    Ok(())
}

/// What a command prints.
pub(crate) fn output(command: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(command)
        .args(arguments)
        .output()
        .map_err(|error| format!("{command} cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The type of the file system that a directory is on.
pub(crate) fn file_system(directory: &Path) -> Result<String> {
    let directory = directory.display().to_string();
    let table = output("df", &["--output=fstype", &directory])?;
    let kind = table.lines().next_back().unwrap_or_default().to_owned();
    if kind == "tmpfs" {
        return Err(format!("{directory} is in memory; use --data with a directory on a disk").into());
    }
    Ok(kind)
}
