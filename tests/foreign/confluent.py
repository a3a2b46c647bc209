"""confluent-kafka (librdkafka) against a broker: `confluent.py SCENARIO HOST:PORT TOPIC`. Exits 0 when all is as it should be."""

import sys
import time

from confluent_kafka import Consumer, OFFSET_BEGINNING, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, OffsetSpec

LIMIT = 30


def consumer(broker, **properties):
    defaults = {"bootstrap.servers": broker, "group.id": "foreign", "enable.auto.commit": False}
    return Consumer({**defaults, **properties})


def read_all(broker, topic, partitions, **properties):
    """Every message from the beginning to the end that these partitions have now."""
    reader = consumer(broker, **properties)
    positions = [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)]
    ends = {position.partition: reader.get_watermark_offsets(position, LIMIT)[1] for position in positions}
    reader.assign(positions)
    messages, left, until = [], {partition for partition, end in ends.items() if end > 0}, time.monotonic() + LIMIT
    while left:
        assert time.monotonic() < until, f"no end of {sorted(left)} after {LIMIT} s"
        message = reader.poll(1)
        if message is None:
            continue
        assert message.error() is None, message.error()
        messages.append(message)
        if message.offset() + 1 >= ends[message.partition()]:
            left.discard(message.partition())
    reader.close()
    return messages


def produce(broker, topic, records, **properties):
    failures = []
    writer = Producer({"bootstrap.servers": broker, **properties})
    for record in records:
        writer.produce(topic, on_delivery=lambda error, _: error and failures.append(error), **record)
        writer.poll(0)
    assert writer.flush(LIMIT) == 0 and not failures, failures


def produce_and_consume(broker, topic):
    """Idempotent, with every codec, headers, NULLs and given times; order kept within a partition."""
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(LIMIT)
    sent = []
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        records = [
            {"key": b"key-%d" % (n % 7), "value": b"%s %d " % (codec.encode(), n) + b"x" * (n % 500),
             "partition": n % 3, "timestamp": 1_700_000_000_000 + n, "headers": [("h", b"1"), ("h", None), ("e", b"")]}
            for n in range(1000)
        ]
        records += [{"key": None, "value": b"", "partition": 0}, {"key": b"", "value": None, "partition": 0}]
        properties = {"enable.idempotence": True, "compression.type": codec, "linger.ms": 5}
        produce(broker, topic, records, **properties)
        sent += records
    got = read_all(broker, topic, 3, **{"check.crcs": True})
    for partition in range(3):
        want = [r for r in sent if r["partition"] == partition]
        have = [m for m in got if m.partition() == partition]
        assert [m.offset() for m in have] == list(range(len(want))), f"offsets of partition {partition}"
        assert [(m.key(), m.value(), m.headers() or []) for m in have] == \
            [(r["key"], r["value"], r.get("headers", [])) for r in want], f"partition {partition}"
        assert all(m.timestamp()[1] == r["timestamp"] for m, r in zip(have, want) if "timestamp" in r), "timestamps"


def positions(broker, topic):
    """Watermarks, offsets by time, and offsets committed without membership."""
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(LIMIT)
    times = [1_700_000_000_000 + 1000 * n for n in range(10)]
    produce(broker, topic, [{"value": b"%d" % n, "partition": 0, "timestamp": t} for n, t in enumerate(times)])
    reader = consumer(broker, **{"group.id": topic})
    partition = TopicPartition(topic, 0)
    assert reader.get_watermark_offsets(partition, LIMIT) == (0, 10)
    assert reader.offsets_for_times([TopicPartition(topic, 0, times[3] - 1)], LIMIT)[0].offset == 3
    assert reader.committed([partition], LIMIT)[0].offset < 0
    reader.commit(offsets=[TopicPartition(topic, 0, 4)], asynchronous=False)
    assert reader.committed([partition], LIMIT)[0].offset == 4
    reader.close()
    admin.delete_records([TopicPartition(topic, 0, 6)])[partition].result(LIMIT)
    listed = admin.list_offsets({partition: OffsetSpec.earliest()})[partition].result(LIMIT)
    assert listed.offset == 6, listed.offset
    assert [m.value() for m in read_all(broker, topic, 1)] == [b"6", b"7", b"8", b"9"]


def administration(broker, topic):
    """Topics are made, described, widened, configured and deleted, with Apache Kafka's errors."""
    admin = AdminClient({"bootstrap.servers": broker})

    def error_of(future):
        try:
            future.result(LIMIT)
        except Exception as error:  # confluent_kafka.KafkaException
            return error.args[0].name()
        return None

    new = NewTopic(topic, 2, 1, config={"retention.ms": "1234567"})
    assert error_of(admin.create_topics([new])[topic]) is None
    assert error_of(admin.create_topics([new])[topic]) == "TOPIC_ALREADY_EXISTS"
    assert error_of(admin.create_topics([NewTopic("a/b", 1, 1)])["a/b"]) == "TOPIC_EXCEPTION"
    wide = NewTopic(f"{topic}-wide", 1, 3)
    assert error_of(admin.create_topics([wide])[wide.topic]) == "INVALID_REPLICATION_FACTOR"
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    configs = admin.describe_configs([resource])[resource].result(LIMIT)
    assert configs["retention.ms"].value == "1234567" and not configs["retention.ms"].is_default
    assert configs["cleanup.policy"].value == "delete"
    assert error_of(admin.create_partitions([NewPartitions(topic, 5)])[topic]) is None
    assert error_of(admin.create_partitions([NewPartitions(topic, 3)])[topic]) == "INVALID_PARTITIONS"
    metadata = admin.list_topics(timeout=LIMIT)
    assert len(metadata.topics[topic].partitions) == 5
    assert error_of(admin.delete_topics([topic])[topic]) is None
    until = time.monotonic() + LIMIT
    while topic in admin.list_topics(timeout=LIMIT).topics:  # Apache Kafka's brokers learn of it a little later
        assert time.monotonic() < until, "a deleted topic is still listed"
    assert error_of(admin.delete_topics([topic])[topic]) == "UNKNOWN_TOPIC_OR_PART"


if __name__ == "__main__":
    scenario = {"produce_and_consume": produce_and_consume, "positions": positions, "administration": administration}
    scenario[sys.argv[1]](sys.argv[2], sys.argv[3])
