//! The events that are appended, and the proof that what comes back is what went in.

use crate::Result;
use crate::contender::Stored;

/// Bytes of each payload, the number included.
pub(crate) const PAYLOAD_BYTES: usize = 256;
/// Bytes of the number at the front of each payload.
const NUMBER_BYTES: usize = 8;
/// A number that no other event of a run has: who made it, and the how manieth of theirs it is.
pub(crate) fn number(maker: u64, count: u64) -> u64 {
    maker << 32 | count
}

/// The payload that carries `number`. The rest is random: no store can make it smaller.
pub(crate) fn payload(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; PAYLOAD_BYTES];
    let (front, rest) = bytes.split_at_mut(NUMBER_BYTES);
    front.copy_from_slice(&number.to_le_bytes());
    fastrand::Rng::with_seed(number).fill(rest);
    bytes
}

/// The payloads of `count` events of a maker, from its event `first` on.
pub(crate) fn payloads(maker: u64, first: u64, count: u64) -> Vec<Vec<u8>> {
    (first..first + count)
        .map(|event| payload(number(maker, event)))
        .collect()
}

/// The number in a payload. The last byte is looked at as well, so that no lazy read gets away with the front.
pub(crate) fn number_in(payload: &[u8]) -> u64 {
    assert_eq!(
        payload.len(),
        PAYLOAD_BYTES,
        "a payload has the length it was given"
    );
    std::hint::black_box(payload[PAYLOAD_BYTES - 1]);
    let (number, _) = payload.split_at(NUMBER_BYTES);
    u64::from_le_bytes(number.try_into().expect("the front has the size of a number"))
}

/// Count of the events that a read gave and the sum of their mixed numbers: enough to see a loss or a double in
/// reads that run for long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    sum: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, event: Stored<'_>) {
        std::hint::black_box((event.event_type, event.number));
        self.events += 1;
        self.sum = self.sum.wrapping_add(mixed(number_in(event.payload)));
    }

    /// What the events `0..count` of one maker add up to.
    pub(crate) fn of(maker: u64, count: u64) -> Self {
        let sum = (0..count).fold(0_u64, |sum, event| sum.wrapping_add(mixed(number(maker, event))));
        Self { events: count, sum }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            sum: self.sum.wrapping_add(other.sum),
        }
    }
}

/// A number mixed so that no loss and double make up for each other in a sum.
fn mixed(number: u64) -> u64 {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (spread ^ spread >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Fails unless `found` has exactly the events that were acknowledged: of each maker its events `0..acknowledged`.
pub(crate) fn verify(mut found: Vec<u64>, acknowledged: &[u64]) -> Result<()> {
    found.sort_unstable();
    let expected = (0_u64..)
        .zip(acknowledged)
        .flat_map(|(maker, &count)| (0..count).map(move |event| number(maker, event)));
    let mut found = found.into_iter().peekable();
    for number in expected {
        match found.next() {
            Some(next) if next == number => {}
            Some(next) if next < number => return Err(format!("event {next:#x} is there twice").into()),
            _ => return Err(format!("event {number:#x} was acknowledged and is lost").into()),
        }
    }
    match found.next() {
        Some(extra) => Err(format!("event {extra:#x} is there and was not acknowledged once").into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_gives_its_number_back() {
        for number in [0, 7, number(255, 12_345), u64::MAX] {
            assert_eq!(number_in(&payload(number)), number);
        }
    }

    #[test]
    fn loss_double_and_extra_are_found() {
        let all = || vec![number(1, 0), number(0, 1), number(0, 0)];
        assert!(verify(all(), &[2, 1]).is_ok());
        let told = |found: Vec<u64>| verify(found, &[2, 1]).unwrap_err().to_string();
        assert!(told(all()[1..].to_vec()).contains("lost"));
        assert!(told([all(), vec![number(0, 0)]].concat()).contains("twice"));
        assert!(told([all(), vec![number(1, 1)]].concat()).contains("not acknowledged"));
    }

    #[test]
    fn tally_of_what_was_read_is_the_tally_of_what_was_written() {
        let mut read = Tally::default();
        for payload in payloads(3, 0, 5).iter().rev() {
            read.add(Stored {
                event_type: "",
                number: 1,
                payload,
            });
        }
        assert_eq!(read, Tally::of(3, 5));
        assert_ne!(read, Tally::of(2, 5));
    }
}
