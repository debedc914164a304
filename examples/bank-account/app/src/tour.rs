//! The tour: each step does one thing to the account and says what came of it.
//!
//! Everything here works with any backend. The account is the same in every run, so that its history grows.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bank_account_domain::{
    Account, AccountId, Cents, Command, CommandError, execute, handle, handle_in_session, load, statement,
    take_snapshot,
};
use eventstores::{Error, EventLog, EventStoreProvider, EventStoreProviderExt, OpenOptions, Version};

use crate::{BoxError, history};

const OWNER: &str = "Alice";
const SALARY: Cents = Cents::new(10_000);
const RENT: Cents = Cents::new(3_000);
const GIFT: Cents = Cents::new(500);
const BICYCLE: Cents = Cents::new(5_000);
const INTEREST: Cents = Cents::new(250);
const GROCERIES: Cents = Cents::new(1_000);
/// Longer than the step that holds the session, and short for whoever waits after a run that was killed meanwhile.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs all steps on the store at `url`.
pub(crate) async fn run(url: &str, out: &mut impl Write) -> Result<(), BoxError> {
    let account = AccountId::new("alice")?;
    let provider = eventstores::connect(url).await?;
    writeln!(out, "{account} at {}", shown(url))?;
    let log = provider.default_log();
    open_account(&*log, &account, out).await?;
    deposit_and_withdraw(&*log, &account, out).await?;
    second_writer(&*log, &account, out).await?;
    overdraft(&*log, &account, out).await?;
    exclusive_session(&*provider, &account, out).await?;
    snapshot(&*log, &account, out).await?;
    let provider = reopen(url, provider, out).await?;
    replay(&*provider.default_log(), &account, out).await?;
    provider.close().await?;
    Ok(())
}

async fn open_account(log: &dyn EventLog, id: &AccountId, out: &mut impl Write) -> Result<(), BoxError> {
    step(out, 1, "open the account")?;
    let loaded = load(log, id).await?;
    if loaded.account == Account::Unopened {
        let owner = OWNER.to_owned();
        let version = handle(log, id, &Command::Open { owner }).await?;
        writeln!(
            out,
            "   opened for {OWNER}, version {version}; run again, and it goes on from there"
        )?;
    } else {
        let (version, balance) = (loaded.version, loaded.account.balance());
        writeln!(
            out,
            "   found from an earlier run at version {version}, balance {balance}; this run goes on from there"
        )?;
    }
    Ok(())
}

async fn deposit_and_withdraw(
    log: &dyn EventLog,
    id: &AccountId,
    out: &mut impl Write,
) -> Result<(), BoxError> {
    step(out, 2, "deposit and withdraw")?;
    let version = handle(log, id, &Command::Deposit(SALARY)).await?;
    writeln!(out, "   deposited {SALARY}, version {version}")?;
    let version = handle(log, id, &Command::Withdraw(RENT)).await?;
    writeln!(out, "   withdrew {RENT}, version {version}")?;
    Ok(())
}

async fn second_writer(log: &dyn EventLog, id: &AccountId, out: &mut impl Write) -> Result<(), BoxError> {
    step(out, 3, "two writers, one version: the second is refused")?;
    let read_by_both = load(log, id).await?;
    writeln!(
        out,
        "   both read the account at version {}",
        read_by_both.version
    )?;
    let version = execute(log, id, &read_by_both, &Command::Deposit(GIFT)).await?;
    writeln!(out, "   the first deposited {GIFT}, version {version}")?;
    let second = execute(log, id, &read_by_both, &Command::Withdraw(BICYCLE)).await;
    let error = refused(second, CommandError::is_conflict)?;
    writeln!(out, "   the second withdraws {BICYCLE} and is told: {error}")?;
    Ok(())
}

async fn overdraft(log: &dyn EventLog, id: &AccountId, out: &mut impl Write) -> Result<(), BoxError> {
    step(
        out,
        4,
        "an overdraft: the domain refuses it, and the store is not asked",
    )?;
    let balance = load(log, id).await?.account.balance();
    let too_much = balance.checked_add(Cents::new(1)).unwrap_or(balance);
    let outcome = handle(log, id, &Command::Withdraw(too_much)).await;
    let error = refused(outcome, |error| matches!(error, CommandError::Refused(_)))?;
    writeln!(out, "   {error}")?;
    Ok(())
}

async fn exclusive_session(
    provider: &dyn EventStoreProvider,
    id: &AccountId,
    out: &mut impl Write,
) -> Result<(), BoxError> {
    step(
        out,
        5,
        "an exclusive session: nobody else writes meanwhile, everybody reads",
    )?;
    let log = provider.default_log();
    let options = OpenOptions::default()
        .owner("the tour")
        .session_timeout(SESSION_TIMEOUT);
    let session = provider.open_with(log.database(), id.stream(), options).await?;
    let outsider = handle(&*log, id, &Command::Deposit(GIFT)).await;
    let error = refused(outsider, |error| {
        matches!(error, CommandError::Store(Error::StreamHeld { .. }))
    })?;
    writeln!(out, "   a writer without it is told: {error}")?;
    writeln!(
        out,
        "   a reader without it sees version {}",
        log.version(id.stream()).await?
    )?;
    let version = handle_in_session(&*session, &Command::Deposit(INTEREST)).await?;
    session.close().await?;
    writeln!(
        out,
        "   the session deposited {INTEREST}, version {version}, and is closed"
    )?;
    Ok(())
}

async fn snapshot(log: &dyn EventLog, id: &AccountId, out: &mut impl Write) -> Result<(), BoxError> {
    step(out, 6, "take a snapshot, then withdraw")?;
    let version = take_snapshot(log, id).await?;
    writeln!(out, "   the state at version {version} is kept beside the events")?;
    let version = handle(log, id, &Command::Withdraw(GROCERIES)).await?;
    writeln!(out, "   withdrew {GROCERIES}, version {version}")?;
    Ok(())
}

async fn reopen(
    url: &str,
    provider: Arc<dyn EventStoreProvider>,
    out: &mut impl Write,
) -> Result<Arc<dyn EventStoreProvider>, BoxError> {
    step(out, 7, "close, and open again")?;
    if !provider.is_durable() {
        writeln!(
            out,
            "   left out: memory keeps nothing; run with a URL such as fjall:./data/bank-account to see it"
        )?;
        return Ok(provider);
    }
    provider.close().await?;
    let provider = eventstores::connect(url).await?;
    writeln!(out, "   closed and opened {}", shown(url))?;
    Ok(provider)
}

async fn replay(log: &dyn EventLog, id: &AccountId, out: &mut impl Write) -> Result<(), BoxError> {
    step(out, 8, "replay")?;
    let loaded = load(log, id).await?;
    let balance = loaded.account.balance();
    writeln!(
        out,
        "   {} and {}: version {}, balance {balance}",
        start_of(loaded.snapshot),
        counted(loaded.events()),
        loaded.version,
    )?;
    let lines = statement(log, id).await?;
    let by_all_events = lines.last().map_or(Cents::ZERO, |line| line.balance);
    if by_all_events != balance {
        return Err(format!(
            "the snapshot leads to a balance of {balance}, and all events to {by_all_events}; clear the snapshots"
        )
        .into());
    }
    writeln!(out)?;
    history::print(&lines, out)?;
    writeln!(out, "balance: {balance}")?;
    Ok(())
}

fn step(out: &mut impl Write, number: u32, title: &str) -> std::io::Result<()> {
    writeln!(out, "\n{number}. {title}")
}

/// The error that a step is there to show. Any other outcome ends the tour: it would tell something untrue.
fn refused(
    outcome: Result<Version, CommandError>,
    expected: impl FnOnce(&CommandError) -> bool,
) -> Result<CommandError, BoxError> {
    match outcome {
        Err(error) if expected(&error) => Ok(error),
        Err(error) => Err(error.into()),
        Ok(version) => Err(format!(
            "the store accepted at version {version} what it has to refuse; report this as a bug"
        )
        .into()),
    }
}

/// The URL without the user and password that one of a server may have.
fn shown(url: &str) -> String {
    let secret = url
        .split_once("://")
        .and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1)));
    secret.map_or_else(|| url.to_owned(), |(scheme, host)| format!("{scheme}://{host}"))
}

fn start_of(snapshot: Version) -> String {
    if snapshot == Version::ZERO {
        "no snapshot".to_owned()
    } else {
        format!("the snapshot of version {snapshot}")
    }
}

fn counted(events: u64) -> String {
    match events {
        1 => "1 event".to_owned(),
        events => format!("{events} events"),
    }
}
