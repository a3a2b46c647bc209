//! Signals that whoever started the program ignores.
//!
//! A shell that runs a script starts what stands before `&` with SIGINT and SIGQUIT ignored, and so they stay in a
//! program that leaves them alone: that is the convention, and kcopy's own grammar keeps it. kcat has always installed
//! handlers for SIGINT and SIGTERM, and scripts send them to what they started with `&`.

/// From here on SIGINT and SIGTERM end the process, even if it was started with them ignored.
pub(crate) fn heed_termination() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        default_effect(signal);
    }
}

/// Whether the process was started with SIGHUP ignored, as by nohup, and nothing has changed that since.
#[allow(unsafe_code)]
pub(crate) fn ignores_hang_up() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action nothing is changed, and the present one is written to memory of its type. The call
    // only fails for signals that there are not; zeros, as which it would be read then, are the default effect.
    let action = unsafe {
        libc::sigaction(libc::SIGHUP, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

#[allow(unsafe_code)]
fn default_effect(signal: libc::c_int) {
    // SAFETY: the default effect is no handler: nothing of ours runs when the signal comes. The call only fails for
    // signals that there are not.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}
