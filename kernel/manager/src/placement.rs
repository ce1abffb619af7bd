//! From a stack description to what the kernel is told: roles, devices, specifications.

use alloc::{format, string::String, vec::Vec};

use abi::{DeviceInfo, Name, PEERS_MAX, Rights, SpawnSpec};
use runtime::manage;
use stack::{Device, Right, Stack, Task};

/// The file of the archive that is the stack description.
const DESCRIPTION: &str = "stack";

/// Longest description that is read.
const DESCRIPTION_BYTES_MAX: usize = 64 << 10;

/// PCI vendor of virtio devices.
const VIRTIO: u16 = 0x1af4;

/// PCI devices of virtio block functions: modern, and transitional.
const VIRTIO_BLOCK: [u16; 2] = [0x1042, 0x1001];

/// A task of the stack, as the kernel is told of it.
pub struct Placed {
    /// Its number.
    pub role: u64,
    /// What an instance is given; nothing if its device is not there.
    pub spec: Option<SpawnSpec>,
}

/// Reads the stack description from the archive. What is wrong with it comes back as lines.
pub fn read_stack() -> Result<Stack, Vec<String>> {
    let wrong = |text: &str| alloc::vec![format!("stack description: {text}")];
    let name = Name::new(DESCRIPTION).ok_or_else(|| wrong("its name is too long"))?;
    let bytes = manage::read_archive(&name, DESCRIPTION_BYTES_MAX)
        .map_err(|error| wrong(&format!("cannot be read from the archive: {error}")))?;
    let text = core::str::from_utf8(&bytes).map_err(|_| wrong("is no text"))?;
    Stack::parse(text).map_err(|mistakes| {
        mistakes
            .iter()
            .map(|mistake| format!("stack description: {mistake}"))
            .collect()
    })
}

/// Gives every task its number and finds the devices. An error is one line.
pub fn place(stack: &Stack) -> Result<Vec<Placed>, String> {
    let mut roles = Vec::new();
    for task in &stack.tasks {
        roles.push(declare(&task.name)?);
    }
    let manager = declare(stack::MANAGER)?;
    let number = |name: &str| {
        if name == stack::MANAGER {
            return Some(manager);
        }
        stack
            .tasks
            .iter()
            .position(|task| task.name == name)
            .map(|index| roles[index])
    };
    let devices =
        manage::devices().map_err(|error| format!("the devices cannot be listed: {error}"))?;
    stack
        .tasks
        .iter()
        .zip(&roles)
        .map(|(task, &role)| {
            Ok(Placed {
                role,
                spec: specify(task, number, &devices)?,
            })
        })
        .collect()
}

fn declare(name: &str) -> Result<u64, String> {
    let text = || format!("task `{name}` cannot be declared");
    let short = Name::new(name).ok_or_else(text)?;
    manage::declare(&short).map_err(|error| format!("{}: {error}", text()))
}

/// What an instance of the task is given; nothing if its device is not there.
fn specify(
    task: &Task,
    number: impl Fn(&str) -> Option<u64>,
    devices: &[DeviceInfo],
) -> Result<Option<SpawnSpec>, String> {
    let wrong = |what: &str| format!("task `{}`: {what}", task.name);
    let device = match task.device {
        None => u64::MAX,
        Some(wanted) => match find(wanted, devices) {
            Some(device) => u64::from(device.address),
            None => return Ok(None),
        },
    };
    let mut spec = SpawnSpec {
        program: Name::new(&task.program).ok_or_else(|| wrong("its program's name is too long"))?,
        rights: rights(task).bits(),
        quota_pages: task.quota_pages,
        device,
        ports: [[0; 2]; 2],
        isa_interrupts: task
            .interrupts
            .iter()
            .fold(0, |lines, line| lines | 1 << line),
        peer_count: task.calls.len() as u64,
        peers: [0; PEERS_MAX],
        arguments_len: task.arguments.len() as u64,
        arguments: [0; abi::ARGUMENTS_BYTES_MAX],
    };
    for (range, &(first, last)) in spec.ports.iter_mut().zip(&task.ports) {
        *range = [first, last + 1];
    }
    for (peer, callee) in spec.peers.iter_mut().zip(&task.calls) {
        *peer = number(callee).ok_or_else(|| wrong("calls a task that is not there"))?;
    }
    spec.arguments
        .get_mut(..task.arguments.len())
        .ok_or_else(|| wrong("its arguments are too long"))?
        .copy_from_slice(task.arguments.as_bytes());
    Ok(Some(spec))
}

/// Tells a task one thing more. `false` if its arguments leave no room for it.
pub fn add_argument(spec: &mut SpawnSpec, argument: &str) -> bool {
    let len = spec.arguments_len as usize;
    let Some(place) = spec.arguments.get_mut(len..len + 1 + argument.len()) else {
        return false;
    };
    place[0] = b' ';
    place[1..].copy_from_slice(argument.as_bytes());
    spec.arguments_len += 1 + argument.len() as u64;
    true
}

fn rights(task: &Task) -> Rights {
    task.rights.iter().fold(Rights::empty(), |rights, right| {
        rights
            | match right {
                Right::Inspect => Rights::INSPECT,
                Right::Log => Rights::READ_LOG,
            }
    })
}

fn find(wanted: Device, devices: &[DeviceInfo]) -> Option<DeviceInfo> {
    let Device::VirtioBlock(number) = wanted;
    let is_block =
        |device: &DeviceInfo| device.vendor == VIRTIO && VIRTIO_BLOCK.contains(&device.device);
    // Bus 0 and function 0, see `DeviceInfo::address`.
    let address = (stack::DISK_SLOT_FIRST + number) << 3;
    let at_its_place = |device: &&DeviceInfo| device.address == address && is_block(device);
    devices.iter().find(at_its_place).copied()
}
