//! The way through a text that every search takes.

/// Goes through a text in steps, and calls `see` where `asked` sees something in what lies ahead: where that is, and a
/// bit for each place of the step.
///
/// It ends where less than `least` bytes lie ahead; `held` says which of a step's places count in so many.
#[inline(always)]
pub(crate) fn search(
    text: &[u8],
    from: usize,
    (step, least): (usize, usize),
    held: impl Fn(usize) -> u64,
    asked: impl Fn(&[u8]) -> u64,
    see: &mut dyn FnMut(usize, u64),
) {
    let mut at = from;
    while let Some(ahead) = text.get(at..).filter(|ahead| ahead.len() >= least) {
        let found = asked(ahead);
        if found != 0 && found & held(ahead.len()) != 0 {
            see(at, found & held(ahead.len()));
        }
        at += step;
    }
}

/// What `asked` says of the first `W` bytes of a text, zeros where it has less.
#[inline(always)]
pub(crate) fn with_window<const W: usize>(text: &[u8], asked: impl Fn(&[u8; W]) -> u64) -> u64 {
    match text.first_chunk() {
        Some(window) => asked(window),
        None => {
            let mut window = [0; W];
            window[..text.len()].copy_from_slice(text);
            asked(&window)
        }
    }
}

/// The first 64 bytes of a text, zeros where it has less.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
#[allow(unsafe_code)]
pub(crate) fn load(text: &[u8]) -> std::arch::x86_64::__m512i {
    use std::arch::x86_64::{_mm512_loadu_si512, _mm512_maskz_loadu_epi8};
    match text.first_chunk::<64>() {
        // SAFETY: there are as many bytes as are loaded.
        Some(all) => unsafe { _mm512_loadu_si512(all.as_ptr().cast()) },
        // SAFETY: the mask leaves out what lies behind the text.
        None => unsafe { _mm512_maskz_loadu_epi8((1 << text.len()) - 1, text.as_ptr().cast()) },
    }
}
