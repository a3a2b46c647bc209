"""Loads one topic of JSON into a table, as a Python service does it: confluent-kafka, json, psycopg's COPY.

    load.py HOST:PORT TOPIC GROUP DATABASE TABLE     (Python 3.11 or later, for dates that end in Z)

It ends where the partitions ended when they were assigned. At least once: rows are committed in PostgreSQL first and
offsets in Kafka then, so what is killed in between is loaded again.
"""

import json
import sys
from datetime import datetime

import psycopg
from confluent_kafka import Consumer, KafkaException, TopicPartition

# Messages in a transaction: with 10,000 it is slower, with 100,000 no faster.
BATCH = 50_000


def main(broker, topic, group, database, table):
    consumer = Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            # One second by default, for which nothing is fetched once enough was.
            "fetch.queue.backoff.ms": 10,
        }
    )
    ends = None  # where each assigned partition ends, until that is reached

    def assigned(consumer, partitions):
        nonlocal ends
        watermarks = {partition.partition: consumer.get_watermark_offsets(partition) for partition in partitions}
        ends = {partition: high for partition, (low, high) in watermarks.items() if high > low}

    consumer.subscribe([topic], on_assign=assigned)
    copy_rows = f"COPY {table} (id, customer, name, at) FROM STDIN (FORMAT binary)"
    with psycopg.connect(database, autocommit=True) as connection:
        while ends is None or ends:
            messages = consumer.consume(BATCH, timeout=1.0)
            if not messages:
                continue
            next_offsets = {}
            with connection.transaction(), connection.cursor() as cursor, cursor.copy(copy_rows) as copy:
                copy.set_types(["int8", "int8", "text", "timestamptz"])
                for message in messages:
                    if message.error():
                        raise KafkaException(message.error())
                    row = json.loads(message.value())
                    at = datetime.fromisoformat(row["at"])
                    copy.write_row((row["id"], row["customer"], row["name"], at))
                    next_offsets[message.partition()] = message.offset() + 1
            consumer.commit(
                offsets=[TopicPartition(topic, partition, offset) for partition, offset in next_offsets.items()],
                asynchronous=False,
            )
            ends = {partition: end for partition, end in ends.items() if next_offsets.get(partition, 0) < end}
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
