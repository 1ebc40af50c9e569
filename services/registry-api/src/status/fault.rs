use std::sync::atomic::{AtomicBool, Ordering};

/// Something that fails or works, so that its log has a line for each fault and not for each request that meets it.
#[derive(Debug, Default)]
pub(super) struct Fault(AtomicBool);

impl Fault {
    /// Takes that it failed, and says whether it had worked before.
    pub(super) fn begins(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// Takes that it worked.
    pub(super) fn ends(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether it failed the last time.
    pub(super) fn lasts(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_begins_once_until_it_ends() {
        let fault = Fault::default();
        assert!(!fault.lasts());
        assert!(fault.begins());
        assert!(!fault.begins());
        assert!(fault.lasts());
        fault.ends();
        assert!(!fault.lasts());
        assert!(fault.begins());
    }
}
