//! Turns a draft into a signature, or says why its parts don't go together.
use std::collections::BTreeSet;

use crate::app::AppProto;
use crate::event::default_priority;
use crate::wire::proto;
use crate::Direction;

use super::buffer::{Buffer, Inspection, Number, Test};
use super::condition::{Operand, PacketTest, TxTest};
use super::content::{Content, FastPattern};
use super::draft::Draft;
use super::keyword::only_of_syn;
use super::number::Range;
use super::shared::Shared;
use super::signature::{FlowbitChange, PayloadScene, Scene, Signature};
use super::{Protocol, Reason, Variables};

/// The signature that `draft` describes.
pub fn finish(mut draft: Draft<'_>, line: u32, variables: &Variables) -> Result<Signature, Reason> {
    draft.end()?;
    let sid = draft.sid.ok_or(Reason::MissingSid)?;
    draft
        .inspections
        .retain(|inspection| !inspection.tests.is_empty());
    disregard_case(&mut draft);
    ask_of_syn(&mut draft);
    check_contents(&draft)?;
    check_fast_pattern(&draft)?;
    check_flowbits(&draft)?;
    check_raw_header(&draft)?;
    direct(&mut draft)?;
    check_protocol(&draft)?;
    check_files(&draft)?;
    let scene = scene(&draft, variables)?;
    let cves = cves(&draft);
    let shared = &draft.load.shared;
    draft
        .inspections
        .iter_mut()
        .for_each(|it| compact(it, shared));
    let texts = |texts: Vec<String>| texts.iter().map(|text| shared.text(text)).collect();
    let pairs = draft.metadata.into_iter();
    Ok(Signature {
        gid: draft.gid,
        sid,
        rev: draft.rev.unwrap_or(0),
        cves: texts(cves),
        msg: draft.msg.unwrap_or_default().into(),
        action: draft.action,
        protocol: draft.protocol,
        priority: draft
            .priority
            .unwrap_or_else(|| default_priority(&draft.classtype).into()),
        classtype: shared.text(&draft.classtype),
        references: texts(draft.references),
        metadata: pairs.map(|(key, value)| shared.pair(key, value)).collect(),
        target: draft.target,
        file: shared.text(draft.file),
        line,
        header: shared.header(draft.header),
        apps: draft.apps,
        app_tests: draft.app_tests.into(),
        flow: draft.flow,
        packet_tests: draft.packet_tests.into(),
        flowbit_tests: draft.flowbit_tests.into(),
        flowbit_changes: draft.flowbit_changes.into(),
        names: draft.names.into(),
        flowints: draft.flowints.into(),
        variable_tests: draft.variable_tests.into(),
        host_tests: draft.host_tests.into(),
        host_changes: draft.host_changes.into(),
        tags: draft.tags.into(),
        bypass: draft.bypass,
        unrecorded: draft.unrecorded,
        tx_tests: draft.tx_tests.into(),
        inspections: draft.inspections.into(),
        thresholds: draft.thresholds.into(),
        suppressions: Vec::new(),
        suppressed: false,
        noalert: draft.noalert,
        scene,
    })
}

/// Gives back the room that was left for more conditions, and holds on to needles that others have too.
fn compact(inspection: &mut Inspection, shared: &Shared) {
    inspection.transforms.shrink_to_fit();
    inspection.tests.shrink_to_fit();
    inspection.tests.iter_mut().for_each(|it| share(it, shared));
}

fn share(test: &mut Test, shared: &Shared) {
    match test {
        Test::Content(content) => content.needle = shared.needle(&content.needle),
        Test::Base64(base64) => {
            base64.tests.shrink_to_fit();
            base64.tests.iter_mut().for_each(|it| share(it, shared));
        }
        _ => {}
    }
}

/// Every content of a draft with its buffer.
fn contents<'a>(
    draft: &'a Draft<'_>,
) -> impl Iterator<Item = (Option<&'static Buffer>, &'a Content)> {
    draft.inspections.iter().flat_map(|inspection| {
        inspection
            .contents()
            .map(|content| (inspection.buffer, content))
    })
}

/// Signatures on flags that no content finds are asked about fewer packets.
fn ask_of_syn(draft: &mut Draft) {
    let mut contents = draft.inspections.iter().flat_map(Inspection::contents);
    let found_by_content = contents.any(|content| !content.negated);
    if !found_by_content && !draft.prefiltered {
        let more: Vec<_> = draft.packet_tests.iter().filter_map(only_of_syn).collect();
        draft.packet_tests.extend(more);
    }
}

/// Contents of buffers whose bytes are of one case match in either.
fn disregard_case(draft: &mut Draft) {
    for inspection in &mut draft.inspections {
        if !inspection.buffer.is_some_and(|buffer| buffer.any_case) {
            continue;
        }
        for test in &mut inspection.tests {
            if let Test::Content(content) = test {
                content.needle = content.needle.without_case();
            }
        }
    }
}

/// Contents that could never match in their buffer, or not together with its `bsize`.
fn check_contents(draft: &Draft) -> Result<(), Reason> {
    for inspection in &draft.inspections {
        // What transforms leave is no longer what the buffer holds.
        let Some(buffer) = inspection
            .buffer
            .filter(|_| inspection.transforms.is_empty())
        else {
            continue;
        };
        for content in inspection.contents() {
            (buffer.validate)(content)
                .map_err(|why| Reason::Conflict(format!("{}: {why}", buffer.name)))?;
        }
    }
    for inspection in &draft.inspections {
        let of_packet = draft.dsize.filter(|_| inspection.is_payload());
        let of_packet = of_packet.map(Test::Size);
        let room = inspection
            .tests
            .iter()
            .chain(&of_packet)
            .find_map(|test| match test {
                Test::Size(Range::Is(size)) => Some(*size),
                // `<5` has room for five in Suricata's reckoning.
                Test::Size(Range::Within(_, size)) => Some(size.saturating_add(1)),
                _ => None,
            });
        let needed = needed_bytes(inspection);
        if room.is_some_and(|room| needed > room) {
            return Err(Reason::Conflict(format!(
                "contents of {needed} bytes never fit into the size that is asked for"
            )));
        }
    }
    Ok(())
}

/// How long a buffer must be for its contents to be found where they may lie.
fn needed_bytes(inspection: &Inspection) -> u64 {
    let fixed = |number: Option<Number>| match number {
        Some(Number::Fixed(number)) => u64::try_from(number).unwrap_or(0),
        _ => 0,
    };
    let (mut end, mut furthest) = (0u64, 0);
    for content in inspection.contents().filter(|it| !it.negated) {
        let from = if content.is_relative() {
            end.saturating_add(fixed(content.distance))
        } else {
            fixed(content.offset)
        };
        end = from.saturating_add(content.needle.len() as u64);
        furthest = end.max(furthest);
    }
    furthest
}

fn check_fast_pattern(draft: &Draft) -> Result<(), Reason> {
    let chosen = || contents(draft).filter(|(_, it)| it.fast_pattern != FastPattern::Unsaid);
    if chosen().count() > 1 {
        return Err(Reason::Conflict(
            "'fast_pattern' on more than one content".into(),
        ));
    }
    let Some((_, content)) = chosen().next() else {
        return Ok(());
    };
    let placed = content.is_relative() || content.offset.is_some() || content.depth.is_some();
    if content.negated && placed {
        return Err(Reason::Conflict(
            "'fast_pattern' on a negated content with a place".into(),
        ));
    }
    if content.fast_pattern == FastPattern::Only
        && (placed || content.negated || content.startswith)
    {
        return Err(Reason::Conflict(
            "'fast_pattern:only' on a content that is negated or has a place".into(),
        ));
    }
    Ok(())
}

/// A bit that is both set and cleared, or both demanded and excluded.
fn check_flowbits(draft: &Draft) -> Result<(), Reason> {
    let kind = |change: &FlowbitChange| match *change {
        FlowbitChange::Set(bit) => (0, bit),
        FlowbitChange::Unset(bit) => (1, bit),
        FlowbitChange::Toggle(bit) => (2, bit),
    };
    let changes = &draft.flowbit_changes;
    let two_ways = changes.iter().map(kind).any(|(how, bit)| {
        changes
            .iter()
            .map(kind)
            .any(|(other, same)| same == bit && other != how)
    });
    if two_ways {
        return Err(Reason::Conflict(
            "flowbits: one bit is changed in two ways".into(),
        ));
    }
    let tests = &draft.flowbit_tests;
    let contradiction = tests
        .iter()
        .filter(|test| !test.negated && test.bits.len() == 1)
        .any(|test| {
            tests
                .iter()
                .any(|other| other.negated && other.bits == test.bits)
        });
    if contradiction {
        return Err(Reason::Conflict(
            "flowbits: isset and isnotset of one bit".into(),
        ));
    }
    Ok(())
}

/// `http.header.raw` is both sides', so that the signature must say which one's it means.
fn check_raw_header(draft: &Draft) -> Result<(), Reason> {
    let mut buffers = draft.inspections.iter().filter_map(|it| it.buffer);
    let raw = buffers.any(|it| it.name == "http.header.raw");
    match raw && draft.flow.direction.is_none() {
        true => Err(Reason::Conflict(
            "'http.header.raw' needs a 'flow' that says to_server or to_client".into(),
        )),
        false => Ok(()),
    }
}

/// Derives the direction from the buffers: Suricata 7 evaluates a signature in one direction of a transaction.
fn direct(draft: &mut Draft) -> Result<(), Reason> {
    let buffers: Vec<_> = draft
        .inspections
        .iter()
        .filter_map(|it| it.buffer)
        .collect();
    for buffer in buffers {
        let only = match (buffer.to_server, buffer.to_client) {
            (Some(_), None) => Direction::ToServer,
            (None, Some(_)) => Direction::ToClient,
            _ => continue,
        };
        if !draft.need_direction(only) {
            return Err(Reason::Conflict(format!(
                "'{}' is not to be found in the direction that the signature is about",
                buffer.name
            )));
        }
    }
    for test in &draft.tx_tests.clone() {
        let only = match test.sides {
            [Some(_), None] => Direction::ToServer,
            [None, Some(_)] => Direction::ToClient,
            _ => continue,
        };
        if !draft.need_direction(only) {
            return Err(Reason::Conflict(format!(
                "'{}' is not to be found in the direction that the signature is about",
                test.keyword
            )));
        }
    }
    Ok(())
}

/// Files that Suricata refuses to be asked for in a signature on this protocol.
fn check_files(draft: &Draft) -> Result<(), Reason> {
    let buffers = || draft.inspections.iter().filter_map(|it| it.buffer);
    let named = |name: &str| buffers().any(|it| it.name == name);
    let about_files = buffers().any(|it| it.name.starts_with("file."))
        || draft.tx_tests.iter().any(TxTest::is_about_files);
    let refused = match draft.protocol {
        Protocol::Udp => named("file.data"),
        Protocol::App(AppProto::Http2) => named("file.name"),
        Protocol::App(AppProto::Dcerpc) => about_files,
        _ => false,
    };
    match refused {
        true => Err(Reason::Conflict(format!(
            "a condition on files in a signature on {}",
            draft.protocol.as_str()
        ))),
        false => Ok(()),
    }
}

fn check_protocol(draft: &Draft) -> Result<(), Reason> {
    let carried = [proto::TCP, proto::UDP]
        .into_iter()
        .any(|transport| draft.protocol.carries(transport) && draft.apps.runs_over(transport));
    if !draft.apps.is_empty() && !carried {
        return Err(Reason::Conflict(format!(
            "a buffer of an application protocol that {} does not carry",
            draft.protocol.as_str()
        )));
    }
    let in_transaction =
        draft.inspections.iter().any(|it| it.buffer.is_some()) || !draft.tx_tests.is_empty();
    let packets_alone = draft.needs_packet || draft.protocol == Protocol::TcpPkt;
    let events_alone = !draft.packet_tests.is_empty() && draft.packet_tests.iter().all(on_event);
    let stream_alone = draft.only_stream || draft.protocol == Protocol::TcpStream && !events_alone;
    if in_transaction && packets_alone {
        return Err(Reason::Conflict(
            "conditions on single packets (dsize, flags, ttl, no_stream, …) beside conditions on a \
             transaction"
                .into(),
        ));
    }
    if stream_alone && packets_alone {
        return Err(Reason::Conflict(
            "only_stream beside conditions on single packets".into(),
        ));
    }
    Ok(())
}

/// Where and when the signature is evaluated.
fn scene(draft: &Draft, variables: &Variables) -> Result<Scene, Reason> {
    let in_transaction =
        draft.inspections.iter().any(|it| it.buffer.is_some()) || !draft.tx_tests.is_empty();
    if in_transaction {
        return Ok(Scene::Transaction);
    }
    let payload = payload_scene(draft);
    let unread = draft.inspections.is_empty() && draft.apps.is_empty();
    let bare = unread && !draft.flow.given;
    if unread
        && draft.flow.is_direction_alone()
        && !draft.app_tests.is_empty()
        && draft.packet_tests.is_empty()
        && draft.flowbit_tests.is_empty()
    {
        return Ok(Scene::ProtocolOnly);
    }
    let no_reading = draft.flowbit_tests.is_empty()
        && draft.flowints.is_empty()
        && draft.variable_tests.is_empty();
    if bare
        && !draft.packet_tests.is_empty()
        && draft.packet_tests.iter().all(on_event)
        && draft.app_tests.is_empty()
        && no_reading
    {
        return Ok(Scene::EventsOnly);
    }
    let only_ip_proto = draft
        .packet_tests
        .iter()
        .all(|test| matches!(test.keyword, "ip_proto" | "l3_proto"));
    // Suricata counts a rule as one on addresses even where it names ports or no address at all, but not where it
    // excludes some: then it looks at every packet.
    let excluding = [&draft.header.src, &draft.header.dst]
        .into_iter()
        .any(|group| variables.excludes(group));
    // Setting a flowbit may stand beside, clearing one makes Suricata look at every packet.
    let only_sets = draft
        .flowbit_changes
        .iter()
        .all(|change| matches!(change, FlowbitChange::Set(_)));
    if bare && draft.app_tests.is_empty() && only_ip_proto && !excluding && no_reading && only_sets
    {
        return Ok(Scene::AddressesOnly);
    }
    Ok(Scene::Packet { payload })
}

fn on_event(test: &PacketTest) -> bool {
    matches!(test.operand, Operand::Event(_))
}

fn payload_scene(draft: &Draft) -> PayloadScene {
    if draft.only_stream {
        return PayloadScene::StreamOnly;
    }
    if !draft.inspections.iter().any(Inspection::is_payload) {
        return PayloadScene::None;
    }
    match draft.protocol {
        Protocol::TcpPkt => return PayloadScene::Packet,
        _ if draft.needs_packet => return PayloadScene::Packet,
        Protocol::TcpStream => return PayloadScene::Stream,
        _ => {}
    }
    let payload = draft.inspections.iter().filter(|it| it.is_payload());
    let placed = payload
        .flat_map(Inspection::contents)
        .any(|content| content.offset.is_some() || content.depth.is_some() || content.startswith);
    if placed || draft.also_packet {
        PayloadScene::Both
    } else {
        PayloadScene::Stream
    }
}

/// CVEs named anywhere in a rule: `CVE-2021-44228`, `cve,2021-44228`, `cve CVE_2021_44228`.
fn cves(draft: &Draft) -> Vec<String> {
    let mut found = BTreeSet::new();
    collect_cves(draft.msg.as_deref().unwrap_or_default(), false, &mut found);
    for reference in &draft.references {
        let (kind, id) = reference.split_once(',').unwrap_or((reference, ""));
        collect_cves(id, kind.eq_ignore_ascii_case("cve"), &mut found);
    }
    for (key, value) in &draft.metadata {
        collect_cves(value, key.eq_ignore_ascii_case("cve"), &mut found);
    }
    found.into_iter().collect()
}

/// Adds each `CVE-year-number` of `text`; `bare`: also each `year-number`.
fn collect_cves(text: &str, bare: bool, found: &mut BTreeSet<String>) {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    for word in words {
        let upper = word.to_ascii_uppercase().replace('_', "-");
        let (named, rest) = match upper.find("CVE-") {
            Some(at) => (true, &upper[at + 4..]),
            None => (false, upper.as_str()),
        };
        let mut parts = rest.split('-');
        let (Some(year), Some(number)) = (parts.next(), parts.next()) else {
            continue;
        };
        let digits =
            |part: &str, least| part.len() >= least && part.bytes().all(|b| b.is_ascii_digit());
        if (named || bare) && year.len() == 4 && digits(year, 4) && digits(number, 4) {
            found.insert(format!("CVE-{year}-{number}"));
        }
    }
}
