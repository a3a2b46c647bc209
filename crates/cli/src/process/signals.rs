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
pub(crate) fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (libc::SIGHUP - 1)) != 0
}

#[allow(unsafe_code)]
fn default_effect(signal: libc::c_int) {
    // SAFETY: the default effect is no handler: nothing of ours runs when the signal comes. The call only fails for
    // signals that there are not.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}
