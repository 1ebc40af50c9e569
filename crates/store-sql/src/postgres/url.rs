use leafgate_registry::StoreError;
use secrecy::SecretString;

use super::target::wrong;

/// What may stand after the question mark, besides what [`Url`] takes into its fields.
const PARAMETERS: &[&str] = &[
    "application_name",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
];

/// The parts of a connection URI (<https://www.postgresql.org/docs/15/libpq-connect.html#id-1.7.3.8.3.6>), decoded.
/// What is missing is empty.
pub(super) struct Url {
    pub(super) user: String,
    pub(super) password: Option<SecretString>,
    pub(super) host: String,
    pub(super) port: Option<String>,
    pub(super) database: String,
    parameters: Vec<(&'static str, String)>,
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or_else(|| wrong("it begins with something else"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(SecretString::from(decoded(password)?))),
            None => (login, None),
        };
        let (host, port) = match address.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets.
            Some((host, port)) if !port.contains(']') => (host, Some(decoded(port)?)),
            _ => (address, None),
        };
        let mut url = Self {
            user: decoded(user)?,
            password,
            host: decoded(host)?,
            port,
            database: decoded(database)?,
            parameters: Vec::new(),
        };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            url.set(name, decoded(value)?)?;
        }
        Ok(url)
    }

    /// Takes the value of one of [`PARAMETERS`].
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let place = self
            .parameters
            .iter()
            .position(|(known, _)| *known == name)?;
        Some(self.parameters.swap_remove(place).1)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), StoreError> {
        match name {
            "host" => self.host = value,
            "port" => self.port = Some(value),
            "user" => self.user = value,
            "password" => self.password = Some(value.into()),
            "dbname" => self.database = value,
            _ => {
                let known = PARAMETERS.iter().find(|known| **known == name);
                // Not shown: it may be the end of a password with an unescaped question mark.
                let known = known.ok_or_else(|| {
                    wrong(format_args!(
                        "it has a parameter that is none of host, port, user, password, dbname, {}",
                        PARAMETERS.join(", ")
                    ))
                })?;
                self.parameters.push((*known, value));
            }
        }
        Ok(())
    }
}

fn decoded(text: &str) -> Result<String, StoreError> {
    let malformed = || wrong("a % is not followed by two hex digits of a character in UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        if *byte == b'%' {
            let (digits, after) = after.split_at_checked(2).ok_or_else(malformed)?;
            let decoded = data_encoding::HEXLOWER_PERMISSIVE.decode(digits);
            bytes.extend(decoded.map_err(|_| malformed())?);
            rest = after;
        } else {
            bytes.push(*byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}
