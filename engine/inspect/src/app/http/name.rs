//! The names of the files that bodies are.
use super::events::HttpEvent;
use super::transaction::Transaction;
use super::uri;
use crate::app::parameter::parameter;

/// Bytes of a file's name that are kept (Suricata's figure).
pub(super) const MAX_NAME_BYTES: usize = 4096;

/// Names a request's body after the path it is sent to.
pub(super) fn name_request(transaction: &mut Transaction) {
    let name = path(transaction);
    transaction.request.body.file.name = bounded(name, transaction);
}

/// Names a response's body as its Content-Disposition says, or else after the path that was asked for.
pub(super) fn name_response(transaction: &mut Transaction) {
    let disposition = transaction.response.headers.first("content-disposition");
    let name = disposition.and_then(|value| parameter(value, b"filename"));
    let name = name.unwrap_or_else(|| path(transaction));
    transaction.response.body.file.name = bounded(name, transaction);
}

fn path(transaction: &Transaction) -> Vec<u8> {
    let mut path = Vec::new();
    uri::normalise_path(&uri::split(&transaction.request.uri_raw), &mut path);
    path
}

pub(super) fn bounded(mut name: Vec<u8>, transaction: &mut Transaction) -> Vec<u8> {
    if name.len() > MAX_NAME_BYTES {
        transaction.events.raise(HttpEvent::FileNameTooLong);
        name.truncate(MAX_NAME_BYTES);
    }
    name
}
