//! Runs a cluster until its standard input ends: `broker [PORT] [NODES] [TOPIC:PARTITIONS | PROPERTY=VALUE]...`.
#![allow(clippy::print_stdout, reason = "an example is to be short")]

use std::io::Read;

use kcopy_mini_broker::MiniCluster;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().map_or(Ok(9092), |port| port.parse())?;
    let nodes = arguments.next().map_or(Ok(1), |nodes| nodes.parse())?;
    let mut builder = MiniCluster::builder().listen("127.0.0.1", port).nodes(nodes);
    for topic in arguments {
        if let Some((name, value)) = topic.split_once('=') {
            builder = builder.config(name, value);
            continue;
        }
        let (name, partitions) = topic.split_once(':').unwrap_or((&topic, "1"));
        builder = builder.topic(name, partitions.parse()?);
    }
    let cluster = runtime.block_on(builder.start())?;
    println!("{}", cluster.bootstrap_servers());
    let (sender, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut sink = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut sink);
        let _ = sender.send(());
    });
    runtime.block_on(async {
        let _ = ended.await;
        cluster.stop().await;
    });
    Ok(())
}
