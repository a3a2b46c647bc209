//! Frames that are cut, mutated or absurd: the connection may end, nothing else may.

use std::sync::{
    Once,
    atomic::{AtomicUsize, Ordering},
};

use bytes::{Bytes, BytesMut};
use kcopy_mini_broker::MiniCluster;
use kcopy_wire::{
    ApiKey, Request,
    frame::encode_request,
    messages::{ApiVersionsRequest, MetadataRequest},
};

use crate::peer::{Peer, batch, builder, fetch, produce};

/// A request of the API's default values in every version that can carry them.
fn default_frames<R: Request>(frames: &mut Vec<Bytes>) {
    for version in R::VERSIONS {
        if let Ok(frame) = encode_request(&R::default(), version, 1, Some("hostile")) {
            frames.push(frame.to_bytes());
        }
    }
}

macro_rules! all_default_frames {
    ($($api:ident $request:ident $response:ident;)*) => {
        fn all_frames() -> Vec<Bytes> {
            let mut frames = Vec::new();
            $(default_frames::<kcopy_wire::messages::$request>(&mut frames);)*
            frames.push(encode_request(&produce("t", 0, batch(&["a", "b"])), 9, 1, None).unwrap().to_bytes());
            frames.push(encode_request(&fetch("t", 0, 0), 12, 1, None).unwrap().to_bytes());
            frames
        }
    };
}
kcopy_wire::for_each_api!(all_default_frames);

/// Sends `body` as a frame of its true length on a connection of its own, and waits until the broker has dealt with
/// it: either it has closed the connection, or it answers what is asked next.
async fn survive(cluster: &MiniCluster, body: &[u8]) {
    let mut bad = Peer::connect(cluster).await;
    let mut frame = BytesMut::with_capacity(body.len() + 4);
    frame.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(body);
    bad.send_bytes(&frame).await;
    bad.send(&ApiVersionsRequest::default(), 0).await;
    // An answer, or the end; a fetch may wait a while, which simulated time skips.
    let _ = bad.read_frame().await;
}

/// A panic in a connection's task would go unnoticed otherwise.
fn notice_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            before(panic);
        }));
    });
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

async fn still_serves(cluster: &MiniCluster) {
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
    let mut good = Peer::connect(cluster).await;
    assert_eq!(good.call(&MetadataRequest::default(), 1).await.brokers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn frames_cut_at_each_byte_end_at_most_their_connection() {
    notice_panics();
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let frames = all_frames();
    assert!(frames.len() > 100, "{} frames", frames.len());
    for frame in frames {
        let body = &frame[4..];
        for length in 0..body.len() {
            survive(&cluster, &body[..length]).await;
        }
        still_serves(&cluster).await;
    }
}

#[tokio::test(start_paused = true)]
async fn mutated_frames_end_at_most_their_connection() {
    notice_panics();
    let cluster = builder().topic("t", 1).config("auto.create.topics.enable", "false").start().await.unwrap();
    let frames = all_frames();
    let mut state: u64 = 0x5eed;
    println!("seed {state:#x}");
    let mut random = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    for _ in 0..20_000 {
        let mut body = frames[random(frames.len())][4..].to_vec();
        for _ in 0..=random(3) {
            let at = random(body.len());
            body[at] = match random(4) {
                0 => 0xff,
                1 => 0x7f,
                2 => 0,
                _ => random(256) as u8,
            };
        }
        survive(&cluster, &body).await;
    }
    still_serves(&cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_compression_bomb_is_refused() {
    let cluster =
        builder().config("max.decompressed.message.bytes", "2000000").topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let zeros = "\0".repeat(4 << 20);
    let bomb = crate::peer::batch_with(
        kcopy_wire::records::Compression::Zstd,
        kcopy_wire::records::ProducerStamp::NONE,
        crate::peer::START_MS,
        &[&zeros],
    );
    assert!(bomb.len() < 1 << 16);
    let answer = peer.produce("t", 0, bomb).await;
    assert_eq!(answer.error_code, kcopy_wire::ErrorCode::MESSAGE_TOO_LARGE);
    assert_eq!(cluster.offsets("t", 0).await.unwrap(), (0, 0));
    assert_eq!(cluster.request_count(ApiKey::Produce).await.unwrap(), 1);
}

#[tokio::test]
async fn a_compression_bomb_holds_up_nobody_else() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut other = Peer::connect(&cluster).await;
    let mut peer = Peer::connect(&cluster).await;
    let bomb = crate::peer::batch_with(
        kcopy_wire::records::Compression::Zstd,
        kcopy_wire::records::ProducerStamp::NONE,
        crate::peer::START_MS,
        &[&"\0".repeat(32 << 20)],
    );
    assert!(bomb.len() < 1 << 16);
    let mut produced = std::pin::pin!(peer.produce("t", 0, bomb));
    let (request, mut meanwhile) = (MetadataRequest::default(), 0);
    loop {
        tokio::select! {
            biased;
            answer = &mut produced => {
                // Larger than a segment may be, or than a message: what counts is that it was looked at.
                assert_ne!(answer.error_code, kcopy_wire::ErrorCode::CORRUPT_MESSAGE);
                break;
            }
            _ = other.call(&request, 12) => meanwhile += 1,
        }
    }
    // Between a request and its answer here lie a few turns of the runtime, and there the decompression.
    assert!(meanwhile >= 10, "{meanwhile} answers in the time of the bomb's");
}
