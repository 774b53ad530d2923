//! Names, compressed or not.

/// Most bytes of a name that are kept; a longer one is cut. Suricata's bound, and dnsmasq's.
pub const MAX_NAME_BYTES: usize = 1025;
/// Most labels and pointers of one name; more are taken for a loop. Suricata's bound.
const MAX_STEPS: usize = 255;
/// Most labels and pointers of all names of one message: one for each byte that a message may have.
///
/// Without it 6,000 records of 11 bytes could each ask for 255 steps.
const MAX_MESSAGE_STEPS: usize = 65_536;

/// Why a message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What is odd about names, though they could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// A pointer leads to itself.
    pub infinite_loop: bool,
    /// A name was cut.
    pub truncated: bool,
    /// A name has more than 255 labels and pointers.
    pub label_limit: bool,
}

/// What reading the names of one message may still cost.
#[derive(Clone, Debug)]
pub struct Budget {
    steps: usize,
    /// What was odd so far.
    pub odd: Oddities,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            steps: MAX_MESSAGE_STEPS,
            odd: Oddities::default(),
        }
    }
}

/// Appends the name at `start` to `out`, labels joined by dots, and returns the offset just past it and what is odd
/// about it.
///
/// `message`: one whole message, of which the name's own labels end at `end`; behind a pointer they may stand
/// anywhere. A name that runs up to `end` is complete there.
/// Errors: a label past the end, a pointer that leads outside or at once to itself, 255 labels without an end.
/// Source: RFC 1035, 4.1.4.
pub fn read(
    message: &[u8],
    start: usize,
    end: usize,
    budget: &mut Budget,
    out: &mut Vec<u8>,
) -> Result<(usize, Oddities), Malformed> {
    let base = out.len();
    let mut at = start;
    let mut limit = end.min(message.len());
    let mut after_pointer = None;
    let mut odd = Oddities::default();
    for step in 0.. {
        if step > MAX_STEPS {
            odd.label_limit = true;
            odd.truncated = true;
            after_pointer.ok_or(Malformed)?;
            break;
        }
        budget.steps = budget.steps.checked_sub(1).ok_or(Malformed)?;
        let Some(&length) = message.get(at).filter(|_| at < limit) else {
            break;
        };
        match length {
            0 => {
                at += 1;
                break;
            }
            1..=0x3f => {
                let next = at + 1 + usize::from(length);
                let label = message[..limit].get(at + 1..next).ok_or(Malformed)?;
                if !odd.truncated {
                    if out.len() > base {
                        out.push(b'.');
                    }
                    out.extend_from_slice(label);
                }
                at = next;
            }
            0xc0..=0xff => {
                let low = *message[..limit].get(at + 1).ok_or(Malformed)?;
                let target = usize::from(length & 0x3f) << 8 | usize::from(low);
                if target > message.len() {
                    return Err(Malformed);
                }
                if target == at {
                    odd.infinite_loop = true;
                    after_pointer.ok_or(Malformed)?;
                    break;
                }
                after_pointer.get_or_insert(at + 2);
                at = target;
                limit = message.len();
            }
            _ => return Err(Malformed),
        }
        if out.len() - base > MAX_NAME_BYTES {
            out.truncate(base + MAX_NAME_BYTES);
            odd.truncated = true;
            if after_pointer.is_some() {
                break;
            }
        }
    }
    budget.odd.infinite_loop |= odd.infinite_loop;
    budget.odd.truncated |= odd.truncated;
    budget.odd.label_limit |= odd.label_limit;
    Ok((after_pointer.unwrap_or(at), odd))
}
