use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a principal is for. What each role may do is in the table of [`Permission`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees devices, certificates and sessions.
    Viewer,
    /// Also lets devices in and out, and ends their sessions.
    Operator,
    /// Also registers and edits devices, issues certificates and makes enrolment tokens.
    Provisioner,
    /// Sees what a viewer sees, and the audit trail.
    Auditor,
    /// May do everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: &'static [Self] = &[
        Self::Viewer,
        Self::Operator,
        Self::Provisioner,
        Self::Auditor,
        Self::Admin,
    ];

    /// The name, as in JSON and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Provisioner => "provisioner",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    /// Whether this role alone gives the permission.
    pub fn gives(self, permission: Permission) -> bool {
        PERMISSIONS
            .iter()
            .any(|(given, roles)| *given == permission && roles.contains(&self))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|role| role.as_str() == text);
        found
            .copied()
            .ok_or_else(|| UnknownRole(text.chars().take(64).collect()))
    }
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role; known are: viewer, operator, provisioner, auditor, admin")]
pub struct UnknownRole(pub String);

/// Something that is allowed or not.
///
/// | permission | viewer | operator | provisioner | auditor | admin |
/// |---|---|---|---|---|---|
/// | read-devices | yes | yes | yes | yes | yes |
/// | operate-devices | | yes | | | yes |
/// | provision-devices | | | yes | | yes |
/// | read-events | | | | yes | yes |
/// | manage-api-keys | | | | | yes |
/// | manage-issuers | | | | | yes |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// See devices, certificates, sessions, and what a device would be granted.
    ReadDevices,
    /// Approve, enable, disable, quarantine, revoke, delete and disconnect devices; revoke certificates.
    OperateDevices,
    /// Register, import and edit devices, issue certificates, make and revoke enrolment tokens.
    ProvisionDevices,
    /// Read events, and verify the audit trail.
    ReadEvents,
    /// Make, list and revoke API keys, none of which may hold more than its maker.
    ManageApiKeys,
    /// Rotate issuers, and issue certificates to servers.
    ManageIssuers,
}

impl Permission {
    /// Every permission.
    pub const ALL: &'static [Self] = &[
        Self::ReadDevices,
        Self::OperateDevices,
        Self::ProvisionDevices,
        Self::ReadEvents,
        Self::ManageApiKeys,
        Self::ManageIssuers,
    ];

    /// The name, as in logs and problems.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadDevices => "read-devices",
            Self::OperateDevices => "operate-devices",
            Self::ProvisionDevices => "provision-devices",
            Self::ReadEvents => "read-events",
            Self::ManageApiKeys => "manage-api-keys",
            Self::ManageIssuers => "manage-issuers",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

const PERMISSIONS: &[(Permission, &[Role])] = {
    use Role::{Admin, Auditor, Operator, Provisioner, Viewer};
    &[
        (
            Permission::ReadDevices,
            &[Viewer, Operator, Provisioner, Auditor, Admin],
        ),
        (Permission::OperateDevices, &[Operator, Admin]),
        (Permission::ProvisionDevices, &[Provisioner, Admin]),
        (Permission::ReadEvents, &[Auditor, Admin]),
        (Permission::ManageApiKeys, &[Admin]),
        (Permission::ManageIssuers, &[Admin]),
    ]
};

/// The roles of one principal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// Whether some role gives the permission.
    pub fn give(&self, permission: Permission) -> bool {
        self.0.iter().any(|role| role.gives(permission))
    }

    /// Whether these roles give everything that `others` give.
    pub fn cover(&self, others: &Self) -> bool {
        Permission::ALL
            .iter()
            .all(|permission| self.give(*permission) || !others.give(*permission))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each role once, in the order of [`Role::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = Role> {
        self.0.iter().copied()
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in the documentation of [`Permission`], so that what people read is what is enforced.
    #[test]
    fn the_documented_table_is_the_enforced_one() {
        let rows = include_str!("role.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("/// | "));
        let cells = |row: &'static str| row.split('|').map(str::trim).collect::<Vec<_>>();
        let mut rows = rows.map(cells);
        let roles: Vec<Role> = rows.next().unwrap()[1..]
            .iter()
            .filter(|name| !name.is_empty())
            .map(|name| name.parse().unwrap())
            .collect();
        assert_eq!(roles, Role::ALL);
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows.len(), Permission::ALL.len());
        for row in rows {
            let permission = Permission::ALL
                .iter()
                .find(|permission| permission.as_str() == row[0])
                .unwrap_or_else(|| panic!("{} is a permission", row[0]));
            for (role, cell) in roles.iter().zip(&row[1..]) {
                assert_eq!(
                    role.gives(*permission),
                    *cell == "yes",
                    "{role} {permission}"
                );
            }
        }
    }

    #[test]
    fn roles_cover_what_they_give_together() {
        let roles = |names: &[Role]| names.iter().copied().collect::<Roles>();
        let both = roles(&[Role::Operator, Role::Provisioner]);
        assert!(both.cover(&roles(&[Role::Viewer])));
        assert!(both.cover(&both));
        assert!(!both.cover(&roles(&[Role::Auditor])));
        assert!(!both.cover(&roles(&[Role::Admin])));
        assert!(roles(&[Role::Admin]).cover(&both));
        assert!(both.cover(&roles(&[])) && !roles(&[]).cover(&roles(&[Role::Viewer])));
    }

    #[test]
    fn names_are_exact() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(*role));
            assert_eq!(
                serde_json::to_string(role).unwrap(),
                format!("{:?}", role.as_str())
            );
        }
        assert!("Admin".parse::<Role>().is_err());
    }
}
