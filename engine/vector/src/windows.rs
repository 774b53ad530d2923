//! The way through a text that every search takes.

/// Goes through a text by windows of `W` bytes that begin `step` apart, and calls `see` with those in which `asked` sees
/// something: where one begins, and a bit for each place of it.
///
/// The last windows are filled up with zeros, down to `least` bytes of text; `held` says which of the places count
/// in so many.
#[inline(always)]
pub(crate) fn search<const W: usize>(
    text: &[u8],
    from: usize,
    (step, least): (usize, usize),
    held: impl Fn(usize) -> u32,
    asked: impl Fn(&[u8; W]) -> u32,
    mut see: impl FnMut(usize, u32),
) {
    let mut at = from;
    while let Some(window) = text.get(at..).and_then(|rest| rest.first_chunk()) {
        let found = asked(window);
        if found != 0 {
            see(at, found);
        }
        at += step;
    }
    while let Some(rest) = text.get(at..).filter(|rest| rest.len() >= least) {
        let mut window = [0; W];
        let length = rest.len().min(W);
        window[..length].copy_from_slice(&rest[..length]);
        let found = asked(&window) & held(length);
        if found != 0 {
            see(at, found);
        }
        at += step;
    }
}
