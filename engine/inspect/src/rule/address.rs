//! Address ranges.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::group::Member;

/// Addresses from `first` to `last`, both of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    /// Lowest.
    pub first: IpAddr,
    /// Highest.
    pub last: IpAddr,
}

impl Member for AddressRange {
    const FORM: &'static str =
        "addresses: any, 10.0.0.1, 10.0.0.0/8, 10.0.0.1-10.0.0.9, IPv6 alike, [A,B,!C], $NAME or !A";

    /// Reads `10.0.0.1`, `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `10.0.0.1-10.0.0.9` and their IPv6 kin.
    fn parse(text: &str) -> Option<Self> {
        if let Some((network, mask)) = text.split_once('/') {
            return masked(network.trim().parse().ok()?, mask.trim());
        }
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (first.trim().parse().ok()?, last.trim().parse().ok()?),
            None => {
                let address: IpAddr = text.parse().ok()?;
                (address, address)
            }
        };
        let one_family = matches!(
            (first, last),
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_))
        );
        (one_family && first <= last).then_some(Self { first, last })
    }
}

fn masked(network: IpAddr, mask: &str) -> Option<AddressRange> {
    match network {
        IpAddr::V4(network) => {
            let mask = match mask.parse::<Ipv4Addr>() {
                Ok(dotted) => u32::from(dotted),
                Err(_) => u32::MAX.checked_shl(32 - prefix(mask, 32)?).unwrap_or(0),
            };
            let first = u32::from(network) & mask;
            Some(AddressRange {
                first: IpAddr::V4(Ipv4Addr::from(first)),
                last: IpAddr::V4(Ipv4Addr::from(first | !mask)),
            })
        }
        IpAddr::V6(network) => {
            let mask = u128::MAX.checked_shl(128 - prefix(mask, 128)?).unwrap_or(0);
            let first = u128::from(network) & mask;
            Some(AddressRange {
                first: IpAddr::V6(Ipv6Addr::from(first)),
                last: IpAddr::V6(Ipv6Addr::from(first | !mask)),
            })
        }
    }
}

fn prefix(text: &str, longest: u32) -> Option<u32> {
    text.parse().ok().filter(|length| *length <= longest)
}
