//! A disk that is a file behaves like a disk.

use std::io::ErrorKind;

use futures_executor::block_on;
use storage::{
    Error,
    block::BlockDevice,
    buffer::{Sink, Source},
};
use storage_host::ImageFile;

fn read(disk: &ImageFile, sector: u64, bytes: usize) -> Vec<u8> {
    let mut into = vec![0xee; bytes];
    block_on(disk.read(sector, Sink::local(&mut into))).unwrap();
    into
}

fn write(disk: &ImageFile, sector: u64, bytes: &[u8]) -> storage::Result<()> {
    block_on(disk.write(sector, Source::local(bytes)))
}

#[test]
fn what_was_written_is_read_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let disk = ImageFile::create(&path, 1 << 20).unwrap();
    assert_eq!(block_on(disk.attach()).unwrap().sectors, 2048);
    assert_eq!(read(&disk, 7, 1024), [0; 1024], "a new disk reads as zeros");
    let (first, second) = ([1; 512], [2; 1024]);
    let mut pieces = Source::local(&first);
    pieces.push_local(&second);
    block_on(disk.write(2045, pieces)).unwrap();
    block_on(disk.flush()).unwrap();
    drop(disk);
    let disk = ImageFile::open(&path).unwrap();
    let found = read(&disk, 2044, 2048);
    let expected = [[0; 512], [1; 512], [2; 512], [2; 512]].concat();
    assert_eq!(found, expected);
    let (mut one, mut other) = ([0; 512], [0; 512]);
    let mut pieces = Sink::local(&mut one);
    pieces.push(storage::buffer::SinkSegment::Local(&mut other));
    block_on(disk.read(2045, pieces)).unwrap();
    assert_eq!((one, other), ([1; 512], [2; 512]));
}

#[test]
fn an_image_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let disk = ImageFile::create(&path, 4096).unwrap();
    assert_eq!(
        ImageFile::open(&path).unwrap_err().kind(),
        ErrorKind::ResourceBusy
    );
    assert_eq!(
        ImageFile::open_read_only(&path).unwrap_err().kind(),
        ErrorKind::ResourceBusy
    );
    assert_eq!(
        ImageFile::create(&path, 1).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    drop(disk);
    let reader = ImageFile::open_read_only(&path).unwrap();
    ImageFile::open_read_only(&path).unwrap();
    assert!(block_on(reader.attach()).unwrap().read_only);
    assert_eq!(write(&reader, 0, &[1; 512]), Err(Error::ReadOnly));
    assert_eq!(block_on(reader.discard(0, 1)), Err(Error::ReadOnly));
    assert_eq!(read(&reader, 0, 512), [0; 512]);
}

#[test]
fn bad_requests_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let disk = ImageFile::create(folder.path().join("disk"), 4096).unwrap();
    let mut bytes = vec![0; 1 << 21];
    for (sector, len) in [
        (0, 0),
        (0, 100),
        (7, 1024),
        (8, 512),
        (u64::MAX, 512),
        (0, 1 << 21),
    ] {
        let bytes = &mut bytes[..len];
        assert_eq!(
            write(&disk, sector, bytes),
            Err(Error::BadArgument),
            "{sector} {len}"
        );
        let read = block_on(disk.read(sector, Sink::local(bytes)));
        assert_eq!(read, Err(Error::BadArgument), "{sector} {len}");
    }
    for (sector, sectors) in [(0, 0), (0, 9), (8, 1), (1, u64::MAX), (u64::MAX, 1)] {
        let result = block_on(disk.write_zeroes(sector, sectors));
        assert_eq!(result, Err(Error::BadArgument), "{sector} {sectors}");
        let result = block_on(disk.discard(sector, sectors));
        assert_eq!(result, Err(Error::BadArgument), "{sector} {sectors}");
    }
    let empty = folder.path().join("empty");
    std::fs::write(&empty, b"").unwrap();
    assert_eq!(
        ImageFile::open(&empty).unwrap_err().kind(),
        ErrorKind::InvalidData
    );
}

#[test]
fn zeroed_sectors_read_as_zeros_and_neighbours_stay() {
    let folder = tempfile::tempdir().unwrap();
    let disk = ImageFile::create(folder.path().join("disk"), 1 << 20).unwrap();
    write(&disk, 0, &[7; 1 << 20]).unwrap();
    block_on(disk.write_zeroes(3, 100)).unwrap();
    block_on(disk.discard(1000, 1000)).unwrap();
    assert_eq!(read(&disk, 0, 3 * 512), [7; 3 * 512]);
    assert_eq!(read(&disk, 3, 100 * 512), [0; 100 * 512]);
    assert_eq!(read(&disk, 103, 512), [7; 512]);
    assert_eq!(read(&disk, 999, 512), [7; 512]);
    assert_eq!(read(&disk, 2000, 512), [7; 512]);
}
