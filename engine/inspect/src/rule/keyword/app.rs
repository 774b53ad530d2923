//! Conditions on the application protocol and on what its parser noticed.
use super::super::buffer::TxView;
use super::super::condition::TxTest;
use super::super::draft::Draft;
use super::super::lexer::unquote;
use super::super::signature::AppTest;
use super::super::Reason;
use super::{text, Keyword, Meaning};
use crate::app::http::HttpEvent;
use crate::app::AppProto;

pub(super) const KEYWORDS: &[Keyword] = &[
    Keyword {
        names: &["app-layer-protocol"],
        meaning: Meaning::Value(app_layer_protocol),
    },
    Keyword {
        names: &["app-layer-event"],
        meaning: Meaning::Value(app_layer_event),
    },
];

fn app_layer_protocol(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, unquote(value, false).unwrap_or(value))?;
    let (negated, name) = match value.strip_prefix('!') {
        Some(name) => (true, name.trim()),
        None => (false, value),
    };
    let app = match name {
        "failed" => None,
        "http1" => Some(AppProto::Http),
        _ => Some(
            AppProto::from_name(name)
                .ok_or_else(|| Reason::unsupported_form(keyword, format!("protocol '{name}'")))?,
        ),
    };
    if draft.app.is_some() {
        return Err(Reason::Conflict(
            "'app-layer-protocol' beside another protocol".into(),
        ));
    }
    draft.app_tests.push(AppTest { app, negated });
    Ok(())
}

fn app_layer_event(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, unquote(value, false).unwrap_or(value))?;
    let unsupported = || Reason::unsupported_form(keyword, format!("'{value}'"));
    let (protocol, name) = value.split_once('.').ok_or_else(unsupported)?;
    if !matches!(protocol, "http" | "http1") {
        return Err(unsupported());
    }
    let event = HttpEvent::from_name(name)
        .ok_or_else(|| Reason::bad_value(keyword, format!("no event '{name}'")))?;
    draft.need_app(AppProto::Http, keyword)?;
    let operand = event as u32;
    draft.tx_tests.push(TxTest {
        keyword: "app-layer-event",
        holds: has_event,
        operand,
    });
    Ok(())
}

fn has_event(view: &TxView<'_>, operand: u32) -> bool {
    match view {
        TxView::Http(tx) => tx.events.iter().any(|event| event as u32 == operand),
    }
}
