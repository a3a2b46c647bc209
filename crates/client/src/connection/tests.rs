use std::{sync::Arc, task::Poll, time::Duration};

use kcopy_wire::{
    ApiKey, ErrorCode,
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, ListGroupsRequest, ListGroupsResponse, MetadataRequest,
        api_versions_response::ApiVersion, list_groups_response::ListedGroup,
    },
};
use tokio::io::{AsyncWriteExt, duplex};

use super::*;
use crate::testing::Peer;

async fn start(script: impl AsyncFnOnce(Peer) + 'static) -> (Result<Connection>, impl Future<Output = ()>) {
    start_with(2, script).await
}

/// Connects to a script. The returned future is the rest of the script.
async fn start_with(
    max_in_flight: usize,
    script: impl AsyncFnOnce(Peer) + 'static,
) -> (Result<Connection>, impl Future<Output = ()>) {
    let (ours, theirs) = duplex(1 << 20);
    let options = ConnectionOptions {
        client_id: "me".into(),
        request_timeout: Duration::from_secs(30),
        max_frame_bytes: 1 << 20,
        max_in_flight,
    };
    let mut script = Box::pin(script(Peer(theirs)));
    let pool = BufferPool::new(1 << 20);
    let started = Connection::start(Box::new(ours), HostPort::parse("one").unwrap(), &options, pool);
    let mut started = std::pin::pin!(started);
    let mut script_done = false;
    let connection = std::future::poll_fn(|cx| {
        if !script_done {
            script_done = script.as_mut().poll(cx).is_ready();
        }
        started.as_mut().poll(cx)
    })
    .await;
    let rest = async move {
        if !script_done {
            script.await;
        }
    };
    (connection, rest)
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_refuses_the_version_is_asked_again_in_its_own() {
    let (connection, _rest) = start(async |mut peer| {
        let request = peer.receive().await.unwrap();
        assert_eq!((request.key, request.version), (ApiKey::ApiVersions, 5));
        let refusal = ApiVersionsResponse {
            error_code: ErrorCode::UNSUPPORTED_VERSION,
            api_keys: vec![ApiVersion { api_key: 18, min_version: 0, max_version: 2, ..Default::default() }],
            ..Default::default()
        };
        let in_version_0 = frame::encode_response::<ApiVersionsRequest>(&refusal, 0, request.correlation_id);
        peer.send(&in_version_0.unwrap().to_bytes()).await;
        let request = peer.receive().await.unwrap();
        assert_eq!(request.version, 2);
        let answer = ApiVersionsResponse {
            api_keys: vec![ApiVersion { api_key: 3, min_version: 1, max_version: 7, ..Default::default() }],
            ..Default::default()
        };
        peer.answer::<ApiVersionsRequest>(&request, &answer).await;
    })
    .await;
    let connection = connection.unwrap();
    assert_eq!(connection.version_of::<MetadataRequest>().unwrap(), 7);
    assert_eq!(connection.version_within::<MetadataRequest>(0, 4).unwrap(), 4);
    let error = connection.version_within::<MetadataRequest>(8, 9).unwrap_err();
    assert!(error.to_string().contains("speaks Metadata v1 to v7, v8 to v9 is needed"), "{error}");
    let error = connection.version_of::<ListGroupsRequest>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
}

#[tokio::test(start_paused = true)]
async fn answers_find_their_requests_and_no_more_than_allowed_are_under_way() {
    let (connection, rest) = start(async |mut peer| {
        peer.negotiate().await;
        let mut received = Vec::new();
        for _ in 0..2 {
            received.push(peer.receive().await.unwrap());
        }
        assert!(tokio::time::timeout(Duration::from_secs(1), peer.receive()).await.is_err());
        for throttle_time_ms in 0..2 {
            let response = ListGroupsResponse { throttle_time_ms, ..Default::default() };
            peer.answer::<ListGroupsRequest>(&received[throttle_time_ms as usize], &response).await;
        }
        let third = peer.receive().await.unwrap();
        let response = ListGroupsResponse { throttle_time_ms: 2, ..Default::default() };
        peer.answer::<ListGroupsRequest>(&third, &response).await;
    })
    .await;
    let connection = connection.unwrap();
    let request = ListGroupsRequest::default();
    let timeout = Duration::from_secs(10);
    let mut pending = Vec::new();
    for _ in 0..3 {
        pending.push(connection.send(&request, 3, timeout).await.unwrap());
    }
    // The second is given up; its answer must not be taken for that of the third.
    drop(pending.remove(1));
    let answers = async {
        for (pending, expected) in pending.into_iter().zip([0, 2]) {
            assert_eq!(pending.await.unwrap().throttle_time_ms, expected);
        }
    };
    tokio::join!(rest, answers);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_deadline() {
    let (connection, rest) = start(async |mut peer| {
        peer.negotiate().await;
        while peer.receive().await.is_some() {}
    })
    .await;
    let connection = connection.unwrap();
    let before = Instant::now();
    let first = connection.send(&ListGroupsRequest::default(), 3, Duration::from_secs(7)).await.unwrap();
    let (error, ()) = tokio::join!(first, rest);
    let error = error.unwrap_err();
    assert_eq!((error.kind(), before.elapsed().as_secs()), (ErrorKind::Timeout, 7));
    assert_eq!(error.to_string(), "no answer to ListGroups in time (ListGroups v3, broker one:9092)");
    assert!(connection.is_closed());
    let later = connection.request(&ListGroupsRequest::default()).await.unwrap_err();
    assert_eq!(later.kind(), ErrorKind::Disconnected);
}

/// What hostile bytes lead to, sent in place of the answer to a request with correlation id 1.
async fn check_hostile(bytes: &'static [u8], kind: ErrorKind, text: &str) {
    let (connection, rest) = start(async move |mut peer| {
        peer.negotiate().await;
        peer.receive().await.unwrap();
        peer.send(bytes).await;
        // Cut, so that what is incomplete stays so.
        peer.0.shutdown().await.unwrap();
        while peer.receive().await.is_some() {}
    })
    .await;
    let connection = connection.unwrap();
    let request = ListGroupsRequest::default();
    let (error, ()) = tokio::join!(connection.request(&request), rest);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
    assert!(error.to_string().contains("broker one:9092"), "{error}");
    assert!(connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn hostile_answers_end_the_connection_with_the_reason() {
    check_hostile(b"\0\0\0\x04\0\0\0\x07", ErrorKind::Protocol, "correlation id 7 where 1 was due").await;
    check_hostile(b"\0\0\0\x03\0\0\0", ErrorKind::Protocol, "4 bytes needed").await;
    check_hostile(b"\0\0\0\x04\0\0\0\x01", ErrorKind::Protocol, "malformed").await;
    check_hostile(b"\0\0\0\x0e\0\0\0\x01\0\0\0\0\0\0\0\xff\xff\xff", ErrorKind::Protocol, "malformed").await;
    check_hostile(b"\0\0\0\x0e\0\0\0\x01\0\0\0\0\0\0\0\x01\0\x09", ErrorKind::Protocol, "follow").await;
    check_hostile(
        b"\x7f\xff\xff\xff\0\0\0\x01",
        ErrorKind::AnswerTooLarge,
        "above receive.message.max.bytes",
    )
    .await;
    check_hostile(b"\xff\xff\xff\xf0", ErrorKind::Protocol, "cannot have the length").await;
    check_hostile(b"SSH-2.0-OpenSSH_9.2", ErrorKind::Protocol, "begins with \"SSH-\"").await;
    check_hostile(b"\0\0\x10\0\0\0\0\x01half", ErrorKind::Disconnected, "after 8 of 4096 bytes").await;
    check_hostile(b"\0\0", ErrorKind::Disconnected, "within the length").await;
    check_hostile(b"", ErrorKind::Disconnected, "while ListGroups was waited for").await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_is_the_fault_of_its_question_alone() {
    let (connection, rest) = start(async move |mut peer| {
        peer.negotiate().await;
        for _ in 0..2 {
            peer.receive().await.unwrap();
        }
        peer.send(b"\0\x10\0\x01\0\0\0\x01").await;
    })
    .await;
    let connection = connection.unwrap();
    let (request, timeout) = (ListGroupsRequest::default(), Duration::from_secs(10));
    let first = connection.send(&request, 3, timeout).await.unwrap();
    let second = connection.send(&request, 3, timeout).await.unwrap();
    rest.await;
    let (first, second) = (first.await.unwrap_err(), second.await.unwrap_err());
    let text = "an answer of 1048577 bytes is above receive.message.max.bytes, which is 1048576 \
                (ListGroups v3, broker one:9092)";
    assert_eq!((first.to_string().as_str(), first.is_retriable()), (text, false));
    assert_eq!((second.kind(), second.is_retriable()), (ErrorKind::Disconnected, true));
}

#[tokio::test(start_paused = true)]
async fn garbage_in_the_negotiation_is_named() {
    let is_none = "the version negotiation failed; perhaps this is no Kafka broker: ";
    for (bytes, text) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "the peer speaks HTTP".to_owned()),
        (b"\x15\x03\x01\0\x02\x02\x46", "the peer speaks TLS".to_owned()),
        (b"E\0\0\0\x89SFATAL\0", "the peer speaks PostgreSQL's protocol".to_owned()),
        (b"\x4a\0\0\0\x0a5.7.44\0", format!("{is_none}an answer of 1241513984 bytes")),
        (b"220 ready\r\n", format!("{is_none}the peer sends text that begins with \"220 \"")),
        (b"\0\0\0\x02\0\0", format!("{is_none}malformed frame")),
        (b"\0\0\0\x08\0\0\0\0\0\0\xff\xff", format!("{is_none}malformed ApiVersionsResponse")),
    ] {
        let (connection, _rest) = start(async |mut peer| {
            peer.receive().await.unwrap();
            peer.send(bytes).await;
            while peer.receive().await.is_some() {}
        })
        .await;
        let error = connection.unwrap_err();
        assert!(error.to_string().starts_with(&text), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_connection_ends_with_its_last_handle() {
    let (connection, rest) = start(async |mut peer| {
        peer.negotiate().await;
        assert!(peer.receive().await.is_none());
    })
    .await;
    let connection = connection.unwrap();
    let other = connection.clone();
    drop(connection);
    assert!(!other.is_closed());
    drop(other);
    rest.await;
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_request_is_done_when_written() {
    let (connection, rest) = start(async |mut peer| {
        peer.negotiate().await;
        let first = peer.receive().await.unwrap();
        let second = peer.receive().await.unwrap();
        assert_eq!((first.version, second.version), (3, 2));
        peer.answer::<ListGroupsRequest>(&second, &ListGroupsResponse::default()).await;
    })
    .await;
    let connection = connection.unwrap();
    let client = async {
        let request = ListGroupsRequest::default();
        connection.send_without_answer(&request, 3).await.unwrap();
        connection.send(&request, 2, Duration::from_secs(5)).await.unwrap().await.unwrap();
    };
    tokio::join!(client, rest);
    assert_eq!(Arc::strong_count(&connection.0), 1);
}

#[tokio::test(start_paused = true)]
async fn every_answer_and_nothing_else_says_how_far_the_broker_is() {
    let (connection, rest) = start(async |mut peer| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        peer.negotiate().await;
        let request = peer.receive().await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
        peer.answer::<ListGroupsRequest>(&request, &ListGroupsResponse::default()).await;
        peer.receive().await.unwrap();
    })
    .await;
    let connection = connection.unwrap();
    assert_eq!(connection.round_trip().as_millis(), 50);
    let request = ListGroupsRequest::default();
    let asked = async {
        let version = connection.version_of::<ListGroupsRequest>().unwrap();
        let timeout = connection.request_timeout();
        connection.send(&request, version, timeout).await.unwrap().await.unwrap();
        assert_eq!(connection.round_trip().as_millis(), 3);
        // The broker goes away at once.
        connection.request(&request).await.unwrap_err();
    };
    tokio::join!(asked, rest);
    assert_eq!(connection.round_trip().as_millis(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_gets_a_large_answer_runs_before_the_next_one_is_read() {
    let (connection, rest) = start(async |mut peer| {
        peer.negotiate().await;
        let mut received = Vec::new();
        for _ in 0..2 {
            received.push(peer.receive().await.unwrap());
        }
        for request in &received {
            let group = ListedGroup { group_id: "g".repeat(30_000).into(), ..Default::default() };
            let response = ListGroupsResponse { groups: vec![group; 4], ..Default::default() };
            peer.answer::<ListGroupsRequest>(request, &response).await;
        }
    })
    .await;
    let connection = connection.unwrap();
    let (request, timeout) = (ListGroupsRequest::default(), Duration::from_secs(10));
    let first = connection.send(&request, 3, timeout).await.unwrap();
    let second = connection.send(&request, 3, timeout).await.unwrap();
    let asker = tokio::spawn(async move {
        first.await.unwrap();
        let mut second = std::pin::pin!(second);
        let is_ready = std::future::poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_ready())).await;
        assert!(!is_ready);
        second.await.unwrap();
    });
    rest.await;
    asker.await.unwrap();
}
