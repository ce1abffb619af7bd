//! The firmware's code, shown from its ROM again once it has done its part.
//!
//! SeaBIOS copies itself into the memory behind its ROM and writes there. A reset leaves both the copy
//! and the host bridge's registers that show it as they are, so that the processor would start in
//! code that believes it has run already: it then resets once more, and two resets that overlap
//! start each other over, with no bound. From the ROM, a reset starts as power-on does.

use super::pci::Address;

/// Vendor and device of Q35's memory controller hub.
const Q35: u32 = 0x29c0_8086;

/// Its registers PAM0 to PAM6, which say for each part of 0xc0000 to 0xfffff whether memory or ROM is
/// read and written (Intel 3 Series Express Chipset datasheet, registers of device 0); the byte
/// after them, LAC, is zero anyway.
const PAM: [u8; 2] = [0x90, 0x94];

/// Shows the ROM, where the machine is one whose registers are known.
pub fn show_rom() {
    if Address::HOST_BRIDGE.read(0x00) == Q35 {
        for offset in PAM {
            Address::HOST_BRIDGE.write(offset, 0);
        }
    }
}
