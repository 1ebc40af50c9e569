/// What went wrong with a statement or a row, before it is said of which database.
#[derive(Debug)]
pub(crate) enum Failure {
    Sql(sqlx::Error),
    /// A row holds what no version writes.
    Record(String),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}
