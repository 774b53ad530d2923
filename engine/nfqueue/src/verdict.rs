use crate::wire::{Builder, MESSAGE_HEADER, MSG_VERDICT, MSG_VERDICT_BATCH, NETFILTER_HEADER};

const NFQA_VERDICT_HDR: u16 = 2;
const NFQA_MARK: u16 = 3;
/// Where a verdict message holds the packet's number: past the headers and the verdict itself.
const ID_OFFSET: usize = MESSAGE_HEADER + NETFILTER_HEADER + 4 + 4;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Verdict {
    /// It goes nowhere; no later hook sees it.
    Drop = 0,
    /// It goes on to the next rule.
    Accept = 1,
}

/// The answer to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Drop or accept.
    pub verdict: Verdict,
    /// The packet's new mark, all 32 bits of it; `None` leaves it as it is.
    pub mark: Option<u32>,
}

impl Decision {
    /// Accepts the packet and leaves its mark alone.
    pub const ACCEPT: Self = Self {
        verdict: Verdict::Accept,
        mark: None,
    };
    /// Drops the packet.
    pub const DROP: Self = Self {
        verdict: Verdict::Drop,
        mark: None,
    };

    /// Accepts the packet with a new mark (the whole mark: the caller keeps foreign bits).
    pub const fn accept_with(mark: u32) -> Self {
        Self {
            verdict: Verdict::Accept,
            mark: Some(mark),
        }
    }
}

/// Verdicts waiting to be sent, in one buffer of netlink messages.
///
/// A run of equal decisions on consecutive ids becomes one batch verdict, which the kernel applies to every packet
/// it holds up to that id. That is only safe while every such packet has been decided by us. So as soon as an id is
/// not its predecessor's successor (a packet was lost, or the kernel delivers out of order) each packet gets its
/// own verdict, for the rest of this socket's life: an undecided packet must never pass along with others.
#[derive(Debug)]
pub(crate) struct Verdicts {
    queue: u16,
    messages: Builder,
    count: u64,
    last_id: u32,
    last: Option<(Decision, usize)>,
    in_order: bool,
}

impl Verdicts {
    /// For a queue bound just now: the kernel numbers its first packet 1.
    pub(crate) fn new(queue: u16) -> Self {
        Self {
            queue,
            messages: Builder::default(),
            count: 0,
            last_id: 0,
            last: None,
            in_order: true,
        }
    }

    /// Notes that packet `id` arrived, before it is decided; returns how many ids were skipped.
    pub(crate) fn arrived(&mut self, id: u32) -> u32 {
        let skipped = id.wrapping_sub(self.last_id).wrapping_sub(1);
        if skipped != 0 {
            self.give_up_runs();
        }
        // More than half the number space "skipped" is a step back.
        let back = skipped > u32::MAX / 2;
        if back {
            return 0;
        }
        self.last_id = id;
        skipped
    }

    /// From now on each packet gets a verdict of its own.
    pub(crate) fn give_up_runs(&mut self) {
        self.in_order = false;
    }

    pub(crate) fn push(&mut self, id: u32, decision: Decision) {
        if let (true, Some((last, start))) = (self.in_order, self.last) {
            if last == decision {
                self.messages
                    .patch(start, MSG_VERDICT_BATCH, ID_OFFSET, id.to_be_bytes());
                return;
            }
        }
        let start = self.messages.begin(MSG_VERDICT, 0, 0, self.queue);
        let mut header = [0; 8];
        header[..4].copy_from_slice(&(decision.verdict as u32).to_be_bytes());
        header[4..].copy_from_slice(&id.to_be_bytes());
        self.messages.attribute(NFQA_VERDICT_HDR, &header);
        if let Some(mark) = decision.mark {
            self.messages.attribute(NFQA_MARK, &mark.to_be_bytes());
        }
        self.messages.finish(start);
        self.last = Some((decision, start));
        self.count += 1;
    }

    /// The messages to send, and how many they are.
    pub(crate) fn pending(&self) -> (&[u8], u64) {
        (self.messages.bytes(), self.count)
    }

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.count = 0;
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{attributes, messages, u32_be};

    /// (is a batch verdict, verdict, id, mark) of each pending message, and clears them.
    fn sent(verdicts: &mut Verdicts) -> Vec<(bool, u32, u32, Option<u32>)> {
        let list = messages(verdicts.pending().0)
            .map(|message| {
                let (mut verdict, mut id, mut mark) = (9, 0, None);
                for (kind, value) in attributes(&message.body[NETFILTER_HEADER..]) {
                    match kind {
                        NFQA_VERDICT_HDR => {
                            verdict = u32_be(value, 0).unwrap();
                            id = u32_be(value, 4).unwrap();
                        }
                        NFQA_MARK => mark = u32_be(value, 0),
                        other => panic!("attribute {other}"),
                    }
                }
                (message.kind == MSG_VERDICT_BATCH, verdict, id, mark)
            })
            .collect();
        verdicts.clear();
        list
    }

    fn decide(verdicts: &mut Verdicts, id: u32, decision: Decision) -> u32 {
        let skipped = verdicts.arrived(id);
        verdicts.push(id, decision);
        skipped
    }

    #[test]
    fn joins_a_run_of_equal_decisions_and_breaks_it_at_another_mark() {
        let mut verdicts = Verdicts::new(3);
        for (id, decision) in [
            (1, Decision::ACCEPT),
            (2, Decision::ACCEPT),
            (3, Decision::accept_with(7)),
            (4, Decision::DROP),
            (5, Decision::DROP),
        ] {
            assert_eq!(decide(&mut verdicts, id, decision), 0);
        }
        assert_eq!(
            sent(&mut verdicts),
            [
                (true, 1, 2, None),
                (false, 1, 3, Some(7)),
                (true, 0, 5, None)
            ]
        );
    }

    #[test]
    fn a_run_does_not_reach_back_into_messages_already_sent() {
        let mut verdicts = Verdicts::new(0);
        decide(&mut verdicts, 1, Decision::ACCEPT);
        sent(&mut verdicts);
        decide(&mut verdicts, 2, Decision::ACCEPT);
        assert_eq!(sent(&mut verdicts), [(false, 1, 2, None)]);
    }

    #[test]
    fn never_answers_for_an_id_that_was_skipped() {
        let mut verdicts = Verdicts::new(0);
        decide(&mut verdicts, 1, Decision::ACCEPT);
        assert_eq!(decide(&mut verdicts, 3, Decision::ACCEPT), 1);
        assert_eq!(decide(&mut verdicts, 4, Decision::ACCEPT), 0);
        // The kernel delivered 2 late: it must still be there to be dropped.
        assert_eq!(decide(&mut verdicts, 2, Decision::DROP), 0);
        assert_eq!(
            sent(&mut verdicts),
            [
                (false, 1, 1, None),
                (false, 1, 3, None),
                (false, 1, 4, None),
                (false, 0, 2, None)
            ]
        );
    }

    #[test]
    fn ids_wrap_around() {
        let mut verdicts = Verdicts::new(0);
        verdicts.last_id = u32::MAX - 1;
        decide(&mut verdicts, u32::MAX, Decision::ACCEPT);
        assert_eq!(decide(&mut verdicts, 0, Decision::ACCEPT), 0);
        assert_eq!(sent(&mut verdicts), [(true, 1, 0, None)]);
    }
}
