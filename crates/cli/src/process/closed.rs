//! Standard descriptors that were closed before the program began.
//!
//! Rust's runtime opens `/dev/null` in their place, so that `main` cannot see it any more: what is written
//! there would be lost, and look as if it had been delivered. So they are looked at before the runtime is.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::{
    io::fcntl_getfd,
    stdio::{stdin, stdout},
};

static STDIN_CLOSED: AtomicBool = AtomicBool::new(false);
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

// SAFETY: the C library calls each pointer of this section once before `main`, without arguments that
// matter here. The function makes two system calls and stores two booleans: it needs nothing of Rust's
// runtime, allocates nothing and cannot panic.
#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = look;

extern "C" fn look() {
    STDIN_CLOSED.store(fcntl_getfd(stdin()).is_err(), Ordering::Relaxed);
    STDOUT_CLOSED.store(fcntl_getfd(stdout()).is_err(), Ordering::Relaxed);
}

/// Whether the program was started without a standard input.
pub fn stdin_was_closed() -> bool {
    STDIN_CLOSED.load(Ordering::Relaxed)
}

/// Whether the program was started without a standard output.
pub fn stdout_was_closed() -> bool {
    STDOUT_CLOSED.load(Ordering::Relaxed)
}
