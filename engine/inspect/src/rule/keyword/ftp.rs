//! Conditions on FTP.
use super::super::condition::{TxOperand, TxTest};
use super::super::draft::Draft;
use super::super::Reason;
use super::{flag, text, value, Keyword};
use crate::app::ftp::{DataTransaction, Transaction};
use crate::app::{self, AppProto, AppSet, Stage};

pub(super) const KEYWORDS: &[Keyword] = &[
    flag(&["ftpbounce"], ftpbounce),
    value(&["ftpdata_command"], ftpdata_command),
];

/// The client asks the server to connect to somebody else.
fn ftpbounce(draft: &mut Draft, keyword: &str) -> Result<(), Reason> {
    draft.need_apps(AppSet::of(&[AppProto::Ftp]), keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: "ftpbounce",
        sides: [Some(Stage::Line), None],
        holds: |transaction, _, _| {
            app::of::<Transaction>(transaction).is_some_and(Transaction::bounces)
        },
        operand: TxOperand::None,
    });
    Ok(())
}

/// The data connection is a download's or an upload's. Suricata asks downloads as the server speaks and uploads
/// as the client does, whichever end opened the connection.
fn ftpdata_command(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let upload = match text(keyword, value)?.trim() {
        "stor" => true,
        "retr" => false,
        other => {
            return Err(Reason::bad_value(
                keyword,
                format!("'{other}' is neither stor nor retr"),
            ))
        }
    };
    draft.need_apps(AppSet::of(&[AppProto::FtpData]), keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: "ftpdata_command",
        sides: if upload {
            [Some(Stage::Line), None]
        } else {
            [None, Some(Stage::Line)]
        },
        holds: |transaction, _, operand| {
            let transaction = app::of::<DataTransaction>(transaction);
            let upload = *operand == TxOperand::Number(1);
            transaction.is_some_and(|it| it.is_upload() == upload)
        },
        operand: TxOperand::Number(upload.into()),
    });
    Ok(())
}
