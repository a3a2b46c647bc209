//! Closes the descriptors that a PostgreSQL backend leaks into the programs that it starts.

use std::{ffi::OsString, fs, os::fd::RawFd, path::Path};

/// Closes every descriptor above 2 but those that an argument names as `/dev/fd/N` or
/// `/proc/self/fd/N`, as a shell's process substitution does.
///
/// Call it first in `main`, while the process owns no descriptor of its own.
pub fn close_inherited_descriptors(arguments: &[OsString]) {
    let keep: Vec<RawFd> = arguments.iter().filter_map(named_descriptor).collect();
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    // Collected first: closing while the folder is being read would close the folder itself.
    let open: Vec<RawFd> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2 && !keep.contains(descriptor)) {
        // The listing had one of its own, which is gone.
        if Path::new(&format!("/proc/self/fd/{descriptor}")).symlink_metadata().is_ok() {
            close(descriptor);
        }
    }
}

fn named_descriptor(argument: &OsString) -> Option<RawFd> {
    let text = argument.to_str()?;
    ["/dev/fd/", "/proc/self/fd/"]
        .iter()
        .find_map(|folder| text.find(folder).map(|at| &text[at + folder.len()..]))?
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[allow(unsafe_code)]
fn close(descriptor: RawFd) {
    // SAFETY: nothing in this process owns the descriptor: it was inherited, `main` has opened nothing
    // yet, and the folder listing that found it is closed by now.
    unsafe { rustix::io::close(descriptor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_substitution_is_kept() {
        assert_eq!(named_descriptor(&"/dev/fd/63".into()), Some(63));
        assert_eq!(named_descriptor(&"--config=/proc/self/fd/7".into()), Some(7));
        assert_eq!(named_descriptor(&"/dev/full".into()), None);
    }
}
