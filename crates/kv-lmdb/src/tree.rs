//! The trees in the engine's file: a page for each number, each page once, keys in their order.

use kv_core::Result;

use crate::engine::CAPABILITIES;
use crate::file::{METAS, PAGE_HEADER, Pages, Snapshot, WORD, corrupt, u16_at, u32_at, word_at};

const P_BRANCH: u16 = 0x01;
const P_LEAF: u16 = 0x02;
const P_OVERFLOW: u16 = 0x04;
/// Of an entry of a page: four bytes of size or page number, flags, and the size of the key.
const NODE_HEADER: usize = 8;
/// The value is on pages of its own.
const F_BIGDATA: u16 = 0x01;
/// Deeper than any tree: the engine's cursors have this many places.
const MAX_DEPTH: u16 = 32;

/// Where a tree begins.
#[derive(Clone, Copy)]
pub(crate) struct Root {
    pub(crate) depth: u16,
    pub(crate) page: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Free,
    Entries,
}

/// Checks both trees of the state.
pub(crate) fn check(pages: &Pages<'_>, snapshot: &Snapshot) -> Result<()> {
    let mut walk = Walk {
        pages,
        snapshot,
        seen: vec![false; snapshot.pages],
    };
    for (table, root) in [(Table::Free, snapshot.free), (Table::Entries, snapshot.entries)] {
        if let Some(root) = root {
            if root.depth > MAX_DEPTH {
                return Err(corrupt(format!("a tree has a depth of {}", root.depth)));
            }
            walk.page(table, root, None, None)?;
        }
    }
    Ok(())
}

struct Walk<'a> {
    pages: &'a Pages<'a>,
    snapshot: &'a Snapshot,
    /// By the number of a page: whether it has a use, and free counts as one.
    seen: Vec<bool>,
}

impl Walk<'_> {
    /// Checks a page and all below it. Its keys are from `low` on and below `high`.
    fn page(&mut self, table: Table, at: Root, low: Option<&[u8]>, high: Option<&[u8]>) -> Result<()> {
        self.take(at.page, 1)?;
        let content = self.pages.read(at.page, self.snapshot.page_bytes)?;
        let is_leaf = at.depth == 1;
        let nodes = Nodes::of(&content, at.page, if is_leaf { P_LEAF } else { P_BRANCH })?;
        let keys = nodes.keys(table, is_leaf)?;
        let in_bounds = |key: &[u8]| low.is_none_or(|low| low <= key) && high.is_none_or(|high| key < high);
        // The first key of a branch stands for everything below the second, whatever its bytes.
        let first = usize::from(!is_leaf);
        if !keys[first..].is_sorted_by(|a, b| a < b) || !keys[first..].iter().all(|key| in_bounds(key)) {
            return Err(damaged(at.page));
        }
        for index in 0..keys.len() {
            if is_leaf {
                self.value(table, at.page, nodes.node(index), &keys[index])?;
            } else {
                let child = Root {
                    depth: at.depth - 1,
                    page: nodes.child(index),
                };
                let low = if index == 0 { low } else { Some(&keys[index][..]) };
                let high = keys.get(index + 1).map(|key| &key[..]).or(high);
                self.page(table, child, low, high)?;
            }
        }
        Ok(())
    }

    /// Checks the value of an entry, and the pages that it has to itself.
    fn value(&mut self, table: Table, page: usize, node: &[u8], key: &[u8]) -> Result<()> {
        let bytes = u32_at(node, 0) as usize;
        let inline = &node[NODE_HEADER + usize::from(u16_at(node, 6))..];
        let mut outside = Vec::new();
        let is_outside = u16_at(node, 4) == F_BIGDATA;
        if is_outside {
            let first = word_at(inline, 0);
            // Before anything of it is read, since a damaged number may name any page.
            self.take(first, 1)?;
            let header = self.pages.read(first, PAGE_HEADER)?;
            let count = u32_at(&header, WORD + 4) as usize;
            let fits = count.saturating_mul(self.snapshot.page_bytes) >= bytes.saturating_add(PAGE_HEADER);
            if word_at(&header, 0) != first || u16_at(&header, WORD + 2) != P_OVERFLOW || !fits {
                return Err(damaged(first));
            }
            self.take(first + 1, count - 1)?;
            if !self.pages.reaches(first, count)? {
                return Err(damaged(first));
            }
            if table == Table::Free {
                outside = self.pages.read(first, PAGE_HEADER + bytes)?;
            }
        }
        match table {
            Table::Entries => Ok(()),
            Table::Free if is_outside => self.free(page, key, &outside[PAGE_HEADER..]),
            Table::Free => self.free(page, key, &inline[..bytes]),
        }
    }

    /// Checks a list of free pages: how many, and their numbers, descending.
    fn free(&mut self, page: usize, transaction: &[u8], list: &[u8]) -> Result<()> {
        let mut number = [0; WORD];
        number.copy_from_slice(transaction);
        let is_past = (1..=self.snapshot.transaction).contains(&usize::from_be_bytes(number));
        let Some((count, numbers)) = list.split_at_checked(WORD) else {
            return Err(damaged(page));
        };
        let count = word_at(count, 0);
        if !is_past || count > numbers.len() / WORD {
            return Err(damaged(page));
        }
        let numbers: Vec<_> = (0..count).map(|index| word_at(numbers, index * WORD)).collect();
        if !numbers.is_sorted_by(|a, b| a > b) {
            return Err(damaged(page));
        }
        numbers.iter().try_for_each(|free| self.take(*free, 1))
    }

    /// Notes the use of pages: they must be there, and have no other use.
    fn take(&mut self, first: usize, count: usize) -> Result<()> {
        let end = first.saturating_add(count);
        let taken = if first < METAS {
            None
        } else {
            self.seen.get_mut(first..end)
        };
        let Some(taken) = taken else {
            return Err(corrupt(format!(
                "it refers to page {first}, which it does not have"
            )));
        };
        if taken.contains(&true) {
            return Err(corrupt(format!("page {first} is used twice")));
        }
        taken.fill(true);
        Ok(())
    }
}

/// The entries of a page, which lie within it and do not overlap.
struct Nodes<'a> {
    content: &'a [u8],
    page: usize,
    offsets: Vec<usize>,
}

impl<'a> Nodes<'a> {
    fn of(content: &'a [u8], page: usize, flags: u16) -> Result<Self> {
        let lower = usize::from(u16_at(content, WORD + 4));
        let upper = usize::from(u16_at(content, WORD + 6));
        let is_whole = word_at(content, 0) == page
            && u16_at(content, WORD + 2) == flags
            && lower % 2 == 0
            && (PAGE_HEADER + 2..=upper).contains(&lower)
            && upper <= content.len();
        if !is_whole {
            return Err(damaged(page));
        }
        let pointers = (PAGE_HEADER..lower).step_by(2);
        let nodes = Self {
            content,
            page,
            offsets: pointers.map(|at| usize::from(u16_at(content, at))).collect(),
        };
        nodes.check(upper, flags == P_LEAF)?;
        Ok(nodes)
    }

    fn check(&self, upper: usize, is_leaf: bool) -> Result<()> {
        let mut places = Vec::with_capacity(self.offsets.len());
        for (index, &offset) in self.offsets.iter().enumerate() {
            if offset % 2 != 0 || offset < upper || offset + NODE_HEADER > self.content.len() {
                return Err(damaged(self.page));
            }
            let node = self.node(index);
            let flags = u16_at(node, 4);
            let value = match flags {
                _ if !is_leaf => 0,
                0 => u32_at(node, 0) as usize,
                F_BIGDATA => WORD,
                _ => return Err(damaged(self.page)),
            };
            places.push((
                offset,
                offset + NODE_HEADER + usize::from(u16_at(node, 6)) + value,
            ));
        }
        places.sort_unstable();
        let ends_inside = places.last().is_some_and(|(_, end)| *end <= self.content.len());
        if !ends_inside || places.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            return Err(damaged(self.page));
        }
        Ok(())
    }

    /// The node and what lies behind it on the page.
    fn node(&self, index: usize) -> &'a [u8] {
        &self.content[self.offsets[index]..]
    }

    fn child(&self, index: usize) -> usize {
        let node = self.node(index);
        let low = u32_at(node, 0) as usize;
        // Where a page number has more than 32 bits, the rest is where a leaf has its flags.
        match WORD {
            4 => low,
            _ => low | usize::from(u16_at(node, 4)).rotate_left(32),
        }
    }

    /// The keys, as bytes in their order.
    fn keys(&self, table: Table, is_leaf: bool) -> Result<Vec<Vec<u8>>> {
        // The engine does without the second child in the table of free pages alone, while it works on it.
        let fewest = if is_leaf || table == Table::Free { 1 } else { 2 };
        let mut keys = Vec::with_capacity(self.offsets.len());
        for index in 0..self.offsets.len() {
            let node = self.node(index);
            let key = &node[NODE_HEADER..NODE_HEADER + usize::from(u16_at(node, 6))];
            let is_first_of_branch = !is_leaf && index == 0;
            let is_key = match table {
                Table::Entries => (1..=CAPABILITIES.max_key_bytes).contains(&key.len()),
                Table::Free => key.len() == WORD,
            };
            if !is_key && !is_first_of_branch {
                return Err(damaged(self.page));
            }
            keys.push(match table {
                // A number of this machine, which compares as its bytes do when the highest comes first.
                Table::Free if is_key => word_at(key, 0).to_be_bytes().to_vec(),
                _ => key.to_vec(),
            });
        }
        if keys.len() < fewest {
            return Err(damaged(self.page));
        }
        Ok(keys)
    }
}

fn damaged(page: usize) -> kv_core::Error {
    corrupt(format!("page {page} is damaged"))
}
