//! The task that owns all state. It decides, assigns offsets and appends; it never waits for a peer.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    io::DuplexStream,
    sync::{mpsc, oneshot},
    time::sleep_until,
};

use crate::{
    cluster::Cluster,
    faults::{Delivery, Faults, Judged, Verdict},
    handlers::{
        Context, Outcome, RequestBody, dispatch,
        fetch::{answer_waiting, disconnected, park},
        produce::{Append, append},
    },
    journal::Journal,
};

/// Requests that may wait for the actor, over all connections. Each connection has at most one, so this only bounds
/// bursts.
const COMMANDS: usize = 1024;

/// Where an outcome goes, and how its answer is to travel.
#[derive(Debug)]
pub(crate) struct Reply {
    sender: oneshot::Sender<(Outcome, Delivery)>,
    delivery: Delivery,
}

impl Reply {
    /// Hands over the outcome; a connection that is gone needs none.
    pub(crate) fn send(self, outcome: Outcome) {
        if self.sender.send((outcome, self.delivery)).is_err() {
            tracing::debug!("outcome for a closed connection");
        }
    }
}

/// What the actor is asked to do.
pub(crate) enum Command {
    Request {
        context: Context,
        body: Box<RequestBody>,
        reply: Reply,
    },
    Append {
        append: Box<Append>,
        delivery: Delivery,
        reply: Reply,
    },
    Disconnected {
        connection_id: u64,
    },
    /// Anything the cluster's owner wants.
    Control(Box<dyn FnOnce(&mut Actor) + Send>),
}

/// The state with what watches and disturbs it.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) cluster: Cluster,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    /// Where in-memory connections are accepted, by host and port.
    pub(crate) pipes: BTreeMap<(String, u16), mpsc::Sender<DuplexStream>>,
    next_connection_id: u64,
}

/// A way to the actor.
#[derive(Clone, Debug)]
pub(crate) struct Handle(mpsc::Sender<Command>);

impl Actor {
    /// Starts the actor; it ends when all handles are gone.
    pub(crate) fn spawn(cluster: Cluster, round_trip: Duration) -> Handle {
        let (sender, commands) = mpsc::channel(COMMANDS);
        let actor = Self {
            cluster,
            faults: Faults::new(round_trip),
            journal: Journal::default(),
            pipes: BTreeMap::new(),
            next_connection_id: 0,
        };
        tokio::spawn(actor.run(commands));
        Handle(sender)
    }

    pub(crate) fn new_connection_id(&mut self) -> u64 {
        self.next_connection_id += 1;
        self.next_connection_id
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let deadline = self.cluster.waiting.next_deadline();
            let time_is_up = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => self.handle(command),
                    None => return,
                },
                () = time_is_up => {}
            }
            answer_waiting(&mut self.cluster);
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Request { context, body, reply } => self.request(&context, *body, reply),
            Command::Append { append: batches, delivery, reply } => {
                let outcome = append(&mut self.cluster, *batches);
                self.finish(outcome, Reply { delivery, ..reply });
            }
            Command::Disconnected { connection_id } => disconnected(&mut self.cluster, connection_id),
            Command::Control(control) => control(self),
        }
    }

    fn request(&mut self, context: &Context, body: RequestBody, reply: Reply) {
        self.journal.record(context, body.api_key(), self.cluster.clock.now_ms());
        let Judged { verdict, delivery } = self.faults.judge(context, &body);
        let reply = Reply { delivery, ..reply };
        match verdict {
            Verdict::Proceed => {
                let outcome = dispatch(&mut self.cluster, context, body);
                self.finish(outcome, reply);
            }
            Verdict::Answer(response) => reply.send(Outcome::Reply(*response)),
            Verdict::Close => reply.send(Outcome::Close("a fault was injected")),
        }
    }

    fn finish(&mut self, outcome: Outcome, reply: Reply) {
        match outcome {
            Outcome::Park(plan) => park(&mut self.cluster, plan, reply),
            outcome => reply.send(outcome),
        }
    }
}

/// The actor is gone: the cluster was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

impl Handle {
    /// Asks for a request's outcome.
    ///
    /// # Errors
    /// The cluster was stopped.
    pub(crate) async fn request(
        &self,
        context: Context,
        body: RequestBody,
    ) -> Result<(Outcome, Delivery), Stopped> {
        let body = Box::new(body);
        self.ask(|reply| Command::Request { context, body, reply }).await
    }

    /// Asks for an append of validated records.
    ///
    /// # Errors
    /// The cluster was stopped.
    pub(crate) async fn append(
        &self,
        append: Append,
        delivery: Delivery,
    ) -> Result<(Outcome, Delivery), Stopped> {
        let append = Box::new(append);
        self.ask(|reply| Command::Append { append, delivery, reply }).await
    }

    /// Tells of a closed connection.
    pub(crate) async fn disconnected(&self, connection_id: u64) {
        // Without an actor there is nothing to forget.
        let _ = self.0.send(Command::Disconnected { connection_id }).await;
    }

    /// Runs something on the state.
    ///
    /// # Errors
    /// The cluster was stopped.
    pub(crate) async fn control<T: Send + 'static>(
        &self,
        control: impl FnOnce(&mut Actor) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (sender, receiver) = oneshot::channel();
        let run = Box::new(move |actor: &mut Actor| {
            // The asker may have gone away meanwhile; the change stands.
            let _ = sender.send(control(actor));
        });
        self.0.send(Command::Control(run)).await.map_err(|_| Stopped)?;
        receiver.await.map_err(|_| Stopped)
    }

    async fn ask(&self, command: impl FnOnce(Reply) -> Command) -> Result<(Outcome, Delivery), Stopped> {
        let (sender, receiver) = oneshot::channel();
        let reply = Reply { sender, delivery: Delivery::default() };
        self.0.send(command(reply)).await.map_err(|_| Stopped)?;
        receiver.await.map_err(|_| Stopped)
    }
}
