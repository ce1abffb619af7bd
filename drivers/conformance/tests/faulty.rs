//! The filter of faulty disks without a rule, over a volatile cache, is a good disk.

use conformance::Options;
use storage::{
    block::{BlockDevice, ram::RamDisk},
    faulty::{Faulty, Persistence, Timer, WriteCache},
};

struct Never;

impl Timer for Never {
    async fn sleep_ms(&self, _: u32) {
        panic!("there is no rule that delays");
    }
}

#[test]
fn a_filter_without_rules_is_a_good_disk() {
    for sectors_max in [0, 100] {
        let geometry = futures_executor::block_on(RamDisk::new(4096).attach()).unwrap();
        for alignment_sectors in [1, 8] {
            let disk = RamDisk::with_geometry(storage::block::Geometry {
                alignment_sectors,
                ..geometry
            });
            disk.delay(2);
            let filter = Faulty::new(
                WriteCache::new(disk, sectors_max),
                Never,
                Persistence::Written,
            );
            let options = Options {
                seed: 7,
                window_sectors: 1024,
                ..Options::default()
            };
            let passed = futures_executor::block_on(conformance::run(&filter, &options));
            passed.unwrap_or_else(|failure| panic!("a cache of {sectors_max}: {failure}"));
        }
    }
}
