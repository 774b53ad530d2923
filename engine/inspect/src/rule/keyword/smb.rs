//! SMB's buffers.
use super::super::buffer::{Buffer, Extract, Stage};
use super::{given, sticky, Keyword};
use crate::app::smb::transaction::{Kind, Transaction};
use crate::app::{of, AppProto, AppSet};

pub(super) const KEYWORDS: &[Keyword] = &[
    sticky(&["smb.named_pipe", "smb_named_pipe"], &NAMED_PIPE),
    sticky(&["smb.share", "smb_share"], &SHARE),
    sticky(&["smb.ntlmssp_user"], &NTLMSSP_USER),
    sticky(&["smb.ntlmssp_domain"], &NTLMSSP_DOMAIN),
];

const fn request(name: &'static str, stage: Stage, extract: Extract) -> Buffer {
    Buffer {
        to_server: Some(stage),
        to_client: None,
        ..Buffer::both(name, AppSet::of(&[AppProto::Smb]), extract)
    }
}

/// That a share is one of pipes, its server says.
static NAMED_PIPE: Buffer =
    request(
        "smb.named_pipe",
        Stage::Complete,
        |view, _, index, _| match &of::<Transaction>(view)?.kind {
            Kind::TreeConnect(tree) if tree.is_pipe && index == 0 => Some(&tree.share),
            _ => None,
        },
    );

/// Judged by its name before the server answered.
static SHARE: Buffer = request("smb.share", Stage::Body, |view, _, index, _| {
    let tx = of::<Transaction>(view)?;
    match &tx.kind {
        Kind::TreeConnect(tree) if index == 0 => {
            let is_pipe = tree.is_pipe || !tx.done[1] && tree.share.ends_with(b"IPC$");
            (!is_pipe).then_some(tree.share.as_slice())
        }
        _ => None,
    }
});

static NTLMSSP_USER: Buffer =
    request(
        "smb.ntlmssp_user",
        Stage::Body,
        |view, _, index, _| match &of::<Transaction>(view)?.kind {
            Kind::SessionSetup(setup) if index == 0 => {
                given(&setup.credentials.ntlmssp.as_ref()?.user)
            }
            _ => None,
        },
    );

static NTLMSSP_DOMAIN: Buffer =
    request(
        "smb.ntlmssp_domain",
        Stage::Body,
        |view, _, index, _| match &of::<Transaction>(view)?.kind {
            Kind::SessionSetup(setup) if index == 0 => {
                given(&setup.credentials.ntlmssp.as_ref()?.domain)
            }
            _ => None,
        },
    );
