//! Providers that take one name for another.

use eventstore_abstractions::{Database, Error, StreamId};

use crate::wrong::{Wrong, wrong};

wrong! {
    RefusesLongNames: append |right, events, options| {
        if right.stream.id().len() > 100 {
            return Err(Error::invalid("the name of the stream is too long"));
        }
        right.append(events, options).await
    };
}

/// Keeps one database, whichever is asked for.
#[derive(Debug)]
pub(crate) struct HasOneDatabase;

impl Wrong for HasOneDatabase {
    fn database(&self, _asked: &Database) -> Database {
        Database::default()
    }
}

/// Takes large and small letters of streams' names for the same.
#[derive(Debug)]
pub(crate) struct IgnoresCase;

impl Wrong for IgnoresCase {
    fn stream(&self, asked: &StreamId) -> StreamId {
        StreamId::new(asked.category().to_lowercase(), asked.id().to_lowercase())
            .expect("no longer than before")
    }
}

/// Puts the category and the id of a stream into one text, with nothing between them.
#[derive(Debug)]
pub(crate) struct JoinsNames;

impl Wrong for JoinsNames {
    fn stream(&self, asked: &StreamId) -> StreamId {
        let joined = format!("{}{}", asked.category(), asked.id());
        StreamId::new("joined", joined).expect("the names of the case are short")
    }
}
