//! The checksum of batches.

use crc_fast::{CrcAlgorithm, checksum};

/// CRC-32C (Castagnoli; iSCSI, RFC 3720).
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    // The upper half of the answer is for checksums of 64 bits.
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}
