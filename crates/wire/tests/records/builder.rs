//! What the builder writes into the header, and what it refuses.

use kcopy_wire::records::{
    Attributes, Batch, BatchBuilder, BatchOptions, Compression, Headers, HeadersBuf, ProducerStamp,
    TimestampType,
};

use crate::support::{LIMITS, read};

/// Two records, byte by byte, as the format's description has them.
#[test]
fn the_bytes_are_those_of_the_format() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let mut headers = HeadersBuf::new();
    headers.push("h", Some(b"x"));
    headers.push("h", None);
    builder.append(1000, Some(b"key"), Some(b"value"), headers.as_headers()).expect("room");
    builder.append(999, None, Some(b""), Headers::EMPTY).expect("room");
    let bytes = builder
        .finish(ProducerStamp { id: 7, epoch: 2, base_sequence: 5, transactional: true })
        .expect("fits");

    let first: &[u8] = b"\x2a\x00\x00\x00\x06key\x0avalue\x04\x02h\x02x\x02h\x01";
    let second: &[u8] = b"\x0c\x00\x01\x02\x01\x00\x00";
    let mut expected = Vec::new();
    expected.extend_from_slice(&0i64.to_be_bytes()); // base offset
    expected.extend_from_slice(&((49 + first.len() + second.len()) as i32).to_be_bytes());
    expected.extend_from_slice(&(-1i32).to_be_bytes()); // partition leader epoch
    expected.push(2); // magic
    expected.extend_from_slice(&[0; 4]); // checksum, below
    expected.extend_from_slice(&0x10i16.to_be_bytes()); // attributes: transactional
    expected.extend_from_slice(&1i32.to_be_bytes()); // last offset delta
    expected.extend_from_slice(&1000i64.to_be_bytes()); // base timestamp
    expected.extend_from_slice(&1000i64.to_be_bytes()); // max timestamp
    expected.extend_from_slice(&7i64.to_be_bytes()); // producer id
    expected.extend_from_slice(&2i16.to_be_bytes()); // producer epoch
    expected.extend_from_slice(&5i32.to_be_bytes()); // base sequence
    expected.extend_from_slice(&2i32.to_be_bytes()); // record count
    expected.extend_from_slice(first);
    expected.extend_from_slice(second);
    let crc = crc32c::crc32c(&expected[21..]);
    expected[17..21].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(bytes, expected);
}

#[test]
fn the_producers_stamp_is_in_the_header() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for _ in 0..3 {
        builder.append(1, None, Some(b"x"), Headers::EMPTY).expect("room");
    }
    let stamp = ProducerStamp { id: 9, epoch: 3, base_sequence: i32::MAX - 1, transactional: false };
    let batch = Batch::new(builder.finish(stamp).expect("fits")).expect("a batch");
    assert_eq!(batch.producer_id(), Some(9));
    assert_eq!(batch.producer_epoch(), 3);
    assert_eq!(batch.base_sequence(), i32::MAX - 1);
    // Sequence numbers go on with 0 after the largest.
    assert_eq!(batch.last_sequence(), 0);
    assert!(!batch.attributes().is_transactional() && !batch.attributes().is_control());
}

#[test]
fn headers_keep_their_order_and_repetitions() {
    let mut headers = HeadersBuf::new();
    headers.push("a", Some(b"1"));
    headers.push([0xff, 0xfe], Some(b""));
    headers.push("a", Some(b"2"));
    headers.push("", None);
    let mut builder = BatchBuilder::new(BatchOptions::new(Compression::Snappy));
    builder.append(1, None, None, headers.as_headers()).expect("room");
    let batch = Batch::new(builder.finish(ProducerStamp::NONE).expect("fits")).expect("a batch");
    let open = batch.open(LIMITS).expect("opens");
    let record = open.records().next().expect("a record").expect("valid");
    let back: Vec<_> = record.headers.iter().collect();
    assert_eq!(
        back,
        [(&b"a"[..], Some(&b"1"[..])), (&[0xff, 0xfe], Some(b"")), (b"a", Some(b"2")), (b"", None)]
    );
    assert_eq!(record.headers.len(), 4);
    assert_eq!(record.headers.last(b"a"), Some(Some(&b"2"[..])));
    assert_eq!(record.headers.last(b""), Some(None));
    assert_eq!(record.headers.last(b"b"), None);
    headers.clear();
    assert!(headers.is_empty() && headers.as_headers() == Headers::EMPTY);
}

#[test]
fn null_and_empty_are_not_the_same() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(1, None, Some(b""), Headers::EMPTY).expect("room");
    builder.append(1, Some(b""), None, Headers::EMPTY).expect("room");
    let batch = Batch::new(builder.finish(ProducerStamp::NONE).expect("fits")).expect("a batch");
    let back = read(&batch).expect("valid");
    assert_eq!((back[0].key.as_deref(), back[0].value.as_deref()), (None, Some(&b""[..])));
    assert_eq!((back[1].key.as_deref(), back[1].value.as_deref()), (Some(&b""[..]), None));
}

#[test]
fn buffers_come_back_for_the_next_batch() {
    let mut builder = BatchBuilder::new(BatchOptions { capacity: 1 << 16, ..BatchOptions::default() });
    builder.append(1, None, Some(&[7; 1000]), Headers::EMPTY).expect("room");
    let bytes = builder.finish(ProducerStamp::NONE).expect("fits");
    let again = bytes.clone();
    let Err(shared) = bytes.try_into_mut() else { panic!("a shared batch must not be taken back") };
    drop(shared);
    let Ok(buffer) = again.try_into_mut() else { panic!("nobody else holds the batch") };
    let capacity = buffer.capacity();
    assert!(capacity >= 1 << 16);
    let mut builder = BatchBuilder::with_buffer(BatchOptions::default(), buffer);
    assert!(builder.is_empty() && builder.max_timestamp().is_none());
    builder.append(2, None, Some(b"next"), Headers::EMPTY).expect("room");
    assert_eq!((builder.len(), builder.max_timestamp()), (1, Some(2)));
    let batch = Batch::new(builder.finish(ProducerStamp::NONE).expect("fits")).expect("a batch");
    batch.verify_crc().expect("intact");
    assert_eq!(read(&batch).expect("valid")[0].value.as_deref(), Some(&b"next"[..]));
}

#[test]
fn attributes_keep_bits_that_are_not_known() {
    let attributes = Attributes(0x7f80_u16.cast_signed())
        .with_compression(Compression::Zstd)
        .with_timestamp_type(TimestampType::LogAppendTime)
        .with_transactional(true)
        .with_control(true)
        .with_delete_horizon(true);
    assert_eq!(attributes.0, 0x7ffc);
    let cleared = attributes
        .with_compression(Compression::None)
        .with_timestamp_type(TimestampType::CreateTime)
        .with_transactional(false)
        .with_control(false)
        .with_delete_horizon(false);
    assert_eq!(cleared.0, 0x7f80);
    for id in 5..8 {
        assert!(Attributes(id).compression().is_err(), "{id} is not defined");
    }
}

#[test]
fn compressions_go_by_their_configuration_names() {
    for compression in Compression::ALL {
        assert_eq!(compression.name().parse::<Compression>(), Ok(compression));
        assert_eq!(Compression::from_id(compression.id()), Some(compression));
    }
    let error = "lzma".parse::<Compression>().expect_err("unknown").to_string();
    assert!(error.contains("lzma") && error.contains("zstd"), "{error}");
}
