//! The form in which keys are stored.
//!
//! A reverse scan of the engine looks for the page before a page by a guess: it decrements the last byte of
//! the page's first key and appends four bytes 0xff. A key that has more of them is missed, and the engine
//! panics after a million attempts. No stored key has a byte 0xff: the two highest bytes become two bytes
//! each, which keeps the order of all keys.

use std::borrow::Cow;

/// First of the two bytes that stand for 0xfe and 0xff.
const ESCAPE: u8 = 0xfe;

/// The stored form of `key`: at most twice as long, in the same order, without a byte 0xff.
pub(crate) fn encode(key: &[u8]) -> Cow<'_, [u8]> {
    let escaped = key.iter().filter(|byte| **byte >= ESCAPE).count();
    if escaped == 0 {
        return Cow::Borrowed(key);
    }
    let mut stored = Vec::with_capacity(key.len() + escaped);
    for &byte in key {
        if byte >= ESCAPE {
            stored.extend([ESCAPE, byte - ESCAPE]);
        } else {
            stored.push(byte);
        }
    }
    Cow::Owned(stored)
}

/// The key whose stored form is `stored`, or `None` if there is no such key: the engine returned something else.
pub(crate) fn decode(stored: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(stored.len());
    let mut bytes = stored.iter();
    while let Some(&byte) = bytes.next() {
        key.push(match byte {
            ESCAPE => match bytes.next() {
                Some(&low @ (0 | 1)) => ESCAPE + low,
                _ => return None,
            },
            u8::MAX => return None,
            byte => byte,
        });
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes of which every second one is near the top.
    fn any_key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![any::<u8>(), 0xfc_u8..=0xff], 0..12)
    }

    proptest! {
        #[test]
        fn stored_form_keeps_key_and_order(a in any_key(), b in any_key()) {
            prop_assert_eq!(decode(&encode(&a)), Some(a.clone()));
            prop_assert_eq!(a.cmp(&b), encode(&a).cmp(&encode(&b)));
            prop_assert!(!encode(&a).contains(&0xff));
        }
    }

    #[test]
    fn what_is_no_stored_form_is_refused() {
        for stored in [&[0xff][..], &[0xfe], &[0xfe, 2]] {
            assert_eq!(decode(stored), None);
        }
    }
}
