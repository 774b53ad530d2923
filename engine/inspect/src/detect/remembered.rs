//! What detection remembers, as records tell it.
use smallvec::SmallVec;

/// What a flow remembers, by name.
#[derive(Clone, Debug, Default)]
pub struct Remembered<'a> {
    /// Flowbits that are set.
    pub bits: SmallVec<[&'a str; 4]>,
    /// Integers.
    pub integers: Vec<(&'a str, u32)>,
    /// What expressions captured for the flow.
    pub texts: Vec<(&'a str, &'a [u8])>,
    /// What they captured for the packet at hand.
    pub packet_texts: Vec<(&'a str, &'a [u8])>,
}

impl Remembered<'_> {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        let Self {
            bits,
            integers,
            texts,
            packet_texts,
        } = self;
        bits.is_empty() && integers.is_empty() && texts.is_empty() && packet_texts.is_empty()
    }
}
