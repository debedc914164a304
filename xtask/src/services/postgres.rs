//! PostgreSQL, as Debian has it, on port 54329, with TLS and a certificate that it signed itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::packages::install;
use super::{Service, command_as, is_root, listens, quietly};
use crate::Outcome;

pub(super) const SERVICE: Service = Service {
    name: "postgres",
    variable: "EVENTSTORES_TEST_POSTGRES",
    url: "postgres://eventstores:eventstores@127.0.0.1:54329/postgres",
    on_demand: false,
    up,
    down,
    kill,
    is_up: || listens("127.0.0.1:54329"),
};

/// The user that Debian's package makes: the server refuses to run as root.
pub(super) const USER: &str = "postgres";
/// Of all installed versions the newest is taken.
const VERSIONS: &str = "/usr/lib/postgresql";

const SETTINGS: &str = "\
listen_addresses = '127.0.0.1'
port = 54329
unix_socket_directories = ''
max_connections = 400
ssl = on
";

/// A certificate for this machine alone, which is no authority and so can be trusted by itself.
const CERTIFICATE: &str = "\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = localhost
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1
";

fn up(folder: &Path) -> Outcome {
    let programs = match programs() {
        Some(programs) => programs,
        None => {
            install(&["postgresql", "openssl"])?;
            programs().ok_or_else(|| format!("PostgreSQL is installed, and has no programs in {VERSIONS}"))?
        }
    };
    let folder = reachable(folder)?;
    let data = folder.join("data");
    if !data.join("PG_VERSION").exists() {
        initialize(&programs, &folder, &data).inspect_err(|_| {
            // Half of it would be taken for all of it the next time.
            let _ = fs::remove_dir_all(&data);
        })?;
    }
    let mut start = command_as(USER, programs.join("pg_ctl"));
    start.args(["start", "--wait", "--timeout=60", "--silent"]);
    start
        .arg("--pgdata")
        .arg(&data)
        .arg("--log")
        .arg(folder.join("log"));
    quietly(&mut start)
}

fn down(folder: &Path) -> Outcome {
    let (Some(programs), Ok(folder)) = (programs(), reachable(folder)) else {
        return Ok(());
    };
    let data = folder.join("data");
    if !data.join("postmaster.pid").exists() {
        return Ok(());
    }
    let mut stop = command_as(USER, programs.join("pg_ctl"));
    stop.args(["stop", "--mode=fast", "--wait", "--silent", "--pgdata"])
        .arg(&data);
    quietly(&mut stop)
}

fn kill(folder: &Path) -> Outcome {
    kill_server(&reachable(folder)?.join("data"))
}

/// All processes of a server at once, as when the machine goes.
pub(super) fn kill_server(data: &Path) -> Outcome {
    let file = data.join("postmaster.pid");
    let text = fs::read_to_string(&file)
        .map_err(|error| format!("postgres does not run here: {}: {error}", file.display()))?;
    let pid = text.lines().next().unwrap_or_default();
    quietly(Command::new("kill").arg("-STOP").arg(pid))?;
    // It may have none but itself.
    let _ = quietly(Command::new("pkill").args(["-KILL", "-P", pid]));
    quietly(Command::new("kill").arg("-KILL").arg(pid))
}

fn initialize(programs: &Path, folder: &Path, data: &Path) -> Outcome {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok::<PathBuf, String>(path)
    };
    let password = write("password", "eventstores")?;
    let certificate = write("certificate.conf", CERTIFICATE)?;
    if is_root() {
        quietly(Command::new("chown").arg("-R").arg(USER).arg(folder))?;
    }
    let mut init = command_as(USER, programs.join("initdb"));
    init.args([
        "--username=eventstores",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
    ]);
    init.arg("--pwfile").arg(password).arg("--pgdata").arg(data);
    quietly(&mut init)?;
    let mut request = command_as(USER, "openssl");
    request
        .args(["req", "-new", "-x509", "-nodes", "-days", "3650", "-config"])
        .arg(certificate);
    request
        .arg("-keyout")
        .arg(data.join("server.key"))
        .arg("-out")
        .arg(data.join("server.crt"));
    quietly(&mut request)?;
    let path = data.join("postgresql.conf");
    let mut settings =
        fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    settings.push_str(SETTINGS);
    fs::write(&path, settings).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// `folder`, or one for all users where the server's user cannot get to it, as below the home of root.
pub(super) fn reachable(folder: &Path) -> Result<PathBuf, String> {
    let reaches = |folder: &Path| {
        command_as(USER, "test")
            .arg("-x")
            .arg(folder)
            .status()
            .is_ok_and(|it| it.success())
    };
    if reaches(folder) {
        return Ok(folder.to_owned());
    }
    let open = Path::new("/var/tmp/eventstores-services").join(folder.file_name().unwrap_or_default());
    fs::create_dir_all(&open).map_err(|error| format!("cannot make {}: {error}", open.display()))?;
    Ok(open)
}

/// The folder of the newest installed PostgreSQL's programs.
pub(super) fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).ok()?;
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/initdb").exists() && path.join("bin/pg_ctl").exists())
        .max_by_key(|path| number(path))?;
    Some(newest.join("bin"))
}
