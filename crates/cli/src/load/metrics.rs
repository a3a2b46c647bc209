//! `--metrics`: counters in Prometheus' text format, over the smallest HTTP that scrapers need.

use std::{
    collections::VecDeque,
    fmt::Write,
    io,
    net::SocketAddr,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

use super::shared::{Shared, Stats, TableStats};

/// The longest request that is read.
const MAX_REQUEST_BYTES: usize = 8 << 10;
/// How long one scrape may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many scrapers there may be at once: the one that came first makes room for another one.
const MAX_SCRAPERS: usize = 16;

/// Listens; where port 0 was asked for, the address says which it became.
///
/// # Errors
/// The address cannot be listened on.
pub(super) async fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Answers until the run ends.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut scrapers: VecDeque<AbortHandle> = VecDeque::with_capacity(MAX_SCRAPERS);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                scrapers.retain(|scraper| !scraper.is_finished());
                if scrapers.len() == MAX_SCRAPERS
                    && let Some(first) = scrapers.pop_front()
                {
                    first.abort();
                }
                let shared = Arc::clone(&shared);
                let answering = tokio::spawn(async move {
                    // A scraper that went away, or is too slow, asks again.
                    let _ = tokio::time::timeout(PATIENCE, answer(stream, &shared)).await;
                });
                scrapers.push_back(answering.abort_handle());
            }
            // Too many open files, mostly: it passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).await?;
        if count == 0 || request.len() + count > MAX_REQUEST_BYTES {
            return Ok(());
        }
        request.extend_from_slice(&piece[..count]);
    }
    let (status, body) = match request.split(|byte| *byte == b' ').nth(1) {
        Some(b"/metrics" | b"/") if request.starts_with(b"GET ") => ("200 OK", text(shared)),
        _ => ("404 Not Found", "GET /metrics\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// All metrics. Names are stable.
fn text(shared: &Shared) -> String {
    let stats = &shared.stats;
    let mut out = String::with_capacity(4096);
    type Count = fn(&TableStats) -> &AtomicU64;
    let counters: [(&str, &str, Count); 4] = [
        ("records_total", "Records read and committed, rejected ones among them.", |table| &table.records),
        ("rows_total", "Rows written.", |table| &table.rows),
        ("bytes_total", "Bytes of rows that were sent.", |table| &table.bytes),
        ("rejected_total", "Records that the table could not take.", |table| &table.rejected),
    ];
    for (name, help, count) in counters {
        let _ = write!(out, "# HELP kcopy_load_{name} {help}\n# TYPE kcopy_load_{name} counter\n");
        for table in &stats.tables {
            let (label, count) = (label(&table.name), Stats::of(count(table)));
            let _ = writeln!(out, "kcopy_load_{name}{{table=\"{label}\"}} {count}");
        }
    }
    let mut put = |name: &str, kind: &str, help: &str, value: String| {
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    };
    for (name, help, counter) in [
        ("kcopy_load_commits_total", "Transactions committed.", &stats.commits),
        ("kcopy_load_failures_total", "Attempts that failed and were made again.", &stats.failures),
    ] {
        put(name, "counter", help, Stats::of(counter).to_string());
    }
    let last = stats.last_commit_ms.load(Ordering::Relaxed);
    if last > 0 {
        let help = "When the last transaction committed.";
        put("kcopy_load_last_commit_timestamp_seconds", "gauge", help, seconds(last));
    }
    let latency = stats.latency_ms.load(Ordering::Relaxed);
    if latency >= 0 {
        let help = "From the timestamp of the newest record of the last transaction to its commit.";
        put("kcopy_load_latency_seconds", "gauge", help, seconds(latency));
    }
    let partitions = stats.partitions.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, help) in [
        ("kcopy_load_next_offset", "The next offset to load."),
        ("kcopy_load_lag", "Offsets between the next one to load and the end of the log."),
    ] {
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for ((topic, partition), progress) in partitions.iter() {
            let value = match name {
                "kcopy_load_lag" => (progress.end - progress.position).max(0),
                _ => progress.position,
            };
            let route = shared.plan.routes.iter().find(|route| *route.topic == **topic);
            let table = label(route.map_or("", |route| &route.table));
            // A topic's name needs no escapes.
            let _ = writeln!(
                out,
                "{name}{{topic=\"{topic}\",partition=\"{partition}\",table=\"{table}\"}} {value}"
            );
        }
    }
    out
}

/// What stands between the quotes.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn seconds(milliseconds: i64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}
