//! A program as an ELF file: what to map where, and which function an address is in.

use elf::{ElfBytes, abi as elf_abi, endian::LittleEndian};

use crate::PAGE;

/// Lowest address that a program may use: the stack is below, and below that the pages that catch
/// null pointers.
pub const IMAGE_START: u64 = 0x48_0000;

/// One past the highest address that a program's image may use.
pub const IMAGE_END: u64 = 0x1000_0000;

/// Segments that a program may have.
pub const SEGMENTS_MAX: usize = 8;

/// Why a file is not a program that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// It is not an ELF file for this machine, or it is cut off.
    NotAProgram,
    /// A segment is outside of where images go, or overlaps another's pages.
    BadSegment,
    /// A segment is both writable and executable.
    WritableCode,
}

/// A part of the program to be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Where it starts.
    pub address: u64,
    /// What it contains at first.
    pub data: &'a [u8],
    /// Its length in memory; what `data` does not fill is zero.
    pub len: u64,
    /// Whether it may be written.
    pub writable: bool,
    /// Whether it may be executed.
    pub executable: bool,
}

/// A program, checked.
pub struct Image<'a> {
    /// Where it starts to run.
    pub entry: u64,
    /// What is to be mapped.
    pub segments: heapless::Vec<Segment<'a>, SEGMENTS_MAX>,
}

impl<'a> Image<'a> {
    /// Checks a file.
    pub fn parse(file: &'a [u8]) -> Result<Self, ImageError> {
        let elf =
            ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|_| ImageError::NotAProgram)?;
        if elf.ehdr.e_machine != elf_abi::EM_X86_64 || elf.ehdr.e_type != elf_abi::ET_EXEC {
            return Err(ImageError::NotAProgram);
        }
        let mut segments = heapless::Vec::<Segment<'a>, SEGMENTS_MAX>::new();
        for header in elf.segments().ok_or(ImageError::NotAProgram)? {
            if header.p_type != elf_abi::PT_LOAD || header.p_memsz == 0 {
                continue;
            }
            let data = elf
                .segment_data(&header)
                .map_err(|_| ImageError::NotAProgram)?;
            let segment = Segment {
                address: header.p_vaddr,
                data,
                len: header.p_memsz,
                writable: header.p_flags & elf_abi::PF_W != 0,
                executable: header.p_flags & elf_abi::PF_X != 0,
            };
            if segment.writable && segment.executable {
                return Err(ImageError::WritableCode);
            }
            let end = segment
                .address
                .checked_add(segment.len)
                .ok_or(ImageError::BadSegment)?;
            let overlaps = segments.iter().any(|other| {
                segment.address / PAGE <= (other.address + other.len - 1) / PAGE
                    && other.address / PAGE <= (end - 1) / PAGE
            });
            if segment.address < IMAGE_START
                || end > IMAGE_END
                || (data.len() as u64) > segment.len
                || overlaps
            {
                return Err(ImageError::BadSegment);
            }
            segments.push(segment).map_err(|_| ImageError::BadSegment)?;
        }
        if segments.is_empty() {
            return Err(ImageError::NotAProgram);
        }
        Ok(Self {
            entry: elf.ehdr.e_entry,
            segments,
        })
    }

    /// Whether an address is in code.
    #[must_use]
    pub fn is_code(&self, address: u64) -> bool {
        self.segments.iter().any(|segment| {
            segment.executable && address.wrapping_sub(segment.address) < segment.len
        })
    }
}

/// The name of the function that an address is in, as the linker knows it, and how far in it is.
#[must_use]
pub fn symbol(file: &[u8], address: u64) -> Option<(&str, u64)> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).ok()?;
    let (symbols, names) = elf.symbol_table().ok()??;
    symbols
        .iter()
        .filter(|symbol| {
            symbol.st_symtype() == elf_abi::STT_FUNC
                && address.wrapping_sub(symbol.st_value) < symbol.st_size.max(1)
        })
        .find_map(|symbol| {
            Some((
                names.get(symbol.st_name as usize).ok()?,
                address - symbol.st_value,
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minimal ELF file with one segment of code, made byte by byte from the specification.
    fn program(flags: u32, address: u64, memory: u64) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
        file.resize(16, 0);
        file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        file.extend((address + 4).to_le_bytes());
        file.extend(64u64.to_le_bytes());
        file.extend(0u64.to_le_bytes());
        file.extend(0u32.to_le_bytes());
        file.extend([64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
        assert_eq!(file.len(), 64);
        file.extend(1u32.to_le_bytes());
        file.extend(flags.to_le_bytes());
        for field in [120, address, address, 8, memory, 4096] {
            file.extend(u64::to_le_bytes(field));
        }
        file.extend([0x90; 8]);
        file
    }

    #[test]
    fn a_program_is_mapped_as_it_says() {
        let file = program(5, 0x50_0000, 0x2000);
        let image = Image::parse(&file).unwrap();
        assert_eq!(image.entry, 0x50_0004);
        let segment = image.segments[0];
        assert_eq!(
            (segment.address, segment.len, segment.data),
            (0x50_0000, 0x2000, &[0x90; 8][..])
        );
        assert!(segment.executable && !segment.writable);
        assert!(image.is_code(0x50_1fff) && !image.is_code(0x50_2000) && !image.is_code(0));
    }

    #[test]
    fn what_would_break_isolation_is_refused() {
        let refused = |file: &[u8]| Image::parse(file).err();
        assert_eq!(
            refused(&program(7, 0x50_0000, 8)),
            Some(ImageError::WritableCode)
        );
        assert_eq!(refused(&program(5, 0, 8)), Some(ImageError::BadSegment));
        assert_eq!(
            refused(&program(5, 0xffff_8000_0000_0000, 8)),
            Some(ImageError::BadSegment)
        );
        assert_eq!(
            refused(&program(5, u64::MAX - 4, 8)),
            Some(ImageError::BadSegment)
        );
        assert_eq!(
            refused(&program(5, 0x50_0000, u64::MAX)),
            Some(ImageError::BadSegment)
        );
        assert_eq!(
            refused(&program(5, 0x50_0000, 4)),
            Some(ImageError::BadSegment)
        );
        assert_eq!(refused(b"#!/bin/sh"), Some(ImageError::NotAProgram));
        let whole = program(5, 0x50_0000, 8);
        for cut in 0..whole.len() {
            assert!(Image::parse(&whole[..cut]).is_err(), "cut to {cut} bytes");
        }
    }
}
