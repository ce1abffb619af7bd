//! Disk images: raw files, sparse, made where they are missing.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::Failure;
use crate::failure::reason;

/// What a virtio disk counts in.
pub const SECTOR_BYTES: u64 = 512;

/// Reads a size such as `64MiB`, `1GiB`, `10G` or `1048576` as bytes.
///
/// # Errors
/// One line that says what was expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let expected = || format!("{text:?} is no size; write for instance 256MiB, 1GiB or 2TiB");
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| expected())?;
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(expected()),
    };
    let bytes = number
        .checked_mul(1 << unit)
        .filter(|bytes| *bytes >= SECTOR_BYTES);
    bytes.ok_or_else(expected)
}

/// Makes sure that an image of at least one sector is at `path`; a missing one is made, sparse, of
/// `bytes` (rounded up to sectors). Returns whether it was made.
///
/// # Errors
/// If the file can be neither opened nor made, or is no disk.
pub fn ensure(path: &Path, bytes: u64) -> Result<bool> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => {
            let data = file
                .metadata()
                .with_context(|| path.display().to_string())?;
            if data.is_file() && data.len() < SECTOR_BYTES {
                let what = format!(
                    "{}: {} bytes are no disk; remove the file and a new image is made",
                    path.display(),
                    data.len()
                );
                return Err(Failure::Usage(what).into());
            }
            Ok(false)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create(path, bytes)?;
            Ok(true)
        }
        Err(error) => Err(Failure::Usage(format!(
            "{}: {}; check the path",
            path.display(),
            reason(&error)
        ))
        .into()),
    }
}

/// Makes a sparse image of `bytes`, rounded up to sectors.
///
/// # Errors
/// [`Failure::Host`] if the file is there already or cannot be made so large; then none is left.
pub fn create(path: &Path, bytes: u64) -> Result<()> {
    let failed = |error: std::io::Error| {
        Failure::Host(format!(
            "{}: cannot make the image: {}",
            path.display(),
            reason(&error)
        ))
    };
    let file = File::create_new(path).map_err(failed)?;
    let sized = file.set_len(bytes.next_multiple_of(SECTOR_BYTES));
    sized.map_err(|error| {
        // An empty file in its place would be no disk; if it stays, that is told the next time.
        let _ = std::fs::remove_file(path);
        failed(error)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size("64 mib"), Ok(64 << 20));
        assert_eq!(parse_size("2T"), Ok(2 << 40));
        assert_eq!(parse_size("4096"), Ok(4096));
        for wrong in ["", "GiB", "1.5GiB", "-1", "1XB", "0", "99999999999TiB"] {
            assert!(parse_size(wrong).unwrap_err().contains("1GiB"), "{wrong}");
        }
    }

    #[test]
    fn an_image_that_cannot_be_made_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("disk.img");
        let error = ensure(&path, u64::MAX / 2).unwrap_err().to_string();
        assert!(error.contains("cannot make the image"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn an_image_that_exists_is_never_changed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("disk.img");
        assert!(ensure(&path, 1000).expect("made"));
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 1024);
        std::fs::write(&path, [7; 2048]).expect("filled");
        assert!(!ensure(&path, 4096).expect("there"));
        assert_eq!(std::fs::read(&path).expect("there"), [7; 2048]);
        assert!(create(&path, 4096).is_err(), "it is there");
        std::fs::write(&path, "").expect("emptied");
        assert!(
            ensure(&path, 4096)
                .unwrap_err()
                .to_string()
                .contains("no disk")
        );
    }
}
