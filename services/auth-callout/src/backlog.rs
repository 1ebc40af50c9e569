use std::collections::VecDeque;
use std::time::Duration;

/// Up to this many waiting items are served in order of arrival; beyond, the newest go first: the
/// oldest are the likeliest to be too late anyway.
const ORDERLY: usize = 256;

/// Requests that wait for their turn in one worker; bounded.
pub(crate) struct Backlog<T> {
    waiting: VecDeque<Waiting<T>>,
    limit: usize,
}

/// An item and when it was received, by the monotonic clock.
pub(crate) struct Waiting<T> {
    pub(crate) item: T,
    pub(crate) received: Duration,
}

impl<T> Backlog<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            limit,
        }
    }

    /// Adds an item; the oldest gives way where there are too many.
    pub(crate) fn push(&mut self, item: T, received: Duration) -> Option<Waiting<T>> {
        let displaced = if self.waiting.len() >= self.limit {
            self.waiting.pop_front()
        } else {
            None
        };
        self.waiting.push_back(Waiting { item, received });
        displaced
    }

    /// Takes up to `count` items.
    pub(crate) fn take(&mut self, count: usize) -> Vec<Waiting<T>> {
        let count = count.min(self.waiting.len());
        if self.waiting.len() <= ORDERLY {
            self.waiting.drain(..count).collect()
        } else {
            let keep = self.waiting.len() - count;
            self.waiting.drain(keep..).rev().collect()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: u64, limit: usize) -> (Backlog<u64>, Vec<u64>) {
        let mut backlog = Backlog::new(limit);
        let displaced = (0..count)
            .filter_map(|n| backlog.push(n, Duration::from_millis(n)))
            .map(|waiting| waiting.item)
            .collect();
        (backlog, displaced)
    }

    fn items(taken: Vec<Waiting<u64>>) -> Vec<u64> {
        taken.into_iter().map(|waiting| waiting.item).collect()
    }

    #[test]
    fn a_short_backlog_is_served_in_order() {
        let (mut backlog, displaced) = filled(5, 10);
        assert!(displaced.is_empty());
        assert_eq!(items(backlog.take(3)), [0, 1, 2]);
        assert_eq!(items(backlog.take(3)), [3, 4]);
        assert!(backlog.is_empty());
    }

    #[test]
    fn under_overload_the_newest_go_first_and_the_oldest_give_way() {
        let (mut backlog, displaced) = filled(1_002, 1_000);
        assert_eq!(displaced, [0, 1]);
        assert_eq!(items(backlog.take(2)), [1_001, 1_000]);
    }
}
