//! Memory that is about to be needed, asked for before it is.
//!
//! With hundreds of connections that are busy at once, the state of each has left the processor's caches by its next
//! turn, and a turn that comes upon one line of it after the other waits for each. Asked for together, and while another
//! relay has its turn, they cost next to nothing. And a queue that stays where it is has its lines at hand.

use std::collections::VecDeque;

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

/// Takes out the first value. Once there is none left, the next ones come to lie where the last ones did: a queue that went
/// on through its memory would come upon lines that have left the caches. (`VecDeque::clear` begins anew, though its documentation
/// does not say so; the test does.)
pub(crate) fn pop_front<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if queue.is_empty() {
        queue.clear();
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_was_emptied_goes_on_where_it_began() {
        let mut queue = VecDeque::with_capacity(4);
        let beginning = queue.as_slices().0.as_ptr();
        for n in 0..10 {
            queue.extend([n, n + 1]);
            assert_eq!(queue.as_slices().0.as_ptr(), beginning);
            assert_eq!(
                (pop_front(&mut queue), pop_front(&mut queue)),
                (Some(n), Some(n + 1))
            );
            assert_eq!(pop_front(&mut queue), None);
        }
    }
}
