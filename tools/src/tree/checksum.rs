//! One checksum for a whole tree, as the console's `sha256` defines it.
//!
//! SHA-256 over one line for each entry below the root, sorted by the bytes of the paths:
//!
//! ```text
//! <kind> <SHA-256 of the content, in hex> <size> <path>\n
//!
//! kind  f  file              content: its bytes           size: its length
//!       l  symbolic link     content: the target's bytes  size: the target's length
//!       d  directory         64 zeros                     size: 0
//! ```

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::{Content, Tree};

/// The checksum of `tree`, in hex.
#[must_use]
pub fn checksum(tree: &Tree) -> String {
    let mut all = Sha256::new();
    for (path, content) in tree.entries() {
        let (kind, digest, size) = match content {
            Content::Directory => ('d', "0".repeat(64), 0),
            Content::File { bytes, .. } => ('f', hex(&Sha256::digest(bytes)), bytes.len()),
            Content::Link(target) => ('l', hex(&Sha256::digest(target)), target.len()),
        };
        all.update(format!("{kind} {digest} {size} "));
        all.update(path);
        all.update(b"\n");
    }
    hex(&all.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with the shell:
    ///
    /// ```text
    /// z=$(printf '%064d' 0); h() { printf "$1" | sha256sum | cut -c-64; }
    /// printf "d $z 0 a\\nf $(h hello) 5 a-b\\nf $(h '') 0 a/x\\nl $(h ../y) 4 a/z\\n" | sha256sum
    /// ```
    #[test]
    fn the_checksum_is_what_the_definition_says() {
        let file = |text: &str| Content::File {
            bytes: text.into(),
            executable: false,
        };
        let mut tree = Tree::default();
        tree.insert(b"a/z", Content::Link(b"../y".to_vec()));
        tree.insert(b"a/x", file(""));
        tree.insert(b"a-b", file("hello"));
        assert_eq!(
            checksum(&tree),
            "8151ef4f545e93e5bbc3acf7d7dd371e29d0b91592cad8b428e378602d1ec643"
        );
        tree.insert(b"a/x", file("\0"));
        assert_ne!(
            checksum(&tree),
            "8151ef4f545e93e5bbc3acf7d7dd371e29d0b91592cad8b428e378602d1ec643"
        );
    }
}
