//! What files and the volume are like, and changing it.
//!
//! All clients are root: permissions and owners are kept and told, but not enforced. The time of
//! access is set at creation and by `utimes` only; reads change nothing.

use super::{
    Naming,
    asked::Asked,
    journal::{Effect, Intent},
    kind_of,
    path::LastLink,
    permissions, stat_of,
    volume::Volume,
};
use crate::{
    Error, Result,
    buffer::Sink,
    clock::Clock,
    file::{AttributeChange, FileService},
    transport::answer,
    vfs::{Kind, SetTime, Stat, StatFs},
};

/// What `chown` takes to leave an owner or a group as it is.
const KEEP: u32 = u32::MAX;

impl<F: FileService, C: Clock> Naming<F, C> {
    pub(super) async fn stat(&self, volume: &Volume, path: &[u8], follow: bool) -> Result<Stat> {
        let last_link = if follow {
            LastLink::Follow
        } else {
            LastLink::Keep
        };
        let found = self.walk(volume, path, last_link).await?.existing()?;
        let inode = volume.inode(found.number)?;
        let attributes = inode
            .attributes_with_blocks(&self.below, volume.checkpoints())
            .await?;
        if kind_of(&attributes) != found.kind {
            return Err(Error::Corrupt);
        }
        Ok(stat_of(found.number.0, &attributes))
    }

    pub(super) async fn readlink(
        &self,
        volume: &Volume,
        path: &[u8],
        mut data: Sink<'_>,
    ) -> Result<usize> {
        let found = self.walk(volume, path, LastLink::Keep).await?.existing()?;
        if found.kind != Kind::Link {
            return Err(Error::BadArgument);
        }
        let target = self.link_target(volume, found.number).await?;
        data.copy_from(0, &target[..target.len().min(data.len())])?;
        Ok(target.len())
    }

    pub(super) async fn chmod(
        &self,
        volume: &Volume,
        path: &[u8],
        mode: u32,
        asked: &Asked<'_>,
    ) -> Result<()> {
        let now = self.now_ns();
        self.change_path(volume, path, asked, |kind| AttributeChange {
            mode: Some(kind.mode() | permissions(mode)),
            changed_ns: Some(now),
            ..AttributeChange::default()
        })
        .await
    }

    pub(super) async fn chown(
        &self,
        volume: &Volume,
        path: &[u8],
        (uid, gid): (u32, u32),
        asked: &Asked<'_>,
    ) -> Result<()> {
        let now = self.now_ns();
        self.change_path(volume, path, asked, |_| AttributeChange {
            uid: (uid != KEEP).then_some(uid),
            gid: (gid != KEEP).then_some(gid),
            changed_ns: Some(now),
            ..AttributeChange::default()
        })
        .await
    }

    pub(super) async fn utimes(
        &self,
        volume: &Volume,
        path: &[u8],
        (accessed, modified): (SetTime, SetTime),
        asked: &Asked<'_>,
    ) -> Result<()> {
        let now = self.now_ns();
        let time = |set| match set {
            SetTime::Keep => None,
            SetTime::Now => Some(now),
            SetTime::At(time) => Some(time),
        };
        self.change_path(volume, path, asked, |_| AttributeChange {
            accessed_ns: time(accessed),
            modified_ns: time(modified),
            changed_ns: Some(now),
            ..AttributeChange::default()
        })
        .await
    }

    /// Changes attributes of what a path names.
    async fn change_path(
        &self,
        volume: &Volume,
        path: &[u8],
        asked: &Asked<'_>,
        change: impl FnOnce(Kind) -> AttributeChange,
    ) -> Result<()> {
        let _change = self.change(volume).await?;
        let found = self
            .walk(volume, path, LastLink::Follow)
            .await?
            .existing()?;
        let inode = volume.inode(found.number)?;
        let _alone = inode.lock.write().await;
        if inode.gone.get() {
            return Err(Error::NotFound);
        }
        let change = change(found.kind);
        let intent = Intent::Change {
            file: found.number,
            change,
        };
        asked.intend(intent, answer(Ok(())), Effect::None);
        let changed = inode.change(&self.below, &change).await;
        changed.inspect_err(|_| asked.withdraw())
    }

    pub(super) async fn statfs(&self, volume: &Volume) -> Result<StatFs> {
        let usage = self.below.usage().await?;
        Ok(StatFs {
            blocks: usage.blocks,
            blocks_free: usage.blocks_free,
            files: usage.files,
            files_free: usage.files_free,
            stores: usage.stores,
            stores_present: usage.stores_present,
            checkpoint: volume.checkpoint.get().0,
        })
    }
}
