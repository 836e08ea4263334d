//! Memory that is about to be needed, asked for before it is.
//!
//! With hundreds of connections that are busy at once, the state of each has left the processor's caches by its next
//! turn, and a turn that comes upon one line of it after the other waits for each. Asked for together, and while another
//! relay has its turn, they cost next to nothing.

/// Bytes that come from memory at once.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Has the processor fetch a value, without waiting for it. What the value points to is not fetched.
pub(crate) fn prefetch<T>(value: &T) {
    prefetch_many(std::ptr::from_ref(value), 1);
}

/// Has the processor fetch so many values that are, or will be, one behind the other.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(crate) fn prefetch_many<T>(start: *const T, count: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    for offset in (0..size_of::<T>() * count).step_by(LINE) {
        // SAFETY: a hint that reads nothing, faults on no address and needs no feature beyond SSE, which every x86-64 has.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_byte_add(offset).cast()) };
    }
}

/// Elsewhere there is no stable way to ask.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn prefetch_many<T>(_: *const T, _: usize) {}
