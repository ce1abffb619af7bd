//! The way in: PVH entry, and what QEMU tells of the machine.

use crate::memory::layout::direct;

core::arch::global_asm!(include_str!("start.s"), options(att_syntax));

const START_INFO_MAGIC: u32 = 0x336e_c578;

/// Most ranges of memory that are looked at.
const RANGES_MAX: usize = 32;

/// `hvm_start_info` of the PVH boot protocol, version 1.
#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    module_count: u32,
    modules: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_count: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Module {
    address: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MemoryRange {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// A range of physical addresses.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// One past the last.
    pub end: u64,
}

/// What the kernel is told when it starts.
pub struct Machine {
    /// Usable memory.
    pub memory: heapless::Vec<Range, RANGES_MAX>,
    /// The archive given as `-initrd`.
    pub archive: Range,
}

impl Machine {
    /// Reads what the loader left at a physical address.
    pub fn read(start_info: u64) -> Result<Self, &'static str> {
        const RAM: u32 = 1;
        // SAFETY: the PVH protocol puts the structure below 4 GiB, which boot code has mapped; only
        // its magic number is believed before it is checked.
        let info = unsafe { &*direct(start_info).cast::<StartInfo>() };
        if info.magic != START_INFO_MAGIC || info.version < 1 {
            return Err("not started by PVH: use qemu -kernel");
        }
        if info.module_count == 0 {
            return Err("no archive: use qemu -initrd");
        }
        // SAFETY: the loader's tables, as above; the count was checked.
        let module = unsafe { *direct(info.modules).cast::<Module>() };
        let count = (info.memory_map_count as usize).min(RANGES_MAX);
        // SAFETY: the loader's tables, as above.
        let ranges = unsafe {
            core::slice::from_raw_parts(direct(info.memory_map).cast::<MemoryRange>(), count)
        };
        let memory = ranges
            .iter()
            .filter(|range| range.kind == RAM)
            .map(|range| Range {
                start: range.address,
                end: range.address.saturating_add(range.size),
            })
            .collect();
        let archive = Range {
            start: module.address,
            end: module.address.saturating_add(module.size),
        };
        Ok(Self { memory, archive })
    }
}
