//! Who has what open.
//!
//! Every role has its own descriptors, the lowest free number first. When a newer instance of the
//! role calls, those of the older one are closed; an older instance that still calls gets nothing.

use alloc::{collections::BTreeMap, rc::Rc, vec::Vec};
use core::cell::{Cell, RefCell};

use async_lock::Mutex;

use super::{chores::NamesChore, inode::Inode, volume::Volume};
use crate::{
    Error, Result,
    file::FileNumber,
    surviving::RecordId,
    vfs::{Descriptor, OpenFlags},
};

/// Roles that can have files open at a time.
const ROLES_MAX: usize = 256;

/// A client: the number of its role and the generation of its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId {
    /// The role.
    pub role: u64,
    /// The instance; higher is newer.
    pub generation: u64,
}

/// All that there is to say about a descriptor, for a successor of this instance of naming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorState {
    /// Whose.
    pub role: u64,
    /// Of which instance.
    pub generation: u64,
    /// Its number.
    pub descriptor: Descriptor,
    /// How it was opened.
    pub flags: OpenFlags,
    /// The file.
    pub file: FileNumber,
    /// Where the next read or write without an offset begins.
    pub position: u64,
    /// Whether it is a directory.
    pub is_directory: bool,
}

impl DescriptorState {
    /// Whether both are of the same descriptor.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.role, self.generation, self.descriptor)
            == (other.role, other.generation, other.descriptor)
    }
}

/// An open file: what a descriptor stands for. A call under way holds it as well, so the file stays
/// as long as anyone works on it.
pub struct OpenFile {
    /// The file.
    pub inode: Rc<Inode>,
    /// How it was opened.
    pub flags: Cell<OpenFlags>,
    /// Whether it is a directory.
    pub is_directory: Cell<bool>,
    /// Where the next read or write without an offset begins; of a directory, the position of the
    /// next entry.
    pub position: Cell<u64>,
    /// Locked for as long as a call lasts that begins there.
    pub turn: Mutex<()>,
    /// What survives of the descriptor.
    pub record: Cell<Option<RecordId>>,
    /// Whose descriptor it is, while it is one.
    owner: Cell<Option<(ClientId, Descriptor)>>,
    volume: Rc<Volume>,
}

impl OpenFile {
    /// Opens a file. From here on its last name can go without its data.
    pub fn new(volume: &Rc<Volume>, inode: Rc<Inode>, flags: OpenFlags) -> Self {
        inode.opens.set(inode.opens.get() + 1);
        volume.open_files.set(volume.open_files.get() + 1);
        Self {
            inode,
            flags: Cell::new(flags),
            is_directory: Cell::new(false),
            position: Cell::new(0),
            turn: Mutex::new(()),
            record: Cell::new(None),
            owner: Cell::new(None),
            volume: volume.clone(),
        }
    }

    /// What a successor must know; nothing once the descriptor is closed.
    pub fn state(&self) -> Option<DescriptorState> {
        let (client, descriptor) = self.owner.get()?;
        Some(DescriptorState {
            role: client.role,
            generation: client.generation,
            descriptor,
            flags: self.flags.get(),
            file: self.inode.number,
            position: self.position.get(),
            is_directory: self.is_directory.get(),
        })
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.volume.open_files.set(self.volume.open_files.get() - 1);
        let left = self.inode.opens.get() - 1;
        self.inode.opens.set(left);
        if left == 0 && self.inode.orphan.get() {
            // Whoever runs next and may wait deletes it.
            self.volume.leave(NamesChore::End(self.inode.clone()));
        }
    }
}

enum Slot {
    Free,
    /// An open is under way.
    Reserved,
    Open(Rc<OpenFile>),
}

struct Role {
    generation: u64,
    slots: Vec<Slot>,
    used: usize,
}

/// All descriptors of all clients.
pub struct Descriptors {
    roles: BTreeMap<u64, Role>,
    used: usize,
    per_client_max: usize,
    in_all_max: usize,
}

impl Descriptors {
    /// None.
    pub fn new(per_client_max: usize, in_all_max: usize) -> Self {
        Self {
            roles: BTreeMap::new(),
            used: 0,
            per_client_max,
            in_all_max,
        }
    }

    /// How many places there are for descriptors of a client, those that are never used included.
    fn places(&self) -> usize {
        self.per_client_max.next_power_of_two()
    }

    /// Where a client's descriptor is.
    fn place(&self, descriptor: Descriptor) -> usize {
        descriptor.0 as usize % self.places()
    }

    /// The descriptor for a place, with this tag.
    fn at(&self, place: usize, tag: u32) -> Descriptor {
        let above = u32::try_from(self.places()).unwrap_or(u32::MAX);
        Descriptor(tag.wrapping_mul(above).wrapping_add(place as u32))
    }

    /// Opens again what an earlier instance of naming had open. [`Error::TooManyOpen`] for what no
    /// instance can have had open; [`Error::PeerGone`] if there are some of another instance already.
    pub fn restore(&mut self, state: &DescriptorState, file: Rc<OpenFile>) -> Result<()> {
        let client = ClientId {
            role: state.role,
            generation: state.generation,
        };
        let place = self.place(state.descriptor);
        if self.used >= self.in_all_max || place >= self.per_client_max {
            return Err(Error::TooManyOpen);
        }
        let role = self.role(client)?;
        if role.generation != client.generation {
            return Err(Error::PeerGone);
        }
        if role.slots.len() <= place {
            role.slots.resize_with(place + 1, || Slot::Free);
        }
        let slot = &mut role.slots[place];
        if !matches!(slot, Slot::Free) {
            return Err(Error::TooManyOpen);
        }
        file.flags.set(state.flags);
        file.is_directory.set(state.is_directory);
        file.position.set(state.position);
        file.owner.set(Some((client, state.descriptor)));
        *slot = Slot::Open(file);
        role.used += 1;
        self.used += 1;
        Ok(())
    }

    /// Whether nothing is open or being opened.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// To be called first in every call. Returns what an older instance of the role left open, for
    /// the caller to drop; [`Error::PeerGone`] if the caller is the older one.
    pub fn admit(&mut self, client: ClientId) -> Result<Vec<Rc<OpenFile>>> {
        match self.roles.get_mut(&client.role) {
            None => Ok(Vec::new()),
            Some(role) if role.generation == client.generation => Ok(Vec::new()),
            Some(role) if role.generation > client.generation => Err(Error::PeerGone),
            Some(_) => {
                let left = self.close_all(client.role);
                // The generation stays known, so that a late call of the older one is noticed.
                self.role(client)?;
                Ok(left)
            }
        }
    }

    /// Closes everything of a role; returns it for the caller to drop.
    pub fn close_all(&mut self, role: u64) -> Vec<Rc<OpenFile>> {
        let Some(role) = self.roles.remove(&role) else {
            return Vec::new();
        };
        self.used -= role.used;
        let open = |slot| {
            if let Slot::Open(file) = slot {
                file.owner.set(None);
                Some(file)
            } else {
                None
            }
        };
        role.slots.into_iter().filter_map(open).collect()
    }

    /// The open file of a descriptor.
    pub fn get(&self, client: ClientId, descriptor: Descriptor) -> Result<Rc<OpenFile>> {
        let role = self.roles.get(&client.role).ok_or(Error::BadDescriptor)?;
        match role.slots.get(self.place(descriptor)) {
            Some(Slot::Open(file)) if file.owner.get() == Some((client, descriptor)) => {
                Ok(file.clone())
            }
            _ => Err(Error::BadDescriptor),
        }
    }

    /// Frees a descriptor; returns what it was, for the caller to drop.
    pub fn close(&mut self, client: ClientId, descriptor: Descriptor) -> Result<Rc<OpenFile>> {
        let file = self.get(client, descriptor)?;
        file.owner.set(None);
        self.set_free(client, descriptor);
        Ok(file)
    }

    fn role(&mut self, client: ClientId) -> Result<&mut Role> {
        if !self.roles.contains_key(&client.role) && self.roles.len() >= ROLES_MAX {
            self.roles.retain(|_, role| role.used > 0);
            if self.roles.len() >= ROLES_MAX {
                return Err(Error::TooManyOpen);
            }
        }
        Ok(self.roles.entry(client.role).or_insert_with(|| Role {
            generation: client.generation,
            slots: Vec::new(),
            used: 0,
        }))
    }

    fn set_free(&mut self, client: ClientId, descriptor: Descriptor) {
        let place = self.place(descriptor);
        if let Some(role) = self.roles.get_mut(&client.role)
            && role.generation == client.generation
            && let Some(slot) = role.slots.get_mut(place)
            && !matches!(slot, Slot::Free)
        {
            *slot = Slot::Free;
            role.used -= 1;
            self.used -= 1;
        }
    }
}

/// A descriptor that is promised to an open under way; free again if that fails.
pub struct Reservation<'a> {
    descriptors: &'a RefCell<Descriptors>,
    client: ClientId,
    descriptor: Descriptor,
    installed: bool,
}

impl<'a> Reservation<'a> {
    /// Reserves the lowest free descriptor; `tag` tells it from those that were given before and lost.
    /// [`Error::TooManyOpen`].
    pub fn new(descriptors: &'a RefCell<Descriptors>, client: ClientId, tag: u32) -> Result<Self> {
        let mut all = descriptors.borrow_mut();
        if all.used >= all.in_all_max {
            return Err(Error::TooManyOpen);
        }
        let per_client_max = all.per_client_max;
        let role = all.role(client)?;
        let lowest = role
            .slots
            .iter()
            .position(|slot| matches!(slot, Slot::Free));
        let index = lowest.unwrap_or(role.slots.len());
        if role.generation != client.generation {
            return Err(Error::PeerGone);
        }
        if index >= per_client_max {
            return Err(Error::TooManyOpen);
        }
        if index == role.slots.len() {
            role.slots.push(Slot::Reserved);
        } else {
            role.slots[index] = Slot::Reserved;
        }
        role.used += 1;
        all.used += 1;
        let descriptor = all.at(index, tag);
        drop(all);
        Ok(Self {
            descriptors,
            client,
            descriptor,
            installed: false,
        })
    }

    /// Makes the descriptor stand for `file`. [`Error::PeerGone`] if a newer instance of the
    /// client has come meanwhile.
    pub fn install(mut self, file: Rc<OpenFile>) -> Result<Descriptor> {
        let mut all = self.descriptors.borrow_mut();
        let place = all.place(self.descriptor);
        let role = all
            .roles
            .get_mut(&self.client.role)
            .ok_or(Error::PeerGone)?;
        match role.slots.get_mut(place) {
            Some(slot) if role.generation == self.client.generation => {
                file.owner.set(Some((self.client, self.descriptor)));
                *slot = Slot::Open(file);
            }
            _ => return Err(Error::PeerGone),
        }
        self.installed = true;
        Ok(self.descriptor)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.installed {
            self.descriptors
                .borrow_mut()
                .set_free(self.client, self.descriptor);
        }
    }
}
