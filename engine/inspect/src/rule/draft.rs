//! A signature while its options are being read.
use std::borrow::Cow;

use crate::app::{AppProto, AppSet};
use crate::Direction;

use super::attachment::{beside, Attachments};
use super::buffer::{Buffer, Inspection, Number, Test, MAX_VARIABLES};
use super::condition::{FlowbitTest, PacketTest, TxTest};
use super::content::Content;
use super::dataset::Datasets;
use super::header::Header;
use super::number::Range;
use super::packet_buffer::PacketBuffer;
use super::shared::Shared;
use super::signature::{
    AppTest, FlowTest, FlowbitChange, Flowint, HostChange, HostTest, Tag, Target, VariableTest,
};
use super::threshold::Threshold;
use super::transform::Transform;
use super::{Action, Protocol, Reason};

/// How many conditions one signature may have in all.
const MAX_TESTS: usize = 256;
/// How many buffers they may be about: evaluation keeps one bit each.
const MAX_INSPECTIONS: usize = 64;

/// Where the next condition on bytes goes.
#[derive(Clone, Debug)]
enum Active {
    /// The packet's or stream's payload.
    Payload,
    /// A sticky buffer that has no condition yet.
    Named(Named, Vec<Transform>),
    /// A sticky buffer with conditions: index into the inspections.
    Buffer(usize),
    /// What a `base64_decode` gave: inspection and test.
    Base64(usize, usize),
}

/// A sticky buffer by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// Of a transaction.
    Transaction(&'static Buffer),
    /// Of a packet.
    Packet(&'static PacketBuffer),
}

impl Named {
    /// That of an inspection; `None`: payload.
    fn of(inspection: &Inspection) -> Option<Self> {
        let packet = || inspection.packet.map(Self::Packet);
        inspection.buffer.map(Self::Transaction).or_else(packet)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Transaction(buffer) => buffer.name,
            Self::Packet(buffer) => buffer.name,
        }
    }
}

/// Where a condition stands: inspection, index of the `base64_decode` around it, index.
#[derive(Clone, Copy, Debug)]
struct Place {
    inspection: usize,
    base64: Option<usize>,
    test: usize,
}

/// What the rules of one load have in common.
pub struct Load<'a> {
    /// Gives the files that rules name.
    attachments: &'a dyn Attachments,
    /// The data sets of all rules read so far.
    pub datasets: Datasets,
    /// What is held once for all signatures.
    pub shared: Shared,
}

impl<'a> Load<'a> {
    /// Nothing was read yet.
    pub fn new(attachments: &'a dyn Attachments) -> Self {
        Self {
            attachments,
            datasets: Datasets::default(),
            shared: Shared::default(),
        }
    }
}

/// A signature while its options are being read.
pub struct Draft<'a> {
    pub action: Action,
    pub protocol: Protocol,
    pub header: Header,
    pub warnings: Vec<String>,
    pub gid: u32,
    pub sid: Option<u32>,
    pub rev: Option<u32>,
    pub msg: Option<String>,
    pub classtype: String,
    pub priority: Option<u32>,
    pub references: Vec<String>,
    pub metadata: Vec<(String, String)>,
    pub target: Option<Target>,
    /// The flow must speak one of these; empty: anything.
    pub apps: AppSet,
    pub app_tests: Vec<AppTest>,
    pub flow: FlowTest,
    /// `flow` said more than a direction.
    pub flow_is_more_than_direction: bool,
    /// `flow:only_stream`.
    pub only_stream: bool,
    /// `flow:no_stream`, or a keyword that looks at single packets.
    pub needs_packet: bool,
    /// `stream_size`: packets as well as the stream.
    pub also_packet: bool,
    /// `dsize`.
    pub dsize: Option<Range>,
    pub packet_tests: Vec<PacketTest>,
    pub flowbit_tests: Vec<FlowbitTest>,
    pub flowbit_changes: Vec<FlowbitChange>,
    pub names: Vec<(u64, String)>,
    /// What the flowbits that it asks for are called, as messages show it.
    pub asked: Vec<(u64, String)>,
    pub flowints: Vec<Flowint>,
    pub variable_tests: Vec<VariableTest>,
    pub host_tests: Vec<HostTest>,
    pub host_changes: Vec<HostChange>,
    pub tags: Vec<Tag>,
    pub bypass: bool,
    /// A match leaves its transaction without a record.
    pub unrecorded: bool,
    pub tx_tests: Vec<TxTest>,
    pub inspections: Vec<Inspection>,
    pub thresholds: Vec<Threshold>,
    pub noalert: bool,
    /// `prefilter` on a condition that is not `app-layer-protocol`.
    pub prefiltered: bool,
    /// The rule's file.
    pub file: &'a str,
    pub load: &'a Load<'a>,
    variables: Vec<String>,
    active: Active,
    last_content: Option<Place>,
}

impl<'a> Draft<'a> {
    /// A signature of which only the header is known.
    pub fn new(
        load: &'a Load<'a>,
        file: &'a str,
        action: Action,
        protocol: Protocol,
        header: Header,
    ) -> Self {
        Self {
            action,
            protocol,
            header,
            warnings: Vec::new(),
            gid: 1,
            sid: None,
            rev: None,
            msg: None,
            classtype: String::new(),
            priority: None,
            references: Vec::new(),
            metadata: Vec::new(),
            target: None,
            apps: protocol.apps(),
            app_tests: Vec::new(),
            flow: FlowTest::default(),
            flow_is_more_than_direction: false,
            only_stream: false,
            needs_packet: false,
            also_packet: false,
            dsize: None,
            packet_tests: Vec::new(),
            flowbit_tests: Vec::new(),
            flowbit_changes: Vec::new(),
            names: Vec::new(),
            asked: Vec::new(),
            flowints: Vec::new(),
            variable_tests: Vec::new(),
            host_tests: Vec::new(),
            host_changes: Vec::new(),
            tags: Vec::new(),
            bypass: false,
            unrecorded: false,
            tx_tests: Vec::new(),
            inspections: Vec::new(),
            thresholds: Vec::new(),
            noalert: action == Action::Pass,
            prefiltered: false,
            file,
            load,
            variables: Vec::new(),
            active: Active::Payload,
            last_content: None,
        }
    }

    /// Makes `buffer` the one that following conditions are about.
    ///
    /// Errors: the sticky buffer before it got none; it belongs to another protocol.
    pub fn enter(&mut self, buffer: &'static Buffer) -> Result<(), Reason> {
        self.leave()?;
        self.need_apps(buffer.apps, buffer.name)?;
        self.active = Active::Named(Named::Transaction(buffer), Vec::new());
        Ok(())
    }

    /// Makes a packet's `buffer` the one that following conditions are about.
    ///
    /// Errors: the sticky buffer before it got none; other packets than those of the header have it.
    pub fn enter_packet(&mut self, buffer: &'static PacketBuffer) -> Result<(), Reason> {
        self.leave()?;
        if let Some(number) = buffer.protocol {
            if !self.protocol.carries(number) {
                return Err(Reason::Conflict(format!(
                    "'{}' is not to be found in packets of {}",
                    buffer.name,
                    self.protocol.as_str()
                )));
            }
        }
        self.needs_packet |= buffer.needs_header;
        self.active = Active::Named(Named::Packet(buffer), Vec::new());
        Ok(())
    }

    /// The path of a file that the rule names.
    pub fn beside(&self, path: &str) -> String {
        beside(self.file, path)
    }

    /// The bytes of a file that the rule names by its path beside the rule's own.
    ///
    /// Errors: it is not given, and why.
    pub fn attachment(&self, path: &str) -> Result<Cow<'a, [u8]>, String> {
        self.load.attachments.get(&self.beside(path))
    }

    /// Notes what the rule says and is not done.
    pub fn warn(&mut self, what: impl Into<String>) {
        self.warnings.push(what.into());
    }

    /// Makes payload what following conditions are about.
    pub fn enter_payload(&mut self) -> Result<(), Reason> {
        self.leave()?;
        self.active = Active::Payload;
        Ok(())
    }

    /// Makes what the last `base64_decode` gave what following conditions are about.
    pub fn enter_base64(&mut self) -> Result<(), Reason> {
        let found = self
            .inspections
            .iter()
            .enumerate()
            .rev()
            .find_map(|(at, inspection)| {
                let test = inspection
                    .tests
                    .iter()
                    .rposition(|test| matches!(test, Test::Base64(_)))?;
                Some((at, test))
            });
        let (inspection, test) =
            found.ok_or_else(|| Reason::NothingToModify("base64_data".into()))?;
        self.active = Active::Base64(inspection, test);
        Ok(())
    }

    /// Errors: the sticky buffer that is left has no condition.
    pub fn leave(&self) -> Result<(), Reason> {
        match self.active {
            Active::Named(buffer, ref transforms)
                if !transforms.is_empty() || !self.has_conditions_on(buffer) =>
            {
                Err(Reason::Conflict(format!(
                    "sticky buffer '{}' has no condition",
                    buffer.name()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Errors: the sticky buffer that the rule ends with has no condition anywhere in it.
    pub fn end(&self) -> Result<(), Reason> {
        match self.active {
            Active::Named(buffer, _) if self.has_conditions_on(buffer) => Ok(()),
            _ => self.leave(),
        }
    }

    fn has_conditions_on(&self, buffer: Named) -> bool {
        self.inspections
            .iter()
            .any(|it| Named::of(it) == Some(buffer) && !it.tests.is_empty())
    }

    /// Whether `buffer` is the active sticky buffer, as it is.
    pub fn is_in(&self, buffer: &'static Buffer) -> bool {
        match &self.active {
            Active::Named(named, transforms) => {
                *named == Named::Transaction(buffer) && transforms.is_empty()
            }
            Active::Buffer(at) => {
                let inspection = &self.inspections[*at];
                inspection.buffer == Some(buffer) && inspection.transforms.is_empty()
            }
            Active::Payload | Active::Base64(..) => false,
        }
    }

    /// Adds a transform to the active sticky buffer; one that has conditions is entered anew for it.
    ///
    /// Errors: there is none, or its conditions are about what transforms left.
    pub fn transform(&mut self, keyword: &str, transform: Transform) -> Result<(), Reason> {
        if let Active::Buffer(at) = self.active {
            let inspection = &self.inspections[at];
            if let (Some(named), true) = (Named::of(inspection), inspection.transforms.is_empty()) {
                self.active = Active::Named(named, Vec::new());
            }
        }
        match &mut self.active {
            Active::Named(Named::Packet(buffer), _) if !buffer.needs_header => Err(
                Reason::Conflict(format!("'{keyword}' does not transform an address")),
            ),
            Active::Named(_, transforms) => {
                transforms.push(transform);
                Ok(())
            }
            _ => Err(Reason::Conflict(format!(
                "transform '{keyword}' must follow its sticky buffer directly"
            ))),
        }
    }

    /// Whether payload, or `buffer`, has a content or expression, from whose place a relative condition may count.
    pub fn has_match_in(&self, buffer: Option<&Buffer>) -> bool {
        let mut all = self.inspections.iter();
        all.any(|it| {
            if it.buffer != buffer || it.packet.is_some() {
                return false;
            }
            let mut tests = it.tests.iter();
            tests.any(|test| matches!(test, Test::Content(_) | Test::Pcre(_)))
        })
    }

    /// Whether a sticky buffer is active.
    pub fn in_buffer(&self) -> bool {
        !matches!(self.active, Active::Payload)
    }

    /// Adds a condition on the active buffer.
    pub fn push(&mut self, test: Test) -> Result<(), Reason> {
        let is_content = matches!(test, Test::Content(_));
        let inspection = self.active_inspection();
        self.check_transforms(inspection, &test)?;
        let place = match self.active {
            Active::Base64(_, decode) => {
                let Test::Base64(base64) = &mut self.inspections[inspection].tests[decode] else {
                    return Err(Reason::NothingToModify("base64_data".into()));
                };
                base64.tests.push(test);
                Place {
                    inspection,
                    base64: Some(decode),
                    test: base64.tests.len() - 1,
                }
            }
            _ => self.append(inspection, test),
        };
        if is_content {
            self.last_content = Some(place);
        }
        self.check_bounds()
    }

    /// Errors: the transforms leave no bytes like these.
    fn check_transforms(&self, inspection: usize, test: &Test) -> Result<(), Reason> {
        let transforms = &self.inspections[inspection].transforms;
        match test {
            Test::Content(content) if !content.negated => {
                let bytes = content.needle.bytes();
                if transforms.iter().all(|it| it.may_leave(bytes)) {
                    return Ok(());
                }
                Err(Reason::Conflict(
                    "the transforms of its buffer leave no such content".into(),
                ))
            }
            _ => Ok(()),
        }
    }

    fn check_bounds(&self) -> Result<(), Reason> {
        let total: usize = self
            .inspections
            .iter()
            .map(|inspection| inspection.tests.len())
            .sum();
        if total > MAX_TESTS || self.inspections.len() > MAX_INSPECTIONS {
            return Err(Reason::Conflict(format!(
                "more than {MAX_TESTS} conditions or {MAX_INSPECTIONS} buffers"
            )));
        }
        Ok(())
    }

    /// Adds a condition that counts from the last match where `relative`.
    ///
    /// Outside of sticky buffers that is a condition on the buffer of the last content: after
    /// `content:"a"; http_uri; isdataat:1,relative;` there is a byte behind the content in the URI.
    pub fn push_relative(&mut self, relative: bool, test: Test) -> Result<(), Reason> {
        match self.last_content {
            Some(place) if relative && !self.in_buffer() && place.base64.is_none() => {
                self.append(place.inspection, test);
                self.check_bounds()
            }
            _ => self.push(test),
        }
    }

    /// Adds a condition on `buffer`, whatever is active.
    pub fn push_to(&mut self, buffer: &'static Buffer, test: Test) -> Result<(), Reason> {
        self.need_apps(buffer.apps, buffer.name)?;
        let at = self.inspection_of(Some(Named::Transaction(buffer)), &[]);
        self.append(at, test);
        Ok(())
    }

    /// Changes the last content.
    ///
    /// Errors: there is none, or what `change` says.
    pub fn modify(
        &mut self,
        keyword: &str,
        change: impl FnOnce(&mut Content) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        match self.last_content() {
            Some(content) => change(content),
            None => Err(Reason::NothingToModify(keyword.into())),
        }
    }

    /// Moves the last content from payload into `buffer` (`http_uri` after a content).
    pub fn move_content(&mut self, keyword: &str, buffer: &'static Buffer) -> Result<(), Reason> {
        if self.in_buffer() {
            return Err(Reason::Conflict(format!(
                "'{keyword}' cannot follow a sticky buffer"
            )));
        }
        let nothing = || Reason::NothingToModify(keyword.into());
        let place = self.last_content.take().ok_or_else(nothing)?;
        if !self.inspections[place.inspection].is_payload() || place.base64.is_some() {
            return Err(Reason::Conflict(format!(
                "'{keyword}': the content already has a buffer"
            )));
        }
        if self.apps == AppSet::of(&[AppProto::Http2]) {
            return Err(Reason::Conflict(format!(
                "'{keyword}' is HTTP/1's, but the signature is about HTTP/2"
            )));
        }
        let raw = |test: &Test| matches!(test, Test::Content(content) if content.rawbytes);
        if self.inspections[place.inspection]
            .tests
            .get(place.test)
            .is_some_and(raw)
        {
            return Err(Reason::Conflict(format!("'{keyword}' beside 'rawbytes'")));
        }
        self.need_apps(buffer.apps, buffer.name)?;
        let test = self.inspections[place.inspection].tests.remove(place.test);
        let at = self.inspection_of(Some(Named::Transaction(buffer)), &[]);
        self.last_content = Some(self.append(at, test));
        Ok(())
    }

    /// Declares a variable; where two have one name, the first is the one that is used.
    pub fn declare(&mut self, keyword: &str, name: &str) -> Result<u8, Reason> {
        if self.variables.len() >= MAX_VARIABLES {
            return Err(Reason::bad_value(
                keyword,
                format!("more than {MAX_VARIABLES} variables"),
            ));
        }
        self.variables.push(name.into());
        Ok(self.variables.len() as u8 - 1)
    }

    /// A number, or a variable that something before fills, in whatever buffer.
    pub fn number(&self, keyword: &str, text: &[u8]) -> Result<Number, Reason> {
        if let Some(number) = super::number::signed(text) {
            return Ok(Number::Fixed(number));
        }
        let name = super::lexer::printable(text.trim_ascii());
        match self.variables.iter().position(|known| *known == name) {
            Some(at) => Ok(Number::Variable(at as u8)),
            None => Err(Reason::bad_value(
                keyword,
                format!("'{name}' is not a number or variable"),
            )),
        }
    }

    /// States that the flow must speak one of `apps`.
    pub fn need_apps(&mut self, apps: AppSet, keyword: &str) -> Result<(), Reason> {
        let left = if self.apps.is_empty() {
            apps
        } else {
            self.apps.and(apps)
        };
        if left.is_empty() {
            let names = |set: AppSet| {
                set.iter()
                    .map(AppProto::name)
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            return Err(Reason::Conflict(format!(
                "'{keyword}' belongs to {}, but the signature is about {}",
                names(apps),
                names(self.apps)
            )));
        }
        self.apps = left;
        Ok(())
    }

    /// States that packets must travel this way; false where that contradicts.
    pub fn need_direction(&mut self, direction: Direction) -> bool {
        *self.flow.direction.get_or_insert(direction) == direction
    }

    fn last_content(&mut self) -> Option<&mut Content> {
        let place = self.last_content?;
        let tests = &mut self.inspections.get_mut(place.inspection)?.tests;
        let tests = match place.base64 {
            None => tests,
            Some(at) => match tests.get_mut(at)? {
                Test::Base64(base64) => &mut base64.tests,
                _ => return None,
            },
        };
        match tests.get_mut(place.test)? {
            Test::Content(content) => Some(content),
            _ => None,
        }
    }

    fn append(&mut self, inspection: usize, test: Test) -> Place {
        let tests = &mut self.inspections[inspection].tests;
        tests.push(test);
        Place {
            inspection,
            base64: None,
            test: tests.len() - 1,
        }
    }

    fn active_inspection(&mut self) -> usize {
        match &self.active {
            Active::Payload => self.inspection_of(None, &[]),
            Active::Buffer(at) | Active::Base64(at, _) => *at,
            Active::Named(buffer, transforms) => {
                let (buffer, transforms) = (*buffer, transforms.clone());
                let at = self.inspection_of(Some(buffer), &transforms);
                self.active = Active::Buffer(at);
                at
            }
        }
    }

    /// The inspection of `buffer` after `transforms`, made if there is none yet.
    fn inspection_of(&mut self, named: Option<Named>, transforms: &[Transform]) -> usize {
        let (buffer, packet) = match named {
            None => (None, None),
            Some(Named::Transaction(buffer)) => (Some(buffer), None),
            Some(Named::Packet(buffer)) => (None, Some(buffer)),
        };
        let known = self.inspections.iter().position(|inspection| {
            inspection.buffer == buffer
                && inspection.packet == packet
                && inspection.transforms == transforms
                && buffer.is_none_or(|buffer| !buffer.multiple || buffer.joined)
        });
        known.unwrap_or_else(|| {
            let transforms = transforms.to_vec();
            self.inspections.push(Inspection {
                buffer,
                packet,
                transforms,
                tests: Vec::new(),
            });
            self.inspections.len() - 1
        })
    }
}
