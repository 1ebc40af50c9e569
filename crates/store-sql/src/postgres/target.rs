use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use leafgate_registry::StoreError;
use leafgate_runtime::{read_secret, read_text};
use secrecy::{ExposeSecret, SecretString};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::url::Url;

/// Where a registry in PostgreSQL is, and how to log in there. `Debug` shows no password.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?PARAMETER=VALUE&…]`, with special characters as `%XX`.
    ///
    /// The parameters are libpq's: `host` (which may be the folder of a Unix socket), `port`, `user`, `password`,
    /// `dbname`, `application_name`, `sslmode` (`disable`, `prefer`, `require` or `verify-full`), `sslrootcert`,
    /// `sslcert` and `sslkey`. Without `sslmode`, a server on this machine is asked for TLS but needn't have it
    /// (`prefer`); any other must prove with a certificate that it is the host (`verify-full`).
    pub url: String,
    /// A file with the password, read anew for every connection, so that a changed one needs no restart.
    pub password_file: Option<PathBuf>,
    /// The CAs of the server's certificate, in PEM. Without them it must be of a CA that browsers know.
    pub ca_file: Option<PathBuf>,
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = match Target::of(self) {
            Ok(target) => target.to_string(),
            Err(_) => "[malformed]".to_owned(),
        };
        f.debug_struct("PostgresOptions")
            .field("url", &url)
            .field("password_file", &self.password_file)
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

/// What [`PostgresOptions`] say. Displayed as the URL without password and parameters.
#[derive(Clone)]
pub(super) struct Target {
    host: Host,
    port: u16,
    user: String,
    database: String,
    password: Option<SecretString>,
    password_file: Option<PathBuf>,
    application_name: String,
    ssl_mode: PgSslMode,
    ca_file: Option<PathBuf>,
    client_certificate: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// The folder of a Unix socket.
    Socket(PathBuf),
    Name(String),
}

impl Host {
    fn parse(text: &str) -> Result<Self, StoreError> {
        if text.starts_with('/') {
            return Ok(Self::Socket(text.into()));
        }
        if text.is_empty() {
            let socket =
                "for a Unix socket postgres:///DATABASE?host=/var/run/postgresql&user=USER";
            return Err(wrong(format_args!("it names no host; {socket}")));
        }
        if text.contains(',') {
            let hint = "name one that always leads to the primary";
            return Err(wrong(format_args!("it names several hosts; {hint}")));
        }
        let literal = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        Ok(Self::Name(literal.unwrap_or(text).to_owned()))
    }

    /// Whether what is sent there stays on this machine.
    fn is_local(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Name(name) => {
                name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
            }
        }
    }
}

impl Target {
    pub(super) fn of(options: &PostgresOptions) -> Result<Self, StoreError> {
        let mut url = Url::parse(&options.url)?;
        let host = Host::parse(&url.host)?;
        let port = match url.port.as_deref() {
            None => 5432,
            // Not shown: it may be part of a password with an unescaped slash.
            Some(port) => port
                .parse()
                .map_err(|_| wrong("its port is not a number from 0 to 65535"))?,
        };
        if url.user.is_empty() || url.database.is_empty() {
            return Err(wrong("it must name user and database"));
        }
        if url.password.is_some() && options.password_file.is_some() {
            return Err(wrong(
                "it has a password, and there is a password file: keep one",
            ));
        }
        let ca_file = match (url.take("sslrootcert"), &options.ca_file) {
            (Some(_), Some(_)) => {
                return Err(wrong(
                    "it has sslrootcert, and there is a CA file: keep one",
                ));
            }
            (parameter, file) => parameter.map(PathBuf::from).or_else(|| file.clone()),
        };
        let client_certificate = match (url.take("sslcert"), url.take("sslkey")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            _ => return Err(wrong("sslcert and sslkey come together")),
        };
        let ssl_mode = ssl_mode(&host, url.take("sslmode").as_deref(), ca_file.as_deref())?;
        Ok(Self {
            host,
            port,
            application_name: url
                .take("application_name")
                .unwrap_or_else(|| "leafgate".to_owned()),
            user: url.user,
            database: url.database,
            password: url.password,
            password_file: options.password_file.clone(),
            ssl_mode,
            ca_file,
            client_certificate,
        })
    }

    /// How to connect, with password, key and certificates as their files are now.
    ///
    /// Of libpq's environment only `PGOPTIONS`, `PGSSLCERT` and `PGSSLKEY` have a say, since sqlx reads them unasked.
    pub(super) fn connect_options(&self) -> Result<PgConnectOptions, StoreError> {
        let options = PgConnectOptions::new_without_pgpass()
            .port(self.port)
            .username(&self.user)
            .database(&self.database)
            .password(self.password()?.expose_secret())
            .application_name(&self.application_name)
            .ssl_mode(self.ssl_mode)
            .disable_statement_logging();
        let options = match &self.host {
            Host::Socket(folder) => options.socket(folder),
            Host::Name(name) => options.host(name),
        };
        let options = match &self.ca_file {
            Some(file) => {
                let pem = read_text(file).map_err(|error| self.lacks("CA file", error))?;
                options.ssl_root_cert_from_pem(pem.into_bytes())
            }
            None => options.ssl_root_cert_from_pem(Vec::new()),
        };
        let Some((certificate, key)) = &self.client_certificate else {
            return Ok(options);
        };
        let certificate = read_text(certificate).map_err(|error| self.lacks("sslcert", error))?;
        let key = read_secret(key).map_err(|error| self.lacks("sslkey", error))?;
        Ok(options
            .ssl_client_cert_from_pem(certificate)
            .ssl_client_key_from_pem(key.expose_secret()))
    }

    fn password(&self) -> Result<SecretString, StoreError> {
        match (&self.password, &self.password_file) {
            (Some(password), _) => Ok(password.clone()),
            (None, Some(file)) => {
                read_secret(file).map_err(|error| self.lacks("password file", error))
            }
            (None, None) => Ok(SecretString::default()),
        }
    }

    fn lacks(&self, what: &str, error: impl Error + Send + Sync + 'static) -> StoreError {
        StoreError::unavailable(format!("the {what} for {self} can't be used"), error)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user,
            database,
            port,
            ..
        } = self;
        match &self.host {
            Host::Socket(folder) => {
                write!(
                    f,
                    "postgres://{user}@/{database}?host={}&port={port}",
                    folder.display()
                )
            }
            Host::Name(name) if name.contains(':') => {
                write!(f, "postgres://{user}@[{name}]:{port}/{database}")
            }
            Host::Name(name) => write!(f, "postgres://{user}@{name}:{port}/{database}"),
        }
    }
}

fn ssl_mode(
    host: &Host,
    sslmode: Option<&str>,
    ca_file: Option<&Path>,
) -> Result<PgSslMode, StoreError> {
    let mode = match sslmode {
        None if host.is_local() && ca_file.is_none() => PgSslMode::Prefer,
        None | Some("verify-full") => PgSslMode::VerifyFull,
        Some("disable") => PgSslMode::Disable,
        Some("prefer") => PgSslMode::Prefer,
        Some("require") => PgSslMode::Require,
        Some("verify-ca") => {
            // The public CAs count beside `ca_file`, and without the name anybody's certificate would do.
            return Err(wrong("sslmode=verify-ca is not supported; use verify-full"));
        }
        Some(_) => {
            let known = "disable, prefer, require or verify-full";
            return Err(wrong(format_args!("its sslmode is none of {known}")));
        }
    };
    if ca_file.is_some() && !matches!(mode, PgSslMode::VerifyFull) {
        return Err(wrong("a CA file has no use but with sslmode=verify-full"));
    }
    Ok(match host {
        // As in libpq, sockets know no TLS.
        Host::Socket(_) => PgSslMode::Disable,
        Host::Name(_) => mode,
    })
}

/// The URL itself is never shown: it may hold a password where none belongs.
pub(super) fn wrong(problem: impl fmt::Display) -> StoreError {
    let what = format!(
        "the registry's URL must be such as postgres://USER@HOST:5432/DATABASE, special characters written as %XX: {problem}"
    );
    StoreError::Unsupported { what }
}

#[cfg(test)]
mod tests;
