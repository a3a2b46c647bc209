//! Writes the batches that `fixtures/records/RecordBatches.java` checks with Apache Kafka's own classes:
//! `cargo run -p kcopy-wire --example write_record_batches DIR`. `fixtures/records/README.md` has the rest.

use std::{fs, path::PathBuf};

use kcopy_wire::records::{BatchBuilder, BatchOptions, Compression, EndTxnMarker, HeadersBuf, ProducerStamp};

#[path = "../tests/records/rules.rs"]
mod rules;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: write_record_batches DIR")?);
    let options = BatchOptions {
        base_offset: rules::BASE_OFFSET,
        partition_leader_epoch: Some(9),
        ..BatchOptions::default()
    };
    let stamp = ProducerStamp { id: 77, epoch: 5, base_sequence: 42, transactional: true };
    for compression in Compression::ALL {
        let mut builder = BatchBuilder::new(BatchOptions { compression, ..options });
        for n in 0..rules::COUNT {
            let mut headers = HeadersBuf::new();
            for (name, value) in rules::headers(n) {
                headers.push(name, value.as_deref());
            }
            let (key, value) = (rules::key(n), rules::value(compression, n));
            builder.append(rules::timestamp(n), key.as_deref(), value.as_deref(), headers.as_headers())?;
        }
        fs::write(dir.join(format!("ours-{compression}.bin")), builder.finish(stamp)?)?;
    }
    let marker = EndTxnMarker { committed: true, coordinator_epoch: 13 };
    let marker = BatchBuilder::control(options, rules::BASE_TIMESTAMP, stamp, marker)?;
    fs::write(dir.join("ours-marker.bin"), marker)?;
    Ok(())
}
