//! Byte strings to ids, by every prefix of a text.

use super::model::Piece;

/// A trie whose nodes lie level by level, the children of one node side by side.
#[derive(Debug, Clone)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// The byte that leads to each node; apart from the nodes, so that a search touches few cache lines.
    labels: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    first_child: u32,
    children: u16,
    id: Option<u32>,
}

/// Sorted keys with their ids.
type Keys<'k> = &'k [(&'k [u8], u32)];

impl Trie {
    /// A trie of some of a vocabulary's pieces.
    pub(super) fn of<'p>(pieces: impl Iterator<Item = (&'p Piece, u32)>) -> Self {
        Trie::new(pieces.map(|(piece, id)| (piece.text.as_bytes(), id)).collect())
    }

    /// A trie of distinct keys, none of them empty, with at most `u32::MAX` bytes in all: [`super::model`] has checked.
    fn new(mut keys: Vec<(&[u8], u32)>) -> Self {
        keys.sort_unstable();
        let mut trie = Trie { nodes: vec![Node { first_child: 0, children: 0, id: None }], labels: vec![0] };
        // The keys below each node of the level that is being laid out.
        let mut level = vec![(0, keys.as_slice())];
        for depth in 0.. {
            let mut next = Vec::new();
            for (node, mut below) in level {
                if let Some(((key, id), longer)) = below.split_first()
                    && key.len() == depth
                {
                    trie.nodes[node].id = Some(*id);
                    below = longer;
                }
                trie.add_children(node, depth, below, &mut next);
            }
            if next.is_empty() {
                break;
            }
            level = next;
        }
        trie
    }

    fn add_children<'k>(&mut self, node: usize, depth: usize, below: Keys<'k>, next: &mut Vec<(usize, Keys<'k>)>) {
        self.nodes[node].first_child = self.nodes.len() as u32;
        for group in below.chunk_by(|(a, _), (b, _)| a[depth] == b[depth]) {
            next.push((self.nodes.len(), group));
            self.nodes.push(Node { first_child: 0, children: 0, id: None });
            self.labels.push(group[0].0[depth]);
            self.nodes[node].children += 1;
        }
    }

    fn child(&self, node: Node, byte: u8) -> Option<Node> {
        let first = node.first_child as usize;
        let labels = &self.labels[first..first + usize::from(node.children)];
        labels.binary_search(&byte).ok().map(|child| self.nodes[first + child])
    }

    /// Length of the longest key that `text` begins with.
    pub(super) fn longest(&self, text: &str) -> Option<usize> {
        Some(self.prefixes(text.as_bytes()).last()?.0)
    }

    /// Keys that `text` begins with, shortest first, as length and id.
    pub(super) fn prefixes(&self, text: &[u8]) -> impl Iterator<Item = (usize, u32)> {
        let walk = text.iter().scan(self.nodes[0], |node, &byte| {
            *node = self.child(*node, byte)?;
            Some(node.id)
        });
        walk.enumerate().filter_map(|(at, id)| Some((at + 1, id?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lookups_equal_a_search_through_all_keys(
            keys in prop::collection::btree_set("[abc]{1,4}", 0..30), text in "[abcd]{0,6}",
        ) {
            let trie = Trie::new(keys.iter().enumerate().map(|(id, key)| (key.as_bytes(), id as u32)).collect());
            let id = |text: &str| keys.iter().position(|key| key == text).map(|id| id as u32);
            let prefixes: Vec<_> = (1..=text.len()).filter_map(|n| Some((n, id(&text[..n])?))).collect();
            prop_assert_eq!(trie.prefixes(text.as_bytes()).collect::<Vec<_>>(), prefixes);
        }
    }
}
