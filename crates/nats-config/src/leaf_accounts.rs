//! The accounts of a site.

use crate::conf::{Conf, Value};
use crate::input::{Name, SubjectPrefix};
use crate::leaf::{CalloutMode, LeafConfig, RegistryReplica, Replica, StaticDevice};
use crate::node::Node;
use crate::subjects;
use crate::user::{Connection, User, administrator, stream_manager, write_users};

impl LeafConfig {
    pub(crate) fn write_auth_account(&self, accounts: &mut Conf) {
        accounts.comment(
            "The callout's account. Each replica has a key of its own and may answer nats-server, tell the other \
             replicas what it evicted and the registry of log-ins, and say that it lives.",
        );
        accounts.named_block(&self.accounts.auth, |account| {
            let mut users: Vec<User> = self.replicas.iter().map(auth_user).collect();
            users.extend(self.registry_users.iter().map(registry_auth_user));
            if let CalloutMode::AbsentForTesting(stand_in) = &self.callout {
                users.push(User {
                    about: "FOR TESTS ONLY: asks the callout in place of nats-server.".to_owned(),
                    key: stand_in.requester,
                    connection: Connection::Client,
                    publish: vec![subjects::AUTH_REQUEST.to_owned()],
                    subscribe: vec![subjects::AUTH_REPLY.to_owned()],
                    answers: false,
                });
            }
            write_users(account, &users);
        });
    }

    pub(crate) fn write_device_account(&self, accounts: &mut Conf) {
        accounts.comment(
            "Devices. The limits are per connection and hold whatever a policy says; nats-server ignores those in a \
             callout's user JWT. No leaf link is bound to this account, because the limits would bind it, too.",
        );
        accounts.named_block(&self.accounts.devices, |account| {
            account.set(
                "limits",
                [
                    ("max_subs", self.device_limits.max_subscriptions.into()),
                    ("max_payload", self.device_limits.max_payload_bytes.into()),
                ],
            );
            if self.uplink.is_some() {
                self.write_exports(account);
            }
            let registry_user = |replica| registry_device_user(&self.prefix, replica);
            let mut users: Vec<User> = self.registry_users.iter().map(registry_user).collect();
            if let CalloutMode::AbsentForTesting(stand_in) = &self.callout {
                let device = |device| static_device(&self.prefix, device);
                users.extend(stand_in.devices.iter().map(device));
            }
            if !users.is_empty() {
                write_users(account, &users);
            }
        });
    }

    fn write_exports(&self, account: &mut Conf) {
        let to = |account: &Name| Value::from(vec![account]);
        account.comment(
            "Telemetry leaves as streams, commands come as services, which bring the device's answer back to whoever \
             asked.",
        );
        account.list("exports", |exports| {
            for subject in subjects::telemetry(&self.prefix) {
                exports.item([
                    ("stream", subject.of_all().into()),
                    ("accounts", to(&self.accounts.telemetry)),
                ]);
            }
            for subject in subjects::commands(&self.prefix) {
                exports.item([
                    ("service", subject.of_all().into()),
                    ("accounts", to(&self.accounts.commands)),
                ]);
            }
        });
    }

    pub(crate) fn write_uplink_accounts(&self, accounts: &mut Conf, node: &Node) {
        let import = |kind, subject: &subjects::DeviceSubject| {
            let source = [
                ("account", Value::from(&self.accounts.devices)),
                ("subject", subject.of_all().into()),
            ];
            Value::from([
                (kind, source.into()),
                ("to", subjects::on_hub(&self.site, &subject.mapped()).into()),
            ])
        };
        accounts.comment("Up: the site's name goes in front of what devices publish.");
        accounts.named_block(&self.accounts.telemetry, |account| {
            if node.jetstream.is_some() {
                account.set("jetstream", "enabled");
                write_users(
                    account,
                    self.stream_manager(node).map(stream_manager).as_slice(),
                );
            }
            account.list("imports", |imports| {
                for subject in subjects::telemetry(&self.prefix) {
                    imports.item(import("stream", &subject));
                }
            });
        });
        accounts
            .comment("Down: the site's name goes away. No inbox of the hub is subscribed here.");
        accounts.named_block(&self.accounts.commands, |account| {
            account.list("imports", |imports| {
                for subject in subjects::commands(&self.prefix) {
                    imports.item(import("service", &subject));
                }
            });
        });
    }

    pub(crate) fn write_system_account(&self, accounts: &mut Conf) {
        accounts.comment(
            "The system account. A replica may find a device's connections and end them, ask a server who it is, and \
             follow connects and disconnects. It may not subscribe to $SYS.REQ.SERVER.>: it could vouch for servers \
             that don't exist. The registry's replicas find connections and end them, no more.",
        );
        accounts.named_block(&self.accounts.system, |account| {
            let replicas = self.replicas.iter().map(system_user);
            let registry_users = self.registry_users.iter().map(registry_system_user);
            let administrator = self.administrator.map(administrator);
            let tester = self.tester.map(|key| User {
                about: "FOR TESTS ONLY: vouches for servers that don't exist.".to_owned(),
                key,
                connection: Connection::Client,
                publish: Vec::new(),
                subscribe: vec![subjects::IDZ.to_owned()],
                answers: true,
            });
            let users: Vec<User> = replicas
                .chain(registry_users)
                .chain(administrator)
                .chain(tester)
                .collect();
            write_users(account, &users);
        });
    }
}

fn auth_user(replica: &Replica) -> User {
    User {
        about: format!("Replica {}.", replica.name),
        key: replica.auth,
        connection: Connection::Client,
        publish: vec![
            subjects::AUTH_REPLY.to_owned(),
            subjects::EVICT.to_owned(),
            subjects::LOG_IN.to_owned(),
            subjects::alive(&replica.name),
        ],
        subscribe: vec![
            // With a queue group named, nats-server refuses a subscription outside it.
            format!("{} {}", subjects::AUTH_REQUEST, subjects::CALLOUT_QUEUE),
            format!("{}.>", subjects::replica_inbox_prefix(&replica.name)),
            subjects::EVICT.to_owned(),
            subjects::ALIVE_ALL.to_owned(),
        ],
        answers: false,
    }
}

fn system_user(replica: &Replica) -> User {
    User {
        about: format!("Replica {}.", replica.name),
        key: replica.system,
        connection: Connection::Client,
        publish: [
            subjects::CONNZ_ALL,
            subjects::CONNZ_ONE,
            subjects::IDZ,
            subjects::KICK,
        ]
        .map(str::to_owned)
        .to_vec(),
        subscribe: vec![
            subjects::CONNECT_EVENTS.to_owned(),
            subjects::DISCONNECT_EVENTS.to_owned(),
            format!("{}.>", subjects::replica_inbox_prefix(&replica.name)),
        ],
        answers: false,
    }
}

/// It is told of log-ins and says nothing: whoever holds its seed can neither answer nats-server nor evict.
fn registry_auth_user(replica: &RegistryReplica) -> User {
    User {
        about: format!("Replica {} of the registry.", replica.name),
        key: replica.auth,
        connection: Connection::Client,
        publish: Vec::new(),
        subscribe: vec![format!("{} {}", subjects::LOG_IN, subjects::REGISTRY_QUEUE)],
        answers: false,
    }
}

fn registry_system_user(replica: &RegistryReplica) -> User {
    User {
        about: format!("Replica {} of the registry.", replica.name),
        key: replica.system,
        connection: Connection::Client,
        publish: [subjects::CONNZ_ALL, subjects::CONNZ_ONE, subjects::KICK]
            .map(str::to_owned)
            .to_vec(),
        subscribe: vec![format!(
            "{}.>",
            subjects::replica_inbox_prefix(&replica.name)
        )],
        answers: false,
    }
}

fn registry_device_user(prefix: &SubjectPrefix, replica: &RegistryReplica) -> User {
    User {
        about: format!(
            "Replica {} of the registry: answers devices that renew their certificate. It has no response \
             permission, which would reach any subject that a device names; of inboxes it takes only the asking \
             device's own.",
            replica.name
        ),
        key: replica.devices,
        connection: Connection::Client,
        publish: vec![subjects::DEVICE_INBOXES.to_owned()],
        subscribe: vec![format!(
            "{} {}",
            subjects::renewals(prefix),
            subjects::REGISTRY_QUEUE
        )],
        answers: false,
    }
}

fn static_device(prefix: &SubjectPrefix, device: &StaticDevice) -> User {
    let own =
        |subjects: [subjects::DeviceSubject; 2]| subjects.map(|subject| subject.of(&device.id));
    let mut subscribe = own(subjects::commands(prefix)).to_vec();
    subscribe.push(format!("_INBOX.{}.>", device.id));
    let mut publish = own(subjects::telemetry(prefix)).to_vec();
    publish.push(subjects::renewal(prefix, &device.id));
    User {
        about: format!("FOR TESTS ONLY: device {}.", device.id),
        key: device.key,
        connection: Connection::Client,
        publish,
        subscribe,
        answers: true,
    }
}
