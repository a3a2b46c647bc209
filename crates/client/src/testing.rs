//! Scripted brokers at the other end of in-memory pipes.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use kcopy_wire::{
    ApiKey, ErrorCode, Reader, Request, frame,
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, MetadataResponse, api_versions_response::ApiVersion,
        metadata_response::MetadataResponseBroker,
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::{
    config::{ClientConfig, ClientConfigBuilder},
    transport::{BoxFuture, BoxStream, Connect},
};

/// Runs a script for each connection; `None` refuses it.
pub(crate) struct Script<F> {
    play: F,
    connections: Arc<AtomicUsize>,
}

impl<F, Fut> Connect for Script<F>
where
    F: Fn(usize, String, Peer) -> Option<Fut> + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let (ours, theirs) = duplex(1 << 20);
            let count = self.connections.fetch_add(1, Ordering::SeqCst);
            match (self.play)(count, format!("{host}:{port}"), Peer(theirs)) {
                Some(script) => drop(tokio::spawn(script)),
                None => return Err(io::ErrorKind::ConnectionRefused.into()),
            }
            Ok(Box::new(ours) as BoxStream)
        })
    }
}

/// A configuration whose brokers follow a script: it gets the number of the connection, the address and
/// the broker's end of the pipe.
pub(crate) fn scripted<F, Fut>(play: F) -> ClientConfigBuilder
where
    F: Fn(usize, String, Peer) -> Option<Fut> + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let script = Script { play, connections: Arc::default() };
    ClientConfig::builder().bootstrap_servers("one:9092").connector(script)
}

/// The broker's end of a pipe.
pub(crate) struct Peer(pub(crate) DuplexStream);

/// A request as it came.
pub(crate) struct Received {
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    frame: Bytes,
}

impl Received {
    pub(crate) fn decode<R: Request>(&self) -> R {
        assert_eq!(self.key, R::API_KEY);
        let (_, mut reader): (_, Reader) =
            frame::decode_request_header(self.frame.clone(), self.key, self.version).unwrap();
        R::decode(&mut reader, self.version).unwrap()
    }
}

impl Peer {
    /// The next request; None when the client has gone.
    pub(crate) async fn receive(&mut self) -> Option<Received> {
        let length = self.0.read_u32().await.ok()?;
        let mut body = vec![0; length as usize];
        self.0.read_exact(&mut body).await.ok()?;
        let frame = Bytes::from(body);
        let (key, version, correlation_id) = frame::peek_request(&frame).unwrap();
        Some(Received { key: ApiKey::try_from(key).unwrap(), version, correlation_id, frame })
    }

    pub(crate) async fn answer<R: Request>(&mut self, request: &Received, response: &R::Response) {
        let frame = frame::encode_response::<R>(response, request.version, request.correlation_id).unwrap();
        self.send(&frame.to_bytes()).await;
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // The client may have gone; then the test sees that at its own end.
        let _ = self.0.write_all(bytes).await;
    }

    /// Answers the version negotiation with all that this crate speaks.
    pub(crate) async fn negotiate(&mut self) {
        let request = self.receive().await.unwrap();
        self.answer::<ApiVersionsRequest>(&request, &all_versions()).await;
    }
}

/// Everything that this crate speaks.
pub(crate) fn all_versions() -> ApiVersionsResponse {
    let range = |key: ApiKey| {
        let versions = key.versions();
        ApiVersion {
            api_key: key as i16,
            min_version: *versions.start(),
            max_version: *versions.end(),
            ..Default::default()
        }
    };
    let api_keys = (0..100).filter_map(|key| ApiKey::try_from(key).ok()).map(range).collect();
    ApiVersionsResponse { api_keys, error_code: ErrorCode::NONE, ..Default::default() }
}

/// Metadata of brokers `(id, host)`, the first of them being the controller.
pub(crate) fn brokers(brokers: &[(i32, &str)]) -> MetadataResponse {
    let broker = |(id, host): &(i32, &str)| MetadataResponseBroker {
        node_id: *id,
        host: (*host).into(),
        port: 9092,
        ..Default::default()
    };
    MetadataResponse {
        brokers: brokers.iter().map(broker).collect(),
        controller_id: brokers.first().map_or(-1, |(id, _)| *id),
        ..Default::default()
    }
}
