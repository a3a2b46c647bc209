//! A line to a server that can swallow everything, as a network does whose route is gone.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// Connections to its port go to the server.
pub struct Line {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    numbers: Mutex<Numbers>,
    changed: Condvar,
}

#[derive(Default)]
struct Numbers {
    /// Connections so far.
    taken: u64,
    /// Nothing gets through on those with a smaller number.
    cut_below: u64,
    /// Where these bytes have been sent nothing more gets through on that connection.
    cut_behind: Option<Vec<u8>>,
    is_over: bool,
}

impl State {
    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything may get through on this connection; waits for as long as it may not.
    fn passes(&self, number: u64) -> bool {
        let mut numbers = self.numbers();
        while number < numbers.cut_below && !numbers.is_over {
            numbers = self.changed.wait(numbers).unwrap_or_else(PoisonError::into_inner);
        }
        !numbers.is_over
    }

    /// Before the bytes go, so that no answer to them gets through.
    fn cut_behind(&self, number: u64, sent: &[u8]) {
        let mut numbers = self.numbers();
        let is_it = |bytes: &Vec<u8>| sent.windows(bytes.len()).any(|window| window == bytes);
        if numbers.cut_behind.as_ref().is_some_and(is_it) {
            numbers.cut_behind = None;
            numbers.cut_below = numbers.cut_below.max(number + 1);
        }
    }

    fn relay(&self, number: u64, is_request: bool, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if !self.passes(number) {
                break;
            }
            if is_request {
                self.cut_behind(number, &buffer[..length]);
            }
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        // An end has to get through as well.
        if self.passes(number) {
            let _ = to.shutdown(std::net::Shutdown::Write);
        }
    }
}

impl Line {
    /// A line to this port.
    ///
    /// # Panics
    /// When it cannot be laid.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its number").port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let number = {
                    let mut numbers = shared.numbers();
                    numbers.taken += 1;
                    numbers.taken - 1
                };
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    if !shared.passes(number) {
                        return;
                    }
                    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return };
                    let back = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
                    thread::scope(|scope| {
                        scope.spawn(|| shared.relay(number, false, back.0, back.1));
                        shared.relay(number, true, client, server);
                    });
                });
            }
        });
        Self { port, state }
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// On the connection on which these bytes are sent next, nothing gets through behind them.
    pub fn cut_behind(&self, bytes: &[u8]) {
        self.state.numbers().cut_behind = Some(bytes.to_vec());
    }

    /// From now on nothing gets through, and nobody is told.
    pub fn cut(&self) {
        self.state.numbers().cut_below = u64::MAX;
    }

    /// New connections get through again; those that there are never will.
    pub fn mend_for_new_ones(&self) {
        let mut numbers = self.state.numbers();
        numbers.cut_below = numbers.taken;
        drop(numbers);
        self.state.changed.notify_all();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.state.numbers().is_over = true;
        self.state.changed.notify_all();
    }
}
