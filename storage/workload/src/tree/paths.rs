//! All paths of a tree, sorted by their bytes.

use alloc::{vec, vec::Vec};

use storage::{
    Error, Result,
    vfs::{FileSystem, Kind, PATH_BYTES_MAX},
};

use super::list;

/// Paths that a tree may have to be walked.
const PATHS_MAX: usize = 250_000;
/// Bytes that they may have together.
const BYTES_MAX: usize = 4 << 20;

/// The paths below a directory, relative to it, sorted by their bytes as a whole: `a`, `a-b`,
/// `a/b`. A directory comes before what is in it.
#[derive(Default)]
pub struct Paths {
    /// All paths, one after the other: a vector each would cost more than the path.
    bytes: Vec<u8>,
    places: Vec<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    start: u32,
    len: u16,
    kind: Kind,
}

impl Paths {
    fn add(&mut self, path: &[u8], kind: Kind) -> Result<()> {
        if path.len() > PATH_BYTES_MAX {
            return Err(Error::NameTooLong);
        }
        if self.places.len() >= PATHS_MAX || self.bytes.len() + path.len() > BYTES_MAX {
            return Err(Error::NoMemory);
        }
        let start = self.bytes.len() as u32;
        self.places.push(Place {
            start,
            len: path.len() as u16,
            kind,
        });
        self.bytes.extend_from_slice(path);
        Ok(())
    }

    fn get(&self, place: Place) -> (&[u8], Kind) {
        let start = place.start as usize;
        (
            &self.bytes[start..start + usize::from(place.len)],
            place.kind,
        )
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        let path = |place: &Place| {
            let start = place.start as usize;
            &bytes[start..start + usize::from(place.len)]
        };
        self.places
            .sort_unstable_by(|one, other| path(one).cmp(path(other)));
    }

    /// The paths in order, each with its kind.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], Kind)> {
        self.places.iter().map(|&place| self.get(place))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// `directory/name`, without a slash too many.
#[must_use]
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !name.is_empty() {
        if !path.ends_with(b"/") && !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
    }
    path
}

/// Walks the tree below the directory `root`; symbolic links are not followed.
///
/// Errors: those of listing a directory; [`Error::NoMemory`] past a quarter of a million paths or
/// 4 MiB of them.
pub async fn walk<F: FileSystem>(system: &F, root: &[u8]) -> Result<Paths> {
    let mut paths = Paths::default();
    let mut directories = vec![Vec::new()];
    // Bounded by the paths: each directory but the root is one.
    while let Some(directory) = directories.pop() {
        for entry in list(system, &join(root, &directory)).await? {
            let path = join(&directory, &entry.name);
            paths.add(&path, entry.kind)?;
            if entry.kind == Kind::Directory {
                directories.push(path);
            }
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_join_with_one_slash() {
        assert_eq!(join(b"/", b"a"), b"/a");
        assert_eq!(join(b"/a", b"b"), b"/a/b");
        assert_eq!(join(b"", b"b"), b"b");
        assert_eq!(join(b"/a", b""), b"/a");
    }

    #[test]
    fn bounds_are_errors() {
        let mut paths = Paths::default();
        assert_eq!(
            paths.add(&[b'a'; 4097], Kind::File),
            Err(Error::NameTooLong)
        );
        let long = [b'a'; 4096];
        while paths.bytes.len() < BYTES_MAX {
            paths.add(&long, Kind::File).expect("within the bound");
        }
        assert_eq!(paths.add(&long, Kind::File), Err(Error::NoMemory));
    }
}
