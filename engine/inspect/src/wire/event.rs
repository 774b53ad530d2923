//! Decoder and stream events: what is odd about a packet, under the names that rules and records use.
//!
//! A packet carries the set of its events ([`PacketEvents`], four words): the decoders, the defragmenter and
//! the TCP session add to it, and so does who tells what a connection speaks (`applayer_…`); `decode-event`,
//! `stream-event`, `engine-event` and `app-layer-event:applayer_…` test it, anomaly records list it.

use std::fmt;

macro_rules! packet_events {
    ($($variant:ident => $name:literal;)*) => {
        /// One thing that is odd about a packet, by Suricata's name for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum PacketEvent {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl PacketEvent {
            /// Every event, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its whole name, as anomaly records and `engine-event` spell it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

packet_events! {
    ApplayerDetectProtocolOnlyOneDirection => "applayer_detect_protocol_only_one_direction";
    ApplayerMismatchProtocolBothDirections => "applayer_mismatch_protocol_both_directions";
    ApplayerNoTlsAfterStarttls => "applayer_no_tls_after_starttls";
    ApplayerUnexpectedProtocol => "applayer_unexpected_protocol";
    AfpacketTruncPkt => "decoder.afpacket.trunc_pkt";
    ChdlcPktTooSmall => "decoder.chdlc.pkt_too_small";
    DcePktTooSmall => "decoder.dce.pkt_too_small";
    ErspanHeaderTooSmall => "decoder.erspan.header_too_small";
    ErspanTooManyVlanLayers => "decoder.erspan.too_many_vlan_layers";
    ErspanUnsupportedVersion => "decoder.erspan.unsupported_version";
    EspPktTooSmall => "decoder.esp.pkt_too_small";
    EthernetPktTooSmall => "decoder.ethernet.pkt_too_small";
    GeneveUnknownPayloadType => "decoder.geneve.unknown_payload_type";
    GrePktTooSmall => "decoder.gre.pkt_too_small";
    GreVersion0Flags => "decoder.gre.version0_flags";
    GreVersion0HdrTooBig => "decoder.gre.version0_hdr_too_big";
    GreVersion0MalformedSreHdr => "decoder.gre.version0_malformed_sre_hdr";
    GreVersion0Recur => "decoder.gre.version0_recur";
    GreVersion1Chksum => "decoder.gre.version1_chksum";
    GreVersion1Flags => "decoder.gre.version1_flags";
    GreVersion1HdrTooBig => "decoder.gre.version1_hdr_too_big";
    GreVersion1MalformedSreHdr => "decoder.gre.version1_malformed_sre_hdr";
    GreVersion1NoKey => "decoder.gre.version1_no_key";
    GreVersion1Recur => "decoder.gre.version1_recur";
    GreVersion1Route => "decoder.gre.version1_route";
    GreVersion1Ssr => "decoder.gre.version1_ssr";
    GreVersion1WrongProtocol => "decoder.gre.version1_wrong_protocol";
    GreWrongVersion => "decoder.gre.wrong_version";
    Icmpv4Ipv4TruncPkt => "decoder.icmpv4.ipv4_trunc_pkt";
    Icmpv4Ipv4UnknownVer => "decoder.icmpv4.ipv4_unknown_ver";
    Icmpv4PktTooSmall => "decoder.icmpv4.pkt_too_small";
    Icmpv4UnknownCode => "decoder.icmpv4.unknown_code";
    Icmpv4UnknownType => "decoder.icmpv4.unknown_type";
    Icmpv6ExperimentationType => "decoder.icmpv6.experimentation_type";
    Icmpv6Ipv6TruncPkt => "decoder.icmpv6.ipv6_trunc_pkt";
    Icmpv6Ipv6UnknownVersion => "decoder.icmpv6.ipv6_unknown_version";
    Icmpv6MldMessageWithInvalidHl => "decoder.icmpv6.mld_message_with_invalid_hl";
    Icmpv6PktTooSmall => "decoder.icmpv6.pkt_too_small";
    Icmpv6UnassignedType => "decoder.icmpv6.unassigned_type";
    Icmpv6UnknownCode => "decoder.icmpv6.unknown_code";
    Icmpv6UnknownType => "decoder.icmpv6.unknown_type";
    Ieee8021ahHeaderTooSmall => "decoder.ieee8021ah.header_too_small";
    IprawInvalidIpVersion => "decoder.ipraw.invalid_ip_version";
    Ipv4FragIgnored => "decoder.ipv4.frag_ignored";
    Ipv4FragOverlap => "decoder.ipv4.frag_overlap";
    Ipv4FragPktTooLarge => "decoder.ipv4.frag_pkt_too_large";
    Ipv4HlenTooSmall => "decoder.ipv4.hlen_too_small";
    Ipv4Icmpv6 => "decoder.ipv4.icmpv6";
    Ipv4IplenSmallerThanHlen => "decoder.ipv4.iplen_smaller_than_hlen";
    Ipv4OptDuplicate => "decoder.ipv4.opt_duplicate";
    Ipv4OptEolRequired => "decoder.ipv4.opt_eol_required";
    Ipv4OptInvalid => "decoder.ipv4.opt_invalid";
    Ipv4OptInvalidLen => "decoder.ipv4.opt_invalid_len";
    Ipv4OptMalformed => "decoder.ipv4.opt_malformed";
    Ipv4OptPadRequired => "decoder.ipv4.opt_pad_required";
    Ipv4OptUnknown => "decoder.ipv4.opt_unknown";
    Ipv4PktTooSmall => "decoder.ipv4.pkt_too_small";
    Ipv4TruncPkt => "decoder.ipv4.trunc_pkt";
    Ipv4WrongIpVersion => "decoder.ipv4.wrong_ip_version";
    Ipv6DataAfterNoneHeader => "decoder.ipv6.data_after_none_header";
    Ipv6DstoptsOnlyPadding => "decoder.ipv6.dstopts_only_padding";
    Ipv6DstoptsUnknownOpt => "decoder.ipv6.dstopts_unknown_opt";
    Ipv6ExthdrAhResNotNull => "decoder.ipv6.exthdr_ah_res_not_null";
    Ipv6ExthdrDuplAh => "decoder.ipv6.exthdr_dupl_ah";
    Ipv6ExthdrDuplDh => "decoder.ipv6.exthdr_dupl_dh";
    Ipv6ExthdrDuplEh => "decoder.ipv6.exthdr_dupl_eh";
    Ipv6ExthdrDuplFh => "decoder.ipv6.exthdr_dupl_fh";
    Ipv6ExthdrDuplHh => "decoder.ipv6.exthdr_dupl_hh";
    Ipv6ExthdrDuplRh => "decoder.ipv6.exthdr_dupl_rh";
    Ipv6ExthdrInvalidOptlen => "decoder.ipv6.exthdr_invalid_optlen";
    Ipv6ExthdrUselessFh => "decoder.ipv6.exthdr_useless_fh";
    Ipv6FhNonZeroReservedField => "decoder.ipv6.fh_non_zero_reserved_field";
    Ipv6FragIgnored => "decoder.ipv6.frag_ignored";
    Ipv6FragInvalidLength => "decoder.ipv6.frag_invalid_length";
    Ipv6FragOverlap => "decoder.ipv6.frag_overlap";
    Ipv6FragPktTooLarge => "decoder.ipv6.frag_pkt_too_large";
    Ipv6HopoptsOnlyPadding => "decoder.ipv6.hopopts_only_padding";
    Ipv6HopoptsUnknownOpt => "decoder.ipv6.hopopts_unknown_opt";
    Ipv6Icmpv4 => "decoder.ipv6.icmpv4";
    Ipv6Ipv4InIpv6TooSmall => "decoder.ipv6.ipv4_in_ipv6_too_small";
    Ipv6Ipv4InIpv6WrongVersion => "decoder.ipv6.ipv4_in_ipv6_wrong_version";
    Ipv6Ipv6InIpv6TooSmall => "decoder.ipv6.ipv6_in_ipv6_too_small";
    Ipv6Ipv6InIpv6WrongVersion => "decoder.ipv6.ipv6_in_ipv6_wrong_version";
    Ipv6PktTooSmall => "decoder.ipv6.pkt_too_small";
    Ipv6RhType0 => "decoder.ipv6.rh_type_0";
    Ipv6TruncExthdr => "decoder.ipv6.trunc_exthdr";
    Ipv6TruncPkt => "decoder.ipv6.trunc_pkt";
    Ipv6UnknownNextHeader => "decoder.ipv6.unknown_next_header";
    Ipv6WrongIpVersion => "decoder.ipv6.wrong_ip_version";
    Ipv6ZeroLenPadn => "decoder.ipv6.zero_len_padn";
    LtnullPktTooSmall => "decoder.ltnull.pkt_too_small";
    LtnullUnsupportedType => "decoder.ltnull.unsupported_type";
    MplsBadLabelImplicitNull => "decoder.mpls.bad_label_implicit_null";
    MplsBadLabelReserved => "decoder.mpls.bad_label_reserved";
    MplsBadLabelRouterAlert => "decoder.mpls.bad_label_router_alert";
    MplsHeaderTooSmall => "decoder.mpls.header_too_small";
    MplsPktTooSmall => "decoder.mpls.pkt_too_small";
    MplsUnknownPayloadType => "decoder.mpls.unknown_payload_type";
    NshBadHeaderLength => "decoder.nsh.bad_header_length";
    NshHeaderTooSmall => "decoder.nsh.header_too_small";
    NshReservedType => "decoder.nsh.reserved_type";
    NshUnknownPayload => "decoder.nsh.unknown_payload";
    NshUnsupportedType => "decoder.nsh.unsupported_type";
    NshUnsupportedVersion => "decoder.nsh.unsupported_version";
    PppIp4PktTooSmall => "decoder.ppp.ip4_pkt_too_small";
    PppIp6PktTooSmall => "decoder.ppp.ip6_pkt_too_small";
    PppPktTooSmall => "decoder.ppp.pkt_too_small";
    PppUnsupProto => "decoder.ppp.unsup_proto";
    PppVjuPktTooSmall => "decoder.ppp.vju_pkt_too_small";
    PppWrongType => "decoder.ppp.wrong_type";
    PppoeMalformedTags => "decoder.pppoe.malformed_tags";
    PppoePktTooSmall => "decoder.pppoe.pkt_too_small";
    PppoeWrongCode => "decoder.pppoe.wrong_code";
    SctpPktTooSmall => "decoder.sctp.pkt_too_small";
    SllPktTooSmall => "decoder.sll.pkt_too_small";
    TcpHlenTooSmall => "decoder.tcp.hlen_too_small";
    TcpInvalidOptlen => "decoder.tcp.invalid_optlen";
    TcpOptDuplicate => "decoder.tcp.opt_duplicate";
    TcpOptInvalidLen => "decoder.tcp.opt_invalid_len";
    TcpPktTooSmall => "decoder.tcp.pkt_too_small";
    TooManyLayers => "decoder.too_many_layers";
    UdpHlenInvalid => "decoder.udp.hlen_invalid";
    UdpHlenTooSmall => "decoder.udp.hlen_too_small";
    UdpLenInvalid => "decoder.udp.len_invalid";
    UdpPktTooSmall => "decoder.udp.pkt_too_small";
    VlanHeaderTooSmall => "decoder.vlan.header_too_small";
    VlanTooManyLayers => "decoder.vlan.too_many_layers";
    VlanUnknownType => "decoder.vlan.unknown_type";
    VntagHeaderTooSmall => "decoder.vntag.header_too_small";
    VntagUnknownType => "decoder.vntag.unknown_type";
    VxlanUnknownPayloadType => "decoder.vxlan.unknown_payload_type";
    Stream3whsAckDataInject => "stream.3whs_ack_data_inject";
    Stream3whsAckInWrongDir => "stream.3whs_ack_in_wrong_dir";
    Stream3whsAsyncWrongSeq => "stream.3whs_async_wrong_seq";
    Stream3whsRightSeqWrongAckEvasion => "stream.3whs_right_seq_wrong_ack_evasion";
    Stream3whsSynFlood => "stream.3whs_syn_flood";
    Stream3whsSynResendDiffSeqOnSynRecv => "stream.3whs_syn_resend_diff_seq_on_syn_recv";
    Stream3whsSynToclientOnSynRecv => "stream.3whs_syn_toclient_on_syn_recv";
    Stream3whsSynackFlood => "stream.3whs_synack_flood";
    Stream3whsSynackInWrongDirection => "stream.3whs_synack_in_wrong_direction";
    Stream3whsSynackResendWithDiffAck => "stream.3whs_synack_resend_with_diff_ack";
    Stream3whsSynackResendWithDiffSeq => "stream.3whs_synack_resend_with_diff_seq";
    Stream3whsSynackTfoDataIgnored => "stream.3whs_synack_tfo_data_ignored";
    Stream3whsSynackToserverOnSynRecv => "stream.3whs_synack_toserver_on_syn_recv";
    Stream3whsSynackWithWrongAck => "stream.3whs_synack_with_wrong_ack";
    Stream3whsWrongSeqWrongAck => "stream.3whs_wrong_seq_wrong_ack";
    Stream4whsInvalidAck => "stream.4whs_invalid_ack";
    Stream4whsSynackWithWrongAck => "stream.4whs_synack_with_wrong_ack";
    Stream4whsSynackWithWrongSyn => "stream.4whs_synack_with_wrong_syn";
    Stream4whsWrongSeq => "stream.4whs_wrong_seq";
    StreamClosewaitAckOutOfWindow => "stream.closewait_ack_out_of_window";
    StreamClosewaitFinOutOfWindow => "stream.closewait_fin_out_of_window";
    StreamClosewaitInvalidAck => "stream.closewait_invalid_ack";
    StreamClosewaitPktBeforeLastAck => "stream.closewait_pkt_before_last_ack";
    StreamClosingAckWrongSeq => "stream.closing_ack_wrong_seq";
    StreamClosingInvalidAck => "stream.closing_invalid_ack";
    StreamEstAckZwpData => "stream.est_ack_zwp_data";
    StreamEstInvalidAck => "stream.est_invalid_ack";
    StreamEstPacketOutOfWindow => "stream.est_packet_out_of_window";
    StreamEstPktBeforeLastAck => "stream.est_pkt_before_last_ack";
    StreamEstSynResend => "stream.est_syn_resend";
    StreamEstSynResendDiffSeq => "stream.est_syn_resend_diff_seq";
    StreamEstSynToclient => "stream.est_syn_toclient";
    StreamEstSynackResend => "stream.est_synack_resend";
    StreamEstSynackResendWithDiffAck => "stream.est_synack_resend_with_diff_ack";
    StreamEstSynackResendWithDiffSeq => "stream.est_synack_resend_with_diff_seq";
    StreamEstSynackToserver => "stream.est_synack_toserver";
    StreamFin1AckWrongSeq => "stream.fin1_ack_wrong_seq";
    StreamFin1FinWrongSeq => "stream.fin1_fin_wrong_seq";
    StreamFin1InvalidAck => "stream.fin1_invalid_ack";
    StreamFin2AckWrongSeq => "stream.fin2_ack_wrong_seq";
    StreamFin2FinWrongSeq => "stream.fin2_fin_wrong_seq";
    StreamFin2InvalidAck => "stream.fin2_invalid_ack";
    StreamFinButNoSession => "stream.fin_but_no_session";
    StreamFinInvalidAck => "stream.fin_invalid_ack";
    StreamFinOutOfWindow => "stream.fin_out_of_window";
    StreamFinSyn => "stream.fin_syn";
    StreamLastackAckWrongSeq => "stream.lastack_ack_wrong_seq";
    StreamLastackInvalidAck => "stream.lastack_invalid_ack";
    StreamPktBadWindowUpdate => "stream.pkt_bad_window_update";
    StreamPktBrokenAck => "stream.pkt_broken_ack";
    StreamPktInvalidAck => "stream.pkt_invalid_ack";
    StreamPktInvalidTimestamp => "stream.pkt_invalid_timestamp";
    StreamPktRetransmission => "stream.pkt_retransmission";
    StreamPktSpuriousRetransmission => "stream.pkt_spurious_retransmission";
    StreamReassemblyDepthReached => "stream.reassembly_depth_reached";
    StreamReassemblyInsertInvalid => "stream.reassembly_insert_invalid";
    StreamReassemblyInsertLimit => "stream.reassembly_insert_limit";
    StreamReassemblyInsertMemcap => "stream.reassembly_insert_memcap";
    StreamReassemblyNoSegment => "stream.reassembly_no_segment";
    StreamReassemblyOverlapDifferentData => "stream.reassembly_overlap_different_data";
    StreamReassemblySegmentBeforeBaseSeq => "stream.reassembly_segment_before_base_seq";
    StreamReassemblySeqGap => "stream.reassembly_seq_gap";
    StreamReassemblyUrgentOobLimitReached => "stream.reassembly_urgent_oob_limit_reached";
    StreamRstButNoSession => "stream.rst_but_no_session";
    StreamRstInvalidAck => "stream.rst_invalid_ack";
    StreamRstWithData => "stream.rst_with_data";
    StreamShutdownSynResend => "stream.shutdown_syn_resend";
    StreamSuspectedRstInject => "stream.suspected_rst_inject";
    StreamTimewaitAckWrongSeq => "stream.timewait_ack_wrong_seq";
    StreamTimewaitInvalidAck => "stream.timewait_invalid_ack";
    StreamWrongThread => "stream.wrong_thread";
}

impl PacketEvent {
    /// The event of this whole name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|event| event.name() == name)
    }

    /// Whether it is about what a connection speaks.
    pub fn is_applayer(self) -> bool {
        self.name().starts_with("applayer_")
    }

    /// Whether it is about a TCP stream, not about one packet's headers.
    pub fn is_stream(self) -> bool {
        self.name().starts_with("stream.")
    }
}

const WORDS: usize = 4;
const _: () = assert!(PacketEvent::ALL.len() <= WORDS * 64);

/// A set of events.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct PacketEvents([u64; WORDS]);

impl PacketEvents {
    /// No events.
    pub const NONE: Self = Self([0; WORDS]);

    /// Adds `event`.
    pub fn insert(&mut self, event: PacketEvent) {
        let bit = event as usize;
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    /// Whether `event` is in the set.
    pub fn contains(&self, event: PacketEvent) -> bool {
        let bit = event as usize;
        self.0[bit / 64] & (1 << (bit % 64)) != 0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// Adds all of `others`.
    pub fn extend(&mut self, others: Self) {
        for (word, other) in self.0.iter_mut().zip(others.0) {
            *word |= other;
        }
    }

    /// The events in the set, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = PacketEvent> {
        PacketEvent::ALL
            .iter()
            .copied()
            .filter(move |event| self.contains(*event))
    }
}

impl fmt::Debug for PacketEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(PacketEvent::name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_found_by_its_name_and_kept_apart_in_a_set() {
        for (number, event) in PacketEvent::ALL.iter().enumerate() {
            assert_eq!(number, *event as usize);
            assert_eq!(Some(*event), PacketEvent::from_name(event.name()));
            let mut set = PacketEvents::NONE;
            set.insert(*event);
            assert_eq!(vec![*event], set.iter().collect::<Vec<_>>());
        }
    }
}
