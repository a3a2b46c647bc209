//! The control port through sockets of the loopback, and requests cut and bent in memory.

use kcopy_mini_broker::MiniCluster;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    Control, api,
    http::{Connection, Request, Response},
};

async fn cluster() -> MiniCluster {
    MiniCluster::builder().in_memory().nodes(2).topic("t", 2).start().await.unwrap()
}

/// `METHOD PATH` with a body, without any connection.
async fn ask(cluster: &mut MiniCluster, line: &str, body: &str) -> Response {
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        body: body.into(),
        keep: true,
    };
    api::answer(cluster, &request).await
}

#[tokio::test]
async fn the_cluster_is_changed_and_seen() {
    let cluster = &mut cluster().await;
    assert_eq!(ask(cluster, "POST /topics", r#"{"name":"n","partitions":3}"#).await.body["name"], json!("n"));
    assert_eq!(ask(cluster, "POST /leader", r#"{"topic":"t","partition":1,"node":1}"#).await.status, 200);
    let unclean = r#"{"topic":"t","partition":1,"node":1,"lost_from":0}"#;
    assert_eq!(ask(cluster, "POST /leader", unclean).await, Response::done(json!({})));
    let stopped = ask(cluster, "POST /nodes/2/stop", "").await;
    assert_eq!(stopped.body["nodes"][1], json!({"id": 2, "address": "mini:9093", "running": false}));
    let topics = ask(cluster, "GET /topics", "").await.body;
    assert_eq!(topics["topics"][0]["partitions"].as_array().unwrap().len(), 3);
    let partition = &topics["topics"][1]["partitions"][1];
    assert_eq!((&partition["leader"], &partition["log_end_offset"]), (&json!(1), &json!(0)));
    assert_eq!(ask(cluster, "POST /nodes/2/start", "").await.body["nodes"][1]["running"], json!(true));
    assert_eq!(ask(cluster, "POST /coordinator", r#"{"group":"g","node":2}"#).await.status, 200);
    assert_eq!(ask(cluster, "GET /offsets", "").await.body, json!({"offsets": []}));
    assert_eq!(ask(cluster, "POST /round-trip", r#"{"ms":5}"#).await.status, 200);
    let requests = ask(cluster, "GET /requests?api=fetch&last=3", "").await.body;
    assert_eq!(requests, json!({"count": 0, "requests": []}));
    let routes = ask(cluster, "GET /", "").await.body;
    assert!(routes["requests"]["POST /faults"].as_str().unwrap().contains("close_after"));
}

#[tokio::test]
async fn faults_of_every_kind_are_taken_and_ended() {
    let cluster = &mut cluster().await;
    for body in [
        r#"{"action":"error","error":"not_leader_or_follower","api":"Produce","times":2,"after":1}"#,
        r#"{"action":"error","error":-1,"node":2}"#,
        r#"{"action":"close","client_id":"c"}"#,
        r#"{"action":"close_after","times":null}"#,
        r#"{"action":"delay","delay_ms":10}"#,
        r#"{"action":"silence","api":"JoinGroup"}"#,
    ] {
        assert_eq!(ask(cluster, "POST /faults", body).await, Response::done(json!({})), "{body}");
    }
    assert_eq!(ask(cluster, "DELETE /faults", "").await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_done_says_why() {
    let cluster = &mut cluster().await;
    let cases = [
        ("POST /topics", "", 400, "\"name\" is missing"),
        ("POST /topics", "{", 400, "no JSON"),
        ("POST /topics", "[]", 400, "must be a JSON object"),
        ("POST /topics", r#"{"name":"n","partition":3}"#, 400, "known are name, partitions"),
        ("POST /topics", r#"{"name":"n","partitions":0}"#, 400, "at least one"),
        ("POST /topics", r#"{"name":"n","partitions":"3"}"#, 400, "whole number"),
        ("POST /topics", r#"{"name":"t"}"#, 409, "already exists"),
        ("POST /topics", r#"{"name":"a b"}"#, 409, "is invalid"),
        ("POST /leader", r#"{"topic":"t","partition":9,"node":1}"#, 404, "no partition 9"),
        ("POST /leader", r#"{"topic":"t","node":9}"#, 404, "no running broker 9"),
        ("POST /nodes/9/stop", "", 404, "no running broker 9"),
        ("POST /nodes/x/stop", "", 400, "no broker's number"),
        ("POST /nodes/1/stop", r#"{"hard":1}"#, 400, "nothing is expected"),
        ("POST /faults", r#"{"action":"eror"}"#, 400, "none of error, close"),
        ("POST /faults", r#"{"action":"error"}"#, 400, "\"error\" is missing"),
        (
            "POST /faults",
            r#"{"action":"error","error":"NOT_LEADER"}"#,
            400,
            "there is no error \"NOT_LEADER\"",
        ),
        ("POST /faults", r#"{"action":"error","error":0}"#, 400, "a name or a number"),
        ("POST /faults", r#"{"action":"close","error":3}"#, 400, "belongs to the action error"),
        ("POST /faults", r#"{"action":"close","api":"Produced"}"#, 400, "did you mean Produce?"),
        ("POST /faults", r#"{"action":"close","times":0}"#, 400, "at least 1"),
        ("POST /faults", r#"{"action":"delay"}"#, 400, "\"delay_ms\" is missing"),
        ("POST /faults", r#"{"action":"delay","delay_ms":3600001}"#, 400, "3600000 at most"),
        ("GET /requests?last=x", "", 400, "no number"),
        ("GET /requests?a=b", "", 400, "known are api and last"),
        ("PUT /faults", "", 405, "does not take PUT"),
        ("GET /nowhere", "", 404, "GET / lists"),
    ];
    for (line, body, status, reason) in cases {
        let response = ask(cluster, line, body).await;
        assert_eq!(response.status, status, "{line} {body}: {response:?}");
        let text = response.body["error"].as_str().unwrap_or_default();
        assert!(text.contains(reason), "{line} {body}: {text}");
    }
    let refused = ask(cluster, "POST /topics", r#"{"name":"t"}"#).await.body;
    assert_eq!(refused["code"], json!("TOPIC_ALREADY_EXISTS"));
}

/// What the port makes of these bytes, one by one request, until it refuses or they end.
async fn read(bytes: &[u8]) -> (Vec<Request>, Option<u16>) {
    let (mut ours, theirs) = tokio::io::duplex(1 << 20);
    ours.write_all(bytes).await.unwrap();
    ours.shutdown().await.unwrap();
    let mut connection = Connection::new(theirs);
    let mut requests = Vec::new();
    loop {
        match connection.read().await {
            Ok(Some(request)) => requests.push(request),
            Ok(None) => return (requests, None),
            Err(refused) => return (requests, Some(refused.status)),
        }
    }
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let bytes = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\nPOST /d HTTP/1.1\r\ncontent-length: 2\r\nConnection: Close\r\n\r\n{}";
    let (requests, refused) = read(bytes).await;
    assert_eq!(refused, None);
    let seen: Vec<_> = requests
        .iter()
        .map(|it| (it.method.as_str(), it.path.as_str(), it.query.as_str(), it.body.as_slice(), it.keep))
        .collect();
    assert_eq!(
        seen,
        [("GET", "/a", "b=c", b"".as_slice(), true), ("POST", "/d", "", b"{}".as_slice(), false)]
    );
    let first = bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
    for cut in 0..bytes.len() {
        let (requests, refused) = read(&bytes[..cut]).await;
        assert_eq!((requests.len(), refused), (usize::from(cut >= first), None), "cut at {cut}");
    }
}

#[tokio::test]
async fn what_is_no_request_or_too_large_is_refused() {
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000));
    let cases: [(&[u8], u16); 9] = [
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"\xff\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nnonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (long.as_bytes(), 431),
    ];
    for (bytes, status) in cases {
        assert_eq!(read(bytes).await, (Vec::new(), Some(status)), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::test]
async fn a_broker_is_stopped_and_a_fault_injected_over_tcp() {
    let mut cluster = MiniCluster::builder().topic("t", 1).start().await.unwrap();
    let broker = cluster.address(1).unwrap();
    let control = Control::bind("127.0.0.1", 0).await.unwrap();
    let address = control.address().unwrap();
    let test = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let body = r#"{"action":"close","api":"ApiVersions","times":1}"#;
        let fault = format!("POST /faults HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(fault.as_bytes()).await.unwrap();
        let mut buffer = vec![0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..read].starts_with(b"HTTP/1.1 200 OK\r\n"));
        // The fault meets the first ApiVersions, not the second.
        for answered in [false, true] {
            let mut client = TcpStream::connect(&broker).await.unwrap();
            client.write_all(b"\0\0\0\x0c\0\x12\0\0\0\0\0\x07\0\x02me").await.unwrap();
            assert_eq!(client.read(&mut buffer).await.unwrap_or(0) > 0, answered);
        }
        stream.write_all(b"POST /nodes/1/stop HTTP/1.1\r\n\r\nGET /requests HTTP/1.0\r\n\r\n").await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        let bodies: Vec<Value> =
            rest.lines().filter(|line| line.starts_with('{')).map(|line| line.parse().unwrap()).collect();
        assert_eq!(bodies[0]["nodes"][0]["running"], json!(false));
        assert_eq!(bodies[1]["count"], json!(2));
        assert!(TcpStream::connect(&broker).await.is_err());
    };
    tokio::select! {
        () = test => {}
        never = control.serve(&mut cluster) => match never {},
    }
}
