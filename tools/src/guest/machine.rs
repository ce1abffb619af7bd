//! The machine a guest gets, as QEMU's command line.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Archive, WriteLog};

/// The port of the device by which a guest ends QEMU with an exit status.
const DEBUG_EXIT_PORT: u16 = 0xf4;

/// Who executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's processor.
    Kvm,
    /// QEMU's translator.
    Tcg,
    /// QEMU's translator, counting: each instruction takes a nanosecond of the guest's time, so that its
    /// times are counts that do not depend on the host.
    CountingTcg,
}

impl std::fmt::Display for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG (emulation)",
            Self::CountingTcg => "TCG (emulation), an instruction a nanosecond",
        })
    }
}

/// A disk of a guest.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Its place; below [`stack::DISKS_MAX`].
    pub number: u32,
    /// The image.
    pub image: PathBuf,
    /// The guest cannot write it.
    pub read_only: bool,
    /// Where QEMU records what the guest writes.
    pub log: Option<WriteLog>,
}

impl Disk {
    /// Disks on these images, numbered from 0.
    pub fn numbered(images: impl IntoIterator<Item = PathBuf>) -> Vec<Self> {
        let disk = |(number, image)| Self {
            number,
            image,
            read_only: false,
            log: None,
        };
        (0..).zip(images).map(disk).collect()
    }

    /// A tar to import from: a disk that the guest cannot write.
    #[must_use]
    pub fn tar(number: u32, image: PathBuf) -> Self {
        Self {
            number,
            image,
            read_only: true,
            log: None,
        }
    }
}

/// The hardware of a guest and what it boots.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The unikernel.
    pub kernel: PathBuf,
    /// Task binaries and the stack description.
    pub archive: Archive,
    /// Its disks; places between them may be empty.
    pub disks: Vec<Disk>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Who executes it.
    pub accelerator: Accelerator,
    /// With the device by which a guest ends QEMU with an exit status.
    pub debug_exit: bool,
}

/// What QEMU finds in the guest's folder: the archive, and the sockets it connects to.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The archive.
    pub archive: PathBuf,
    /// COM1.
    pub console: PathBuf,
    /// COM2.
    pub link: PathBuf,
    /// QMP.
    pub monitor: PathBuf,
}

impl Machine {
    /// QEMU's arguments.
    #[must_use]
    pub fn arguments(&self, paths: &Paths) -> Vec<OsString> {
        let mut arguments = Arguments::default();
        arguments
            .add("-nodefaults")
            .add("-no-user-config")
            .pair("-display", "none");
        arguments.pair("-machine", "q35").pair("-smp", "1");
        match self.accelerator {
            Accelerator::Kvm => arguments.pair("-accel", "kvm").pair("-cpu", "host"),
            Accelerator::Tcg | Accelerator::CountingTcg => {
                arguments.pair("-accel", "tcg").pair("-cpu", "max")
            }
        };
        if self.accelerator == Accelerator::CountingTcg {
            arguments.pair("-icount", "shift=0");
        }
        arguments.pair("-m", format!("{}M", self.memory_mib));
        arguments
            .pair("-kernel", &self.kernel)
            .pair("-initrd", &paths.archive);
        for (port, socket) in [("com1", &paths.console), ("com2", &paths.link)] {
            arguments.pair("-chardev", socket_device(port, socket));
            arguments.pair("-serial", format!("chardev:{port}"));
        }
        arguments.pair("-chardev", socket_device("qmp", &paths.monitor));
        arguments.pair("-mon", "chardev=qmp,mode=control");
        if self.debug_exit {
            arguments.pair(
                "-device",
                format!("isa-debug-exit,iobase={DEBUG_EXIT_PORT:#x},iosize=4"),
            );
        }
        for disk in &self.disks {
            arguments.disk(disk);
        }
        arguments.0
    }
}

fn socket_device(name: &str, path: &Path) -> OsString {
    // A comma ends a value in QEMU's options; two stand for one.
    let mut text = OsString::from(format!("socket,id={name},path="));
    text.push(path.to_string_lossy().replace(',', ",,"));
    text
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.0.push(argument.as_ref().into());
        self
    }

    fn pair(&mut self, option: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.add(option).add(value)
    }

    /// A virtio disk. Its write cache is on, so that the device offers a flush and the guest's
    /// flushes reach the host's medium. An error of the host's is the guest's error too: by itself QEMU
    /// would stop the guest when the host's disk is full.
    fn disk(&mut self, disk: &Disk) {
        let Disk {
            number, read_only, ..
        } = *disk;
        let name = format!("disk{number}");
        let mut node = json!({
            "driver": "raw",
            "read-only": read_only,
            "discard": "unmap",
            "cache": { "direct": false, "no-flush": false },
            "file": { "driver": "file", "filename": disk.image.to_string_lossy() },
        });
        if let Some(log) = &disk.log {
            let file = json!({ "driver": "file", "filename": log.path.to_string_lossy() });
            node = json!({
                "driver": "blklogwrites",
                "log-append": log.append,
                "cache": { "direct": false, "no-flush": false },
                "file": node,
                "log": { "driver": "raw", "file": file },
            });
        }
        node["node-name"] = name.into();
        let slot = stack::DISK_SLOT_FIRST + number;
        self.pair("-blockdev", node.to_string()).pair(
            "-device",
            format!(
                "virtio-blk-pci,id=virtio{number},drive=disk{number},addr={slot:#x},\
                 disable-legacy=on,werror=report,rerror=report,write-cache={}",
                if read_only { "off" } else { "on" }
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(machine: &Machine) -> Vec<String> {
        let paths = Paths {
            archive: "/t/archive.tar".into(),
            console: "/t/com1".into(),
            link: "/t/a,b".into(),
            monitor: "/t/qmp".into(),
        };
        let text = |argument: OsString| argument.into_string().expect("text");
        machine.arguments(&paths).into_iter().map(text).collect()
    }

    fn machine() -> Machine {
        Machine {
            kernel: "kernel".into(),
            archive: Archive::default(),
            disks: vec![
                Disk::numbered(["one.img".into()]).remove(0),
                Disk::tar(2, "tree, with comma.tar".into()),
            ],
            memory_mib: 512,
            accelerator: Accelerator::Tcg,
            debug_exit: true,
        }
    }

    #[test]
    fn disks_keep_their_places_their_flush_and_their_names() {
        let all = arguments(&machine()).join(" ");
        for expected in [
            "drive=disk0,addr=0x4,disable-legacy=on,werror=report,rerror=report,write-cache=on",
            "drive=disk2,addr=0x6,disable-legacy=on,werror=report,rerror=report,write-cache=off",
            "\"filename\":\"tree, with comma.tar\"",
            "-initrd /t/archive.tar",
            "\"no-flush\":false",
            "path=/t/a,,b",
        ] {
            assert!(all.contains(expected), "{expected} not in {all}");
        }
    }

    #[test]
    fn only_the_tar_is_read_only() {
        let all = arguments(&machine());
        let read_only: Vec<bool> = all
            .iter()
            .filter(|argument| argument.contains("node-name"))
            .map(|argument| argument.contains("\"read-only\":true"))
            .collect();
        assert_eq!(read_only, [false, true]);
    }
}
