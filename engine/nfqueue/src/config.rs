/// How a queue is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// The queue's number, as the NFQUEUE rule names it.
    pub number: u16,
    /// Let packets pass uninspected when the queue is full, instead of dropping them.
    pub fail_open: bool,
    /// Take segmentation-offload packets whole, up to 64 KiB. Without it the kernel cuts them up first.
    pub gso: bool,
    /// Ask for each packet's conntrack mark and zone; done without where the kernel cannot.
    pub conntrack: bool,
    /// Packets the kernel holds for us at most. So many that a flood of small ones makes them wait longer than
    /// anybody's patience before it is reached; the memory that large ones take is bounded by `receive_buffer`.
    pub max_length: u32,
    /// Socket receive buffer in bytes; when it is full the kernel drops (or with `fail_open` passes) packets.
    pub receive_buffer: usize,
}

impl QueueConfig {
    /// The settings for `number` that suit an inline inspector: GSO on, fail-closed, 16,384 packets, 64 MiB.
    pub fn new(number: u16) -> Self {
        Self {
            number,
            fail_open: false,
            gso: true,
            conntrack: false,
            max_length: 16_384,
            receive_buffer: 64 << 20,
        }
    }
}
