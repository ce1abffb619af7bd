//! Attributes of files, and what the stack must guarantee for one.

use serde::{Deserialize, Serialize};

use super::FileNumber;

/// The attributes of a file. The stack gives meaning to `size` and `class`; the rest is naming's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attributes {
    /// What the stack must guarantee for the file's data.
    pub class: Class,
    /// POSIX file type and permissions (`st_mode`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names that refer to the file.
    pub links: u32,
    /// Length in bytes.
    pub size: u64,
    /// Blocks of [`crate::BLOCK_BYTES`] that its data occupies; computed, never set.
    pub blocks: u64,
    /// Last access, nanoseconds since the Unix epoch.
    pub accessed_ns: u64,
    /// Last change of the data.
    pub modified_ns: u64,
    /// Last change of the attributes.
    pub changed_ns: u64,
    /// For a physical file, the logical file it is a copy of; zero otherwise.
    pub logical: FileNumber,
}

/// What the stack must guarantee for a file's data, chosen when the file is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Class {
    /// How many copies.
    pub redundancy: Redundancy,
    /// Whether the data are part of every checkpoint: stack metadata (directories, the mapping)
    /// always, user files on request.
    pub protected: bool,
}

/// How many copies of a file there are, on different file stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Redundancy {
    /// One on every file store of the volume.
    #[default]
    Mirror,
    /// One, on the file store that has most room.
    Single,
}

/// Which attributes a `setattr` changes; the size is changed by `write` and `truncate` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AttributeChange {
    /// New type and permissions.
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New link count.
    pub links: Option<u32>,
    /// New time of access.
    pub accessed_ns: Option<u64>,
    /// New time of change of the data.
    pub modified_ns: Option<u64>,
    /// New time of change of the attributes.
    pub changed_ns: Option<u64>,
}

impl AttributeChange {
    /// Applies the change.
    pub fn apply(&self, to: &mut Attributes) {
        to.mode = self.mode.unwrap_or(to.mode);
        to.uid = self.uid.unwrap_or(to.uid);
        to.gid = self.gid.unwrap_or(to.gid);
        to.links = self.links.unwrap_or(to.links);
        to.accessed_ns = self.accessed_ns.unwrap_or(to.accessed_ns);
        to.modified_ns = self.modified_ns.unwrap_or(to.modified_ns);
        to.changed_ns = self.changed_ns.unwrap_or(to.changed_ns);
    }

    /// The change that makes everything but the size and the class as in `attributes`.
    #[must_use]
    pub fn to(attributes: &Attributes) -> Self {
        Self {
            mode: Some(attributes.mode),
            uid: Some(attributes.uid),
            gid: Some(attributes.gid),
            links: Some(attributes.links),
            accessed_ns: Some(attributes.accessed_ns),
            modified_ns: Some(attributes.modified_ns),
            changed_ns: Some(attributes.changed_ns),
        }
    }
}
