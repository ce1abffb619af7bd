//! logical
