//! The mode `simulated`: a cluster in this process whose replies take as long as the lines on stdin say.

use std::{
    io::{BufRead, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use kcopy_mini_broker::MiniCluster;
use tokio::sync::mpsc;

/// Runs until stdin ends. Each line there is a round trip in milliseconds, answered by `ok`.
pub(crate) fn serve() -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cluster = runtime.block_on(MiniCluster::builder().start())?;
    answer(&cluster.bootstrap_servers())?;
    let (sender, mut lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    runtime.block_on(async {
        while let Some(line) = lines.recv().await {
            let millis = line.trim().parse().with_context(|| format!("{line:?} are no milliseconds"))?;
            cluster.set_round_trip(Duration::from_millis(millis)).await?;
            answer("ok")?;
        }
        cluster.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn answer(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}
