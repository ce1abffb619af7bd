//! To come.
#![no_std]
#![no_main]

runtime::main!(run);

async fn run() {}
