//! InitProducerId (key 22), versions 0-5.
//!
//! An idempotent producer gets a new id with epoch 0. Transactions are not served yet: a transactional id is answered
//! with UNSUPPORTED_VERSION, which clients take as final.
//!
//! - 3: producer id and epoch to go on with (KIP-360); only transactional producers may
//! - 4: PRODUCER_FENCED instead of INVALID_PRODUCER_EPOCH

use kcopy_wire::{
    ErrorCode,
    messages::{InitProducerIdRequest, InitProducerIdResponse},
};

use super::{Context, unserved};
use crate::cluster::Cluster;

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let failed = |error_code| InitProducerIdResponse {
        error_code,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    };
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return failed(ErrorCode::INVALID_REQUEST);
    }
    match request.transactional_id.as_deref() {
        Some("") => failed(ErrorCode::INVALID_REQUEST),
        Some(_) => {
            unserved::tell(context, "InitProducerId with a transactional id");
            failed(ErrorCode::UNSUPPORTED_VERSION)
        }
        None => InitProducerIdResponse {
            producer_id: cluster.new_producer_id(),
            producer_epoch: 0,
            ..InitProducerIdResponse::default()
        },
    }
}
