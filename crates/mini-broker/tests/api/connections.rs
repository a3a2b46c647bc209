//! What a peer may and may not do with a connection.

use std::time::Duration;

use kcopy_mini_broker::MiniCluster;
use kcopy_wire::{
    ApiKey, ErrorCode,
    messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::peer::{Peer, batch, builder, fetch};

#[tokio::test(start_paused = true)]
async fn api_versions_tells_what_is_served() {
    let cluster = builder().start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1.0".into(),
        ..Default::default()
    };
    let range = |response: &ApiVersionsResponse, key: ApiKey| {
        let api = response.api_keys.iter().find(|api| api.api_key == key as i16)?;
        Some((api.min_version, api.max_version))
    };
    for version in 0..=5 {
        let response = peer.call(&request, version).await;
        assert_eq!(response.error_code, ErrorCode::NONE);
        assert_eq!(range(&response, ApiKey::Produce), Some((0, 13)));
        assert_eq!(range(&response, ApiKey::Fetch), Some((4, 18)));
        assert_eq!(range(&response, ApiKey::ApiVersions), Some((0, 5)));
        assert_eq!(range(&response, ApiKey::JoinGroup), None);
        assert_eq!(range(&response, ApiKey::DescribeAcls), Some((1, 3)));
        // Features whose minimum is 0 cannot be told before version 4 (KAFKA-17011).
        let features = match version {
            0..3 => 0,
            3 => 1,
            _ => 7,
        };
        assert_eq!(response.supported_features.len(), features, "version {version}");
    }
    let unnamed = peer.call(&ApiVersionsRequest::default(), 3).await;
    assert_eq!(unnamed.error_code, ErrorCode::INVALID_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_version_of_api_versions_is_answered_with_version_0() {
    let cluster = builder().start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    peer.send_bytes(b"\0\0\0\x0e\0\x12\0\x63\0\0\0\x07\0\x02me\xff\xff").await;
    let response = peer.receive::<ApiVersionsRequest>(0).await;
    assert_eq!(response.error_code, ErrorCode::UNSUPPORTED_VERSION);
    assert_eq!(response.api_keys[0].max_version, 5);
    // The connection goes on.
    assert_eq!(peer.call(&MetadataRequest::default(), 1).await.brokers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn client_ids_need_be_no_text() {
    let cluster = builder().start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    // Two bytes that are not UTF-8, and a length of -2.
    for frame in
        [&b"\0\0\0\x0c\0\x12\0\0\0\0\0\x07\0\x02\xff\xfe"[..], b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\xff\xfe"]
    {
        peer.send_bytes(frame).await;
        assert_eq!(peer.receive::<ApiVersionsRequest>(0).await.error_code, ErrorCode::NONE);
    }
    assert_eq!(peer.call(&MetadataRequest::default(), 1).await.brokers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nonsense_closes_its_own_connection_only() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut good = Peer::connect(&cluster).await;
    let cases: [(&str, &[u8]); 9] = [
        ("an unknown key", b"\0\0\0\x0c\x7f\0\0\0\0\0\0\x01\0\x02me"),
        ("a negative key", b"\0\0\0\x0c\xff\xff\0\0\0\0\0\x01\0\x02me"),
        ("a request without its body", b"\0\0\0\x0c\0\x0b\0\0\0\0\0\x01\0\x02me"),
        ("an unknown version", b"\0\0\0\x0c\0\x03\0\x63\0\0\0\x01\0\x02me"),
        ("produce 2, though advertised", b"\0\0\0\x0c\0\0\0\x02\0\0\0\x01\0\x02me"),
        ("an empty frame", b"\0\0\0\0"),
        ("a huge count", b"\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\x7f\xff\xff\xff"),
        ("a huge length", b"\x7f\xff\xff\xff\0\x03\0\x01"),
        ("a negative length", b"\xff\xff\xff\xff\0\x03\0\x01"),
    ];
    for (name, bytes) in cases {
        let mut bad = Peer::connect(&cluster).await;
        bad.send_bytes(bytes).await;
        assert!(bad.read_frame().await.is_none(), "{name}");
        assert_eq!(good.produce("t", 0, batch(&["x"])).await.error_code, ErrorCode::NONE, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_dribbles_is_cut_off() {
    let cluster = builder().config("connections.max.idle.ms", "1000").start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let started = tokio::time::Instant::now();
    peer.send_bytes(b"\0\0\0\x64\0\x03").await;
    let dribble = async {
        loop {
            peer.send_bytes(&[0]).await;
            if let Ok(ended) = tokio::time::timeout(Duration::from_millis(300), peer.read_frame()).await {
                return ended;
            }
        }
    };
    assert!(dribble.await.is_none());
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    let mut idle = Peer::connect(&cluster).await;
    assert!(idle.read_frame().await.is_none());
    assert_eq!(started.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_in_order() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let mut waiting = fetch("t", 0, 0);
    waiting.max_wait_ms = 300;
    peer.send(&waiting, 12).await;
    peer.send(&MetadataRequest::default(), 1).await;
    let started = tokio::time::Instant::now();
    peer.receive::<kcopy_wire::messages::FetchRequest>(12).await;
    assert_eq!(started.elapsed(), Duration::from_millis(300));
    assert_eq!(peer.receive::<MetadataRequest>(1).await.brokers.len(), 1);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let large = batch(&[&"x".repeat(900_000)]);
    for _ in 0..4 {
        peer.produce("t", 0, large.clone()).await;
    }
    // 200 MB of answers that nobody takes.
    let mut stuck = Peer::connect(&cluster).await;
    let mut request = fetch("t", 0, 0);
    request.max_bytes = i32::MAX;
    request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
    for _ in 0..60 {
        stuck.send(&request, 12).await;
    }
    assert_eq!(peer.produce("t", 0, batch(&["x"])).await.base_offset, 4);
}

#[tokio::test]
async fn tcp_works_on_a_port_of_the_systems_choice() {
    let mut cluster = MiniCluster::builder().nodes(2).topic("t", 1).start().await.unwrap();
    let servers = cluster.bootstrap_servers();
    assert_eq!(servers.split(',').count(), 2);
    let first = cluster.address(1).unwrap();
    let request = b"\0\0\0\x0c\0\x12\0\0\0\0\0\x07\0\x02me";
    let mut stream = TcpStream::connect(&first).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut head = [0; 10];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head[4..], b"\0\0\0\x07\0\0");
    cluster.stop_node(1).await.unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.map_or(0, |rest| rest % 2), 0);
    assert!(TcpStream::connect(&first).await.is_err());
    cluster.start_node(1).await.unwrap();
    assert_eq!(cluster.bootstrap_servers(), servers);
    TcpStream::connect(&first).await.unwrap();
    cluster.stop().await;
    assert!(TcpStream::connect(&first).await.is_err());
}
