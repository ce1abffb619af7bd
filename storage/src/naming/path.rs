//! From a path to what it names.
//!
//! A path is walked component by component through the indexes of its directories; what is indexed
//! costs no call below. `..` is what the directory says its parent is; above the root is the root.
//! A symbolic link puts its target in front of what is left of the path, at most
//! [`LINKS_FOLLOWED_MAX`] times.

use alloc::{borrow::Cow, vec, vec::Vec};

use super::{
    Naming,
    directory::{self, Found},
    volume::Volume,
};
use crate::{
    Error, Result,
    buffer::Sink,
    file::{FileNumber, FileService},
    vfs::{Kind, LINKS_FOLLOWED_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX},
};

/// Most bytes in the target of a symbolic link.
pub const TARGET_BYTES_MAX: usize = PATH_BYTES_MAX - 1;

/// What to do if the last component is a symbolic link.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LastLink {
    /// Follow it.
    Follow,
    /// Take the link itself, unless a slash comes after it.
    Keep,
    /// Take the link itself: the call makes, moves or removes a name.
    Name,
}

/// The last component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Last {
    /// There is none: the root.
    Root,
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// A name.
    Name(Vec<u8>),
}

/// Where a path leads.
#[derive(Debug)]
pub struct Walked {
    /// The directory that the last component is looked up in.
    pub parent: FileNumber,
    /// The last component.
    pub last: Last,
    /// A slash comes after it.
    pub slash: bool,
    /// What it names.
    pub found: Option<Found>,
}

impl Walked {
    /// What the path names; [`Error::NotFound`], or [`Error::NotADirectory`] if a slash says that
    /// it must be one.
    pub fn existing(&self) -> Result<Found> {
        let found = self.found.ok_or(Error::NotFound)?;
        if self.slash && found.kind != Kind::Directory {
            return Err(Error::NotADirectory);
        }
        Ok(found)
    }

    /// The name that is free for a new entry; [`Error::Exists`] if it is not.
    pub fn vacant(&self, kind: Kind) -> Result<&[u8]> {
        match &self.last {
            Last::Name(_) if self.found.is_some() => Err(Error::Exists),
            Last::Name(_) if self.slash && kind != Kind::Directory => Err(Error::NotFound),
            Last::Name(name) => Ok(name),
            Last::Root | Last::Dot | Last::DotDot => Err(Error::Exists),
        }
    }
}

/// A path without its first component, and that component; nothing if only slashes are left.
fn split_first(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|&byte| byte != b'/')?;
    let path = &path[start..];
    let end = path
        .iter()
        .position(|&byte| byte == b'/')
        .unwrap_or(path.len());
    Some(path.split_at(end))
}

/// [`Error::NotFound`] for an empty path, [`Error::NameTooLong`], [`Error::BadArgument`] for a byte
/// that no name can have.
fn check(path: &[u8]) -> Result<()> {
    if path.is_empty() {
        return Err(Error::NotFound);
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(Error::NameTooLong);
    }
    if path.contains(&0) {
        Err(Error::BadArgument)
    } else {
        Ok(())
    }
}

impl<F: FileService, C> Naming<F, C> {
    /// Walks a path. Nothing comes between the lookup of the last component and the return, so
    /// that the caller can take hold of what was found before it can go away.
    pub(super) async fn walk(
        &self,
        volume: &Volume,
        path: &[u8],
        last_link: LastLink,
    ) -> Result<Walked> {
        check(path)?;
        let mut path = Cow::Borrowed(path);
        let mut start = 0;
        let mut links_followed = 0;
        let mut current = volume.root;
        let here = |number| {
            Some(Found {
                number,
                kind: Kind::Directory,
                position: 0,
            })
        };
        loop {
            let Some((name, rest)) = split_first(&path[start..]) else {
                let (parent, found) = (current, here(current));
                return Ok(Walked {
                    parent,
                    last: Last::Root,
                    slash: false,
                    found,
                });
            };
            let is_last = split_first(rest).is_none();
            let slash = is_last && !rest.is_empty();
            let after = path.len() - rest.len();
            match name {
                b"." if is_last => {
                    let (parent, found) = (current, here(current));
                    return Ok(Walked {
                        parent,
                        last: Last::Dot,
                        slash,
                        found,
                    });
                }
                b"." => start = after,
                b".." => {
                    let directory = directory::load(&self.below, volume, current).await?;
                    current = directory.index()?.parent();
                    if is_last {
                        let (parent, found) = (current, here(current));
                        return Ok(Walked {
                            parent,
                            last: Last::DotDot,
                            slash,
                            found,
                        });
                    }
                    start = after;
                }
                _ if name.len() > NAME_BYTES_MAX => return Err(Error::NameTooLong),
                _ => {
                    let directory = directory::load(&self.below, volume, current).await?;
                    let found = directory.index()?.find(name);
                    let follow = match last_link {
                        LastLink::Follow => true,
                        LastLink::Keep => slash,
                        LastLink::Name => false,
                    };
                    match found {
                        Some(found) if found.kind == Kind::Link && (!is_last || follow) => {
                            links_followed += 1;
                            if links_followed > LINKS_FOLLOWED_MAX {
                                return Err(Error::TooManyLinks);
                            }
                            let mut longer = self.link_target(volume, found.number).await?;
                            if longer.first() == Some(&b'/') {
                                current = volume.root;
                            }
                            longer.extend_from_slice(&path[after..]);
                            path = Cow::Owned(longer);
                            start = 0;
                        }
                        found if is_last => {
                            let last = Last::Name(name.to_vec());
                            return Ok(Walked {
                                parent: current,
                                last,
                                slash,
                                found,
                            });
                        }
                        Some(Found {
                            number,
                            kind: Kind::Directory,
                            ..
                        }) => {
                            current = number;
                            start = after;
                        }
                        Some(_) => return Err(Error::NotADirectory),
                        None => return Err(Error::NotFound),
                    }
                }
            }
        }
    }

    /// What a symbolic link reads.
    pub(super) async fn link_target(&self, volume: &Volume, number: FileNumber) -> Result<Vec<u8>> {
        let inode = volume.inode(number)?;
        let _reading = inode.lock.read().await;
        if inode.gone.get() {
            return Err(Error::NotFound);
        }
        // One byte more than there may be, so that a target that is too long shows.
        let mut target = vec![0; TARGET_BYTES_MAX + 1];
        let len = self.below.read(number, 0, Sink::local(&mut target)).await?;
        if len == 0 || len > TARGET_BYTES_MAX || target[..len].contains(&0) {
            return Err(Error::Corrupt);
        }
        target.truncate(len);
        Ok(target)
    }

    /// Whether `directory` is `ancestor` or below it. Damage that makes parents go round in a
    /// circle is [`Error::Corrupt`].
    pub(super) async fn is_within(
        &self,
        volume: &Volume,
        directory: FileNumber,
        ancestor: FileNumber,
    ) -> Result<bool> {
        /// More levels than paths of 4096 bytes can make by many renames.
        const LEVELS_MAX: usize = 1 << 16;
        let mut current = directory;
        for _ in 0..LEVELS_MAX {
            if current == ancestor {
                return Ok(true);
            }
            if current == volume.root {
                return Ok(false);
            }
            current = directory::load(&self.below, volume, current)
                .await?
                .index()?
                .parent();
        }
        Err(Error::Corrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_come_off_one_by_one() {
        assert_eq!(split_first(b"//a//b/"), Some((&b"a"[..], &b"//b/"[..])));
        assert_eq!(split_first(b"b/"), Some((&b"b"[..], &b"/"[..])));
        assert_eq!(split_first(b"///"), None);
        assert_eq!(split_first(b""), None);
    }
}
