//! Reads a topic from its beginning to its present end, on a network thread of its own.
//!
//! `cargo run --release --example read_topic -- localhost:9092 TOPIC`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example is to be short")]

use std::{sync::mpsc, thread, time::Instant};

use kcopy_client::{
    Assignment, Client, ClientConfig, Consumer, ConsumerConfig, Error, ErrorKind, Event, Result, StartOffset,
};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let brokers = arguments.next().unwrap_or_else(|| "localhost:9092".into());
    let topic = arguments.next().unwrap_or_else(|| "test".into());
    let started = Instant::now();

    // The network runs ahead on its own thread; this one only takes batches.
    let (sender, receiver) = mpsc::sync_channel(1);
    let network = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let opened = open(&brokers, &topic).await;
            let (done, finished) = tokio::sync::oneshot::channel::<()>();
            // The runtime lives until the other side has read everything.
            if sender.send((opened, done)).is_ok() {
                let _ = finished.await;
            }
        });
    });
    let (opened, done) =
        receiver.recv().map_err(|_| Error::new(ErrorKind::Closed, "the network thread is gone"))?;
    let mut consumer = opened?;
    let (mut records, mut bytes) = (0_u64, 0_u64);
    while let Some(event) = consumer.next_blocking()? {
        match event {
            Event::Batch(batch) => {
                for record in batch.records() {
                    let record = record?;
                    records += 1;
                    bytes += record.value.map_or(0, <[u8]>::len) as u64;
                }
            }
            Event::EndOfPartition { topic, partition, offset, .. } => {
                eprintln!("end of {topic} [{partition}] at {offset}");
            }
            _ => {}
        }
    }
    println!("{records} records, {bytes} bytes in {} ms", started.elapsed().as_millis());
    drop(done);
    let _ = network.join();
    Ok(())
}

async fn open(brokers: &str, topic: &str) -> Result<Consumer> {
    let config = ClientConfig::builder().bootstrap_servers(brokers).build()?;
    let client = Client::connect(config).await?;
    let metadata = client.topics(&[topic]).await?;
    let partitions = metadata.topic(topic).map_or(0, |topic| topic.partitions.len() as i32);
    let all: Vec<_> =
        (0..partitions).map(|partition| Assignment::new(topic, partition, StartOffset::Earliest)).collect();
    let config = ConsumerConfig::default();
    let ranges = client.resolve(&all, &config).await?;
    client.consume(ranges, config)
}
