//! The application protocols, and sets of them.
use crate::wire::proto;

macro_rules! protocols {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $tcp:literal, $udp:literal;)*) => {
        /// An application protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum AppProto { $($(#[$doc])* $variant,)* }

        impl AppProto {
            /// Every protocol there is a name for.
            pub const ALL: &'static [AppProto] = &[$(AppProto::$variant,)*];

            /// Suricata's name: `http`, `tls`, …; as in `alert tls …` and EVE's `app_proto`.
            pub fn name(self) -> &'static str {
                match self { $(AppProto::$variant => $name,)* }
            }

            /// Whether it runs over (TCP, UDP).
            const fn transports(self) -> (bool, bool) {
                match self { $(AppProto::$variant => ($tcp, $udp),)* }
            }
        }
    };
}

protocols! {
    /// HTTP/0.9, 1.0 and 1.1.
    Http = "http", true, false;
    /// HTTP/2 without TLS.
    Http2 = "http2", true, false;
    /// SSL 2 and 3, TLS.
    Tls = "tls", true, false;
    /// SSH 1 and 2.
    Ssh = "ssh", true, false;
    /// Mail transfer.
    Smtp = "smtp", true, false;
    /// FTP's control connection.
    Ftp = "ftp", true, false;
    /// FTP's data connections.
    FtpData = "ftp-data", true, false;
    /// DNS.
    Dns = "dns", true, true;
    /// SMB 1, 2 and 3 over TCP.
    Smb = "smb", true, false;
    /// DCE/RPC over TCP or UDP.
    Dcerpc = "dcerpc", true, true;
    /// NFS over ONC RPC.
    Nfs = "nfs", true, true;
    /// Internet Key Exchange.
    Ike = "ike", false, true;
    /// Kerberos.
    Krb5 = "krb5", true, true;
    /// DHCP.
    Dhcp = "dhcp", false, true;
    /// SNMP.
    Snmp = "snmp", false, true;
    /// SIP.
    Sip = "sip", false, true;
    /// Trivial FTP.
    Tftp = "tftp", false, true;
    /// Network time.
    Ntp = "ntp", false, true;
    /// Remote framebuffer (VNC).
    Rfb = "rfb", true, false;
    /// MQTT.
    Mqtt = "mqtt", true, false;
    /// PostgreSQL.
    Pgsql = "pgsql", true, false;
    /// Remote desktop.
    Rdp = "rdp", true, false;
    /// Telnet.
    Telnet = "telnet", true, false;
    /// QUIC.
    Quic = "quic", false, true;
    /// BitTorrent's hash table.
    BittorrentDht = "bittorrent-dht", false, true;
    /// IMAP.
    Imap = "imap", true, false;
    /// Modbus.
    Modbus = "modbus", true, false;
    /// DNP3.
    Dnp3 = "dnp3", true, false;
    /// EtherNet/IP.
    Enip = "enip", true, true;
    /// LDAP.
    Ldap = "ldap", true, true;
}

/// Protocols that are told from first bytes or announced; a signature on another is refused.
const TOLD: &[AppProto] = &[
    AppProto::Http,
    AppProto::Http2,
    AppProto::Tls,
    AppProto::Ssh,
    AppProto::Smtp,
    AppProto::Ftp,
    AppProto::FtpData,
    AppProto::Dns,
    AppProto::Smb,
    AppProto::Dcerpc,
    AppProto::Ike,
    AppProto::Krb5,
    AppProto::Mqtt,
    AppProto::Rfb,
    AppProto::Rdp,
    AppProto::Telnet,
    AppProto::Imap,
    AppProto::BittorrentDht,
    AppProto::Quic,
    AppProto::Dhcp,
    AppProto::Nfs,
    AppProto::Ntp,
    AppProto::Sip,
    AppProto::Snmp,
    AppProto::Tftp,
];

impl AppProto {
    /// The protocol of that name; `None` for a name this engine does not detect.
    pub fn from_name(name: &str) -> Option<Self> {
        TOLD.iter().copied().find(|proto| proto.name() == name)
    }

    /// Whether packets of this IP protocol number can carry it.
    pub fn runs_over(self, ip_proto: u8) -> bool {
        let (tcp, udp) = self.transports();
        tcp && ip_proto == proto::TCP || udp && ip_proto == proto::UDP
    }
}

/// A set of application protocols.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct AppSet(u64);

impl AppSet {
    /// No protocol.
    pub const EMPTY: Self = Self(0);

    /// Every protocol.
    pub const ALL: Self = Self::of(AppProto::ALL);

    /// These protocols.
    pub const fn of(protos: &[AppProto]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < protos.len() {
            bits |= 1 << protos[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// Whether `proto` is in it.
    pub const fn contains(self, proto: AppProto) -> bool {
        self.0 & 1 << proto as u8 != 0
    }

    /// Whether it is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The protocols in it.
    pub fn iter(self) -> impl Iterator<Item = AppProto> {
        AppProto::ALL
            .iter()
            .copied()
            .filter(move |proto| self.contains(*proto))
    }

    /// Whether packets of this IP protocol number can carry one of them.
    pub fn runs_over(self, ip_proto: u8) -> bool {
        self.iter().any(|proto| proto.runs_over(ip_proto))
    }
}

impl std::fmt::Debug for AppSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
