//! Operations carried out, on the model and on a file system, and whether both come to the same.

use std::collections::BTreeMap;

use storage::{
    Result,
    buffer::{Sink, Source},
    vfs::{Descriptor, FileSystem, SetTime},
};

use crate::{
    compare::{Description, describe, entries, same_bytes},
    model::Model,
    operation::{Operation, contents},
};

/// What came of an operation.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to tell.
    Done,
    /// So many bytes were written.
    Written(usize),
    /// These bytes were read.
    Bytes(Vec<u8>),
    /// What a file is.
    Description(Description),
    /// The names in a directory, in order.
    Names(Vec<Vec<u8>>),
}

/// The descriptors of the file system that stand for the model's handles.
pub type Descriptors = BTreeMap<u32, Descriptor>;

/// Carries out `operation` on the model. An `open` that succeeds tells its handle.
pub fn apply(model: &mut Model, operation: &Operation) -> (Result<Outcome>, Option<u32>) {
    let done = |()| Outcome::Done;
    let outcome = match operation {
        Operation::Open(path, flags, mode) => {
            let opened = model.open(path, *flags, *mode);
            return (opened.map(|_| Outcome::Done), opened.ok());
        }
        Operation::Close(handle) => {
            model.close(*handle);
            Ok(Outcome::Done)
        }
        Operation::Read(handle, offset, len) => {
            model.read(*handle, *offset, *len).map(Outcome::Bytes)
        }
        Operation::Write(handle, offset, len, number) => model
            .write(*handle, *offset, &contents(*number, *len))
            .map(Outcome::Written),
        Operation::Truncate(handle, size) => model.truncate(*handle, *size as usize).map(done),
        Operation::Fstat(handle) => model
            .fstat(*handle)
            .map(|node| Outcome::Description(describe(model.node(node)))),
        Operation::Stat(path, follow) => model
            .stat(path, *follow)
            .map(|node| Outcome::Description(describe(model.node(node)))),
        Operation::Mkdir(path, mode) => model.mkdir(path, *mode).map(done),
        Operation::Rmdir(path) => model.rmdir(path).map(done),
        Operation::Unlink(path) => model.unlink(path).map(done),
        Operation::Rename(from, to) => model.rename(from, to).map(done),
        Operation::Link(from, to) => model.link(from, to).map(done),
        Operation::Symlink(target, path) => model.symlink(target, path).map(done),
        Operation::Readlink(path) => model.readlink(path).map(Outcome::Bytes),
        Operation::Chmod(path, mode) => model.chmod(path, *mode).map(done),
        Operation::Chown(path, uid, gid) => model.chown(path, *uid, *gid).map(done),
        Operation::Utimes(path, modified) => model.utimes(path, *modified).map(done),
        Operation::Readdir(path) => {
            let names = model.readdir(path);
            names.map(|names| Outcome::Names(names.into_iter().map(|(name, _)| name).collect()))
        }
    };
    (outcome, None)
}

/// Carries out `operation` on a file system. An `open` that succeeds tells its descriptor.
pub async fn perform<F: FileSystem>(
    system: &F,
    descriptors: &Descriptors,
    operation: &Operation,
) -> (Result<Outcome>, Option<Descriptor>) {
    let of = |handle: &u32| descriptors[handle];
    let done = |()| Outcome::Done;
    let outcome = match operation {
        Operation::Open(path, flags, mode) => {
            let opened = system.open(path, *flags, *mode).await;
            return (opened.map(|_| Outcome::Done), opened.ok());
        }
        Operation::Close(handle) => system.close(of(handle)).await.map(done),
        Operation::Read(handle, offset, len) => {
            let mut bytes = vec![0xee; *len];
            let read = system.read(of(handle), *offset, Sink::local(&mut bytes));
            read.await.map(|len| {
                bytes.truncate(len);
                Outcome::Bytes(bytes)
            })
        }
        Operation::Write(handle, offset, len, number) => {
            let bytes = contents(*number, *len);
            let written = system.write(of(handle), *offset, Source::local(&bytes));
            written.await.map(Outcome::Written)
        }
        Operation::Truncate(handle, size) => system.truncate(of(handle), *size).await.map(done),
        Operation::Fstat(handle) => {
            let stat = system.fstat(of(handle)).await;
            stat.map(|stat| Outcome::Description((&stat).into()))
        }
        Operation::Stat(path, follow) => {
            let stat = system.stat(path, *follow).await;
            stat.map(|stat| Outcome::Description((&stat).into()))
        }
        Operation::Mkdir(path, mode) => system.mkdir(path, *mode).await.map(done),
        Operation::Rmdir(path) => system.rmdir(path).await.map(done),
        Operation::Unlink(path) => system.unlink(path).await.map(done),
        Operation::Rename(from, to) => system.rename(from, to).await.map(done),
        Operation::Link(from, to) => system.link(from, to).await.map(done),
        Operation::Symlink(target, path) => system.symlink(target, path).await.map(done),
        Operation::Readlink(path) => {
            let mut bytes = vec![0; 300];
            let read = system.readlink(path, Sink::local(&mut bytes)).await;
            read.map(|len| {
                bytes.truncate(len);
                Outcome::Bytes(bytes)
            })
        }
        Operation::Chmod(path, mode) => system.chmod(path, *mode).await.map(done),
        Operation::Chown(path, uid, gid) => system.chown(path, *uid, *gid).await.map(done),
        Operation::Utimes(path, modified) => {
            let set = system.utimes(path, SetTime::Keep, SetTime::At(*modified));
            set.await.map(done)
        }
        Operation::Readdir(path) => entries(system, path)
            .await
            .map(|names| Outcome::Names(names.into_keys().collect())),
    };
    (outcome, None)
}

/// Panics, with `what`, if the file system's outcome is not the model's. `model` is as after the operation.
pub fn agree(
    model: &Model,
    operation: &Operation,
    found: Result<Outcome>,
    expected: Result<Outcome>,
    what: &str,
) {
    // What fails leaves everything as it was, and so all reasons that it had.
    let reasons = || match operation {
        Operation::Rename(from, to) => model.rename_reasons(from, to),
        Operation::Link(from, to) => model.link_reasons(from, to),
        _ => Vec::new(),
    };
    match (found, expected) {
        (Ok(Outcome::Bytes(found)), Ok(Outcome::Bytes(expected))) => {
            same_bytes(&found, &expected, what);
        }
        (Err(found), Err(expected)) if found != expected => {
            let reasons = reasons();
            assert!(
                reasons.contains(&expected) && reasons.contains(&found),
                "{what}: found {found:?}, expected {expected:?} or one of {reasons:?}"
            );
        }
        (found, expected) => assert_eq!(found, expected, "{what}: found, expected"),
    }
}

/// Carries out `operation` on both and compares what they say; panics, with `what`, if they differ.
pub async fn step<F: FileSystem>(
    system: &F,
    model: &mut Model,
    descriptors: &mut Descriptors,
    operation: &Operation,
    what: &str,
) {
    let (expected, handle) = apply(model, operation);
    let (found, descriptor) = perform(system, descriptors, operation).await;
    agree(model, operation, found, expected, what);
    note_open(descriptors, operation, handle, descriptor);
}

/// Takes note of what an operation opened or closed.
pub fn note_open(
    descriptors: &mut Descriptors,
    operation: &Operation,
    handle: Option<u32>,
    descriptor: Option<Descriptor>,
) {
    if let (Some(handle), Some(descriptor)) = (handle, descriptor) {
        descriptors.insert(handle, descriptor);
    }
    if let Operation::Close(handle) = operation {
        descriptors.remove(handle);
    }
}
