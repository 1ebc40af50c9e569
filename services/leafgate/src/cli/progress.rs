//! How far long work has come, shown to people who watch.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error, if that is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Work of this length, if that is known. `writes` says whether results are written meanwhile other than
    /// [`beside`](Self::beside) it.
    pub(crate) fn new(length: Option<u64>, writes: bool) -> Self {
        // On one terminal the two would overwrite each other.
        let hidden = writes && io::stdout().is_terminal();
        let target = if hidden {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(length, target);
        let template = match length {
            Some(_) => "{bar:30} {percent:>3} %  {msg}  ({eta} left)",
            None => "{spinner}  {msg}",
        };
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar }
    }

    /// So much more is done.
    pub(crate) fn advance(&self, by: u64, message: impl FnOnce() -> String) {
        self.bar.inc(by);
        if !self.bar.is_hidden() {
            self.bar.set_message(message());
        }
    }

    /// Writes something else in between.
    pub(crate) fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
