//! DescribeLogDirs (key 35), versions 1-5.
//!
//! There are no files; one directory is shown, with the bytes of the batches in memory.
//!
//! - 3: a top-level error
//! - 4: total and usable bytes, which are not known here
//! - 5: cordoned directories (KIP-1066)

use std::collections::BTreeSet;

use kcopy_wire::{
    Str,
    messages::{
        DescribeLogDirsRequest, DescribeLogDirsResponse,
        describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
    },
};

use super::Context;
use crate::cluster::Cluster;

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let wanted: Option<BTreeSet<(Str, i32)>> = request.topics.map(|topics| {
        let pairs = topics.into_iter().flat_map(|topic| {
            let name = topic.topic;
            topic.partitions.into_iter().map(move |partition| (name.clone(), partition))
        });
        pairs.collect()
    });
    let mut topics = Vec::new();
    for topic in cluster.topics.iter() {
        let here = (0..).zip(&topic.partitions).filter(|(index, partition)| {
            let asked = wanted.as_ref().is_none_or(|wanted| wanted.contains(&(topic.name.clone(), *index)));
            asked && partition.replicas.contains(&context.node_id)
        });
        let partitions: Vec<_> = here
            .map(|(partition_index, partition)| DescribeLogDirsPartition {
                partition_index,
                partition_size: i64::try_from(partition.log.size()).unwrap_or(i64::MAX),
                ..DescribeLogDirsPartition::default()
            })
            .collect();
        if !partitions.is_empty() {
            topics.push(DescribeLogDirsTopic {
                name: topic.name.clone(),
                partitions,
                ..DescribeLogDirsTopic::default()
            });
        }
    }
    let log_dir = cluster.configs.value("log.dirs", Some(context.node_id));
    let log_dir = log_dir.or_else(|| cluster.configs.value("log.dir", Some(context.node_id)));
    DescribeLogDirsResponse {
        results: vec![DescribeLogDirsResult {
            log_dir: log_dir.unwrap_or_default().into(),
            topics,
            ..DescribeLogDirsResult::default()
        }],
        ..DescribeLogDirsResponse::default()
    }
}
