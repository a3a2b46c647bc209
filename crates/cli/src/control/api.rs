//! What can be asked on the control port.
//!
//! | request | body | does |
//! |---|---|---|
//! | `GET /` | | lists these |
//! | `GET /cluster` | | bootstrap servers, brokers, and which of them run |
//! | `GET /topics` | | topics with leaders, replicas and offsets |
//! | `POST /topics` | `{"name", "partitions"}` | creates a topic, of 1 partition by default |
//! | `GET /offsets` | | what groups have committed |
//! | `GET /requests?api=Fetch&last=10` | | the newest requests, oldest first: 1,000 of any API by default |
//! | `POST /nodes/ID/stop`, `POST /nodes/ID/start` | | stops or starts a broker |
//! | `POST /leader` | `{"topic", "partition", "node"}` | makes a broker a partition's leader |
//! | | `"lost_from"` as well | one that lacks the batch of this offset and all behind it: an unclean election |
//! | `POST /coordinator` | `{"group", "node"}` | makes a broker a group's coordinator |
//! | `POST /faults` | `{"action", ...}` | injects a fault |
//! | `DELETE /faults` | | ends all faults |
//! | `POST /round-trip` | `{"ms"}` | makes every answer arrive that much later |
//!
//! A fault's `action` is `error` (with `error`, a name or number of Kafka's), `close`, `close_after` (the work is
//! done), `delay` (with `delay_ms`) or `silence`. It meets every request, or those of an `api`, to a `node`, from a
//! `client_id`; `after` lets that many pass first, `times` ends it after so many. Everything answers 200 with a JSON
//! object; an `error` in it, with 400, 404, 405 or 409, says what is wrong.

use std::time::Duration;

use kcopy_mini_broker::{Error, Fault, FaultAction, MiniCluster};
use kcopy_wire::{ApiKey, ErrorCode};
use serde_json::{Value, json};

use super::{
    http::{Request, Response},
    members::{Members, required},
};
use crate::plan::nearest;

/// Requests that are listed unless `last` says otherwise.
const LAST: usize = 1000;
/// The longest delay.
const MAX_DELAY_MS: u64 = 3_600_000;

/// A longer name is not looked for among similar ones.
const MAX_NAME: usize = 64;

/// What `GET /` lists.
const ROUTES: [(&str, &str); 12] = [
    ("GET /cluster", "bootstrap servers and brokers"),
    ("GET /topics", "topics with leaders, replicas and offsets"),
    ("POST /topics", "create a topic: name, partitions"),
    ("GET /offsets", "what groups have committed"),
    ("GET /requests", "the newest requests; ?api=NAME&last=N"),
    ("POST /nodes/ID/stop", "stop a broker"),
    ("POST /nodes/ID/start", "start it again"),
    ("POST /leader", "move a leader: topic, partition, node; lost_from"),
    ("POST /coordinator", "move a group's coordinator: group, node"),
    (
        "POST /faults",
        "inject: action (error, close, close_after, delay, silence), error, delay_ms, api, node, client_id, after, times",
    ),
    ("DELETE /faults", "end all faults"),
    ("POST /round-trip", "delay every answer: ms"),
];

/// Why something was not done.
struct Refusal(Response);

impl From<String> for Refusal {
    fn from(reason: String) -> Refusal {
        Refusal(Response::refused(400, reason))
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        // With a code it is what a client would have been told; without one, something is not there.
        let status = if error.code().is_some() { 409 } else { 404 };
        let mut response = Response::refused(status, error.to_string());
        if let Some(code) = error.code() {
            response.body["code"] = code.name().into();
        }
        Refusal(response)
    }
}

/// Does what is asked.
pub(super) async fn answer(cluster: &mut MiniCluster, request: &Request) -> Response {
    match route(cluster, request).await {
        Ok(body) => Response::done(body),
        Err(Refusal(response)) => response,
    }
}

async fn route(cluster: &mut MiniCluster, request: &Request) -> Result<Value, Refusal> {
    let path: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    let mut members = Members::parse(&request.body)?;
    match (request.method.as_str(), path.as_slice()) {
        ("GET", [""]) => Ok(json!({"requests": Value::Object(
            ROUTES.iter().map(|(route, text)| ((*route).to_owned(), Value::from(*text))).collect()
        )})),
        ("GET", ["cluster"]) => Ok(describe(cluster)),
        ("GET", ["topics"]) => topics(cluster).await,
        ("POST", ["topics"]) => {
            let name = required("name", members.text("name")?)?;
            let partitions = members.number::<u16>("partitions")?.unwrap_or(1);
            members.finish()?;
            if partitions == 0 {
                return Err("a topic needs at least one partition".to_owned().into());
            }
            let id = cluster.create_topic(&name, partitions.into()).await?;
            Ok(json!({"name": name, "id": id.to_string()}))
        }
        ("GET", ["offsets"]) => offsets(cluster).await,
        ("GET", ["requests"]) => requests(cluster, &request.query).await,
        ("POST", ["nodes", id, change @ ("stop" | "start")]) => {
            members.finish()?;
            let id: i32 = id.parse().map_err(|_| format!("\"{id}\" is no broker's number"))?;
            if *change == "stop" {
                cluster.stop_node(id).await?
            } else {
                cluster.start_node(id).await?
            }
            Ok(describe(cluster))
        }
        ("POST", ["leader"]) => {
            let topic = required("topic", members.text("topic")?)?;
            let partition = members.number("partition")?.unwrap_or(0);
            let node = required("node", members.number("node")?)?;
            let lost_from = members.number("lost_from")?;
            members.finish()?;
            match lost_from {
                None => cluster.move_leader(&topic, partition, node).await?,
                Some(offset) => {
                    cluster.elect_uncleanly(&topic, partition, node, offset).await?;
                }
            }
            Ok(json!({}))
        }
        ("POST", ["coordinator"]) => {
            let group = required("group", members.text("group")?)?;
            let node = required("node", members.number("node")?)?;
            members.finish()?;
            cluster.move_coordinator(&group, node).await?;
            Ok(json!({}))
        }
        ("POST", ["faults"]) => {
            cluster.inject(fault(members)?).await?;
            Ok(json!({}))
        }
        ("DELETE", ["faults"]) => {
            cluster.clear_faults().await?;
            Ok(json!({}))
        }
        ("POST", ["round-trip"]) => {
            let delay = required("ms", milliseconds(&mut members, "ms")?)?;
            members.finish()?;
            cluster.set_round_trip(delay).await?;
            Ok(json!({}))
        }
        (method, path) => Err(Refusal(no_route(method, path))),
    }
}

fn no_route(method: &str, path: &[&str]) -> Response {
    let known = ["cluster", "topics", "offsets", "requests", "leader", "coordinator", "faults", "round-trip"];
    let first = path.first().copied().unwrap_or_default();
    if path.len() == 1 && (first.is_empty() || known.contains(&first)) {
        return Response::refused(405, format!("/{first} does not take {method}; GET / lists what there is"));
    }
    Response::refused(404, format!("there is no {method} /{}; GET / lists what there is", path.join("/")))
}

fn describe(cluster: &MiniCluster) -> Value {
    let nodes = cluster
        .node_ids()
        .map(|id| json!({"id": id, "address": cluster.address(id), "running": cluster.is_running(id)}));
    json!({"bootstrap_servers": cluster.bootstrap_servers(), "nodes": nodes.collect::<Vec<_>>()})
}

async fn topics(cluster: &MiniCluster) -> Result<Value, Refusal> {
    let topics = cluster.topics().await?.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().enumerate().map(|(index, partition)| {
            json!({
                "partition": index,
                "leader": partition.leader,
                "leader_epoch": partition.leader_epoch,
                "replicas": partition.replicas,
                "isr": partition.isr,
                "log_start_offset": partition.log_start_offset,
                "log_end_offset": partition.log_end_offset,
            })
        });
        json!({
            "name": topic.name,
            "id": topic.id.to_string(),
            "partitions": partitions.collect::<Vec<_>>(),
        })
    });
    Ok(json!({"topics": topics.collect::<Vec<_>>()}))
}

async fn offsets(cluster: &MiniCluster) -> Result<Value, Refusal> {
    let offsets = cluster.committed_offsets().await?.into_iter().map(|committed| {
        json!({
            "group": committed.group_id,
            "topic": committed.topic,
            "partition": committed.partition,
            "offset": committed.offset,
        })
    });
    Ok(json!({"offsets": offsets.collect::<Vec<_>>()}))
}

async fn requests(cluster: &MiniCluster, query: &str) -> Result<Value, Refusal> {
    let (mut api, mut last) = (None, LAST);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("api", name)) => api = Some(parse_api(name)?),
            Some(("last", count)) => {
                last = count.parse().map_err(|_| format!("last={count} is no number"))?;
            }
            _ => return Err(format!("{pair} is unknown; known are api and last").into()),
        }
    }
    let seen = cluster.requests().await?;
    let seen: Vec<_> = seen.iter().filter(|seen| api.is_none_or(|api| api == seen.api)).collect();
    let newest = &seen[seen.len().saturating_sub(last)..];
    let requests = newest.iter().map(|seen| {
        json!({
            "node": seen.node_id,
            "connection": seen.connection_id,
            "api": seen.api.name(),
            "version": seen.version,
            "client_id": seen.client_id,
            "at_ms": seen.at_ms,
        })
    });
    Ok(json!({"count": seen.len(), "requests": requests.collect::<Vec<_>>()}))
}

fn fault(mut members: Members) -> Result<Fault, String> {
    let action = required("action", members.text("action")?)?;
    let error = error_code(&mut members)?;
    let delay = milliseconds(&mut members, "delay_ms")?;
    let action = match (action.as_str(), error, delay) {
        ("error", Some(error), None) => FaultAction::Error(error),
        ("error", None, _) => return Err("\"error\" is missing: the name or number of an error".into()),
        ("delay", None, Some(delay)) => FaultAction::Delay(delay),
        ("delay", _, None) => return Err("\"delay_ms\" is missing".into()),
        ("close", None, None) => FaultAction::Close,
        ("close_after", None, None) => FaultAction::CloseAfter,
        ("silence", None, None) => FaultAction::Silence,
        ("error" | "delay" | "close" | "close_after" | "silence", ..) => {
            return Err("\"error\" belongs to the action error, \"delay_ms\" to delay".into());
        }
        (other, ..) => {
            return Err(format!("action \"{other}\" is none of error, close, close_after, delay, silence"));
        }
    };
    let mut fault = Fault::new(action);
    if let Some(api) = members.text("api")? {
        fault = fault.api(parse_api(&api)?);
    }
    if let Some(node) = members.number("node")? {
        fault = fault.node(node);
    }
    if let Some(client_id) = members.text("client_id")? {
        fault = fault.client_id(&client_id);
    }
    if let Some(after) = members.number("after")? {
        fault = fault.after(after);
    }
    if let Some(times) = members.number::<u64>("times")? {
        if times == 0 {
            return Err("\"times\" must be at least 1; without it, a fault lasts until DELETE /faults".into());
        }
        fault = fault.times(times);
    }
    members.finish()?;
    Ok(fault)
}

fn milliseconds(members: &mut Members, name: &'static str) -> Result<Option<Duration>, String> {
    match members.number::<u64>(name)? {
        Some(ms) if ms > MAX_DELAY_MS => Err(format!("\"{name}\" may be {MAX_DELAY_MS} at most, not {ms}")),
        ms => Ok(ms.map(Duration::from_millis)),
    }
}

/// `error`: a name or a number.
fn error_code(members: &mut Members) -> Result<Option<ErrorCode>, String> {
    let known = || (-1..=i16::from(u8::MAX)).map(ErrorCode).filter(|code| code.name() != "UNKNOWN");
    match members.take("error") {
        None => Ok(None),
        Some(Value::String(name)) => named("error", &name, known, ErrorCode::name).map(Some),
        Some(value) => {
            let number = value.as_i64().and_then(|number| i16::try_from(number).ok());
            let number = number.filter(|number| *number != 0);
            let code = number.ok_or_else(|| format!("\"error\" must be a name or a number, not {value}"))?;
            Ok(Some(ErrorCode(code)))
        }
    }
}

fn parse_api(name: &str) -> Result<ApiKey, String> {
    named("API", name, || (0..=i16::from(u8::MAX)).filter_map(|key| ApiKey::try_from(key).ok()), ApiKey::name)
}

/// The one of `known` that is called `name`, in whatever case.
fn named<T: Copy, I: Iterator<Item = T>>(
    kind: &str,
    name: &str,
    known: impl Fn() -> I,
    name_of: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    if let Some(found) = known().find(|candidate| name_of(*candidate).eq_ignore_ascii_case(name)) {
        return Ok(found);
    }
    let sane = name.len() <= MAX_NAME;
    let near = sane.then(|| nearest(name, known().map(&name_of))).flatten();
    let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
    Err(format!("there is no {kind} \"{name}\"{hint}"))
}
