//! First in, first out, without a ring.
//!
//! What is in flight on a connection is nearly always a handful that has all left before more comes. So the places of
//! those that have left stay free until the queue is empty, and then it begins where it began: nothing ever wraps around,
//! what is there lies side by side, and the lines it lies in are still in the processor's caches. A ring
//! (`VecDeque`) works out where it wraps in each of its operations, and goes on through all of its memory. A queue
//! that is never empty moves to the front once most of its places are free, which costs each of its members less than
//! another move.

use std::ops::RangeInclusive;

use crate::prefetch::prefetch_many;

/// As many free places at the front are not worth a move.
const FREE: usize = 32;

/// A queue.
#[derive(Debug)]
pub struct Queue<T> {
    /// Those before `head` have left.
    places: Vec<Option<T>>,
    head: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            head: 0,
        }
    }
}

impl<T> Queue<T> {
    /// How many are in it.
    pub fn len(&self) -> usize {
        self.places.len() - self.head
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.places.len() == self.head
    }

    /// The one that came first.
    pub fn front(&self) -> Option<&T> {
        self.places.get(self.head)?.as_ref()
    }

    /// The one that came first.
    pub fn front_mut(&mut self) -> Option<&mut T> {
        self.places.get_mut(self.head)?.as_mut()
    }

    /// The one that came last.
    pub fn back_mut(&mut self) -> Option<&mut T> {
        // Behind the last that has left there is nobody.
        self.places.last_mut()?.as_mut()
    }

    /// The one behind so many others.
    pub fn get(&self, others: usize) -> Option<&T> {
        self.places.get(self.head + others)?.as_ref()
    }

    /// The one behind so many others.
    pub fn get_mut(&mut self, others: usize) -> Option<&mut T> {
        self.places.get_mut(self.head + others)?.as_mut()
    }

    /// All, the first one first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().skip(self.head).flatten()
    }

    /// One more comes last.
    #[inline]
    pub fn push(&mut self, last: T) {
        self.places.push(Some(last));
    }

    /// The first one leaves.
    pub fn pop(&mut self) -> Option<T> {
        let first = self.places.get_mut(self.head)?.take();
        self.step();
        first
    }

    /// The first one leaves for good: nothing of it is moved.
    pub fn drop_front(&mut self) {
        if let Some(first) = self.places.get_mut(self.head) {
            *first = None;
            self.step();
        }
    }

    /// One more place at the front is free.
    fn step(&mut self) {
        self.head += 1;
        if self.is_empty() {
            self.places.clear();
            self.head = 0;
        } else if self.head >= FREE && self.head >= self.len() {
            self.close_ranks();
        }
    }

    /// Those of whom this is false leave.
    pub fn retain(&mut self, mut is_to_stay: impl FnMut(&T) -> bool) {
        self.close_ranks();
        self.places
            .retain(|place| place.as_ref().is_some_and(&mut is_to_stay));
    }

    /// Those in this range, counted from the first one, leave.
    pub fn remove(&mut self, range: RangeInclusive<usize>) {
        self.close_ranks();
        let end = self.places.len().min(range.end() + 1);
        self.places.drain((*range.start()).min(end)..end);
    }

    /// Has the processor fetch the first ones, or the places of those to come.
    pub fn prefetch(&self, count: usize) {
        prefetch_many(self.places.as_ptr().wrapping_add(self.head), count);
    }

    fn close_ranks(&mut self) {
        self.places.drain(..self.head);
        self.head = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(all: impl IntoIterator<Item = u32>) -> Queue<u32> {
        let mut queue = Queue::default();
        all.into_iter().for_each(|one| queue.push(one));
        queue
    }

    fn all(queue: &Queue<u32>) -> Vec<u32> {
        assert_eq!(queue.iter().count(), queue.len());
        assert_eq!(queue.front(), queue.get(0));
        queue.iter().copied().collect()
    }

    #[test]
    fn it_does_what_a_ring_does() {
        let (mut queue, mut ring) = (of([]), std::collections::VecDeque::new());
        // Some 100 at most, and empty every now and then.
        for n in 0_u32..10_000 {
            if n.wrapping_mul(2_654_435_761) >> 24 < 120 + n / 100 % 16 {
                queue.push(n);
                ring.push_back(n);
            } else {
                assert_eq!(queue.pop(), ring.pop_front());
            }
            if n % 64 == 0 {
                queue.drop_front();
                ring.pop_front();
            }
            assert!(all(&queue).iter().eq(ring.iter()));
            assert_eq!(queue.back_mut(), ring.back_mut());
            assert_eq!(queue.get_mut(7), ring.get_mut(7));
        }
    }

    #[test]
    fn once_empty_it_goes_on_where_it_began() {
        let mut queue = of([]);
        queue.places.reserve(4);
        for n in 0..10 {
            queue.push(n);
            queue.push(n + 1);
            assert_eq!(queue.head, 0);
            assert_eq!((queue.pop(), queue.pop()), (Some(n), Some(n + 1)));
            assert_eq!(queue.pop(), None);
        }
        assert_eq!(queue.places.capacity(), 4);
    }

    #[test]
    fn one_that_is_never_empty_does_not_grow() {
        let mut queue = of(0..10);
        for n in 10..10_000 {
            queue.push(n);
            assert_eq!(queue.pop(), Some(n - 10));
        }
        assert!(queue.places.len() <= 10 + FREE + 1, "{}", queue.places.len());
    }

    #[test]
    fn whoever_leaves_from_the_middle_is_counted_from_the_front() {
        let mut queue = of(0..8);
        queue.pop();
        queue.remove(2..=3);
        assert_eq!(all(&queue), [1, 2, 5, 6, 7]);
        queue.pop();
        queue.retain(|n| n % 2 == 1);
        assert_eq!(all(&queue), [5, 7]);
        queue.remove(1..=9);
        assert_eq!(all(&queue), [5]);
        queue.remove(1..=1);
        queue.pop();
        queue.retain(|_| true);
        queue.remove(0..=0);
        assert!(all(&queue).is_empty());
    }
}
