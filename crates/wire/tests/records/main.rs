//! Record batches through the public API: round trips, an independent codec, batches that Apache Kafka and
//! librdkafka wrote, and bytes that nobody should write.

mod support;

mod batches;
mod bombs;
mod builder;
mod control;
mod golden;
mod hostile;
mod oracle;
mod patch;
mod round_trip;
mod rules;
