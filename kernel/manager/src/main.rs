//! To come.
#![no_std]
#![no_main]

use runtime as _;
