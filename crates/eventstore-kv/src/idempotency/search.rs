//! Finds a message of a stream by its id, through the newest ids that the runs have.

use eventstore_abstractions::{MessageId, Result, Version};

use super::Earlier;
use crate::record::Run;

/// A search for several ids of one stream, in ascending order.
///
/// The newest id never falls from one run to the next, so an event that came in order is in the first run whose
/// newest id is not below its own. Ids that are looked for are mostly young: the search goes back from the end in
/// growing steps, and then halves what is left.
pub(super) struct Search<'a> {
    earlier: Earlier<'a>,
    /// All runs before this version have newest ids below what is looked for.
    from: Version,
    /// The run where the last search ended.
    found: Option<Run>,
}

impl<'a> Search<'a> {
    pub(super) fn new(earlier: Earlier<'a>) -> Self {
        Self {
            earlier,
            from: Version::FIRST,
            found: None,
        }
    }

    /// The version of the event with `id`, which is not above the stream's newest one.
    pub(super) async fn find(&mut self, id: MessageId) -> Result<Option<Version>> {
        let run = match self.found.take() {
            Some(run) if reaches(&run, id)? => Some(run),
            Some(run) => {
                self.from = run.last_version().next();
                self.first_that_reaches(id).await?
            }
            None => self.first_that_reaches(id).await?,
        };
        let Some(run) = run else { return Ok(None) };
        let at = run.ids()?.into_iter().position(|found| found == id);
        let version = at.map(|at| run.first_version().advanced_by(at as u64));
        self.found = Some(run);
        Ok(version)
    }

    /// The first run from `self.from` on whose newest id is not below `id`; the stream's last run is one. Runs that were
    /// removed do not reach any id. There is `None` when the last one was removed.
    async fn first_that_reaches(&mut self, id: MessageId) -> Result<Option<Run>> {
        let Some(mut run) = self.run(Version::new(self.earlier.head.version)).await? else {
            return Ok(None);
        };
        let mut step = 1;
        // Back until a run does not reach the id.
        while run.first_version() > self.from {
            let back = run
                .first_version()
                .get()
                .saturating_sub(step)
                .max(self.from.get());
            match self.run(Version::new(back)).await? {
                Some(before) if reaches(&before, id)? => run = before,
                before => {
                    self.from = end_of(before, back);
                    break;
                }
            }
            step *= 2;
        }
        // Between `self.from`, which may be the first that reaches it, and `run`, which reaches it.
        while self.from < run.first_version() {
            let middle = self.from.get().midpoint(run.first_version().get() - 1);
            match self.run(Version::new(middle)).await? {
                Some(reaching) if reaches(&reaching, id)? => run = reaching,
                passed => self.from = end_of(passed, middle),
            }
        }
        Ok(Some(run))
    }

    async fn run(&self, version: Version) -> Result<Option<Run>> {
        let Earlier {
            reader,
            database,
            stream,
            ..
        } = self.earlier;
        reader.run(database, stream, version).await
    }
}

/// The version behind the run that was looked for at `version`.
fn end_of(run: Option<Run>, version: u64) -> Version {
    run.map_or(Version::new(version), |run| run.last_version()).next()
}

fn reaches(run: &Run, id: MessageId) -> Result<bool> {
    Ok(run.newest_id()?.is_some_and(|newest| newest >= id))
}
