//! Address and port variables.
use std::collections::BTreeMap;

use super::address::AddressRange;
use super::group::{self, Group};
use super::port::PortRange;
use super::Reason;

/// The protected side; symbolic, see [`Variables`].
pub const HOME_NET: &str = "HOME_NET";
/// Everyone else; symbolic, see [`Variables`].
pub const EXTERNAL_NET: &str = "EXTERNAL_NET";

/// Private networks: what Suricata's default configuration takes for home.
const DEFAULT_HOME: &str = "[192.168.0.0/16,10.0.0.0/8,172.16.0.0/12]";

/// Groups that are the protected guest unless said otherwise.
const SERVER_GROUPS: [&str; 13] = [
    "HTTP_SERVERS",
    "SMTP_SERVERS",
    "SQL_SERVERS",
    "DNS_SERVERS",
    "TELNET_SERVERS",
    "DC_SERVERS",
    "DNP3_SERVER",
    "DNP3_CLIENT",
    "MODBUS_CLIENT",
    "MODBUS_SERVER",
    "ENIP_CLIENT",
    "ENIP_SERVER",
    "FTP_SERVERS",
];

/// Source: `suricata.yaml` of Suricata 7, `vars.port-groups`.
const PORT_GROUPS: [(&str, &str); 11] = [
    ("HTTP_PORTS", "80"),
    ("SHELLCODE_PORTS", "!80"),
    ("ORACLE_PORTS", "1521"),
    ("SSH_PORTS", "22"),
    ("DNP3_PORTS", "20000"),
    ("MODBUS_PORTS", "502"),
    ("FILE_DATA_PORTS", "[$HTTP_PORTS,110,143]"),
    ("FTP_PORTS", "21"),
    ("GENEVE_PORTS", "6081"),
    ("VXLAN_PORTS", "4789"),
    ("TEREDO_PORTS", "3544"),
];

/// What `$NAME` stands for in a rule's header.
///
/// `HOME_NET` and `EXTERNAL_NET` (and what is defined through them) stay symbolic: their lists count only for
/// a [`Side`](crate::detect::Side) whose home is `Addresses`; for a guest, home is its end of the flow.
#[derive(Clone, Debug)]
pub struct Variables {
    addresses: BTreeMap<String, Group<AddressRange>>,
    ports: BTreeMap<String, Group<PortRange>>,
}

impl Default for Variables {
    /// Suricata's defaults, with private networks as home and all else external.
    fn default() -> Self {
        let home = || Group::Variable(HOME_NET.into());
        let mut addresses: BTreeMap<_, _> = SERVER_GROUPS
            .iter()
            .map(|name| (name.to_string(), home()))
            .collect();
        addresses.insert("AIM_SERVERS".into(), Group::Variable(EXTERNAL_NET.into()));
        addresses.insert(EXTERNAL_NET.into(), Group::not(home()));
        addresses.insert(
            HOME_NET.into(),
            group::parse(DEFAULT_HOME).unwrap_or(Group::Any),
        );
        let ports = PORT_GROUPS
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), group::parse(value).ok()?)));
        Self {
            addresses,
            ports: ports.collect(),
        }
    }
}

impl Variables {
    /// Sets the address list behind `$name`, e.g. `[10.0.0.0/8,!10.1.0.0/16]` or `any`.
    ///
    /// Errors: `value` cannot be read, names an undefined variable, or would be defined through itself.
    pub fn set_addresses(&mut self, name: &str, value: &str) -> Result<(), Reason> {
        let group = group::parse(value)?;
        self.check_addresses(&group)?;
        if reaches(&self.addresses, &group, name, 0) {
            return Err(Reason::BadGroup(format!(
                "${name} is defined through itself"
            )));
        }
        self.addresses.insert(name.into(), group);
        Ok(())
    }

    /// Sets the port list behind `$name`, e.g. `[80,8080:8090]`.
    ///
    /// Errors: as for addresses.
    pub fn set_ports(&mut self, name: &str, value: &str) -> Result<(), Reason> {
        let group = group::parse(value)?;
        self.check_ports(&group)?;
        if reaches(&self.ports, &group, name, 0) {
            return Err(Reason::BadGroup(format!(
                "${name} is defined through itself"
            )));
        }
        self.ports.insert(name.into(), group);
        Ok(())
    }

    /// Sets what `$name` stands for: an address list, a port list, or what can be read as either (`any`).
    ///
    /// Errors: as for addresses. Where there are ports of that name, ports are asked for, and likewise addresses.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Reason> {
        match (
            self.addresses.contains_key(name),
            self.ports.contains_key(name),
        ) {
            (true, false) => self.set_addresses(name, value),
            (false, true) => self.set_ports(name, value),
            _ => {
                let ports = self.set_ports(name, value);
                self.set_addresses(name, value).or(ports)
            }
        }
    }

    /// What an address variable stands for.
    pub(crate) fn addresses(&self, name: &str) -> Option<&Group<AddressRange>> {
        self.addresses.get(name)
    }

    /// Whether `group` leaves out some address by a `!`, of its own or of a variable that it names.
    pub(crate) fn excludes(&self, group: &Group<AddressRange>) -> bool {
        match group {
            Group::Any | Group::One(_) => false,
            // Everybody but the guest, whatever the list that stands behind it offline.
            Group::Variable(name) => self
                .addresses(name)
                .is_some_and(|group| self.excludes(group)),
            Group::List { include, exclude } => {
                !exclude.is_empty() || include.iter().any(|group| self.excludes(group))
            }
        }
    }

    /// What a port variable stands for.
    pub(crate) fn ports(&self, name: &str) -> Option<&Group<PortRange>> {
        self.ports.get(name)
    }

    /// Errors: the first undefined variable in `group`.
    pub(crate) fn check_addresses(&self, group: &Group<AddressRange>) -> Result<(), Reason> {
        undefined(&self.addresses, group)
    }

    /// Errors: the first undefined variable in `group`.
    pub(crate) fn check_ports(&self, group: &Group<PortRange>) -> Result<(), Reason> {
        undefined(&self.ports, group)
    }
}

fn undefined<T>(known: &BTreeMap<String, Group<T>>, group: &Group<T>) -> Result<(), Reason> {
    let mut missing = None;
    group.variables(&mut |name| {
        if !known.contains_key(name) && missing.is_none() {
            missing = Some(name.to_string());
        }
    });
    missing.map_or(Ok(()), |name| Err(Reason::UndefinedVariable(name)))
}

/// Whether `group` is defined through `name`.
fn reaches<T>(
    known: &BTreeMap<String, Group<T>>,
    group: &Group<T>,
    name: &str,
    depth: u32,
) -> bool {
    const DEEPEST: u32 = 32;
    let mut found = depth > DEEPEST;
    group.variables(&mut |used| {
        found = found
            || used == name
            || known
                .get(used)
                .is_some_and(|inner| reaches(known, inner, name, depth + 1));
    });
    found
}
