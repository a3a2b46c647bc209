//! Everything asynchronous can be spawned onto a runtime of many threads.

use kcopy_client::{
    Client, IsolationLevel, OffsetQuery, Result, Target,
    admin::{ConfigAlteration, ConfigResource, DeleteRecords, NewPartitions, NewTopic},
    wire::messages::ListGroupsRequest,
};

fn spawnable<F: Future + Send + 'static>(future: F) -> F {
    future
}

/// Never polled: what it is made of is the test.
async fn everything(client: Client, offsets: Vec<OffsetQuery>) -> Result<()> {
    client.list_offsets(&offsets, IsolationLevel::ReadCommitted).await?;
    client.committed_offsets("g", &[]).await?;
    client.commit_offsets("g", &[]).await?;
    client.ensure_no_members("g").await?;
    client.request(Target::Any, &ListGroupsRequest::default()).await?;
    client.topics(&["t"]).await?;
    let admin = client.admin();
    admin.create_topics(&[NewTopic::new("t")]).await?;
    admin.delete_topics(&["t".into()]).await?;
    admin.create_partitions(&[] as &[NewPartitions]).await?;
    admin.describe_configs(&[ConfigResource::AllBrokers]).await?;
    admin.alter_configs(&[] as &[ConfigAlteration]).await?;
    admin.delete_records(&[] as &[DeleteRecords]).await?;
    admin.list_topics(None).await?;
    admin.describe_cluster().await?;
    let mut retry = client.retry("testing");
    retry.after(kcopy_client::Error::new(kcopy_client::ErrorKind::Timeout, "late"), &["t"]).await
}

#[test]
fn every_future_is_send() {
    let config = kcopy_client::ClientConfig::builder().bootstrap_servers("nowhere").build().unwrap();
    let future = spawnable(everything(Client::new(config), Vec::new()));
    assert!(size_of_val(&future) > 0);
}
