//! The disk in memory: what tests of everything else stand on.

use futures_executor::block_on;
use futures_util::future::{join, join_all};
use storage::{
    Error,
    block::{
        BlockDevice,
        ram::{Event, Operation, RamDisk},
    },
    buffer::{Sink, Source},
};

fn write(disk: &RamDisk, sector: u64, byte: u8, bytes: usize) {
    block_on(disk.write(sector, Source::local(&vec![byte; bytes]))).unwrap();
}

#[test]
fn reads_back_what_was_written_and_zeros_elsewhere() {
    let disk = RamDisk::new(1 << 35);
    write(&disk, (1 << 35) - 2, 7, 1024);
    let mut bytes = [1; 2048];
    block_on(disk.read((1 << 35) - 4, Sink::local(&mut bytes))).unwrap();
    assert_eq!(bytes[..1024], [0; 1024]);
    assert_eq!(bytes[1024..], [7; 1024]);
    assert_eq!(disk.pages(), 1);
}

#[test]
fn refuses_what_a_disk_refuses() {
    let disk = RamDisk::new(16);
    let read = |sector, bytes| block_on(disk.read(sector, Sink::local(&mut vec![0; bytes])));
    assert_eq!(read(15, 1024), Err(Error::BadArgument));
    assert_eq!(read(u64::MAX, 1024), Err(Error::BadArgument));
    assert_eq!(read(0, 100), Err(Error::BadArgument));
    assert_eq!(read(0, 0), Err(Error::BadArgument));
    assert_eq!(read(14, 1024), Ok(()));
}

#[test]
fn a_crash_keeps_what_was_flushed_and_the_chosen_rest() {
    let disk = RamDisk::new(64);
    write(&disk, 0, 1, 512);
    disk.record();
    write(&disk, 0, 2, 1024);
    block_on(disk.flush()).unwrap();
    write(&disk, 1, 3, 1024);
    write(&disk, 2, 4, 512);
    let history = disk.history().unwrap();
    assert_eq!(history.events().len(), 4);
    let sectors =
        |disk: RamDisk| -> Vec<u8> { (0..3).map(|sector| disk.peek(sector, 512)[0]).collect() };
    assert_eq!(sectors(history.crash(0, |_, _| true)), [1, 0, 0]);
    assert_eq!(
        sectors(history.crash(1, |_, sector| sector == 1)),
        [1, 2, 0]
    );
    assert_eq!(sectors(history.crash(4, |_, _| false)), [2, 2, 0]);
    assert_eq!(
        sectors(history.crash(4, |_, sector| sector == 2)),
        [2, 2, 4]
    );
    assert_eq!(sectors(history.crash(4, |event, _| event == 2)), [2, 3, 3]);
    assert_eq!(sectors(history.crash(4, |_, _| true)), [2, 3, 4]);
}

/// A flush promises what had ended when it was asked for, not what has when it ends.
#[test]
fn a_flush_that_did_not_wait_for_a_write_promises_nothing_of_it() {
    let disk = RamDisk::new(64);
    disk.delay(2);
    disk.record();
    write(&disk, 0, 1, 512);
    let late = [2; 512];
    let both = join(disk.write(1, Source::local(&late)), disk.flush());
    let (written, flushed) = block_on(both);
    written.and(flushed).unwrap();
    let history = disk.history().unwrap();
    assert!(matches!(history.events()[2], Event::Flush { covers: 1 }));
    assert_eq!(history.unflushed(3).collect::<Vec<_>>(), [1]);
    let crashed = history.crash(3, |_, _| false);
    assert_eq!((crashed.peek(0, 512)[0], crashed.peek(1, 512)[0]), (1, 0));
    block_on(disk.flush()).unwrap();
    let history = disk.history().unwrap();
    assert_eq!(history.crash(4, |_, _| false).peek(1, 512), late);
    // The next flush ended, and the one before may have been a lie.
    let mut history = history;
    assert!(history.lose_flush(1) && !history.lose_flush(2));
    assert_eq!(history.flushed(4), 1);
}

#[test]
fn snapshots_do_not_see_later_writes() {
    let disk = RamDisk::new(64);
    write(&disk, 0, 1, 4096);
    let copy = disk.snapshot();
    write(&disk, 1, 2, 512);
    assert_eq!(copy.peek(0, 4096), [1; 4096]);
    assert_eq!(disk.peek(1, 512), [2; 512]);
}

#[test]
fn faults_take_the_place_of_requests() {
    let disk = RamDisk::new(64);
    disk.fault(|operation| match operation {
        Operation::Write { sector: 8, .. } => Err(Error::Device),
        _ => Ok(()),
    });
    assert_eq!(
        block_on(disk.write(8, Source::local(&[1; 512]))),
        Err(Error::Device)
    );
    write(&disk, 9, 1, 512);
    disk.heal();
    assert_eq!(disk.peek(8, 512), [0; 512]);
    write(&disk, 8, 1, 512);
    assert_eq!(disk.counters().writes, 3);
}

#[test]
fn delayed_requests_overlap() {
    let disk = RamDisk::new(64);
    disk.delay(3);
    let data = [5; 512];
    let writes = (0..8).map(|sector| disk.write(sector, Source::local(&data)));
    for result in block_on(join_all(writes)) {
        result.unwrap();
    }
    assert_eq!(disk.counters().in_flight_max, 8);
}
