//! Room for bytes that are kept as they come.

/// Of what so much has come is taken to come whole.
pub(crate) const LARGE_BYTES: usize = 128 << 10;

/// Makes room for all of `whole` at once where much has come already and `more` does not fit: to make room for twice as
/// much each time, as vectors do by themselves, would copy all of it each time.
pub(crate) fn make_room(bytes: &mut Vec<u8>, more: usize, whole: usize) {
    let held = bytes.len();
    if held >= LARGE_BYTES && bytes.capacity() - held < more {
        bytes.reserve_exact(whole.saturating_sub(held));
    }
}
