//! The archive that came with the kernel as `-initrd`: a tar of programs and descriptions.

use tar_no_std::TarArchiveRef;

/// The contents of the file `name`.
#[must_use]
pub fn find<'a>(archive: &'a [u8], name: &str) -> Option<&'a [u8]> {
    TarArchiveRef::new(archive)
        .ok()?
        .entries()
        .find(|entry| entry.filename().as_str() == Ok(name))
        .map(|entry| entry.data())
}
