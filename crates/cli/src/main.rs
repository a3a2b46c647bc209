//! The kcopy binary.
fn main() {}
