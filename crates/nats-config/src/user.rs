use std::collections::BTreeMap;

use leafgate_nats_jwt::UserKey;

use crate::conf::{Conf, Value};
use crate::error::RenderNatsConfigError;
use crate::subjects;

/// A user of an account, known by its nkey alone. What its lists do not name is denied.
pub(crate) struct User {
    /// What it is for, as a comment.
    pub(crate) about: String,
    pub(crate) key: UserKey,
    pub(crate) connection: Connection,
    pub(crate) publish: Vec<String>,
    pub(crate) subscribe: Vec<String>,
    /// May answer each request that it receives once.
    pub(crate) answers: bool,
}

/// How a user may connect: the key of a leaf link is no client's, and the other way round.
#[derive(Clone, Copy)]
pub(crate) enum Connection {
    Client,
    Leafnode,
}

impl User {
    pub(crate) fn write(&self, list: &mut Conf) {
        list.comment(&self.about);
        list.item_block(|user| {
            user.set("nkey", &self.key);
            user.set(
                "allowed_connection_types",
                match self.connection {
                    Connection::Client => vec!["STANDARD"],
                    Connection::Leafnode => vec!["LEAFNODE"],
                },
            );
            user.block("permissions", |permissions| {
                permissions.set("publish", rule(&self.publish));
                permissions.set("subscribe", rule(&self.subscribe));
                if self.answers {
                    permissions.set(
                        "allow_responses",
                        [("max", 1_i64.into()), ("expires", "1m".into())],
                    );
                }
            });
        });
    }
}

pub(crate) fn write_users(account: &mut Conf, users: &[User]) {
    account.list("users", |list| {
        for user in users {
            user.write(list);
        }
    });
}

pub(crate) fn stream_manager(key: UserKey) -> User {
    User {
        about: format!(
            "Manages and reads the streams of this account. Its client needs the inbox prefix {}.",
            subjects::STREAM_INBOX_PREFIX
        ),
        key,
        connection: Connection::Client,
        publish: ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>"]
            .map(str::to_owned)
            .to_vec(),
        subscribe: vec![format!("{}.>", subjects::STREAM_INBOX_PREFIX)],
        answers: false,
    }
}

pub(crate) fn administrator(key: UserKey) -> User {
    User {
        about: "A person's, for emergencies: may do everything a system user can. Keep the seed offline.".to_owned(),
        key,
        connection: Connection::Client,
        publish: vec![">".to_owned()],
        subscribe: vec![">".to_owned()],
        answers: false,
    }
}

/// nats-server takes an empty list for no rule at all.
fn rule(allow: &[String]) -> Value {
    if allow.is_empty() {
        [("deny", ">".into())].into()
    } else {
        [("allow", allow.to_vec().into())].into()
    }
}

/// Sees to it that every user of a server has a key of its own.
#[derive(Default)]
pub(crate) struct UserKeys(BTreeMap<UserKey, String>);

impl UserKeys {
    pub(crate) fn claim(
        &mut self,
        key: UserKey,
        user: impl Into<String>,
    ) -> Result<(), RenderNatsConfigError> {
        let user = user.into();
        match self.0.insert(key, user.clone()) {
            None => Ok(()),
            Some(first) => Err(RenderNatsConfigError::KeyTwice {
                key: key.to_string(),
                first,
                second: user,
            }),
        }
    }
}
