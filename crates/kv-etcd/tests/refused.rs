//! What a cluster refuses, and what the store says to do about it.

mod common;
#[path = "common/private.rs"]
mod private;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use kv_core::{Batch, Durability, Error, KeyValueStore, Outcome, Result};
use kv_etcd::Store;
use private::Cluster;

async fn put(store: &Store, batch: Batch) -> Result<()> {
    let outcome = store.commit(batch, Durability::Durable).await?;
    assert_eq!(outcome, Outcome::Applied);
    Ok(())
}

async fn works(url: &str) -> Store {
    let store = Store::open(url)
        .await
        .unwrap_or_else(|error| panic!("{url}: {error}"));
    let batch = Batch::new().put("k", "v");
    put(&store, batch).await.expect("it commits");
    assert_eq!(
        store.get(b"k").await.expect("it reads").as_deref(),
        Some(&b"v"[..])
    );
    store
}

#[track_caller]
fn says<T: std::fmt::Debug>(result: Result<T>, remedy: &str) {
    let error = result.expect_err("it must be refused");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains(remedy), "no {remedy:?} in: {error}");
}

#[tokio::test]
async fn users_see_their_prefix_and_nobody_else_sees_anything() {
    let Some(mut cluster) = Cluster::start(1, &[]) else {
        return;
    };
    let hosts = cluster.url().trim_start_matches("etcd://").to_owned();
    says(
        Store::open(&format!("etcd://app:secret@{hosts}/mine")).await,
        "leave the user and the password out",
    );
    for command in [
        "user add root:secret",
        "role add app",
        "role grant-permission app --prefix=true readwrite mine",
        "user add app:p@ss",
        "user grant-role app app",
        "user grant-role root root",
        "auth enable",
    ] {
        let arguments: Vec<_> = command.split(' ').collect();
        assert!(cluster.etcdctl(&arguments).is_some(), "{command}");
    }
    says(
        Store::open(&format!("etcd://{hosts}/mine")).await,
        "give a user and a password",
    );
    says(
        Store::open(&format!("etcd://app:wrong@{hosts}/mine")).await,
        "does not know the user or the password",
    );
    says(
        Store::open(&format!("etcd://app:p%40ss@{hosts}/other")).await,
        "grant it",
    );
    let store = works(&format!("etcd://app:p%40ss@{hosts}/mine")).await;
    let mut watch = store.watch().await.expect("it is watched").expect("etcd wakes");
    put(&store, Batch::new().put("k", "2")).await.expect("it commits");
    watch.changed().await.expect("it wakes");

    // A member that starts again knows no token of before.
    cluster.kill(0);
    cluster.restart(0);
    assert!(store.get(b"k").await.expect("it reads").is_some());
    put(&store, Batch::new().put("k", "3")).await.expect("it commits");
    watch.changed().await.expect("it wakes");
}

#[tokio::test]
async fn full_database_takes_no_commit_and_is_read() {
    let Some(cluster) = Cluster::start(1, &["--quota-backend-bytes=4194304"]) else {
        return;
    };
    let store = works(&cluster.url()).await;
    let refused = loop {
        if let Err(error) = put(&store, Batch::new().put("large", vec![7; 1 << 20])).await {
            break error;
        }
    };
    says::<()>(Err(refused), "etcdctl alarm disarm");
    says(
        put(&store, Batch::new().put("k", "w")).await,
        "etcdctl alarm disarm",
    );
    assert_eq!(
        store.get(b"k").await.expect("it reads").as_deref(),
        Some(&b"v"[..])
    );
}

#[tokio::test]
async fn limits_of_the_members_are_told_and_can_be_given() {
    let settings = ["--max-txn-ops=64", "--max-request-bytes=600000"];
    let Some(cluster) = Cluster::start(1, &settings) else {
        return;
    };
    let many =
        |count: u32| (0..count).fold(Batch::new(), |batch, it| batch.put(it.to_be_bytes().to_vec(), ""));
    let store = works(&cluster.url()).await;
    says(put(&store, many(100)).await, "max_txn_ops in the URL");
    says(
        put(&store, Batch::new().put("k", vec![7; 1 << 20])).await,
        "max_request_bytes in the URL",
    );

    let url = format!("{}?max_txn_ops=64&max_request_bytes=600000", cluster.url());
    let store = works(&url).await;
    let limits = store.capabilities();
    for batch in [
        many(limits.max_batch_operations as u32),
        Batch::new().put("k", vec![7; limits.max_value_bytes]),
    ] {
        put(&store, batch).await.expect("it fits");
    }
    let large = put(&store, many(limits.max_batch_operations as u32 + 1)).await;
    assert!(matches!(large, Err(Error::TooLarge { .. })), "{large:?}");
}

#[tokio::test]
async fn prefix_of_another_format_is_refused_and_left_alone() {
    let Some(cluster) = Cluster::start(1, &[]) else {
        return;
    };
    let mut etcdctl = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", cluster.url().trim_start_matches("etcd://"), "txn"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("etcdctl starts");
    let mut input = etcdctl.stdin.take().expect("piped");
    input
        .write_all(b"\nput \"app\\x00format\" \"kv-store etcd 99\"\n\n\n")
        .expect("it listens");
    drop(input);
    assert!(etcdctl.wait().expect("it ends").success());
    let refused = Store::open(&format!("{}/app", cluster.url()))
        .await
        .expect_err("it is refused");
    assert!(matches!(refused, Error::Incompatible { .. }), "{refused:?}");
    assert!(refused.to_string().contains("kv-store etcd 99"), "{refused}");
    let keys = cluster
        .etcdctl(&["get", "--prefix", "", "--keys-only"])
        .expect("it lists");
    assert_eq!(keys.split_whitespace().count(), 1, "{keys:?}");
    works(&format!("{}/app2", cluster.url())).await;
}

#[tokio::test]
async fn tls_trusts_the_authority_that_is_named_and_no_other() {
    let directory = tempfile::tempdir().expect("temp dir");
    let path = directory.path().to_owned();
    let file = |name: &str| path.join(name).display().to_string();
    if !(self_signed(&path, "server") && self_signed(&path, "other")) {
        return common::skipped("openssl is not installed");
    }
    let settings = [
        format!("--cert-file={}", file("server.pem")),
        format!("--key-file={}", file("server.key")),
        format!("--trusted-ca-file={}", file("other.pem")),
        "--client-cert-auth=true".to_owned(),
    ];
    let settings: Vec<_> = settings.iter().map(String::as_str).collect();
    let Some(cluster) = Cluster::start_in(directory, 1, &settings) else {
        return;
    };
    let (url, ours) = (
        cluster.url(),
        format!("cert={}&key={}", file("other.pem"), file("other.key")),
    );
    works(&format!("{url}/app?ca={}&{ours}", file("server.pem"))).await;
    for (parameters, remedy) in [
        ("timeout_ms=100".to_owned(), "etcd did not answer"),
        (
            "tls=on&timeout_ms=100".to_owned(),
            "no member of the etcd cluster",
        ),
        (
            format!("ca={}&{ours}&timeout_ms=100", file("other.pem")),
            "no member of the etcd cluster",
        ),
        (format!("ca={}", file("absent.pem")), "absent.pem"),
    ] {
        says(Store::open(&format!("{url}/app?{parameters}")).await, remedy);
    }
    // Nobody without a certificate gets in.
    let refused = Store::open(&format!("{url}/app?ca={}&timeout_ms=100", file("server.pem"))).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
}

/// Makes `name.pem` and `name.key`, a certificate for this machine that is its own authority.
fn self_signed(path: &Path, name: &str) -> bool {
    let status = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-nodes",
            "-newkey",
            "rsa:2048",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(path.join(format!("{name}.key")))
        .arg("-out")
        .arg(path.join(format!("{name}.pem")))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
