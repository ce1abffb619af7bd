//! Which roles there are, and their numbers.

use stack::Role;

use crate::kernel::RoleId;

/// A stack over so many disks, with so many clients.
#[derive(Clone, Copy, Debug)]
pub struct Roles {
    /// Disks, each with a driver and a file store.
    pub disks: usize,
    /// Applications.
    pub clients: usize,
}

impl Roles {
    /// The driver of a disk.
    #[must_use]
    pub fn driver(&self, disk: usize) -> RoleId {
        disk
    }

    /// The file store on a disk.
    #[must_use]
    pub fn store(&self, disk: usize) -> RoleId {
        self.disks + disk
    }

    /// The logical layer.
    #[must_use]
    pub fn logical(&self) -> RoleId {
        2 * self.disks
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> RoleId {
        2 * self.disks + 1
    }

    /// Naming.
    #[must_use]
    pub fn naming(&self) -> RoleId {
        2 * self.disks + 2
    }

    /// A client.
    #[must_use]
    pub fn client(&self, client: usize) -> RoleId {
        2 * self.disks + 3 + client
    }

    /// Who makes the volume, looks at it after a crash, and syncs at the end.
    #[must_use]
    pub fn attendant(&self) -> RoleId {
        self.client(self.clients)
    }

    /// All roles with their names and what they are to the restart manager, by number.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Role)> {
        let numbered = |name: &str, count: usize, role: Role| -> Vec<(String, Role)> {
            let name = |number| (format!("{name}.{number}"), role);
            (0..count).map(name).collect()
        };
        let mut all = numbered("driver", self.disks, Role::Driver);
        all.extend(numbered("twinfs", self.disks, Role::Storage));
        all.push(("logical".into(), Role::Storage));
        all.push(("cache".into(), Role::Cache));
        all.push(("naming".into(), Role::Naming));
        all.extend(numbered("client", self.clients, Role::Application));
        all.push(("attendant".into(), Role::Application));
        all
    }
}
