use std::error::Error;

/// Collects what is wrong with a configuration, so that it is told all at once.
#[derive(Debug, Default)]
pub struct SetUpProblems(Vec<String>);

impl SetUpProblems {
    /// Keeps the value, or the problem with its causes.
    pub fn note<T>(
        &mut self,
        place: &str,
        result: Result<T, Box<dyn Error + Send + Sync>>,
    ) -> Option<T> {
        result
            .map_err(|error| {
                let mut text = format!("{place}: {error}");
                let mut cause = error.source();
                while let Some(error) = cause {
                    text.push_str(&format!(": {error}"));
                    cause = error.source();
                }
                self.0.push(text);
            })
            .ok()
    }

    /// Adds a problem, which begins with its place.
    pub fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// What was loaded, if it is whole and nothing was wrong.
    ///
    /// # Errors
    /// [`SetUpError`] with every problem.
    pub fn finish<T>(self, loaded: Option<T>) -> Result<T, SetUpError> {
        match loaded {
            Some(loaded) if self.0.is_empty() => Ok(loaded),
            _ => Err(SetUpError { problems: self.0 }),
        }
    }
}

/// What is wrong with a configuration: everything that was found, not only the first.
#[derive(Debug, thiserror::Error)]
#[error("{}", .problems.join("\n"))]
pub struct SetUpError {
    problems: Vec<String>,
}

impl SetUpError {
    /// The problems, each with its place and how to mend it.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}
