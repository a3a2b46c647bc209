//! Produce requests on their way to the brokers: one task for each, so that a broker that cannot be reached
//! holds nobody else up.

use std::{
    collections::{HashMap, VecDeque},
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use kcopy_wire::{
    ErrorCode, RecordBytes, Str,
    messages::{
        ProduceRequest, ProduceResponse,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
    },
};
use tokio::sync::mpsc;

use super::{
    batch::Placement,
    config::{Acks, ProducerConfig},
    error::RecordError,
    machine::{Send, SendItem},
    partition::Answer,
};
use crate::{
    Broker, Client, ErrorKind, Lane, PendingResponse,
    error::{Error, Result},
};

/// The oldest version with record batches, and the newest that names topics.
const VERSIONS: (i16, i16) = (3, 12);

/// How many answers may wait for the sender.
const ANSWERS: usize = 64;

/// What became of a request.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) request: u64,
    pub(super) broker: i32,
    pub(super) throttle_ms: i32,
    /// In the order of the request's items.
    pub(super) answers: Vec<Answer>,
}

/// The tasks of a producer, by broker.
#[derive(Debug)]
pub(super) struct BrokerTasks {
    client: Client,
    config: Arc<ProducerConfig>,
    tasks: HashMap<i32, mpsc::Sender<Send>>,
    answers: mpsc::Sender<Answered>,
}

impl BrokerTasks {
    pub(super) fn new(
        client: Client,
        config: Arc<ProducerConfig>,
    ) -> (BrokerTasks, mpsc::Receiver<Answered>) {
        let (answers, received) = mpsc::channel(ANSWERS);
        (BrokerTasks { client, config, tasks: HashMap::new(), answers }, received)
    }

    /// How many brokers have been sent something.
    pub(super) fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Hands a request over; requests to one broker keep their order. Gives the answer at once if nobody will
    /// send it.
    pub(super) fn send(&mut self, send: Send) -> Option<Answered> {
        let broker = send.broker;
        let task = self.tasks.entry(broker).or_insert_with(|| {
            // The machine has no more than this many requests under way.
            let (requests, received) = mpsc::channel(self.config.max_in_flight);
            let task = BrokerTask {
                client: self.client.clone(),
                config: self.config.clone(),
                broker,
                answers: self.answers.clone(),
                waiting: VecDeque::new(),
            };
            tokio::spawn(task.run(received));
            requests
        });
        let (send, error) = match task.try_send(send) {
            Ok(()) => return None,
            Err(mpsc::error::TrySendError::Full(send)) => (send, Error::closed("queue to the broker")),
            Err(mpsc::error::TrySendError::Closed(send)) => (send, Error::closed("runtime of the producer")),
        };
        self.tasks.remove(&broker);
        let answers = vec![Answer::Lost { sent: false, error }; send.items.len()];
        Some(Answered { request: send.request, broker, throttle_ms: 0, answers })
    }
}

struct BrokerTask {
    client: Client,
    config: Arc<ProducerConfig>,
    broker: i32,
    answers: mpsc::Sender<Answered>,
    waiting: VecDeque<Waiting>,
}

/// A request that was sent. Its batches are not held on to.
struct Waiting {
    request: u64,
    places: Vec<(Arc<str>, i32)>,
    answer: PendingResponse<ProduceRequest>,
}

impl BrokerTask {
    async fn run(mut self, mut requests: mpsc::Receiver<Send>) {
        loop {
            let answered = tokio::select! {
                biased;
                (waiting, response) = first(&mut self.waiting) => self.read(&waiting, response),
                request = requests.recv() => match request {
                    Some(send) => match self.start(send).await {
                        Some(answered) => answered,
                        None => continue,
                    },
                    // The producer has ended, and what is on its way no longer matters to it.
                    None => return,
                },
            };
            if self.answers.send(answered).await.is_err() {
                return;
            }
        }
    }

    /// Writes a request. Tells at once what came of it if no answer will.
    async fn start(&mut self, send: Send) -> Option<Answered> {
        let (request, count) = (send.request, send.items.len());
        let result = match self.config.acks {
            Acks::None => self.write(send).await.map(|()| Some(Answer::Acknowledged(Placement::default()))),
            Acks::Leader | Acks::All => self.write_for_answer(send).await.map(|()| None),
        };
        let answer = result.unwrap_or_else(|error| Some(unsent(error)))?;
        Some(Answered { request, broker: self.broker, throttle_ms: 0, answers: vec![answer; count] })
    }

    async fn write(&self, send: Send) -> Result<()> {
        let connection = self.client.broker_connection(self.broker, Lane::Shared).await?;
        let version = connection.version_within::<ProduceRequest>(VERSIONS.0, VERSIONS.1)?;
        connection.send_without_answer(&encode(&self.config, send.items), version).await
    }

    async fn write_for_answer(&mut self, send: Send) -> Result<()> {
        let connection = self.client.broker_connection(self.broker, Lane::Shared).await?;
        let version = connection.version_within::<ProduceRequest>(VERSIONS.0, VERSIONS.1)?;
        let places = send.items.iter().map(|item| (item.topic.clone(), item.partition)).collect();
        let request = encode(&self.config, send.items);
        let answer = connection.send(&request, version, self.config.request_timeout).await?;
        self.waiting.push_back(Waiting { request: send.request, places, answer });
        Ok(())
    }

    fn read(&self, waiting: &Waiting, response: Result<ProduceResponse>) -> Answered {
        let (answers, throttle_ms) = match response {
            Ok(response) => {
                self.take_leaders(&response);
                (answers(&waiting.places, &response), response.throttle_time_ms)
            }
            Err(error) => {
                let lost = Answer::Lost { sent: true, error };
                (vec![lost; waiting.places.len()], 0)
            }
        };
        Answered { request: waiting.request, broker: self.broker, throttle_ms, answers }
    }

    /// Brokers that no longer lead a partition say who does (KIP-951).
    fn take_leaders(&self, response: &ProduceResponse) {
        for topic in &response.responses {
            for partition in &topic.partition_responses {
                let leader = &partition.current_leader;
                if partition.error_code.is_ok() || leader.leader_id < 0 {
                    continue;
                }
                let endpoint = response.node_endpoints.iter().find(|node| node.node_id == leader.leader_id);
                let endpoint = endpoint.and_then(|node| {
                    let rack = node.rack.as_ref().map(Str::to_string);
                    let port = u16::try_from(node.port).ok()?;
                    Some(Broker { id: node.node_id, host: node.host.to_string(), port, rack })
                });
                let (leader_id, leader_epoch) = (leader.leader_id, leader.leader_epoch);
                self.client.take_leader(&topic.name, partition.index, leader_id, leader_epoch, endpoint);
            }
        }
    }
}

/// Waits for the oldest answer, for ever if there is none to wait for.
async fn first(waiting: &mut VecDeque<Waiting>) -> (Waiting, Result<ProduceResponse>) {
    let response = poll_fn(|cx| match waiting.front_mut() {
        Some(oldest) => Pin::new(&mut oldest.answer).poll(cx),
        None => Poll::Pending,
    })
    .await;
    let oldest = waiting.pop_front().expect("the answer was to the oldest request");
    (oldest, response)
}

/// The answer for a request that certainly did not reach the broker.
fn unsent(error: Error) -> Answer {
    match error.kind() {
        ErrorKind::UnsupportedVersion | ErrorKind::InvalidInput => Answer::Impossible(error),
        _ => Answer::Lost { sent: false, error },
    }
}

fn encode(config: &ProducerConfig, items: Vec<SendItem>) -> ProduceRequest {
    let mut topics: Vec<TopicProduceData> = Vec::new();
    for item in items {
        let data = PartitionProduceData {
            index: item.partition,
            records: Some(RecordBytes::from(item.data)),
            ..Default::default()
        };
        match topics.last_mut() {
            Some(topic) if *topic.name == *item.topic => topic.partition_data.push(data),
            _ => topics.push(TopicProduceData {
                name: Str::from(&*item.topic),
                partition_data: vec![data],
                ..Default::default()
            }),
        }
    }
    merge(&mut topics);
    ProduceRequest {
        acks: config.acks.wire(),
        timeout_ms: i32::try_from(config.request_timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data: topics,
        ..Default::default()
    }
}

/// A topic stands once in a request. It is met twice only where the turn of partitions wraps around.
fn merge(topics: &mut Vec<TopicProduceData>) {
    if topics.len() > 1 && topics.first().map(|t| &t.name) == topics.last().map(|t| &t.name) {
        let last = topics.pop().map(|topic| topic.partition_data).unwrap_or_default();
        topics[0].partition_data.extend(last);
    }
}

fn answers(places: &[(Arc<str>, i32)], response: &ProduceResponse) -> Vec<Answer> {
    let all: HashMap<(&str, i32), &PartitionProduceResponse> = response
        .responses
        .iter()
        .flat_map(|topic| topic.partition_responses.iter().map(|p| ((&*topic.name, p.index), p)))
        .collect();
    let answer = |(topic, partition): &(Arc<str>, i32)| match all.get(&(&**topic, *partition)) {
        Some(partition) => answer(partition),
        None => Answer::Lost {
            sent: true,
            error: Error::protocol("the broker's answer leaves this partition out")
                .with_partition(topic, *partition),
        },
    };
    places.iter().map(answer).collect()
}

fn answer(response: &PartitionProduceResponse) -> Answer {
    if response.error_code == ErrorCode::NONE {
        return Answer::Acknowledged(Placement {
            base_offset: (response.base_offset >= 0).then_some(response.base_offset),
            log_append_time: (response.log_append_time_ms >= 0).then_some(response.log_append_time_ms),
        });
    }
    let record_errors = response.record_errors.iter().map(|record| RecordError {
        batch_index: record.batch_index.max(0) as u32,
        message: record.batch_index_error_message.as_ref().map(Str::to_string),
    });
    Answer::Refused {
        code: response.error_code,
        message: response.error_message.as_ref().map(Str::to_string),
        record_errors: record_errors.collect(),
    }
}
