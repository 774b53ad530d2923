//! The way through a text that every search takes.

/// How a search goes through a text.
#[derive(Clone, Copy)]
pub(crate) struct Steps {
    /// How many places are asked about together.
    pub places: usize,
    /// How far those lie apart.
    pub stride: usize,
    /// How many bytes one takes at least; the search ends where fewer lie ahead.
    pub least: usize,
}

/// Goes through a text in steps, and calls `see` where `asked` sees something in what lies ahead: where that is, and a
/// bit for each place of the step that lies in the text.
#[inline(always)]
pub(crate) fn search(
    text: &[u8],
    from: usize,
    steps: Steps,
    asked: impl Fn(&[u8]) -> u64,
    see: &mut dyn FnMut(usize, u64),
) {
    let mut at = from;
    while let Some(ahead) = text.get(at..).filter(|ahead| ahead.len() >= steps.least) {
        let found = asked(ahead);
        if found != 0 {
            let held = (ahead.len() - steps.least) / steps.stride + 1;
            let found = found & u64::MAX >> (u64::BITS as usize - held.min(steps.places));
            if found != 0 {
                see(at, found);
            }
        }
        at += steps.places * steps.stride;
    }
}

/// Returns what a search's `scan` says that is compiled for the widest instructions the processor has, in module
/// `avx512` or `avx2`, or else what is given behind its arguments.
macro_rules! scan_by_processor {
    ($($given:expr),+; $plainly:expr) => {{
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
        {
            // SAFETY: the processor has what the function asks for.
            #[allow(unsafe_code)]
            return unsafe { avx512::scan($($given),+) };
        }
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: likewise.
            #[allow(unsafe_code)]
            return unsafe { avx2::scan($($given),+) };
        }
        $plainly
    }};
}
pub(crate) use scan_by_processor;

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
