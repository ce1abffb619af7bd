//! The whole stack over image files.

#![recursion_limit = "256"]

use std::path::Path;

use storage::{
    Error,
    buffer::{Sink, Source},
    checksum::Algorithm,
    file::VolumeFormat,
    vfs::{FileSystem, OpenFlags},
};
use storage_host::{ImageFile, SystemClock, stack};

const FORMAT: VolumeFormat = VolumeFormat {
    volume: 1,
    algorithm: Algorithm::Crc32c,
    twin_offset: 16,
};

/// The two images of a volume, or what there is of them.
fn images(folder: &Path) -> [Option<ImageFile>; 2] {
    ["left.img", "right.img"].map(|name| ImageFile::open(folder.join(name)).ok())
}

fn contents(seed: u8) -> Vec<u8> {
    (0..100_000u32).map(|i| (i / 7) as u8 ^ seed).collect()
}

/// Formats two images, writes files and syncs, and reads them with both images and either.
fn files_are_there_when_the_images_are_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["left.img", "right.img"] {
        ImageFile::create(folder.path().join(name), 16 << 20).unwrap();
    }
    let system = stack(images(folder.path()), SystemClock);
    system.run(async {
        let client = system.client(0);
        assert_eq!(client.mount().await, Err(Error::NotFormatted));
        client.format(&FORMAT).await.unwrap();
        client.mkdir(b"/folder", 0o755).await.unwrap();
        let flags = OpenFlags::WRITE | OpenFlags::CREATE;
        for seed in 0..20 {
            let path = format!("/folder/{seed}");
            let file = client.open(path.as_bytes(), flags, 0o644).await.unwrap();
            let bytes = contents(seed);
            let written = client.write(file, None, Source::local(&bytes)).await;
            assert_eq!(written, Ok(bytes.len()));
            client.close(file).await.unwrap();
        }
        client.sync().await.unwrap();
    });
    drop(system);
    for missing in [None, Some(0), Some(1)] {
        let mut images = images(folder.path());
        if let Some(missing) = missing {
            images[missing] = None;
        }
        let system = stack(images, SystemClock);
        system.run(async {
            let client = system.client(0);
            let status = client.statfs().await.unwrap();
            assert_eq!(status.stores_present, if missing.is_some() { 1 } else { 2 });
            for seed in 0..20 {
                let path = format!("/folder/{seed}");
                let file = client
                    .open(path.as_bytes(), OpenFlags::READ, 0)
                    .await
                    .unwrap();
                let mut bytes = vec![0; 100_001];
                let read = client.read(file, None, Sink::local(&mut bytes)).await;
                assert_eq!(read, Ok(100_000));
                assert!(
                    bytes[..100_000] == contents(seed),
                    "file {seed}, without {missing:?}"
                );
            }
        });
    }
}

/// An unoptimised build nests the futures of all layers one inside the other.
#[test]
fn a_volume_on_images() {
    let test = files_are_there_when_the_images_are_opened_again;
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(test);
    thread.unwrap().join().unwrap();
}
