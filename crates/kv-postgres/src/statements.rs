//! The SQL, and what a connection has prepared of it.
//!
//! Each call is one statement, and a statement outside of a transaction is one: nothing can stay open when a caller
//! goes away, and one round trip does it.

use kv_core::{Direction, Scan};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

/// A page looks at no more entries, so that it does not look at many that turn out to be too many bytes.
pub(crate) const MAX_PAGE_ITEMS: usize = 1024;

/// What can be read.
pub(crate) enum Read<'a> {
    /// A row with the value, or none.
    Get(&'a [u8]),
    /// A row for each key, in their order.
    GetMany(&'a [&'a [u8]]),
    /// At most `limit` rows of a key and a value, of which the last has no value if it has too many bytes.
    Scan { scan: &'a Scan, limit: usize },
}

/// What a connection that reads has prepared.
pub(crate) struct Reads {
    get: Statement,
    get_many: Statement,
    /// By direction, then without and with an end.
    scans: [[Statement; 2]; 2],
}

/// What a connection that commits has prepared.
pub(crate) struct Commits {
    pub(crate) durable: Statement,
    pub(crate) buffered: Statement,
    pub(crate) flush: Statement,
}

impl Reads {
    pub(crate) async fn prepare(client: &Client, table: &str) -> Result<Self, Error> {
        let [get, get_many] = [get(table), get_many(table)];
        let [up, up_to, down, down_from] = [
            scan(table, Direction::Forward, false),
            scan(table, Direction::Forward, true),
            scan(table, Direction::Reverse, false),
            scan(table, Direction::Reverse, true),
        ];
        // Sent together, they take one round trip.
        let (get, get_many, up, up_to, down, down_from) = tokio::try_join!(
            client.prepare(&get),
            client.prepare(&get_many),
            client.prepare(&up),
            client.prepare(&up_to),
            client.prepare(&down),
            client.prepare(&down_from),
        )?;
        Ok(Self {
            get,
            get_many,
            scans: [[up, up_to], [down, down_from]],
        })
    }

    pub(crate) async fn run(&self, client: &Client, read: &Read<'_>) -> Result<Vec<Row>, Error> {
        match read {
            Read::Get(key) => client.query(&self.get, &[key]).await,
            Read::GetMany(keys) => client.query(&self.get_many, &[keys]).await,
            Read::Scan { scan, limit } => self.scan(client, scan, *limit).await,
        }
    }

    async fn scan(&self, client: &Client, scan: &Scan, limit: usize) -> Result<Vec<Row>, Error> {
        // The empty key is the table's own.
        let start = if scan.start.is_empty() {
            &b"\0"[..]
        } else {
            &scan.start
        };
        let (end, limit) = (scan.end.as_ref(), limit as i64);
        let max_bytes = i64::try_from(scan.max_bytes).unwrap_or(i64::MAX);
        let direction = match scan.direction {
            Direction::Forward => 0,
            Direction::Reverse => 1,
        };
        let statement = &self.scans[direction][usize::from(!end.is_empty())];
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&start, &limit, &max_bytes];
        if !end.is_empty() {
            parameters.push(&end);
        }
        client.query(statement, &parameters).await
    }
}

impl Commits {
    pub(crate) async fn prepare(client: &Client, table: &str, channel: Option<&str>) -> Result<Self, Error> {
        let [durable, buffered] = [commit(table, channel, false), commit(table, channel, true)];
        let flush = format!("UPDATE {table} SET v = v WHERE k = ''::bytea");
        let (durable, buffered, flush) = tokio::try_join!(
            client.prepare(&durable),
            client.prepare(&buffered),
            client.prepare(&flush)
        )?;
        Ok(Self {
            durable,
            buffered,
            flush,
        })
    }
}

fn get(table: &str) -> String {
    format!("SELECT v FROM {table} WHERE k = $1")
}

fn get_many(table: &str) -> String {
    format!(
        "SELECT (SELECT t.v FROM {table} AS t WHERE t.k = asked.k)
         FROM unnest($1::bytea[]) WITH ORDINALITY AS asked(k, n) ORDER BY asked.n"
    )
}

/// Entries are counted and weighed as they come, and those behind the first that is too much are left out. That one
/// comes without its value: it says that the page is full. So does the second, where the first alone is too much.
fn scan(table: &str, direction: Direction, ends: bool) -> String {
    let order = match direction {
        Direction::Forward => "ASC",
        Direction::Reverse => "DESC",
    };
    let end = if ends { "AND k < $4" } else { "" };
    format!(
        "SELECT k, CASE WHEN total <= $3 OR n = 1 THEN v END FROM (
             SELECT k, v, n, own, sum(own) OVER (ORDER BY n ROWS UNBOUNDED PRECEDING) AS total FROM (
                 SELECT k, v, octet_length(k) + octet_length(v) AS own, row_number() OVER (ORDER BY k {order}) AS n
                 FROM (SELECT k, v FROM {table} WHERE k >= $1 {end} ORDER BY k {order} LIMIT $2) AS range
             ) AS numbered
         ) AS weighed
         WHERE total - own <= $3 OR n <= 2 ORDER BY n"
    )
}

/// Checks the conditions ($1 keys, $2 kinds, $3 values), and if they hold puts ($4 keys, $5 values) and deletes ($6 keys).
/// Says the number of the first condition that does not hold, from 1.
///
/// All of it sees the table as it was when the statement began. Serializable isolation, in which these connections work,
/// lets it end only if that is what it still was, for the conditions, when it ends.
fn commit(table: &str, channel: Option<&str>, buffered: bool) -> String {
    let wake = match channel {
        Some(channel) => format!(
            "SELECT pg_notify('{channel}', '') WHERE NOT EXISTS (SELECT 1 FROM failed)
             AND cardinality($4::bytea[]) + cardinality($6::bytea[]) > 0"
        ),
        None => "SELECT 1".to_owned(),
    };
    // As good as `SET LOCAL`: until the transaction, which is this statement, has ended.
    let buffer = if buffered {
        "set_config('synchronous_commit', 'off', true)"
    } else {
        "1"
    };
    format!(
        "WITH failed AS MATERIALIZED (
             SELECT min(n) AS n FROM (
                 SELECT asked.n, asked.kind, asked.v AS wanted, (SELECT t.v FROM {table} AS t WHERE t.k = asked.k) AS found
                 FROM unnest($1::bytea[], $2::int2[], $3::bytea[]) WITH ORDINALITY AS asked(k, kind, v, n)
             ) AS looked
             WHERE CASE kind
                 WHEN {ABSENT} THEN found IS NOT NULL
                 WHEN {PRESENT} THEN found IS NULL
                 ELSE found IS DISTINCT FROM wanted END
             HAVING min(n) IS NOT NULL
         ), put AS (
             INSERT INTO {table} (k, v)
             SELECT given.k, given.v FROM unnest($4::bytea[], $5::bytea[]) AS given(k, v)
             WHERE NOT EXISTS (SELECT 1 FROM failed)
             ON CONFLICT (k) DO UPDATE SET v = excluded.v
         ), deleted AS (
             DELETE FROM {table} WHERE k = ANY($6::bytea[]) AND NOT EXISTS (SELECT 1 FROM failed)
         ), woken AS MATERIALIZED ({wake}), buffer AS MATERIALIZED (SELECT {buffer})
         SELECT (SELECT n FROM failed), (SELECT count(*) FROM woken), (SELECT count(*) FROM buffer)"
    )
}

/// The kinds of conditions in `commit`.
pub(crate) const ABSENT: i16 = 0;
pub(crate) const PRESENT: i16 = 1;
pub(crate) const EQUALS: i16 = 2;
