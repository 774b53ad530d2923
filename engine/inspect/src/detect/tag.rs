//! Tags: packets that follow an alert and are logged with it.
use smallvec::SmallVec;

use crate::rule::{Tag, TagMetric};

/// Tags on one flow or host.
const MAX_TAGS: usize = 50;
/// How often a tag is made longer by further alerts of its signature. Suricata's bound.
const MAX_EXTENSIONS: u32 = 10;
const NS_PER_S: u64 = 1_000_000_000;

/// The tags on one flow or host.
pub type Tags = SmallVec<[TagState; 1]>;

/// One tag at work.
#[derive(Clone, Debug)]
pub struct TagState {
    signature: u64,
    metric: TagMetric,
    count: u64,
    since_s: u64,
    packets: u64,
    bytes: u64,
    extensions: u32,
}

impl TagState {
    /// A tag that begins with the packet at hand.
    pub fn new(tag: &Tag, signature: u64, now_ns: u64) -> Self {
        Self {
            signature,
            metric: tag.metric,
            count: tag.count.into(),
            since_s: now_ns / NS_PER_S,
            packets: 0,
            bytes: 0,
            extensions: 0,
        }
    }

    fn is_over(&self, now_ns: u64) -> bool {
        let reached = match self.metric {
            TagMetric::Packets => self.packets,
            TagMetric::Bytes => self.bytes,
            TagMetric::Seconds => (now_ns / NS_PER_S).saturating_sub(self.since_s),
        };
        reached > self.count
    }
}

/// Adds a tag, or makes the one that its signature set before longer.
pub fn add(tags: &mut Tags, tag: TagState) {
    let full = tags.len() >= MAX_TAGS;
    let known = tags
        .iter_mut()
        .find(|known| known.signature == tag.signature);
    let Some(known) = known else {
        if !full {
            tags.push(tag);
        }
        return;
    };
    if known.extensions < MAX_EXTENSIONS {
        known.extensions += 1;
        if known.metric == tag.metric {
            known.count = known.count.saturating_add(tag.count);
        }
    }
}

/// Counts a packet, forgets the tags that are over; whether it is to be logged. The packet that set a tag is not.
pub fn count(tags: &mut Tags, frame_bytes: u32, now_ns: u64) -> bool {
    let mut found = false;
    tags.retain(|tag| {
        tag.packets += 1;
        tag.bytes += u64::from(frame_bytes);
        let over = tag.is_over(now_ns);
        found |= !over && tag.packets > 1;
        !over
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::TagScope;

    fn logged(metric: TagMetric, count: u32, bytes: u32) -> Vec<u64> {
        let tag = Tag {
            scope: TagScope::Flow,
            metric,
            count,
        };
        let mut tags = Tags::new();
        add(&mut tags, TagState::new(&tag, 1, NS_PER_S));
        (1..10)
            .filter(|second| super::count(&mut tags, bytes, second * NS_PER_S))
            .collect()
    }

    #[test]
    fn counts_from_the_packet_of_the_alert_on_and_leaves_that_one_out() {
        assert_eq!(logged(TagMetric::Packets, 3, 50), [2, 3]);
        assert_eq!(logged(TagMetric::Seconds, 3, 50), [2, 3, 4]);
        assert_eq!(logged(TagMetric::Bytes, 150, 50), [2, 3]);
        assert!(logged(TagMetric::Packets, 0, 50).is_empty());
    }
}
