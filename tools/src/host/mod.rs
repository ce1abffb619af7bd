//! What `galago` needs of the machine it runs on: the project's folders, QEMU, a usable accelerator.

pub mod accelerator;
pub mod cargo_test;
pub mod cpu_time;
pub mod folder;
pub mod images;
pub mod interrupt;
pub mod lines;
pub mod processes;
pub mod program;
pub mod project;
pub mod qemu;
pub mod stalls;
