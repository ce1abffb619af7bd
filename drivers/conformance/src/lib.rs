//! What every block device must do, checked over the block calls alone.
//!
//! The same suite runs on the host over a RAM disk and over the virtio-blk driver with a simulated
//! device, and in the guest, as a task that calls a driver task. It knows nothing of what it
//! checks: it keeps a model of a window of sectors, writes seeded patterns, and compares. Every
//! buffer has guard bytes round every segment, which must never change.
//!
//! The suite overwrites the window, and the last blocks of the device.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bad_requests;
mod buffer;
mod in_flight;
mod model;
mod ranges;
mod sizes;

use alloc::{format, string::String};

use storage::{
    Error,
    block::{BlockDevice, Geometry, SECTOR_BYTES},
};

use buffer::Scatter;
use model::Model;

/// What to run the suite on.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Every pattern, size and place comes from this.
    pub seed: u64,
    /// Sectors of the window, from the start of the device; cut to what there is.
    pub window_sectors: u64,
    /// Every length up to so many blocks is tried, at every alignment to eight blocks.
    pub blocks_max: u64,
    /// Requests in flight at a time.
    pub in_flight: usize,
    /// Rounds of the checks with many requests in flight.
    pub rounds: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            window_sectors: 2048,
            blocks_max: 12,
            in_flight: 24,
            rounds: 12,
        }
    }
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed that shows it again.
    pub seed: u64,
    /// Checks that passed before.
    pub passed: u64,
    /// What was expected and what came.
    pub what: String,
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{} (seed {}, after {} checks)",
            self.what, self.seed, self.passed
        )
    }
}

type Checked = Result<(), String>;

/// Runs all checks on `device`; returns how many passed.
///
/// A read-only device is checked for its refusals and for giving the same data each time.
pub async fn run<D: BlockDevice>(device: &D, options: &Options) -> Result<u64, Failure> {
    let mut suite = Suite {
        device,
        geometry: Geometry {
            sectors: 0,
            alignment_sectors: 1,
            transfer_bytes_max: 0,
            read_only: true,
            flush: false,
            discard: false,
            write_zeroes: false,
        },
        model: Model::default(),
        random: Random(options.seed),
        options: *options,
        passed: 0,
    };
    match suite.run().await {
        Ok(()) => Ok(suite.passed),
        Err(what) => Err(Failure {
            seed: options.seed,
            passed: suite.passed,
            what,
        }),
    }
}

/// One run of the suite.
struct Suite<'a, D> {
    device: &'a D,
    geometry: Geometry,
    model: Model,
    random: Random,
    options: Options,
    passed: u64,
}

impl<D: BlockDevice> Suite<'_, D> {
    async fn run(&mut self) -> Checked {
        self.attach().await?;
        self.bad_requests().await?;
        if self.geometry.read_only {
            return self.stable_reads().await;
        }
        self.fill_window().await?;
        self.every_size_and_alignment().await?;
        self.large_sizes().await?;
        self.last_blocks().await?;
        self.odd_segments().await?;
        self.many_in_flight().await?;
        self.overlapping_in_flight().await?;
        self.flushes().await?;
        self.zeroes().await?;
        self.discards().await?;
        // Once more: nothing of the above may have come through, and all of it must still be there.
        self.bad_requests().await?;
        let again = self.device.attach().await;
        self.expect(
            "a second attach gives the same geometry",
            &again,
            &Ok(self.geometry),
        )?;
        self.compare_window().await
    }

    async fn attach(&mut self) -> Checked {
        let geometry = self
            .device
            .attach()
            .await
            .map_err(|error| format!("attach: {error}"))?;
        self.geometry = geometry;
        let alignment = u64::from(geometry.alignment_sectors);
        self.check(
            alignment.is_power_of_two() && alignment <= 8,
            "the alignment is a power of two up to 8",
        )?;
        self.check(
            geometry.sectors.is_multiple_of(alignment),
            "the capacity is a multiple of the alignment",
        )?;
        let transfer = u64::from(geometry.transfer_bytes_max);
        self.check(
            transfer >= 32 * self.block_bytes() as u64
                && transfer.is_multiple_of(self.block_bytes() as u64),
            "a request may carry 32 blocks, and its bound is a multiple of the alignment",
        )?;
        let window = self.options.window_sectors.min(geometry.sectors);
        let window = window - window % alignment;
        self.check(
            window >= 32 * alignment,
            "the device and the window have at least 32 blocks",
        )?;
        self.model = Model::new(window);
        Ok(())
    }

    /// The unit of addresses and lengths.
    fn block_bytes(&self) -> usize {
        self.geometry.alignment_sectors as usize * SECTOR_BYTES
    }

    fn check(&mut self, holds: bool, what: &str) -> Checked {
        if !holds {
            return Err(String::from(what));
        }
        self.passed += 1;
        Ok(())
    }

    fn expect<T: PartialEq + core::fmt::Debug>(
        &mut self,
        what: &str,
        found: &Result<T, Error>,
        expected: &Result<T, Error>,
    ) -> Checked {
        if found != expected {
            return Err(format!("{what}: expected {expected:?}, found {found:?}"));
        }
        self.passed += 1;
        Ok(())
    }

    /// Writes a pattern to the window, from memory of this shape, and notes it in the model.
    async fn write(&mut self, sector: u64, shape: &[(usize, usize)]) -> Checked {
        let scatter = Scatter::pattern(shape, &mut self.random);
        let result = self.device.write(sector, scatter.source()).await;
        self.expect(
            &format!("write of {} bytes to {sector}", scatter.len()),
            &result,
            &Ok(()),
        )?;
        self.check(
            scatter.is_unchanged(),
            "a write leaves the data and what lies round them",
        )?;
        self.model.write(sector, &scatter.bytes());
        Ok(())
    }

    /// Reads from the window into memory of this shape and compares with the model.
    async fn read(&mut self, sector: u64, shape: &[(usize, usize)]) -> Checked {
        let mut scatter = Scatter::pattern(shape, &mut self.random);
        let result = self.device.read(sector, scatter.sink()).await;
        self.expect(
            &format!("read of {} bytes from {sector}", scatter.len()),
            &result,
            &Ok(()),
        )?;
        self.check(
            scatter.guards_hold(),
            "a read writes nothing beside its buffers",
        )?;
        let differs = self.model.differs(sector, &scatter.bytes());
        self.check(
            differs.is_none(),
            &format!(
                "read of {} bytes from {sector}: sector {differs:?} differs",
                scatter.len()
            ),
        )
    }

    /// Writes the whole window, so that all of it is known.
    async fn fill_window(&mut self) -> Checked {
        let step = self.block_bytes() * 8;
        for sector in (0..self.model.sectors()).step_by(step / SECTOR_BYTES) {
            let rest = (self.model.sectors() - sector) as usize * SECTOR_BYTES;
            self.write(sector, &[(0, step.min(rest))]).await?;
        }
        self.compare_window().await
    }

    /// Reads the whole window and compares.
    async fn compare_window(&mut self) -> Checked {
        let step = self.block_bytes() * 16;
        for sector in (0..self.model.sectors()).step_by(step / SECTOR_BYTES) {
            let rest = (self.model.sectors() - sector) as usize * SECTOR_BYTES;
            self.read(
                sector,
                &[(
                    0,
                    step.min(rest)
                        .min(self.geometry.transfer_bytes_max as usize),
                )],
            )
            .await?;
        }
        Ok(())
    }

    /// A read-only device gives the same data each time.
    async fn stable_reads(&mut self) -> Checked {
        let block = self.block_bytes();
        for block_index in 0..16 {
            let sector = block_index * u64::from(self.geometry.alignment_sectors);
            let mut first = Scatter::pattern(&[(0, block)], &mut self.random);
            let mut second = Scatter::pattern(&[(1, block - 3), (5, 3)], &mut self.random);
            let result = self.device.read(sector, first.sink()).await;
            self.expect("read", &result, &Ok(()))?;
            let result = self.device.read(sector, second.sink()).await;
            self.expect("read", &result, &Ok(()))?;
            self.check(
                first.bytes() == second.bytes(),
                "two reads give the same data",
            )?;
            self.check(
                first.guards_hold() && second.guards_hold(),
                "a read writes nothing beside its buffers",
            )?;
        }
        Ok(())
    }
}

/// SplitMix64: small, seeded, and good enough for patterns.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
