//! Faults that the owner of the cluster injects.

use std::time::Duration;

use kcopy_wire::{ApiKey, ErrorCode};

use crate::handlers::{Context, RequestBody, ResponseBody, refuse};

/// What an injected fault does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultAction {
    /// Answer with this error wherever the response has room for one; nothing is done. Where the response has no
    /// room for an error, the connection is closed.
    Error(ErrorCode),
    /// Close the connection; nothing is done.
    Close,
    /// Do what is asked, then close the connection instead of answering.
    CloseAfter,
    /// Answer this much later.
    Delay(Duration),
    /// Do what is asked, and never answer this nor anything later on the connection.
    Silence,
}

/// A fault to inject, and which requests it meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    action: FaultAction,
    api: Option<ApiKey>,
    node_id: Option<i32>,
    client_id: Option<String>,
    skip: u64,
    count: Option<u64>,
}

impl Fault {
    /// A fault that meets every request.
    #[must_use]
    pub fn new(action: FaultAction) -> Self {
        Self { action, api: None, node_id: None, client_id: None, skip: 0, count: None }
    }

    /// Meets requests of this API only.
    #[must_use]
    pub fn api(mut self, api: ApiKey) -> Self {
        self.api = Some(api);
        self
    }

    /// Meets requests to this broker only.
    #[must_use]
    pub fn node(mut self, node_id: i32) -> Self {
        self.node_id = Some(node_id);
        self
    }

    /// Meets requests of this client only.
    #[must_use]
    pub fn client_id(mut self, client_id: &str) -> Self {
        self.client_id = Some(client_id.to_owned());
        self
    }

    /// Lets this many requests pass first.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Meets this many requests and is gone then; without it, all.
    #[must_use]
    pub fn times(mut self, requests: u64) -> Self {
        self.count = Some(requests);
        self
    }

    fn meets(&mut self, context: &Context, api: ApiKey) -> bool {
        let fits = self.api.is_none_or(|wanted| wanted == api)
            && self.node_id.is_none_or(|wanted| wanted == context.node_id)
            && self.client_id.as_deref().is_none_or(|wanted| context.client_id.as_deref() == Some(wanted));
        if !fits || self.count == Some(0) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if let Some(count) = &mut self.count {
            *count -= 1;
        }
        true
    }
}

/// The faults in force.
#[derive(Debug)]
pub(crate) struct Faults {
    faults: Vec<Fault>,
    /// Added to every answer.
    pub(crate) round_trip: Duration,
}

/// What faults make of a request before it is handled.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    pub(crate) delivery: Delivery,
}

#[derive(Debug)]
pub(crate) enum Verdict {
    Proceed,
    Answer(Box<ResponseBody>),
    Close,
}

/// How an answer travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) delay: Duration,
    pub(crate) close_instead: bool,
    pub(crate) never: bool,
}

impl Faults {
    pub(crate) fn new(round_trip: Duration) -> Self {
        Self { faults: Vec::new(), round_trip }
    }

    pub(crate) fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.faults.clear();
    }

    /// Applies the faults that a request meets, in the order of their injection.
    pub(crate) fn judge(&mut self, context: &Context, body: &RequestBody) -> Judged {
        let mut judged = Judged {
            verdict: Verdict::Proceed,
            delivery: Delivery { delay: self.round_trip, ..Delivery::default() },
        };
        let api = body.api_key();
        for fault in self.faults.iter_mut().filter_map(|fault| fault.meets(context, api).then_some(fault)) {
            match fault.action {
                FaultAction::Error(error) => {
                    judged.verdict = refuse(context, body, error)
                        .map_or(Verdict::Close, |response| Verdict::Answer(Box::new(response)));
                }
                FaultAction::Close => judged.verdict = Verdict::Close,
                FaultAction::CloseAfter => judged.delivery.close_instead = true,
                FaultAction::Delay(delay) => judged.delivery.delay += delay,
                FaultAction::Silence => judged.delivery.never = true,
            }
        }
        self.faults.retain(|fault| fault.count != Some(0));
        judged
    }
}
