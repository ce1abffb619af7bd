//! Where paths lead.

use std::collections::BTreeSet;

use storage::{Error, vfs::Kind};

use super::{Body, Model, ROOT, Result};

/// Symbolic links that may be followed in one lookup.
const FOLLOWED_MAX: u32 = 40;

/// Where a path leads: a name in a directory, and the node there, if there is one.
pub(super) struct Place {
    pub directory: u64,
    /// None for the root itself.
    pub name: Option<Vec<u8>>,
    pub node: Option<u64>,
}

impl Model {
    /// A path to each node that has a name.
    #[must_use]
    pub fn paths(&self) -> Vec<(Vec<u8>, u64)> {
        let mut paths = vec![(b"".to_vec(), ROOT)];
        let mut at = 0;
        while let Some((path, node)) = paths.get(at).cloned() {
            if let Body::Directory(names, _) = &self.node(node).body {
                for (name, child) in names {
                    paths.push(([&path, &b"/"[..], name].concat(), *child));
                }
            }
            at += 1;
        }
        let mut seen = BTreeSet::new();
        paths.retain(|(_, node)| seen.insert(*node));
        paths
    }

    pub(super) fn lookup(&self, path: &[u8], follow: bool) -> Result<Place> {
        let mut followed = 0;
        self.walk(ROOT, path, follow, &mut followed)
    }

    fn walk(&self, from: u64, path: &[u8], follow: bool, followed: &mut u32) -> Result<Place> {
        if path.is_empty() {
            return Err(Error::NotFound);
        }
        let mut place = Place {
            directory: ROOT,
            name: None,
            node: Some(from),
        };
        let mut parts = path
            .split(|byte| *byte == b'/')
            .filter(|it| !it.is_empty())
            .peekable();
        if path[0] == b'/' {
            place.node = Some(ROOT);
        }
        while let Some(part) = parts.next() {
            let directory = place.node.ok_or(Error::NotFound)?;
            let names = self.names(directory)?;
            if part.len() > 255 {
                return Err(Error::NameTooLong);
            }
            let last = parts.peek().is_none();
            let node = match part {
                b"." => Some(directory),
                b".." => match &self.node(directory).body {
                    Body::Directory(_, parent) => Some(*parent),
                    _ => return Err(Error::NotADirectory),
                },
                name => names.get(name).copied(),
            };
            place = Place {
                directory,
                name: Some(part.to_vec()),
                node,
            };
            if let Some(Body::Link(target)) = node.map(|node| &self.node(node).body)
                && (follow || !last)
            {
                *followed += 1;
                if *followed > FOLLOWED_MAX {
                    return Err(Error::TooManyLinks);
                }
                place = self.walk(directory, target, true, followed)?;
            }
        }
        Ok(place)
    }

    pub(super) fn find(&self, path: &[u8], follow: bool) -> Result<u64> {
        self.lookup(path, follow)?.node.ok_or(Error::NotFound)
    }

    /// Every reason for which a rename between these paths has to fail: POSIX does not say which of several is told.
    #[must_use]
    pub fn rename_reasons(&self, from: &[u8], to: &[u8]) -> Vec<Error> {
        let (from, to) = (self.lookup(from, false), self.lookup(to, false));
        let mut reasons = Vec::new();
        for end in [&from, &to] {
            match end {
                Err(error) => reasons.push(*error),
                Ok(place) if place.name.is_none() => reasons.push(Error::Busy),
                Ok(_) => {}
            }
        }
        let Ok(from) = from else { return reasons };
        let Some(node) = from.node else {
            reasons.push(Error::NotFound);
            return reasons;
        };
        let Ok(to) = to else { return reasons };
        let is_directory = |node| self.node(node).kind() == Kind::Directory;
        if is_directory(node) && self.is_above(node, to.directory) {
            reasons.push(Error::BadArgument);
        }
        if let Some(victim) = to.node.filter(|victim| *victim != node) {
            let is_empty = self.names(victim).is_ok_and(|names| names.is_empty());
            match (is_directory(node), is_directory(victim)) {
                (true, false) => reasons.push(Error::NotADirectory),
                (false, true) => reasons.push(Error::IsADirectory),
                (true, true) if !is_empty => reasons.push(Error::NotEmpty),
                _ => {}
            }
        }
        reasons
    }

    /// As [`Self::rename_reasons`], for a further name of a file.
    #[must_use]
    pub fn link_reasons(&self, from: &[u8], to: &[u8]) -> Vec<Error> {
        let (from, to) = (self.find(from, false), self.lookup(to, false));
        let mut reasons = Vec::new();
        match from {
            Err(error) => reasons.push(error),
            Ok(node) if self.node(node).kind() == Kind::Directory => {
                reasons.push(Error::NotPermitted);
            }
            Ok(_) => {}
        }
        match to {
            Err(error) => reasons.push(error),
            Ok(place) if place.node.is_some() => reasons.push(Error::Exists),
            Ok(_) => {}
        }
        reasons
    }

    pub(super) fn is_above(&self, above: u64, below: u64) -> bool {
        let mut at = below;
        loop {
            if at == above {
                return true;
            }
            match &self.node(at).body {
                Body::Directory(_, parent) if *parent != at => at = *parent,
                _ => return false,
            }
        }
    }
}
