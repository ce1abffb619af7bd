//! Single values of a description: sizes, devices, port ranges.

use alloc::{format, string::String};

use abi::PAGE_BYTES;

use crate::{DISKS_MAX, Device};

/// Least memory with which a task can start: its image, stack and page tables.
pub const QUOTA_PAGES_MIN: u64 = (256 << 10) / PAGE_BYTES as u64;

/// Most memory that a task can be given.
const QUOTA_PAGES_MAX: u64 = (64 << 30) / PAGE_BYTES as u64;

/// Reads a size such as `32 MiB`, in pages.
pub fn quota_pages(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size; write for instance \"32 MiB\"");
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    let pages = bytes.div_ceil(PAGE_BYTES as u64);
    if !(QUOTA_PAGES_MIN..=QUOTA_PAGES_MAX).contains(&pages) {
        return Err(format!("`{text}` is out of range; give 256 KiB to 64 GiB"));
    }
    Ok(pages)
}

/// Reads a device such as `virtio-blk:0`.
pub fn device(text: &str) -> Result<Device, String> {
    let wrong = || format!("`{text}` is no device; write for instance \"virtio-blk:0\"");
    match text.split_once(':').ok_or_else(wrong)? {
        ("virtio-blk", number) => match number.parse().map_err(|_| wrong())? {
            number if number < DISKS_MAX => Ok(Device::VirtioBlock(number)),
            _ => Err(format!(
                "`{text}` has no place; number disks from 0 to {}",
                DISKS_MAX - 1
            )),
        },
        _ => Err(wrong()),
    }
}

/// Reads a range of ports such as `0x3f8-0x3ff`: the first and the last.
pub fn ports(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("`{text}` is no range of ports; write for instance \"0x3f8-0x3ff\"");
    let port = |text: &str| {
        let digits = text.trim().strip_prefix("0x").ok_or_else(wrong)?;
        u16::from_str_radix(digits, 16).map_err(|_| wrong())
    };
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let (first, last) = (port(first)?, port(last)?);
    // The kernel takes ranges by their end, which must be a port too.
    if first > last || last == u16::MAX {
        Err(wrong())
    } else {
        Ok((first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_a_unit_and_in_range() {
        assert_eq!(quota_pages("32 MiB"), Ok(8192));
        assert_eq!(quota_pages("256KiB"), Ok(64));
        assert_eq!(quota_pages(" 1 GiB "), Ok(262_144));
        for wrong in [
            "",
            "32",
            "MiB",
            "32 MB",
            "-1 MiB",
            "1.5 MiB",
            "252 KiB",
            "65 GiB",
            "99999999999999999999 KiB",
            "18446744073709551615 GiB",
            "4 MiB MiB",
        ] {
            let text = quota_pages(wrong).expect_err(wrong);
            assert!(text.contains(wrong), "{text}");
        }
    }

    #[test]
    fn devices_have_a_kind_and_a_number() {
        assert_eq!(device("virtio-blk:12"), Ok(Device::VirtioBlock(12)));
        for wrong in [
            "",
            "virtio-blk",
            "virtio-blk:",
            "virtio-blk:x",
            "ahci:0",
            "virtio-blk:-1",
            "virtio-blk:27",
        ] {
            assert!(device(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ports_are_ranges_of_hexadecimal_numbers() {
        assert_eq!(ports("0x3f8-0x3ff"), Ok((0x3f8, 0x3ff)));
        assert_eq!(ports("0x60 - 0x60"), Ok((0x60, 0x60)));
        for wrong in [
            "",
            "0x3f8",
            "3f8-3ff",
            "0x3ff-0x3f8",
            "0x3f8-0x10000",
            "0x0-0xffff",
        ] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }
}
