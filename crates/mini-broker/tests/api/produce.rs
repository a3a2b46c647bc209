//! Produce: validation, offsets, idempotence.

use bytes::{Bytes, BytesMut};
use kcopy_wire::{
    ErrorCode,
    messages::{ProduceRequest, produce_request::PartitionProduceData},
    records::{
        Attributes, BatchBuilder, BatchOptions, Batches, Compression, Headers, ProducerStamp, TimestampType,
    },
};

use crate::peer::{Peer, START_MS, batch, batch_with, builder, produce, stamped, values};

#[tokio::test(start_paused = true)]
async fn records_get_offsets_and_come_back_unchanged() {
    let cluster = builder().topic("t", 2).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let answer = peer.produce("t", 1, batch(&["a", "b"])).await;
    assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::NONE, 0));
    assert_eq!((answer.log_append_time_ms, answer.log_start_offset), (-1, 0));
    assert_eq!(peer.produce("t", 1, batch(&["c"])).await.base_offset, 2);
    let data = peer.fetch("t", 1, 1).await;
    let expected = [(0, "a".into()), (1, "b".into()), (2, "c".into())];
    assert_eq!(values(&data), expected);
    assert_eq!(data.high_watermark, 3);
    assert!(values(&peer.fetch("t", 0, 0).await).is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_codec_is_stored_as_received() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    for (base_offset, compression) in (0..).step_by(2).zip(Compression::ALL) {
        let sent = batch_with(compression, ProducerStamp::NONE, START_MS, &["one", "two"]);
        assert_eq!(peer.produce("t", 0, sent.clone()).await.base_offset, base_offset);
        let data = peer.fetch("t", 0, base_offset).await;
        let stored = data.records.clone().unwrap().into_bytes();
        assert_eq!(stored[16..], sent[16..], "{compression}");
        assert_eq!(values(&data)[0], (base_offset, "one".into()));
    }
}

/// Changes a field of a batch's header and sets the checksum anew.
fn with_field(batch: &Bytes, at: usize, field: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(&batch[..]);
    bytes[at..at + field.len()].copy_from_slice(field);
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.freeze()
}

/// CRC-32C, bit by bit: independent of what the broker uses.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    })
}

#[tokio::test(start_paused = true)]
async fn bad_batches_are_refused_with_kafkas_codes() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let good = batch(&["a", "b"]);
    let two = [&good[..], &good[..]].concat();
    let zeros = [&good[..], &[0; 70]].concat();
    let mut damaged = BytesMut::from(&good[..]);
    damaged[65] ^= 1;
    let log_append_time = Attributes::default().with_timestamp_type(TimestampType::LogAppendTime).0;
    let control = Attributes::default().with_control(true).0;
    let cases: Vec<(&str, Bytes, ErrorCode)> = vec![
        ("no batch", Bytes::new(), ErrorCode::INVALID_RECORD),
        ("two batches", two.into(), ErrorCode::INVALID_RECORD),
        ("zeros behind a batch", zeros.into(), ErrorCode::CORRUPT_MESSAGE),
        ("half a batch", good.slice(..40), ErrorCode::INVALID_RECORD),
        ("a flipped bit", damaged.freeze(), ErrorCode::CORRUPT_MESSAGE),
        ("a short length", with_field(&good, 8, &10_i32.to_be_bytes()), ErrorCode::CORRUPT_MESSAGE),
        ("a base offset", with_field(&good, 0, &5_i64.to_be_bytes()), ErrorCode::INVALID_RECORD),
        ("magic 1", with_field(&good, 16, &[1]), ErrorCode::INVALID_RECORD),
        ("too many records", with_field(&good, 57, &3_i32.to_be_bytes()), ErrorCode::INVALID_RECORD),
        ("2^31 - 1 records", with_field(&good, 57, &i32::MAX.to_be_bytes()), ErrorCode::INVALID_RECORD),
        ("no records", with_field(&good, 57, &0_i32.to_be_bytes()), ErrorCode::INVALID_RECORD),
        ("a wrong last offset", with_field(&good, 23, &9_i32.to_be_bytes()), ErrorCode::INVALID_RECORD),
        ("a control batch", with_field(&good, 21, &control.to_be_bytes()), ErrorCode::INVALID_RECORD),
        ("the broker's time", with_field(&good, 21, &log_append_time.to_be_bytes()), ErrorCode::NONE),
        ("an id without sequence", with_field(&good, 43, &7_i64.to_be_bytes()), ErrorCode::INVALID_RECORD),
        ("too old a time", timed(START_MS - 1), ErrorCode::NONE),
        ("too new a time", timed(START_MS + 3_600_001), ErrorCode::INVALID_TIMESTAMP),
        ("too large", batch(&[&"x".repeat(1_048_588)]), ErrorCode::MESSAGE_TOO_LARGE),
    ];
    for (name, records, error) in cases {
        let answer = peer.produce("t", 0, records).await;
        assert_eq!(answer.error_code, error, "{name}");
        if error.is_err() {
            assert_eq!(answer.base_offset, -1, "{name}");
        }
        // Kafka says what is wrong with a batch that cannot be stepped over, and with times.
        let is_explained = ["a short length", "too new a time"].contains(&name);
        assert_eq!(answer.error_message.is_some(), is_explained, "{name}");
    }
    // One was accepted for its time, and two records of a batch whose claim to carry the broker's time was corrected.
    assert_eq!(cluster.offsets("t", 0).await.unwrap(), (0, 3));
    let records = peer.fetch("t", 0, 0).await.records.unwrap().into_bytes();
    for stored in Batches::new(records) {
        assert_eq!(stored.unwrap().attributes().timestamp_type(), TimestampType::CreateTime);
    }
}

/// The same records, compressed: as one literal of Snappy.
fn in_snappy(batch: &Bytes) -> Bytes {
    let records = &batch[61..];
    let len = u8::try_from(records.len()).unwrap();
    assert!(len < 60);
    let mut bytes = [&batch[..61], &[len, (len - 1) << 2], records].concat();
    let length = i32::try_from(bytes.len() - 12).unwrap();
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    with_field(&bytes.into(), 21, &2_i16.to_be_bytes())
}

#[tokio::test(start_paused = true)]
async fn compressed_records_are_judged_as_by_kafka() {
    let cluster = builder().start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    peer.create_topic("as-sent", &[]).await;
    peer.create_topic("lz4", &[("compression.type", "lz4")]).await;
    peer.create_topic("plain", &[("compression.type", "uncompressed")]).await;
    let good = batch(&["a", "b"]);
    let counts = |count: i32| {
        let last = with_field(&good, 23, &(count - 1).to_be_bytes());
        in_snappy(&with_field(&last, 57, &count.to_be_bytes()))
    };
    // Both at offset 0.
    let gaps = with_field(&good, 61 + 8 + 3, &[0]);
    let garbage = with_field(&good, 21, &1_i16.to_be_bytes());
    let before_1970 = in_snappy(&timed(-5));
    for (name, records, topic, error) in [
        ("good", in_snappy(&good), "as-sent", ErrorCode::NONE),
        ("one too many", counts(3), "as-sent", ErrorCode::INVALID_RECORD),
        ("far too many", counts(i32::MAX), "as-sent", ErrorCode::INVALID_RECORD),
        ("one too few", counts(1), "as-sent", ErrorCode::INVALID_RECORD),
        ("no gzip", garbage, "as-sent", ErrorCode::UNKNOWN_SERVER_ERROR),
        ("equal offsets, not compressed", gaps.clone(), "as-sent", ErrorCode::NONE),
        ("equal offsets", in_snappy(&gaps), "as-sent", ErrorCode::UNKNOWN_SERVER_ERROR),
        ("equal offsets", in_snappy(&gaps), "lz4", ErrorCode::UNKNOWN_SERVER_ERROR),
        ("equal offsets", in_snappy(&gaps), "plain", ErrorCode::NONE),
        ("before 1970", before_1970.clone(), "as-sent", ErrorCode::NONE),
        ("before 1970", before_1970.clone(), "lz4", ErrorCode::UNKNOWN_SERVER_ERROR),
        ("before 1970", before_1970, "plain", ErrorCode::UNKNOWN_SERVER_ERROR),
        ("before 1970, not compressed", timed(-5), "plain", ErrorCode::NONE),
    ] {
        let answer = peer.produce(topic, 0, records).await;
        assert_eq!(answer.error_code, error, "{name} to {topic}");
    }
    // Written anew they have offsets of their own.
    assert_eq!(values(&peer.fetch("plain", 0, 0).await)[..2], [(0, "a".into()), (1, "b".into())]);
}

#[tokio::test(start_paused = true)]
async fn what_is_named_twice_is_answered_once() {
    let cluster = builder().topic("t", 2).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let mut request = produce("t", 0, batch(&["lost"]));
    request.topic_data.extend(produce("t", 1, batch(&["x"])).topic_data);
    request.topic_data.extend(produce("t", 0, batch(&["last"])).topic_data);
    let response = peer.call(&request, 10).await;
    assert_eq!(response.responses.len(), 1);
    let partitions: Vec<_> =
        response.responses[0].partition_responses.iter().map(|p| (p.index, p.error_code)).collect();
    assert_eq!(partitions, [(0, ErrorCode::NONE), (1, ErrorCode::NONE)]);
    assert_eq!(values(&peer.fetch("t", 0, 0).await), [(0, "last".into())]);
    assert_eq!(values(&peer.fetch("t", 1, 0).await), [(0, "x".into())]);
}

fn timed(timestamp: i64) -> Bytes {
    batch_with(Compression::None, ProducerStamp::NONE, timestamp, &["x"])
}

#[tokio::test(start_paused = true)]
async fn the_faulty_records_are_named() {
    let cluster = builder().start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    peer.create_topic("compact", &[("cleanup.policy", "compact")]).await;
    let mut records = BatchBuilder::new(BatchOptions::default());
    for key in [Some(&b"k"[..]), None, Some(b""), None] {
        records.append(START_MS, key, Some(b"v"), Headers::EMPTY).unwrap();
    }
    let answer = peer.produce("compact", 0, records.finish(ProducerStamp::NONE).unwrap()).await;
    assert_eq!(answer.error_code, ErrorCode::INVALID_RECORD);
    let faulty: Vec<i32> = answer.record_errors.iter().map(|fault| fault.batch_index).collect();
    assert_eq!(faulty, [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn requests_as_a_whole_are_checked() {
    let cluster = builder().nodes(2).topic("t", 2).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let leader = cluster.leader("t", 0).await.unwrap().unwrap();
    let (here, elsewhere) = if leader == 1 { (0, 1) } else { (1, 0) };
    let with_acks =
        |acks, topic: &str, partition| ProduceRequest { acks, ..produce(topic, partition, batch(&["x"])) };
    let cases = [
        (with_acks(1, "t", here), ErrorCode::NONE),
        (with_acks(2, "t", here), ErrorCode::INVALID_REQUIRED_ACKS),
        (with_acks(-2, "t", here), ErrorCode::INVALID_REQUIRED_ACKS),
        (with_acks(-1, "t", 2), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (with_acks(-1, "t", -1), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (with_acks(-1, "nope", 0), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (with_acks(-1, "t", elsewhere), ErrorCode::NOT_LEADER_OR_FOLLOWER),
    ];
    for (request, error) in cases {
        let response = peer.call(&request, 10).await;
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!(answer.error_code, error);
        if error == ErrorCode::NOT_LEADER_OR_FOLLOWER {
            assert_eq!((answer.current_leader.leader_id, answer.current_leader.leader_epoch), (2, 0));
            assert_eq!(response.node_endpoints[0].node_id, 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn topic_ids_name_topics_from_version_13_on() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let id = peer.topic_id("t").await;
    let mut request = produce("", 0, batch(&["x"]));
    for (topic_id, error) in [
        (id, ErrorCode::NONE),
        (kcopy_wire::Uuid([7; 16]), ErrorCode::UNKNOWN_TOPIC_ID),
        (kcopy_wire::Uuid::ZERO, ErrorCode::UNKNOWN_TOPIC_ID),
    ] {
        request.topic_data[0].topic_id = topic_id;
        let response = peer.call(&request, 13).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, error);
        assert_eq!(response.responses[0].topic_id, topic_id);
    }
}

#[tokio::test(start_paused = true)]
async fn without_acks_there_is_no_answer_and_an_error_closes_the_connection() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let mut request = produce("t", 0, batch(&["x"]));
    request.acks = 0;
    peer.send(&request, 9).await;
    assert_eq!(peer.produce("t", 0, batch(&["y"])).await.base_offset, 1);
    request.topic_data[0].name = "nope".into();
    peer.send(&request, 9).await;
    assert!(peer.read_frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_producer_writes_once_and_in_order() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let steps = [
        (stamped(9, 0, 0, &["a", "b"]), ErrorCode::NONE, 0),
        (stamped(9, 0, 2, &["c"]), ErrorCode::NONE, 2),
        (stamped(9, 0, 0, &["a", "b"]), ErrorCode::NONE, 0),
        (stamped(9, 0, 4, &["e"]), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1),
        (stamped(9, 1, 0, &["d"]), ErrorCode::NONE, 3),
        (stamped(9, 0, 3, &["x"]), ErrorCode::INVALID_PRODUCER_EPOCH, -1),
        (stamped(8, 5, 77, &["f"]), ErrorCode::NONE, 4),
    ];
    for (batch, error, base_offset) in steps {
        let answer = peer.produce("t", 0, batch).await;
        assert_eq!((answer.error_code, answer.base_offset), (error, base_offset));
    }
    let stored: Vec<String> =
        values(&peer.fetch("t", 0, 0).await).into_iter().map(|(_, value)| value).collect();
    assert_eq!(stored, ["a", "b", "c", "d", "f"]);
}

#[tokio::test(start_paused = true)]
async fn the_topic_decides_on_time_and_compression() {
    let cluster = builder().start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let configs = [("message.timestamp.type", "LogAppendTime"), ("compression.type", "lz4")];
    peer.create_topic("t", &configs).await;
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    let now_ms = cluster.clock().now_ms();
    let answer = peer.produce("t", 0, batch(&["a", "b"])).await;
    assert_eq!((answer.error_code, answer.log_append_time_ms), (ErrorCode::NONE, now_ms));
    let data = peer.fetch("t", 0, 0).await;
    assert_eq!(values(&data), [(0, "a".into()), (1, "b".into())]);
    let records = data.records.unwrap().into_bytes();
    let stored = Batches::new(records).next().unwrap().unwrap();
    assert_eq!(stored.attributes().compression(), Ok(Compression::Lz4));
    assert_eq!(stored.attributes().timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(stored.max_timestamp(), now_ms);
}

#[tokio::test(start_paused = true)]
async fn one_bad_partition_does_not_spoil_the_others() {
    let cluster = builder().topic("t", 2).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let mut request = produce("t", 0, Bytes::new());
    request.topic_data[0].partition_data.push(PartitionProduceData {
        index: 1,
        records: Some(batch(&["x"]).into()),
        ..Default::default()
    });
    let response = peer.call(&request, 3).await;
    let errors: Vec<ErrorCode> =
        response.responses[0].partition_responses.iter().map(|partition| partition.error_code).collect();
    assert_eq!(errors, [ErrorCode::INVALID_RECORD, ErrorCode::NONE]);
}

#[tokio::test(start_paused = true)]
async fn large_and_small_batches_mix() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let large = "x".repeat(40_000);
    for round in 0..10_i64 {
        assert_eq!(peer.produce("t", 0, batch(&["small"])).await.base_offset, 2 * round);
        assert_eq!(peer.produce("t", 0, batch(&[&large])).await.base_offset, 2 * round + 1);
        let data = peer.fetch("t", 0, 0).await;
        assert_eq!(values(&data).len() as i64, 2 * round + 2);
    }
    let last = values(&peer.fetch("t", 0, 17).await);
    let summary: Vec<(i64, usize)> = last.iter().map(|(offset, value)| (*offset, value.len())).collect();
    assert_eq!(summary, [(17, 40_000), (18, 5), (19, 40_000)]);
}

#[tokio::test(start_paused = true)]
async fn too_few_replicas_in_sync_refuse_acks_all() {
    let two = builder().nodes(2).config("min.insync.replicas", "2").config("default.replication.factor", "2");
    let mut cluster = two.topic("t", 1).start().await.unwrap();
    let leader = cluster.leader("t", 0).await.unwrap().unwrap();
    let mut peer = Peer::connect_to(&cluster, leader).await;
    let mut request = produce("t", 0, batch(&["x"]));
    let error = |response: kcopy_wire::messages::ProduceResponse| {
        response.responses[0].partition_responses[0].error_code
    };
    assert_eq!(error(peer.call(&request, 9).await), ErrorCode::NONE);
    cluster.stop_node(3 - leader).await.unwrap();
    assert_eq!(error(peer.call(&request, 9).await), ErrorCode::NOT_ENOUGH_REPLICAS);
    request.acks = 1;
    assert_eq!(error(peer.call(&request, 9).await), ErrorCode::NONE);
    // A topic cannot have more of them than it has replicas (KIP-966).
    let cluster = builder().config("min.insync.replicas", "2").topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let request = produce("t", 0, batch(&["x"]));
    assert_eq!(error(peer.call(&request, 9).await), ErrorCode::NONE);
}
