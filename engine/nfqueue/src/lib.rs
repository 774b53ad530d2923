//! NFQUEUE in, verdicts out.
