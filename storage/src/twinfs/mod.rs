//! twinfs
