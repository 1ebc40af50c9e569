use super::{PostgresServer, SUPERUSER};

/// The role that owns the databases of the tests.
pub const ROLE: &str = "leafgate";

/// The password of [`ROLE`]. Its characters are those that have to be written as `%XX` in a URL.
pub const PASSWORD: &str = "p:a/s?s@w%rd#";

const PASSWORD_IN_URLS: &str = "p%3Aa%2Fs%3Fs%40w%25rd%23";

/// A database of a [`PostgresServer`].
#[derive(Debug)]
pub struct PostgresDatabase<'a> {
    pub(super) server: &'a PostgresServer,
    pub(super) name: String,
}

impl PostgresDatabase<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL, with role and password.
    pub fn url(&self) -> String {
        self.url_with(&format!("{ROLE}:{PASSWORD_IN_URLS}"))
    }

    /// Its URL for another role, as `ROLE` or `ROLE:PASSWORD`.
    pub fn url_with(&self, role: &str) -> String {
        let (socket, port) = (self.server.socket_folder(), self.server.port);
        format!(
            "postgres://{role}@localhost/{}?host={}&port={port}",
            self.name,
            socket.display()
        )
    }

    /// Its name and its URL; it then stays as long as the server.
    pub fn keep(self) -> (String, String) {
        let kept = (self.name.clone(), self.url());
        std::mem::forget(self);
        kept
    }

    /// Runs SQL in it as superuser, and gives the result: a line for each row.
    pub fn sql(&self, sql: &str) -> String {
        self.server.sql(&self.name, sql)
    }
}

impl Drop for PostgresDatabase<'_> {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // The server may be stopped.
        let _ = self.server.try_sql(SUPERUSER, &drop);
    }
}
