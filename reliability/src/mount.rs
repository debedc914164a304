//! A file system in a file, which can be cut off: what was not synced is gone then, as after a power cut.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Room for what the rounds between two new file systems write.
const IMAGE_BYTES: u64 = 3 << 30;

/// fjall begins with a journal of 64 MiB.
const FULL_SIZE: &str = "size=160m";
const ROOM: &str = "remount,size=1g";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ext4,
    Xfs,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Ext4, Self::Xfs];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    fn mkfs(self) -> [&'static str; 3] {
        match self {
            Self::Ext4 => ["mkfs.ext4", "-q", "-F"],
            Self::Xfs => ["mkfs.xfs", "-q", "-f"],
        }
    }

    /// What stands in the way of a file system of this kind, and what to do.
    pub(crate) fn missing(self) -> Option<String> {
        if !is_root() {
            return Some("it needs root".to_owned());
        }
        let installed = |tool: &str| Command::new(tool).arg("-V").output().is_ok();
        let [mkfs, ..] = self.mkfs();
        if !installed(mkfs) || !installed("xfs_io") {
            return Some(format!(
                "it needs {mkfs} and xfs_io; apt-get install e2fsprogs xfsprogs"
            ));
        }
        // Some machines have no loop devices, or a kernel without the file system.
        Mount::new(self).err()
    }
}

pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// A mounted file system; it is unmounted and removed at the end.
pub(crate) struct Mount {
    image: PathBuf,
    point: PathBuf,
    mounted: bool,
    _folder: TempDir,
}

impl Mount {
    pub(crate) fn new(kind: Kind) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (image, point) = (folder.path().join("image"), folder.path().join("mount"));
        let made = File::create(&image).and_then(|it| it.set_len(IMAGE_BYTES));
        made.and_then(|()| fs::create_dir(&point))
            .map_err(|error| error.to_string())?;
        let [mkfs, arguments @ ..] = kind.mkfs();
        run(Command::new(mkfs).args(arguments).arg(&image))?;
        let mut mount = Self {
            image,
            point,
            mounted: false,
            _folder: folder,
        };
        mount.mount()?;
        Ok(mount)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.point
    }

    /// Nothing more reaches the disk from now on, not even what the file system has in its own log.
    pub(crate) fn cut_off(&self) -> Result<(), String> {
        run(Command::new("xfs_io")
            .args(["-x", "-c", "shutdown"])
            .arg(&self.point))
    }

    /// The file system as it comes up after the cut.
    pub(crate) fn again(&mut self) -> Result<(), String> {
        self.unmount()?;
        self.mount()
    }

    fn mount(&mut self) -> Result<(), String> {
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&self.image)
            .arg(&self.point))?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), String> {
        run(Command::new("umount").arg(&self.point))?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted
            && let Err(error) = self.unmount()
        {
            eprintln!("{error}");
        }
    }
}

/// A disk in memory with little room.
pub(crate) struct Full {
    folder: TempDir,
}

impl Full {
    pub(crate) fn new() -> Result<Self, String> {
        if !is_root() {
            return Err("it needs root".to_owned());
        }
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", FULL_SIZE, "tmpfs"])
            .arg(folder.path()))?;
        Ok(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn make_room(&mut self) -> Result<(), String> {
        run(Command::new("mount")
            .args(["-o", ROOM, "tmpfs"])
            .arg(self.folder.path()))
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg(self.folder.path())) {
            eprintln!("{error}");
        }
    }
}

/// Runs a command to its end; what it printed is in the error.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let printed = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{command:?} failed: {printed}"))
}
